"""Instances of classes that nobody made a rule for: pickle's own way where that is faithful, else a setter of ours, else dill.

pickle's way runs in C and is right for most classes. It is not where loading asks the half-made object for `__setstate__` and a
`__getattr__` answers, where a `__setattr__` refuses what the state sets, where `__new__` looks at class attributes that are still to
come, or where an object without state is a marker that its module compares by identity.
"""

from __future__ import annotations

import copyreg
import functools
import types
from typing import TYPE_CHECKING, Any

from kale_nb.marshal import definitions, oddities, rebuild
from kale_nb.marshal.refusals import Refused, class_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from kale_nb.marshal.pickler import GraphPickler

_HEAP = 1 << 9


def choose(cls: Any) -> Callable[[GraphPickler, Any], Any] | None:
    """Give the way to reduce instances of a class; None is pickle's own."""
    if not cls.__flags__ & _HEAP:
        return _reduce_native
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
        return None
    if not _defines(cls, "__setstate__") and (
        _defines(cls, "__getattr__")
        or cls.__getattribute__ is not object.__getattribute__
        or (cls.__setattr__ is not object.__setattr__ and copyreg._slotnames(cls))  # type: ignore[attr-defined]
    ):
        return _reduce_with_setter
    if cls.__module__ == "__main__" and isinstance(cls.__new__, types.FunctionType):
        return _reduce_with_new
    stateless = cls.__base__ is object and not cls.__itemsize__ and not copyreg._slotnames(cls)  # type: ignore[attr-defined]
    if cls.__module__ != "__main__" and stateless:
        return _reduce_marker
    return None


def without_cached(cls: Any) -> Callable[[GraphPickler, Any], Any] | None:
    """Give a way to trace instances that leaves out what `cached_property` has stored: computing it is reading, not changing."""
    if (
        cls.__reduce_ex__ is not object.__reduce_ex__
        or _defines(cls, "__getstate__")
        and cls.__getstate__ is not object.__getstate__
    ):
        return None
    cached = frozenset(n for base in cls.__mro__ for n, v in vars(base).items() if isinstance(v, functools.cached_property))
    if not cached:
        return None

    def reduce(pickler: GraphPickler, value: Any) -> Any:
        make, args, state, *rest = value.__reduce_ex__(5)
        if isinstance(state, dict):
            state = {n: v for n, v in state.items() if n not in cached}
        return (make, args, state, *rest)

    return reduce


def _defines(cls: type, name: str) -> bool:
    return any(name in base.__dict__ for base in cls.__mro__)


def _reduce_with_setter(pickler: GraphPickler, value: Any) -> Any:
    reduced = value.__reduce_ex__(5)
    return (*_with_own_new(reduced), *(*reduced[2:], None, None, None)[:3], rebuild.set_state)


def _reduce_with_new(pickler: GraphPickler, value: Any) -> Any:
    reduced = value.__reduce_ex__(5)
    return (*_with_own_new(reduced), *reduced[2:])


def _with_own_new(reduced: tuple[Any, ...]) -> tuple[Any, Any]:
    make, args = reduced[:2]
    own = make is copyreg.__newobj__ and isinstance(args[0].__new__, types.FunctionType)  # type: ignore[attr-defined]
    return (rebuild.new_instance if own else make), args


def _reduce_marker(pickler: GraphPickler, value: Any) -> Any:
    getstate: Any = type(value).__getstate__
    if getattr(value, "__dict__", None) or getstate is not object.__getstate__:
        return NotImplemented
    found = oddities.module_constant(value)
    return NotImplemented if found is None else (rebuild.module_attribute, found)


def _reduce_native(pickler: GraphPickler, value: Any) -> Any:
    """Reduce a value of a native class: pickle's way, or dill's where pickle has none."""
    try:
        return value.__reduce_ex__(5)
    except Refused:
        raise
    except Exception as error:
        reduced = _ask_dill(value)
        if reduced is None:
            raise Refused(value, f"is a {class_name(type(value))} ({error})") from error
        return reduced


def reduce_ufunc(pickler: GraphPickler, value: Any) -> Any:
    """Reduce a numpy function: by the prelude's name, or by its own, which only numpy's have."""
    found = definitions.reference(pickler, value)
    return NotImplemented if found is None else found


class _Capture:
    """Looks like dill's pickler to one of its savers and keeps what the saver would have written."""

    def __init__(self) -> None:
        self.reduced: tuple[Any, ...] | None = None
        self._recurse = False
        self._byref = False

    def save_reduce(self, *parts: Any, obj: Any = None, **_: Any) -> None:
        """Keep a reduction."""
        self.reduced = parts


_DILL_KNOWS = {"builtins.getset_descriptor", "builtins.member_descriptor"}


def _ask_dill(value: Any) -> tuple[Any, ...] | None:
    if class_name(type(value)) not in _DILL_KNOWS:
        return None
    import dill

    saver = dill.Pickler.dispatch.get(type(value))
    if saver is None:
        return None
    capture = _Capture()
    try:
        saver(capture, value)
    except Exception:  # noqa: BLE001 - the saver writes in a way that cannot be captured
        return None
    return capture.reduced
