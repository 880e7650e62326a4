"""What a bundle's pickle streams call to make values again that are not definitions: exceptions, weak containers, arrays.

Streams name these functions: names and arguments are part of the format, as in `rebuild`.
"""

from __future__ import annotations

import math
import sys
import threading
import types
from collections.abc import Mapping
from typing import Any, cast

from kale_nb.marshal import identity, rebuild


def exception(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception without calling an `__init__` of its author, whose arguments are not known."""
    base = cast("type[BaseException]", next(b for b in cls.__mro__ if not b.__flags__ & (1 << 9)))
    made = base.__new__(cls, *args)
    base.__init__(made, *args)
    return made


def set_exception(made: BaseException, state: tuple[Any, ...]) -> None:
    """Give an exception its attributes and the exceptions behind it."""
    attributes, cause, context, suppress = state
    if attributes:
        made.__setstate__(attributes)
    made.__cause__ = cause
    made.__context__ = context
    made.__suppress_context__ = suppress


def dict_view(kind: str, mapping: Any) -> Any:
    """Make `mapping.keys()`, `.values()` or `.items()`."""
    return getattr(mapping, kind)()


def mapping_proxy(mapping: Any) -> types.MappingProxyType[Any, Any]:
    """Make a read-only view of a mapping."""
    return types.MappingProxyType(mapping)


def class_namespace(cls: type) -> Any:
    """Make `vars(cls)`."""
    return cls.__dict__


def dynamic_module(name: str, doc: str | None) -> types.ModuleType:
    """Make a module that was made by hand."""
    return types.ModuleType(name, doc)


def set_namespace(made: types.ModuleType, state: Mapping[str, Any]) -> None:
    """Fill a module that was made by hand."""
    vars(made).update(state)


def weak_set(items: tuple[Any, ...]) -> Any:
    """Make a `weakref.WeakSet`."""
    import weakref

    return weakref.WeakSet(items)


def weak_mapping(cls: type) -> Any:
    """Make an empty weak dictionary."""
    return cls()


def set_weak_mapping(made: Any, items: tuple[tuple[Any, Any], ...]) -> None:
    """Fill a weak dictionary."""
    for key, value in items:
        made[key] = value


def dead_reference(cls: type) -> Any:
    """Make a weak reference to something that is gone."""

    class Gone:
        """Nothing holds an instance of this."""

    return cls(Gone())


def lock(kind: str) -> Any:
    """Make a lock that nobody holds."""
    return threading.Lock() if kind == "lock" else threading.RLock()


def standard_stream(name: str) -> Any:
    """Give the reader's own standard stream."""
    return getattr(sys, name)


def closed_file(cls: type, name: Any, mode: str, encoding: str | None) -> Any:
    """Make a file that is closed, for what its name and mode may still tell."""
    import os

    if encoding is not None:
        made: Any = open(os.devnull, mode.replace("x", "w"), encoding=encoding)  # noqa: SIM115
        raw = made.buffer.raw
        made.mode = mode
    else:
        made = open(os.devnull, mode.replace("x", "w"))  # noqa: SIM115
        raw = getattr(made, "raw", made)
    raw.name = name
    made.close()
    return made


def match(pattern: Any, text: Any, how: str, start: int, end: int) -> Any:
    """Find a match of a regular expression again."""
    return getattr(pattern, how)(text, start, end)


def not_a_number(token: str) -> float:
    """Give a NaN that is told apart by identity, such as `numpy.nan`."""
    if token == "math":
        return math.nan
    if token == "numpy":
        import numpy as np

        return np.nan
    return identity.find_float(token)


# --- arrays --------------------------------------------------------------------------------------------------------------------------


def array(index: int, dtype: Any, cls: type | None = None) -> Any:
    """Give array number `index` of the stream."""
    return rebuild.current().arrays.array(index, dtype, cls)


def array_over(owner: Any, shape: tuple[int, ...], dtype: Any, offset: int, strides: tuple[int, ...], writable: bool) -> Any:
    """Make an array over memory of a Python object that travels too, such as a bytearray."""
    import numpy as np

    made = np.ndarray(shape, dtype, owner, offset, strides)
    if not writable and made.flags.writeable:
        made.flags.writeable = False
    return made


def object_array(shape: tuple[int, ...], order: str, cls: type | None, dtype: Any = None) -> Any:
    """Make an empty array of objects."""
    import numpy as np

    made = np.empty(shape, dtype=dtype or object, order=cast(Any, order))
    return made if cls is None else made.view(cls)


def set_object_array(made: Any, state: tuple[list[Any], bool, Mapping[str, Any]]) -> None:
    """Fill an array of objects, in the order of its memory."""
    items, writable, attributes = state
    flat = made.reshape(-1, order="A")
    if flat.size:
        for index, item in enumerate(items):
            flat[index] = item
    if attributes:
        made.__dict__.update(attributes)
    if not writable:
        made.flags.writeable = False


def object_view(root: Any, shape: tuple[int, ...], offset: int, strides: tuple[int, ...], writable: bool) -> Any:
    """Make a view of an array of objects."""
    import numpy as np

    flat = root.T if root.flags.f_contiguous and not root.flags.c_contiguous else root
    made = np.ndarray(shape, root.dtype, flat, offset, strides)
    if not writable:
        made.flags.writeable = False
    return made


def masked_array(cls: Any, data: Any, mask: Any, fill_value: Any, hard: bool, attributes: Mapping[str, Any]) -> Any:
    """Make a masked array over data and mask that may be shared."""
    made = data.view(cls)
    made._mask = mask
    made._fill_value = fill_value
    made._hardmask = hard
    made.__dict__.update(attributes)
    return made


def log_file_handler(cls: type[Any]) -> Any:
    """Make a handler that logs to a file, not opened yet."""
    return object.__new__(cls)


def set_log_file_handler(handler: Any, state: dict[str, Any]) -> None:
    """Fill such a handler."""
    vars(handler).update(state, stream=None)
    handler.createLock()


def memory_map(file: str, dtype: Any, mode: str, offset: int, shape: tuple[int, ...], order: str) -> Any:
    """Map a file as an array."""
    import numpy as np

    return np.memmap(file, dtype, mode, offset, shape, order)  # type: ignore[call-overload]
