"""One value, or several that share objects, as one pickle stream."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import pathlib
import re
import sys
import threading
import types
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeGuard, TypeVar

from kale_nb.marshal.pickler import GraphPickler, NotANumber
from kale_nb.marshal.refusals import class_name
from kale_nb.marshal.setorder import recipe_of

_T = TypeVar("_T")


class Parts:
    """A sink that keeps what is written as a list, large `bytes` without copying them."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.length = 0

    def write(self, data: Any) -> int:
        """Take a piece."""
        self.parts.append(data if isinstance(data, bytes) else bytes(data))
        self.length += len(data)
        return len(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Values pickled together.

    Attributes:
        ends: for each name, how far stream, array table and buffers had grown after it.
        wants: for each name, the names of `main` that its definitions refer to.
    """

    names: tuple[str, ...]
    pickler: GraphPickler
    sink: Parts
    ends: tuple[tuple[int, int, int], ...]
    wants: Mapping[str, tuple[str, ...]]


class CannotPickle(Exception):
    """A value of a stream failed; `__cause__` says how."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def pickle_together(values: Mapping[str, object], *, main: dict[str, object], by_reference: Collection[str]) -> Stream:
    """Pickle values as one graph.

    Raises:
        CannotPickle: one of them cannot be pickled.
    """
    sink = Parts()
    pickler = GraphPickler(sink, main=main, by_reference=by_reference)
    ends = []
    wants = {}
    for name, value in values.items():
        pickler.wants.clear()
        try:
            pickler.dump(value)
        except Exception as error:
            raise CannotPickle(name) from error
        wants[name] = tuple(sorted(pickler.wants))
        ends.append((sink.length, len(pickler.held), len(pickler.buffers)))
    met = [value for key, (_, value) in pickler.memo.copy().items() if key not in pickler.first]
    pickler.dump(_markers(met, values) if _may_hold_nan(sink) else [])
    pickler.dump(_set_orders(met))
    return Stream(names=tuple(values), pickler=pickler, sink=sink, ends=tuple(ends), wants=wants)


_MOST_ITEMS = 10_000


def _markers(met: Sequence[Any], values: Mapping[str, object]) -> list[tuple[Any, Any, NotANumber]]:
    """Find NaNs in variables, lists and dictionaries: pickle writes them by value, yet notebooks find them by identity."""
    found: list[tuple[Any, Any, NotANumber]] = [(None, n, NotANumber(v)) for n, v in values.items() if _is_nan(v)]
    for container in met:
        cls = type(container)
        if cls not in (list, dict) or len(container) > _MOST_ITEMS:
            continue
        places = enumerate(container) if cls is list else container.items()
        found.extend((container, place, NotANumber(v)) for place, v in places if v.__class__ is float and v != v)
    return found


def _set_orders(met: Sequence[Any]) -> list[tuple[set[Any], list[Any], list[int], int]]:
    """Find the sets that pickle would give back in another order, with what puts that right."""
    found = ((value, recipe_of(value)) for value in met if type(value) is set)
    return [(value, recipe.order, recipe.gaps, recipe.mask) for value, recipe in found if recipe is not None]


def _may_hold_nan(sink: Parts) -> bool:
    """Look for a float that is a NaN in what was written; other bytes that look so only cost time."""
    return any(nan in part for part in sink.parts for nan in (b"G\x7f\xf8", b"G\xff\xf8"))


def _is_nan(value: object) -> TypeGuard[float]:
    return type(value) is float and value != value


def with_deep_stack(work: Callable[[], _T]) -> _T:
    """Do `work`; if that nests too deeply, do it again on a thread with a large stack."""
    try:
        return work()
    except CannotPickle as error:
        if not isinstance(error.__cause__, RecursionError):
            raise
    except RecursionError:
        pass
    return _on_large_stack(work)


_stack_lock = threading.Lock()


def _on_large_stack(work: Callable[[], _T]) -> _T:
    results: list[_T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            errors.append(error)

    with _stack_lock:
        limit, size = sys.getrecursionlimit(), threading.stack_size(1 << 29)
        try:
            sys.setrecursionlimit(max(limit, 200_000))
            thread = threading.Thread(target=body, name="kale-marshal")
            thread.start()
            thread.join()
        finally:
            threading.stack_size(size)
            sys.setrecursionlimit(limit)
    if errors:
        raise errors[0]
    return results[0]


def shared_objects(pickler: GraphPickler) -> Iterator[tuple[int, Any]]:
    """Give the mutable objects that a pickler has met, with their ids, in the order in which it met them."""
    met = [(number, value) for key, (number, value) in pickler.memo.copy().items() if key not in pickler.first]
    met.sort(key=itemgetter(0))
    yield from ((id(value), value) for _, value in met if is_mutable(pickler, value))
    yield from pickler.owners.items()


_MUTABLE: dict[type, bool] = {
    list: True,
    dict: True,
    set: True,
    bytearray: True,
    str: False,
    bytes: False,
    tuple: False,
    frozenset: False,
    types.CellType: True,
}

_FROZEN = (
    range, slice, complex, types.CodeType, types.ModuleType, types.BuiltinFunctionType, types.MethodType, types.GenericAlias,
    types.UnionType,
    types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType, property, classmethod,
    staticmethod, enum.Enum, dt.date, dt.time, dt.timedelta, dt.tzinfo, decimal.Decimal, fractions.Fraction,
    pathlib.PurePath, uuid.UUID, re.Pattern, re.Match,
)  # fmt: skip

_FROZEN_NAMES = {
    "numpy.ndarray",  # the owner of its memory counts instead
    "numpy.generic",
    "numpy.dtype",
    "numpy.ufunc",
    "pandas.Index",
    "pandas.core.indexes.base.Index",
    "pandas.core.dtypes.base.ExtensionDtype",
    "pandas.api.extensions.ExtensionDtype",
    "pandas._libs.internals.Block",
    "pandas._libs.internals.BlockManager",
    "pandas.core.internals.managers.SingleBlockManager",
    "pandas._libs.missing.NAType",
    "pandas._libs.tslibs.offsets.BaseOffset",
    "typing._Final",
    "typing.TypeVar",
    "functools.cached_property",
    "kale_nb.marshal.definitions.Methods",
    "kale_nb.marshal.pickler._Anchor",
    "dataclasses.Field",
    "dataclasses._FIELD_BASE",
    "dataclasses._MISSING_TYPE",
    "dataclasses._DataclassParams",
}


def is_mutable(pickler: GraphPickler, value: Any) -> bool:
    """Tell whether sharing `value` between two names can be seen."""
    cls = type(value)
    known = _MUTABLE.get(cls)
    if known is not None:
        return known
    if id(value) in pickler.internal:
        return False
    if isinstance(value, type | types.FunctionType) or class_name(cls) == "functools._lru_cache_wrapper":
        return id(value) in pickler.by_value
    if cls.__qualname__ == "cython_function_or_method":
        return False
    frozen = issubclass(cls, _FROZEN) or any(class_name(base) in _FROZEN_NAMES for base in cls.__mro__)
    if cls.__module__ in sys.modules and cls.__module__ != "__main__":
        _MUTABLE[cls] = not frozen
    return not frozen
