"""Which part of a value cannot travel, and the path to it: `model['cfg'].conn is a sqlite3.Connection`."""

from __future__ import annotations

import functools
import io
import sys
import types
from collections.abc import Collection, Iterator
from typing import Any

from kale_nb.errors import MarshalError
from kale_nb.marshal.pickler import GraphPickler
from kale_nb.marshal.refusals import Refused, shown_name

_MOST_STEPS = 200


def explain(
    name: str, value: object, error: BaseException | None, *, main: dict[str, object], by_reference: Collection[str]
) -> MarshalError:
    """Make the error that names the part of `value` that cannot be pickled."""

    def failure(part: object) -> BaseException | None:
        pickler = GraphPickler(_Nowhere(), main=main, by_reference=by_reference)
        try:
            pickler.dump(part)
        except Exception as problem:  # noqa: BLE001
            return problem
        finally:
            pickler.release()
        return None

    path, culprit, last = name, value, error
    seen = {id(value)}
    for _ in range(_MOST_STEPS):
        if isinstance(last, Refused) and last.value is culprit:
            break
        for label, part in _parts(culprit, main, by_reference):
            if id(part) in seen:
                continue
            problem = failure(part)
            if problem is not None:
                path, culprit, last = path + label, part, problem
                seen.add(id(part))
                break
        else:
            break
    why = last.why if isinstance(last, Refused) and last.value is culprit else f"is a {shown_name(type(culprit))}"
    if isinstance(last, Refused) or last is None:
        message = f"{path} {why}"
    else:
        message = f"{path} {why}: {str(last).rstrip('.') or type(last).__name__}"
    return MarshalError(
        f"{message}, which cannot travel to another step"
        if isinstance(last, Refused)
        else f"{message} (it cannot travel to another step)",
        variable=name,
        culprit=path,
        hint=f"make {name} again in the step that needs it, or delete that part before the step ends",
    )


class _Nowhere(io.RawIOBase):
    def write(self, data: Any) -> int:
        return len(data)


def _parts(value: Any, main: dict[str, object], by_reference: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Give the parts of a value with how a person would write the way to them."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"[{_shown(key)}]", item
        for key in value:
            yield f" key {_shown(key)}", key
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield f"[{number}]", item
    elif isinstance(value, set | frozenset):
        for item in value:
            yield f" element {_shown(item)}", item
    elif _is_array(value):
        for index in sys.modules["numpy"].ndindex(value.shape):
            yield f"[{', '.join(map(str, index))}]", value[index]
    elif _is_frame(value):
        yield from _columns(value)
    yield from _definition_parts(value)
    yield from _attributes(value)
    yield from _reduced(value)


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.kind == "O"


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series)


def _columns(frame: Any) -> Iterator[tuple[str, Any]]:
    if frame.ndim == 1:
        if frame.dtype.kind == "O":
            for label, item in frame.items():
                yield f"[{_shown(label)}]", item
        return
    for number, label in enumerate(frame.columns):
        if frame.dtypes.iloc[number].kind == "O":
            yield f"[{_shown(label)}]", frame.iloc[:, number]


def _definition_parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, types.FunctionType):
        for cell_name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            try:
                yield f" (its variable {cell_name})", cell.cell_contents
            except ValueError:
                continue
        for number, default in enumerate(value.__defaults__ or ()):
            yield f".__defaults__[{number}]", default
        for name, default in (value.__kwdefaults__ or {}).items():
            yield f".__kwdefaults__[{name!r}]", default
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, functools.partial):
        yield ".func", value.func
        for number, item in enumerate(value.args):
            yield f".args[{number}]", item
        for name, item in value.keywords.items():
            yield f".keywords[{name!r}]", item
    elif isinstance(value, classmethod | staticmethod):
        yield ".__func__", value.__func__
    elif isinstance(value, types.ModuleType):
        for name, item in vars(value).items():
            yield f".{name}", item
    elif isinstance(value, type):
        for name, item in value.__dict__.items():
            yield f".{name}", item
        for base in value.__bases__:
            yield f" base {base.__name__}", base


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, type | types.ModuleType):
        return
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        for name, item in list(attributes.items()):
            yield f".{name}", item
    for cls in type(value).__mro__:
        for name, descriptor in cls.__dict__.items():
            if isinstance(descriptor, types.MemberDescriptorType):
                try:
                    yield f".{name}", descriptor.__get__(value)
                except AttributeError:
                    continue
    if isinstance(value, BaseException):
        for number, item in enumerate(value.args):
            yield f".args[{number}]", item
        yield ".__cause__", value.__cause__
        yield ".__context__", value.__context__


def _reduced(value: Any) -> Iterator[tuple[str, Any]]:
    """Give the parts that only the value's own reduction knows."""
    if isinstance(value, type | types.FunctionType):
        return
    yield f" class {type(value).__name__}", type(value)
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:  # noqa: BLE001 - that is why it cannot travel
        return
    if not isinstance(reduced, tuple):
        return
    for number, part in enumerate(reduced[1]):
        yield f" (part {number} of its reduction)", part
    if len(reduced) > 2 and reduced[2] is not getattr(value, "__dict__", None):
        yield " (its state)", reduced[2]
    for items in reduced[3:5]:
        for number, part in enumerate(items or ()):
            yield f"[{number}]", part


def _shown(key: object) -> str:
    try:
        text = repr(key)
    except Exception:  # noqa: BLE001 - the user's own repr
        return f"<{type(key).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."
