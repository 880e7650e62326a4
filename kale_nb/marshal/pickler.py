"""The C pickler with our reductions: one class writes bundles and, with `tracing`, feeds a digest.

For each class of object it decides once how it is reduced: by a function of ours, by pickle's own rules (which runs in C), or not at all.
What neither knows is offered to dill.
"""

from __future__ import annotations

import copyreg
import enum
import math
import pickle
import sys
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kale_nb.marshal import arrays, definitions, frames, identity, instances, oddities, rebuild, rebuild_values
from kale_nb.marshal.refusals import Refused, class_name, is_file_class, refusal_of

Reducer = Callable[["GraphPickler", Any], Any]

_EXACT: dict[type, Reducer | None] = {
    types.FunctionType: definitions.reduce_function,
    types.CodeType: definitions.reduce_code,
    types.CellType: definitions.reduce_cell,
    types.MethodType: definitions.reduce_method,
    types.ModuleType: definitions.reduce_module,
    types.MappingProxyType: definitions.reduce_mapping_proxy,
    type({}.keys()): definitions.reduce_dict_view,
    type({}.values()): definitions.reduce_dict_view,
    type({}.items()): definitions.reduce_dict_view,
    type(OrderedDict().keys()): definitions.reduce_dict_view,
    type(OrderedDict().values()): definitions.reduce_dict_view,
    type(OrderedDict().items()): definitions.reduce_dict_view,
    weakref.ProxyType: oddities.reduce_weak_proxy,
    weakref.CallableProxyType: oddities.reduce_weak_proxy,
    classmethod: definitions.reduce_classmethod,
    staticmethod: definitions.reduce_classmethod,
    super: definitions.reduce_super,
    definitions.Methods: definitions.reduce_methods,
    object: oddities.reduce_bare_object,
    int: None,
    float: None,
    str: None,
    complex: None,
    range: None,
    slice: None,
}

_BY_NAME: dict[str, Reducer] = {
    "builtins.property": definitions.reduce_property,
    "builtins.BaseException": oddities.reduce_exception,
    "functools._lru_cache_wrapper": definitions.reduce_cached_function,
    "functools.cached_property": definitions.reduce_cached_property,
    "typing.TypeVar": definitions.reduce_type_variable,
    "typing.ParamSpec": definitions.reduce_type_variable,
    "typing.TypeVarTuple": definitions.reduce_type_variable,
    "typing.NewType": definitions.reduce_type_variable,
    "_thread.lock": oddities.reduce_lock,
    "_thread.RLock": oddities.reduce_lock,
    "weakref.ReferenceType": oddities.reduce_weak_reference,
    "weakref.WeakValueDictionary": oddities.reduce_weak_container,
    "weakref.WeakKeyDictionary": oddities.reduce_weak_container,
    "_weakrefset.WeakSet": oddities.reduce_weak_container,
    "concurrent.futures._base.Future": oddities.reduce_future,
    "re.Match": oddities.reduce_match,
    "logging.FileHandler": oddities.reduce_log_file_handler,
    "dataclasses._MISSING_TYPE": oddities.reduce_dataclass_constant,
    "dataclasses._KW_ONLY_TYPE": oddities.reduce_dataclass_constant,
    "dataclasses._HAS_DEFAULT_FACTORY_CLASS": oddities.reduce_dataclass_constant,
    "dataclasses._FIELD_BASE": oddities.reduce_dataclass_constant,
    "numpy.ma.MaskedArray": arrays.reduce_masked,
    "numpy.ma.core.MaskedArray": arrays.reduce_masked,
    "matplotlib.cbook.CallbackRegistry": oddities.reduce_callback_registry,
    "numpy.ufunc": instances.reduce_ufunc,
    "numpy.memmap": arrays.reduce_memory_map,
    "numpy.ndarray": arrays.reduce_array,
    "pandas._libs.internals.Block": frames.reduce_block,
    "pandas.core.internals.managers.SingleBlockManager": frames.reduce_series_manager,
    "pandas.core.generic.NDFrame": frames.reduce_frame,
    "pandas.Index": frames.reduce_index,
    "pandas.core.indexes.base.Index": frames.reduce_index,
}


class _Anchor:
    """Stands in the first pickle of a stream for a namespace that every later pickle may refer to."""

    def __init__(self, make: Callable[[], dict[str, object]]) -> None:
        self.make = make


class NotANumber:
    """Stands in a stream for a NaN that is told apart by identity."""

    def __init__(self, value: float) -> None:
        self.value = value


def _reduce_not_a_number(pickler: GraphPickler, marker: NotANumber) -> Any:
    value = marker.value
    if value is math.nan:  # noqa: PLW0177
        return (rebuild_values.not_a_number, ("math",))
    if value is getattr(sys.modules.get("numpy"), "nan", None):
        return (rebuild_values.not_a_number, ("numpy",))
    return (rebuild_values.not_a_number, (identity.float_token(value),))


