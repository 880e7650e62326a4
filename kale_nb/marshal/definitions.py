"""Classes, functions and what belongs to them, by reference or by value.

By reference goes what the reader has: what can be imported, and what the prelude (imports and functions cells) of every step defines
again. Everything else goes by value, as a shell first and its content after, with a token that keeps it one object in a process
whatever bundles bring it. A function's globals are the reader's `main` if they were the writer's.
"""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]
import abc
import functools
import gc
import marshal
import operator
import sys
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from kale_nb.marshal import identity, rebuild, rebuild_values
from kale_nb.marshal.codes import global_names, is_builtin
from kale_nb.marshal.refusals import Refused, shown_name

if TYPE_CHECKING:
    from kale_nb.marshal.pickler import GraphPickler

_HEAP = 1 << 9
_SKIPPED = rebuild.KEPT - {"__annotations__"}
_METHOD_TYPES = (types.FunctionType, classmethod, staticmethod, property, functools.cached_property, str, type(None), bool)


def resolve(namespace: Mapping[str, object], path: str) -> object:
    """Find a dotted path from a namespace; `_MISSING` when something on the way is not there."""
    first, *rest = path.split(".")
    value = namespace.get(first, _MISSING)
    for name in rest:
        if value is _MISSING:
            break
        value = getattr(value, name, _MISSING)
    return value


_MISSING = object()


def reference(pickler: GraphPickler, value: Any) -> Any:
    """Reduce a class or function by reference, or give None when it has to go by value."""
    name = pickler.referenced.get(id(value))
    path = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = getattr(value, "__module__", None)
    if isinstance(path, str) and "<locals>" not in path and isinstance(module, str) and module != "__main__":
        loaded = sys.modules.get(module)
        if loaded is not None and vars(loaded) is not pickler.main and resolve(vars(loaded), path) is value:
            return (
                (rebuild.module_attribute, (module, path)) if not isinstance(value, type | types.FunctionType) else NotImplemented
            )
    if name is not None:
        return (rebuild.main_attribute, (name,))
    ours = isinstance(path, str) and "<locals>" not in path and path.partition(".")[0] in pickler.by_reference
    if ours and isinstance(path, str) and resolve(pickler.main, path) is value:
        return (rebuild.main_attribute, (path,))
    return None


# --- functions -----------------------------------------------------------------------------------------------------------------------


def reduce_function(pickler: GraphPickler, func: types.FunctionType) -> Any:
    """Reduce a function."""
    found = reference(pickler, func)
    if found is not None:
        return found
    pickler.by_value.add(id(func))
    if func.__code__ is _dispatching_code():
        return _reduce_dispatching(pickler, func)
    namespace = pickler.main if _copied_into(pickler.main, func) else func.__globals__
    if namespace is pickler.main:
        names = global_names(func.__code__)
        pickler.wants.update(n for n in names if n in pickler.main or not is_builtin(n))
    state: dict[str, Any] = {
        "__qualname__": func.__qualname__,
        "__module__": func.__module__,
        "__doc__": func.__doc__,
        "__defaults__": func.__defaults__,
        "__kwdefaults__": func.__kwdefaults__,
        "__annotations__": func.__annotations__ or {},
    }
    if func.__dict__:
        state["__dict__"] = func.__dict__
    if getattr(func, "__type_params__", ()):
        state["__type_params__"] = func.__type_params__  # type: ignore[attr-defined]
    args = (pickler.token(func), func.__code__, func.__name__, _namespace(pickler, namespace), func.__closure__)
    return (rebuild.function, args, state, None, None, rebuild.set_function)


def _copied_into(main: Mapping[str, object], func: types.FunctionType) -> bool:
    """Tell whether a function is one of a script that `%run` ran in a namespace of its own, whose names it then copied into ours."""
    own = func.__globals__
    if own is main or "__name__" in own or "__builtins__" not in own:
        return own is main
    return all(own[n] is main.get(n, own) for n in global_names(func.__code__) if n in own)


def _namespace(pickler: GraphPickler, namespace: dict[str, Any]) -> Any:
    if namespace is pickler.main:
        return namespace
    name = namespace.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is not None and vars(module) is namespace:
        return module
    if "__spec__" in namespace:  # a module made by hand
        for owner in gc.get_referrers(namespace):
            if isinstance(owner, types.ModuleType) and vars(owner) is namespace:
                return owner
    return namespace


def reduce_code(pickler: GraphPickler, code: types.CodeType) -> Any:
    """Reduce a code object; for a digest as its parts, since `marshal` writes what refers to what."""
    if not pickler.tracing:
        return (rebuild.code, (marshal.dumps(code),))
    return (
        rebuild.code,
        (code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags),
    )


def reduce_cell(pickler: GraphPickler, cell: types.CellType) -> Any:
    """Reduce a closure cell, empty or full."""
    try:
        content: tuple[Any, ...] = (cell.cell_contents,)
    except ValueError:
        content = ()
    return (rebuild.cell, ("" if pickler.tracing else identity.cell_token(cell),), content, None, None, rebuild.set_cell)


