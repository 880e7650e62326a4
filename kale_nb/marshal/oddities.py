"""Values of the standard library that pickle loses or refuses and that can travel: exceptions with their causes, weak containers, locks."""

from __future__ import annotations

import functools
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

from kale_nb.marshal import rebuild, rebuild_values
from kale_nb.marshal.refusals import Refused, a_file, is_closed, is_standard_stream

if TYPE_CHECKING:
    from kale_nb.marshal.pickler import GraphPickler

_HEAP = 1 << 9


def reduce_exception(pickler: GraphPickler, error: BaseException) -> Any:
    """Reduce an exception with its attributes, cause and context, without its traceback."""
    cls = type(error)
    reducer = next(c.__dict__[n] for c in cls.__mro__ for n in ("__reduce_ex__", "__reduce__") if n in c.__dict__)
    if isinstance(reducer, types.FunctionType):
        return NotImplemented
    reduced: Any = error.__reduce__()
    attributes = reduced[2] if len(reduced) > 2 else None
    behind = (error.__cause__, error.__context__, error.__suppress_context__)
    args = reduced[1]
    plain = all(c.__flags__ & _HEAP == 0 or not {"__init__", "__new__"} & c.__dict__.keys() for c in cls.__mro__)
    make: Any = (cls, args) if plain and isinstance(reduced[0], type) else (rebuild_values.exception, (cls, args))
    if not isinstance(reduced[0], type):
        make = (reduced[0], args)
    return (*make, (attributes, *behind), None, None, rebuild_values.set_exception)


def reduce_lock(pickler: GraphPickler, lock: Any) -> Any:
    """Reduce a lock that nobody holds."""
    simple = type(lock).__name__ == "lock"
    held = lock.locked() if simple else "locked" in repr(lock) and "unlocked" not in repr(lock)
    if held:
        raise Refused(lock, "is a lock that is held")
    return (rebuild_values.lock, ("lock" if simple else "rlock",))


def reduce_file(pickler: GraphPickler, file: Any) -> Any:
    """Reduce a standard stream by name and a closed file by its facts; an open file is refused."""
    name = is_standard_stream(file)
    if name is not None:
        return (rebuild_values.standard_stream, (name,))
    if not is_closed(file):
        raise Refused(file, f"is {a_file(file)}")
    kind = type(file).__name__
    if type(file).__module__ != "_io" or kind not in {
        "TextIOWrapper",
        "BufferedReader",
        "BufferedWriter",
        "BufferedRandom",
        "FileIO",
    }:
        raise Refused(file, f"is a closed {kind}")
    try:
        raw = getattr(file, "buffer", file)
        mode = str(getattr(file, "mode", "r"))
        args = (type(file), raw.name, mode, file.encoding if kind == "TextIOWrapper" else None)
    except (ValueError, AttributeError):
        raise Refused(file, "is a closed file") from None
    return (rebuild_values.closed_file, args)


def reduce_log_file_handler(pickler: GraphPickler, handler: Any) -> Any:
    """Reduce a handler that logs to a file: it opens the file again where the next record comes, and goes on at its end."""
    handler.flush()
    state = {k: v for k, v in vars(handler).items() if k not in {"stream", "lock"}} | {"mode": "a"}
    return (rebuild_values.log_file_handler, (type(handler),), state, None, None, rebuild_values.set_log_file_handler)


def reduce_weak_reference(pickler: GraphPickler, ref: Any) -> Any:
    """Reduce a weak reference: it lives on if something else in the bundle holds its object."""
    if type(ref) is not weakref.ref:
        return NotImplemented
    value: Any = ref()
    if value is None:
        return (rebuild_values.dead_reference, (type(ref),))
    callback: Any = ref.__callback__
    return (weakref.ref, (value,)) if callback is None else (weakref.ref, (value, callback))


def reduce_weak_proxy(pickler: GraphPickler, proxy: Any) -> Any:
    """Reduce a weak proxy like a weak reference."""
    try:
        value = proxy.__reduce_ex__.__self__
    except ReferenceError:
        raise Refused(proxy, "is a weak proxy of an object that is gone") from None
    return (weakref.proxy, (value,))


def reduce_weak_container(pickler: GraphPickler, container: Any) -> Any:
    """Reduce a weak set or dictionary of the standard library."""
    if type(container) is weakref.WeakSet:
        return (rebuild_values.weak_set, (tuple(container),))
    if type(container) in (weakref.WeakValueDictionary, weakref.WeakKeyDictionary):
        items = tuple(container.items())
        return (rebuild_values.weak_mapping, (type(container),), items, None, None, rebuild_values.set_weak_mapping)
    return NotImplemented


def reduce_callback_registry(pickler: GraphPickler, registry: Any) -> Any:
    """Reduce matplotlib's registry of callbacks; for a digest without the number that each pickling of it draws."""
    if not pickler.tracing:
        return NotImplemented
    state = {k: v for k, v in registry.__getstate__().items() if k != "_cid_gen"}
    return (object, (), state)


def reduce_future(pickler: GraphPickler, future: Any) -> Any:
    """Leave a future that is done to pickle; one that is not has somebody working on it."""
    if not future.done():
        raise Refused(future, "is a future that is not done")
    return NotImplemented


def reduce_match(pickler: GraphPickler, found: Any) -> Any:
    """Reduce a match of a regular expression to finding it again, if that gives the same."""
    for how, start in (("search", found.pos), ("match", found.pos), ("fullmatch", found.pos), ("match", found.start())):
        again = getattr(found.re, how)(found.string, start, found.endpos)
        if again is not None and again.regs == found.regs and again.lastindex == found.lastindex:
            return (rebuild_values.match, (found.re, found.string, how, start, found.endpos))
    raise Refused(found, "is a match that cannot be found again")


@functools.cache
def _dataclass_constants() -> dict[int, str]:
    import dataclasses

    names = ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY", "_FIELD", "_FIELD_CLASSVAR", "_FIELD_INITVAR")
    return {id(getattr(dataclasses, name)): name for name in names if hasattr(dataclasses, name)}


def reduce_dataclass_constant(pickler: GraphPickler, value: Any) -> Any:
    """Reduce a marker of `dataclasses`, which is compared by identity."""
    name = _dataclass_constants().get(id(value))
    return NotImplemented if name is None else (rebuild.module_attribute, ("dataclasses", name))


def reduce_bare_object(pickler: GraphPickler, value: object) -> Any:
    """Reduce `object()`: a sentinel of the prelude or of a module by its name."""
    from kale_nb.marshal.definitions import reference

    found = reference(pickler, value)
    return NotImplemented if found is None else found


def module_constant(value: Any) -> tuple[str, str] | None:
    """Find the name in its class's module of an object without any state, such as a sentinel."""
    module = sys.modules.get(type(value).__module__)
    if module is None:
        return None
    for name, bound in vars(module).items():
        if bound is value:
            return (module.__name__, name)
    return None