class GraphPickler(pickle.Pickler):
    """Writes an object graph to a sink.

    Attributes:
        main: the namespace of the notebook.
        by_reference: names in it that every step defines again.
        tracing: whether the sink is a digest: arrays go into it by content, tokens and memory layout stay out.
        held: the arrays that the stream refers to by number.
        buffers: other buffers out of band, in order.
        wants: names of `main` that definitions by value refer to.
        by_value: ids of definitions that went by value.
        owners: ids of objects that own the memory of arrays.
        opaque: in a trace, whether something was met that cannot travel.
        internal: ids of arrays that belong to their holder alone, so that sharing their memory means nothing.
    """

    def __init__(
        self, sink: Any, *, main: dict[str, object], by_reference: Collection[str], tracing: bool = False, update: Any = None
    ) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        super().__init__(sink, protocol=5, buffer_callback=_taker(self.buffers, update))
        self.main = main
        self.by_reference = _still_theirs(main, by_reference)
        self.tracing = tracing
        self.update = update
        self.held: list[arrays.Held] = []
        self.wants: set[str] = set()
        self.by_value: set[int] = set()
        self.owners: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self.opaque = False
        self.kept: list[Any] = []
        self.internal: set[int] = set()
        self.referenced = {id(main[n]): n for n in self.by_reference if is_definition(main[n])}
        self._reducers: dict[type, Reducer | None] = dict(_EXACT)
        anchors = [_Anchor(rebuild.main_namespace), _Anchor(rebuild.builtins_namespace)]
        self.dump(anchors)
        places: dict[int, tuple[int, Any]] = dict(self.memo.copy())
        for anchor, namespace in zip(anchors, (main, rebuild.builtins_namespace()), strict=True):
            number, _ = places.pop(id(anchor))
            places[id(namespace)] = (number, namespace)
        self.kept.append(anchors)
        self.memo = places
        self.first = frozenset(places)

    def reducer_override(self, value: Any) -> Any:
        """Reduce `value` our way, or leave it to pickle."""
        cls = type(value)
        try:
            reducer = self._reducers[cls]
        except KeyError:
            reducer = self._reducers[cls] = self._choose(cls)
        if reducer is None:
            return NotImplemented
        try:
            return reducer(self, value)
        except Refused:
            if not self.tracing:
                raise
            self.opaque = True
            return (rebuild.module_attribute, (cls.__module__, cls.__qualname__))

    def _choose(self, cls: type) -> Reducer | None:
        if cls is _Anchor:
            return _reduce_anchor
        if cls is NotANumber:
            return _reduce_not_a_number
        if issubclass(cls, type):
            return definitions.reduce_class
        if issubclass(cls, enum.Enum):
            return definitions.reduce_enum_member
        what = refusal_of(cls)
        if what is not None:
            return _refuser(what)
        if is_file_class(cls):
            return oddities.reduce_file
        for base in cls.__mro__:
            reducer = _BY_NAME.get(class_name(base))
            if reducer is not None:
                return reducer
        if cls in copyreg.dispatch_table:
            return None
        if issubclass(cls, types.ModuleType):
            return definitions.reduce_module
        chosen = instances.choose(cls)
        return instances.without_cached(cls) if chosen is None and self.tracing else chosen

    def token(self, value: object) -> str:
        """Give the identity token of a definition; digests do without."""
        return "" if self.tracing else identity.token_of(value)

    def note_owner(self, owner: Any) -> None:
        """Record who owns the memory of an array."""
        self.owners[id(owner)] = owner
        self._numbers.setdefault(id(owner), len(self._numbers))

    def hold(self, array: Any, *, private: bool = False) -> int:
        """Add an array to the table and give its number."""
        self.held.append(arrays.hold(array, private=private or id(array) in self.internal))
        return len(self.held) - 1

    def keep_apart(self, array: Any) -> None:
        """Have an array read into memory of its own, whoever shares it here, and count it as part of its holder only."""
        self.internal.add(id(array))
        self.kept.append(array)

    def release(self) -> None:
        """Let go of all objects."""
        self.clear_memo()
        for held in (self.held, self.buffers, self.owners, self.kept):
            held.clear()

    def digest_array(self, array: Any, owner: Any, cls: type | None, attributes: dict[str, Any]) -> Any:
        """Put the content of an array into the digest and give a reduction for its geometry."""
        number = self._numbers.get(id(owner), -1)
        frames.digest(array, self.update)
        geometry = (number, array.dtype, array.shape, array.strides, bool(array.flags.writeable))
        return (rebuild_values.array, geometry if cls is None else (*geometry, cls), attributes or None)


def _taker(buffers: list[pickle.PickleBuffer], update: Any) -> Callable[[pickle.PickleBuffer], bool]:
    def take(buffer: pickle.PickleBuffer) -> bool:
        if update is not None:
            update(buffer.raw())
        else:
            buffers.append(buffer)
        return False

    return take


def _still_theirs(main: dict[str, object], by_reference: Collection[str]) -> frozenset[str]:
    """Leave out names that are gone, or that the step gave to something else, if the prelude's objects are known."""
    if isinstance(by_reference, Mapping):
        return frozenset(n for n, value in by_reference.items() if n in main and main[n] is value)
    return frozenset(n for n in by_reference if n in main)


def is_definition(value: object) -> bool:
    """Tell whether a name of the prelude stands for something that travels by reference."""
    cls = type(value)
    return (
        isinstance(value, type | types.FunctionType)
        or cls is object
        or class_name(cls)
        in {
            "functools._lru_cache_wrapper",
            "typing.TypeVar",
            "typing.ParamSpec",
            "typing.TypeVarTuple",
            "typing.NewType",
            "numpy.ufunc",
        }
    )


def _reduce_anchor(pickler: GraphPickler, anchor: _Anchor) -> Any:
    return (anchor.make, ())


def _refuser(what: str) -> Reducer:
    def refuse(pickler: GraphPickler, value: Any) -> Any:
        raise Refused(value, f"is {what}")

    return refuse
