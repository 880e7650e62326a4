"""What a bundle's pickle streams call to make things again.

Streams name these functions, so their names and arguments are part of the format. They work inside `loading(...)`, which says what the
notebook's namespace is and where arrays come from. Definitions are made in two moves, an empty shell first and its content after,
so that cycles (a method that refers to its class, a function to itself) close.
"""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]
import abc
import builtins
import contextlib
import functools
import importlib
import marshal
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, cast

from kale_nb.errors import MarshalError
from kale_nb.marshal import identity


class ArraySource(Protocol):
    """Where the arrays of a stream come from."""

    def array(self, index: int, dtype: Any, cls: type | None) -> Any:
        """Make array number `index` of the stream."""


class Loading:
    """One load: the namespace, the arrays, and which shared definitions were made in it rather than found."""

    def __init__(self, main: dict[str, object], arrays: ArraySource, *, renew: bool = False) -> None:
        self.main = main
        self.renew = renew
        self.arrays = arrays
        self.made: dict[int, object] = {}
        self.complete: set[type] = set()


_current: ContextVar[Loading] = ContextVar("kale_marshal_loading")
_class_lock = threading.RLock()


@contextlib.contextmanager
def loading(state: Loading) -> Iterator[None]:
    """Make `state` the load that the functions of this module serve."""
    token = _current.set(state)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Loading:
    """Give the load in progress."""
    return _current.get()


def _shared(token: str, make: Callable[[], Any]) -> Any:
    """Find the definition that carries `token` in this process, or make it."""
    known = identity.find(token)
    if known is None:
        known = make()
        identity.bind(token, known)
        state = _current.get()
        state.made[id(known)] = known
    return known


def _is_new(value: object) -> bool:
    return id(value) in _current.get().made


def _takes_state(value: object) -> bool:
    """Tell whether a definition takes the content that the stream has for it: when new, or when asked to renew."""
    state = _current.get()
    return state.renew or id(value) in state.made


# --- names ---------------------------------------------------------------------------------------------------------------------------


def main_namespace() -> dict[str, object]:
    """Give the namespace of the reading notebook."""
    return _current.get().main


def builtins_namespace() -> dict[str, object]:
    """Give the namespace of the builtins."""
    return vars(builtins)


def main_attribute(path: str) -> object:
    """Find what the reading notebook itself calls `path`, such as `Outer.Inner`."""
    first, *rest = path.split(".")
    try:
        value = _current.get().main[first]
        for name in rest:
            value = getattr(value, name)
    except (KeyError, AttributeError):
        raise MarshalError(f"the value needs {path}, which the imports and functions cells of this step did not define") from None
    return value


def import_module(name: str) -> types.ModuleType:
    """Import a module; `__main__` is the notebook's own, whatever runs it."""
    return importlib.import_module(name)


def module_attribute(module: str, path: str) -> object:
    """Find `path` in a module."""
    return functools.reduce(getattr, path.split("."), cast("object", importlib.import_module(module)))


# --- functions -----------------------------------------------------------------------------------------------------------------------


def code(data: bytes) -> types.CodeType:
    """Read a code object; the Python version was compared before."""
    return cast(types.CodeType, marshal.loads(data))


def cell(token: str) -> types.CellType:
    """Make an empty closure cell, or find the one of this process."""
    known = identity.find_cell(token)
    if known is None:
        known = types.CellType()
        identity.bind_cell(token, known)
        _current.get().made[id(known)] = known
    return known


def set_cell(made: types.CellType, content: tuple[object, ...]) -> None:
    """Fill a closure cell; an empty tuple leaves it empty."""
    if content and _takes_state(made):
        made.cell_contents = content[0]


def function(
    token: str,
    body: types.CodeType,
    name: str,
    namespace: dict[str, object] | types.ModuleType,
    closure: tuple[types.CellType, ...] | None,
) -> types.FunctionType:
    """Make the shell of a function."""
    scope = vars(namespace) if isinstance(namespace, types.ModuleType) else namespace
    return cast(types.FunctionType, _shared(token, lambda: types.FunctionType(body, scope, name, None, closure)))


def set_function(made: types.FunctionType, state: Mapping[str, Any]) -> None:
    """Give a function its defaults, attributes and documentation."""
    if not _takes_state(made):
        return
    made.__dict__.clear()
    for name, value in state.items():
        if name == "__dict__":
            made.__dict__.update(value)
        else:
            setattr(made, name, value)


def cached_function(token: str, wrapped: Callable[..., object], maxsize: int | None, typed: bool) -> Any:
    """Make a `functools.lru_cache` wrapper with an empty cache."""
    return _shared(token, lambda: functools.lru_cache(maxsize=maxsize, typed=typed)(wrapped))


def set_attributes(made: object, state: Mapping[str, Any]) -> None:
    """Set the instance dictionary of an object."""
    made.__dict__.update(state)


def set_state(made: object, state: Any) -> None:
    """Set dictionary and slots past a class's own `__setattr__` and `__getattr__`."""
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        object.__getattribute__(made, "__dict__").update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(made, name, value)