def reduce_method(pickler: GraphPickler, method: types.MethodType) -> Any:
    """Reduce a bound method as function and object."""
    return (types.MethodType, (method.__func__, method.__self__))


def reduce_cached_function(pickler: GraphPickler, func: Any) -> Any:
    """Reduce a `functools.lru_cache` wrapper without its cache."""
    found = reference(pickler, func)
    if found is not None:
        return found
    pickler.by_value.add(id(func))
    settings = func.cache_parameters()
    args = (pickler.token(func), func.__wrapped__, settings["maxsize"], settings["typed"])
    return (rebuild.cached_function, args, func.__dict__, None, None, rebuild.set_attributes)


@functools.cache
def _dispatching_code() -> types.CodeType:
    return functools.singledispatch(repr).__code__  # type: ignore[attr-defined, no-any-return]


def _reduce_dispatching(pickler: GraphPickler, func: Any) -> Any:
    registry = dict(func.registry)
    default = registry.pop(object)
    attributes = {
        k: v for k, v in func.__dict__.items() if k not in {"register", "dispatch", "registry", "_clear_cache", "__wrapped__"}
    }
    args = (pickler.token(func), default)
    return (rebuild.dispatching_function, args, (tuple(registry.items()), attributes), None, None, rebuild.set_dispatching)


def reduce_classmethod(pickler: GraphPickler, method: Any) -> Any:
    """Reduce a `classmethod` or `staticmethod` object."""
    return (type(method), (method.__func__,))


def reduce_super(pickler: GraphPickler, value: Any) -> Any:
    """Reduce a `super` object."""
    return (super, (value.__thisclass__, value.__self__))


def reduce_property(pickler: GraphPickler, value: property) -> Any:
    """Reduce a property."""
    return (
        rebuild.property_of,
        (type(value), value.fget, value.fset, value.fdel, value.__doc__),
        getattr(value, "__dict__", None) or None,
    )


def reduce_cached_property(pickler: GraphPickler, value: functools.cached_property[Any]) -> Any:
    """Reduce a cached property without its lock."""
    return (rebuild.cached_property, (type(value), value.func, value.attrname))


# --- classes -------------------------------------------------------------------------------------------------------------------------


class Methods:
    """The methods of a class that is being written, as a value of the stream: set before anything else of the class is made."""

    def __init__(self, cls: type, attributes: dict[str, Any]) -> None:
        self.cls = cls
        self.attributes = attributes


def reduce_methods(pickler: GraphPickler, methods: Methods) -> Any:
    """Reduce the methods of a class to the call that sets them."""
    return (rebuild.set_methods, (methods.cls, methods.attributes))


@functools.cache
def _named_types() -> dict[type, tuple[str, str]]:
    import _collections_abc
    import collections

    found = {v: ("types", k) for k, v in vars(types).items() if isinstance(v, type)}
    for place, module in (("collections", collections), ("_collections_abc", _collections_abc)):
        for name, value in vars(module).items():
            if isinstance(value, type) and value.__module__ == "builtins":
                found.setdefault(value, (place, name))
    return found


def reduce_class(pickler: GraphPickler, cls: Any) -> Any:
    """Reduce a class."""
    if cls in (type(None), type(Ellipsis), type(NotImplemented)):
        return (type, ({type(None): None, type(Ellipsis): Ellipsis}.get(cls, NotImplemented),))
    found = reference(pickler, cls)
    if found is not None:
        return found
    if not cls.__flags__ & _HEAP:
        named = _named_types().get(cls)
        if named is None:
            raise Refused(cls, f"is the class {shown_name(cls)} of an extension, which cannot be imported by name")
        return (rebuild.module_attribute, named)
    meta = type(cls)
    if any(not m.__flags__ & _HEAP and m not in (type, object) for m in meta.__mro__):
        raise Refused(cls, f"is a class made by the native metaclass {shown_name(meta)}")
    pickler.by_value.add(id(cls))
    return _reduce_class_by_value(pickler, cls, meta)


def _reduce_class_by_value(pickler: GraphPickler, cls: Any, meta: type) -> Any:
    own = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    if "__slots__" in cls.__dict__:
        slots = cls.__dict__["__slots__"]
        own["__slots__"] = slots if isinstance(slots, str | dict | tuple | list) else tuple(_slot_names(cls))
    attributes: dict[str, Any] = {}
    methods: dict[str, Any] = {}
    for name, value in cls.__dict__.items():
        if name in _SKIPPED or (isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls):
            continue
        if name == "__annotations__" and not value:
            continue
        if name in _VOLATILE and pickler.tracing:
            continue
        (methods if isinstance(value, _METHOD_TYPES) and type(value) in _METHOD_TYPES else attributes)[name] = value
    if "_member_map_" in attributes and "_value2member_map_" in attributes:
        members = attributes["_member_map_"]
        mapped = attributes["_value2member_map_"]
        attributes["_value2member_map_"] = {k: m for k, m in mapped.items() if m._name_ in members}
    registered, abstract = _abstract(cls)
    state = (Methods(cls, methods), attributes, registered, abstract)
    args = (pickler.token(cls), meta, cls.__name__, cls.__bases__, own)
    return (rebuild.class_shell, args, state, None, None, rebuild.set_class)