def new_instance(cls: Any, *args: Any) -> Any:
    """Make an object by its class's own `__new__`, or past that while the class is still without its attributes."""
    if not _is_new(cls) or cls in _current.get().complete:
        return cls.__new__(cls, *args)
    base = next(b for b in cls.__mro__ if not b.__flags__ & (1 << 9))
    return base.__new__(cls) if base is object else base.__new__(cls, *args)


def dispatching_function(token: str, default: Callable[..., object]) -> Any:
    """Make a `functools.singledispatch` function with no further implementations."""
    return _shared(token, lambda: functools.singledispatch(default))


def set_dispatching(made: Any, state: tuple[tuple[tuple[type, Any], ...], Mapping[str, Any]]) -> None:
    """Register the implementations of a `functools.singledispatch` function."""
    if not _is_new(made):
        return
    implementations, attributes = state
    for cls, implementation in implementations:
        made.register(cls, implementation)
    made.__dict__.update(attributes)


def cached_property(cls: type[functools.cached_property[Any]], func: Any, name: str | None) -> functools.cached_property[Any]:
    """Make a cached property; the lock that some versions keep in it is new."""
    made = cls(func)
    made.attrname = name
    return made


def property_of(cls: type[property], *parts: Any) -> property:
    """Make a property or an instance of a subclass."""
    return cls(*parts)


# --- classes -------------------------------------------------------------------------------------------------------------------------


def _ignore_subclass(cls: type, /, **_: object) -> None:
    """Stand in for `__init_subclass__`: a class that is read again is not defined again."""


@contextlib.contextmanager
def _no_subclass_hooks(bases: tuple[type, ...]) -> Iterator[None]:
    """Switch off the `__init_subclass__` of all ancestors while a class is made: it ran when the class was defined."""
    with _class_lock:
        silenced: list[tuple[type, object]] = []
        try:
            for ancestor in {a for base in bases for a in type.mro(base)}:
                hook = ancestor.__dict__.get("__init_subclass__")
                if hook is not None and ancestor.__flags__ & (1 << 9):
                    try:
                        type.__setattr__(ancestor, "__init_subclass__", classmethod(_ignore_subclass))
                    except TypeError:
                        continue
                    silenced.append((ancestor, hook))
            yield
        finally:
            for ancestor, hook in silenced:
                type.__setattr__(ancestor, "__init_subclass__", hook)


# What a class has of itself and not from its definition.
KEPT = frozenset(
    {"__dict__", "__weakref__", "_abc_impl", "__abstractmethods__", "__module__", "__qualname__", "__slots__", "__slotnames__"}
    | {"__annotations__"}
)


def class_shell(token: str, meta: type, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
    """Make a class without its attributes, past its metaclass's own `__new__` and the hooks of its bases."""

    def make() -> type:
        with _no_subclass_hooks(bases):
            made = cast(type, type.__new__(meta, name, bases, dict(namespace)))
        if issubclass(meta, abc.ABCMeta):
            _abc._abc_init(made)
        return made

    return cast(type, _shared(token, make))


def set_methods(made: type, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Give a class its methods, before anything that might call them is made, and tell their names."""
    if _takes_state(made):
        for name, value in attributes.items():
            type.__setattr__(made, name, value)
    return tuple(attributes)


def set_class(made: type, state: tuple[tuple[str, ...], Mapping[str, Any], tuple[type, ...], frozenset[str] | None]) -> None:
    """Give a class its other attributes, and an abstract class its registered classes."""
    if not _takes_state(made):
        return
    methods, attributes, registered, abstract = state
    if not _is_new(made):
        for name in set(made.__dict__) - set(methods) - set(attributes) - KEPT:
            if not isinstance(made.__dict__[name], types.MemberDescriptorType):
                type.__delattr__(made, name)
    for name, value in attributes.items():
        type.__setattr__(made, name, value)
    if abstract is not None:
        type.__setattr__(made, "__abstractmethods__", abstract)
    for cls in registered:
        abc.ABCMeta.register(cast(abc.ABCMeta, made), cls)
    _current.get().complete.add(made)


def enum_member(cls: Any, name: str, args: tuple[Any, ...]) -> Any:
    """Make a raw member of an enum that travels by value, or give that of the enum already here."""
    if not _is_new(cls) and name in cls.__dict__.get("_member_map_", {}):
        return cls._member_map_[name]
    base = next(b for b in cls.__mro__ if b.__flags__ & (1 << 9) == 0)
    return base.__new__(cls, *args)


def set_enum_member(made: Any, state: Mapping[str, Any]) -> None:
    """Give an enum member its value and attributes."""
    if "_value_" not in made.__dict__:
        made.__dict__.update(state)


def type_variable(token: str, cls: type, args: tuple[Any, ...], keywords: Mapping[str, Any], module: str) -> Any:
    """Make a type variable, a parameter specification or a new type."""

    def make() -> Any:
        made = cls(*args, **keywords)
        with contextlib.suppress(AttributeError):
            made.__module__ = module
        return made

    return _shared(token, make)