_VOLATILE = {"__protocol_attrs__", "__non_callable_proto_members__", "__static_attributes__"}


def _slot_names(cls: type) -> list[str]:
    return [n for n, v in cls.__dict__.items() if isinstance(v, types.MemberDescriptorType) and v.__objclass__ is cls]


def _abstract(cls: Any) -> tuple[tuple[type, ...], frozenset[str] | None]:
    if not isinstance(cls, abc.ABCMeta) or "_abc_impl" not in cls.__dict__:
        return (), None
    registered = tuple(found for ref in _abc._get_dump(cls)[0] if (found := ref()) is not None)
    by_name = sorted(registered, key=lambda c: (c.__module__, c.__qualname__))
    return tuple(by_name), cls.__dict__.get("__abstractmethods__")


def reduce_enum_member(pickler: GraphPickler, member: Any) -> Any:
    """Reduce an enum member: by name, or raw when its class goes by value."""
    cls = type(member)
    canonical = cls._member_map_.get(member._name_) is member
    if reference(pickler, cls) is not None:
        return (getattr, (cls, member._name_)) if canonical and member._name_.isidentifier() else (cls, (member._value_,))
    if not canonical:
        return (cls, (member._value_,))
    base = next(b for b in cls.__mro__ if not b.__flags__ & _HEAP)
    if base is object:
        args: tuple[Any, ...] = ()
    elif base in (int, str, float, bytes, tuple, complex):
        args = (base(member),) if base is not str else (str.__str__(member),)
    else:
        args = tuple(cast(Any, base).__reduce_ex__(member, 2)[1])
    state = {k: v for k, v in member.__dict__.items() if k != "__objclass__"} | {"__objclass__": cls}
    return (rebuild.enum_member, (cls, member._name_, args), state, None, None, rebuild.set_enum_member)


def reduce_type_variable(pickler: GraphPickler, value: Any) -> Any:
    """Reduce a TypeVar, ParamSpec, TypeVarTuple or NewType."""
    module = getattr(value, "__module__", None)
    loaded = sys.modules.get(module or "")
    if module not in (None, "__main__") and loaded is not None and getattr(loaded, value.__name__, None) is value:
        return NotImplemented
    found = reference(pickler, value)
    if found is not None:
        return found
    kind = type(value).__name__
    keywords: dict[str, Any] = {}
    args: tuple[Any, ...] = (value.__name__,)
    if kind == "NewType":
        args = (value.__name__, value.__supertype__)
    elif kind == "TypeVar":
        args = (value.__name__, *value.__constraints__)
    if kind in {"TypeVar", "ParamSpec"}:
        for name in ("bound", "covariant", "contravariant", "infer_variance"):
            setting = getattr(value, f"__{name}__", None)
            if setting:
                keywords[name] = setting
    pickler.by_value.add(id(value))
    return (rebuild.type_variable, (pickler.token(value), type(value), args, keywords, module))


# --- modules and namespaces ------------------------------------------------------------------------------------------------------------


def reduce_module(pickler: GraphPickler, module: types.ModuleType) -> Any:
    """Reduce a module by its import name, or whole when it was made by hand."""
    if vars(module) is pickler.main:
        return (rebuild.import_module, ("__main__",))
    name = module.__name__
    if sys.modules.get(name) is module or getattr(module, "__spec__", None) is not None:
        return (rebuild.import_module, (name,))
    state = {k: v for k, v in vars(module).items() if k not in {"__name__", "__doc__", "__builtins__"}}
    return (rebuild_values.dynamic_module, (name, module.__doc__), state, None, None, rebuild_values.set_namespace)


def reduce_mapping_proxy(pickler: GraphPickler, proxy: types.MappingProxyType[Any, Any]) -> Any:
    """Reduce a read-only mapping with the mapping behind it."""
    behind = gc.get_referents(proxy)[0]
    for name in ("__dict__", "__weakref__"):
        owner = getattr(behind.get(name), "__objclass__", None) if type(behind) is dict else None
        if owner is not None and gc.get_referents(owner.__dict__)[0] is behind:
            return (rebuild_values.class_namespace, (owner,))
    return (rebuild_values.mapping_proxy, (behind,))


def reduce_dict_view(pickler: GraphPickler, view: Any) -> Any:
    """Reduce `d.keys()`, `d.values()` or `d.items()` with the dictionary behind it, an ordered one too."""
    kind = type(view).__name__.rpartition("_")[2]
    return (rebuild_values.dict_view, (kind, gc.get_referents(view)[0]))


def reduce_operator_item(pickler: GraphPickler, value: Any) -> Any:
    """Reduce a parametrised generic such as `list[Foo]`."""
    return (operator.getitem, (value.__origin__, value.__args__))
