"""Arrays: geometry in a table, bytes outside of the pickle stream.

The stream holds only a number for each array. When the graph is done, all arrays of it are known: those whose addresses overlap become
one blob, so that views share memory again when read; a lone array with gaps is packed. Nothing is copied to save a contiguous array.
Arrays over a `bytearray` or `array.array` refer to that object, and arrays of Python objects are pickled item by item.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kale_nb.marshal import rebuild, rebuild_values
from kale_nb.marshal.refusals import Refused

if TYPE_CHECKING:
    from kale_nb.marshal.pickler import GraphPickler


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An array that the stream refers to, kept alive until its bytes are written.

    Attributes:
        start: address of its first byte in memory, the lowest of all its elements.
        length: bytes from there to the end of its last element.
        private: never to share memory with another array of the bundle (pandas blocks that copy on write).
    """

    array: Any
    start: int
    length: int
    private: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A run of bytes to write: the arrays in it, and the bytes as a buffer.

    Attributes:
        rows: for each array in it, its number and its place: offset of its element 0, shape, strides, writable.
        root: number of the array that owns all of the bytes, if one does, with dtype and memory order.
    """

    rows: tuple[tuple[int, int, tuple[int, ...], tuple[int, ...], bool], ...]
    root: tuple[int, Any, str] | None
    length: int
    skew: int
    data: Any


def owner_of(array: Any) -> Any:
    """Follow `.base` to the object that owns the memory."""
    owner: Any = array
    while True:
        base: Any = None
        if isinstance(owner, memoryview):
            base = owner.obj
        elif hasattr(owner, "__array_interface__"):
            base = getattr(owner, "base", None)
        if base is None:
            return owner
        owner = base


def _bounds(array: Any) -> tuple[int, int]:
    low = high = int(array.__array_interface__["data"][0])
    if array.size:
        for extent, stride in zip(array.shape, array.strides, strict=True):
            if stride < 0:
                low += (extent - 1) * stride
            else:
                high += (extent - 1) * stride
        high += array.itemsize
    return low, high - low


def hold(array: Any, *, private: bool = False) -> Held:
    """Note where an array's bytes are."""
    start, length = _bounds(array)
    return Held(array=array, start=start, length=length, private=private)


def overlaps(tables: Iterable[tuple[int, list[Held]]]) -> list[tuple[int, int]]:
    """Find pairs of table numbers whose arrays share memory."""
    ranges = sorted((h.start, h.start + h.length, n) for n, table in tables for h in table if h.length and not h.private)
    pairs = []
    end, number = -1, -1
    for low, high, n in ranges:
        if low < end and n != number:
            pairs.append((number, n))
        if high > end:
            end, number = high, n
    return pairs


def blobs(table: list[Held]) -> list[Blob]:
    """Divide the arrays of one stream into runs of bytes to write."""
    done = [_blob([(n, h)]) for n, h in enumerate(table) if h.private or not h.length]
    shared = sorted(((n, h) for n, h in enumerate(table) if h.length and not h.private), key=lambda pair: pair[1].start)
    cluster: list[tuple[int, Held]] = []
    end = -1
    for number, held in shared:
        if cluster and held.start >= end:
            done.append(_blob(cluster))
            cluster = []
        cluster.append((number, held))
        end = max(end, held.start + held.length) if len(cluster) > 1 else held.start + held.length
    if cluster:
        done.append(_blob(cluster))
    return done


def _order(array: Any) -> str | None:
    if array.flags.c_contiguous:
        return "C"
    return "F" if array.flags.f_contiguous else None


def _blob(cluster: list[tuple[int, Held]]) -> Blob:
    if len(cluster) == 1:
        number, held = cluster[0]
        array = held.array
        if _order(array) is None and array.nbytes <= held.length:
            array = array.copy(order="K")
            held = hold(array)
        if _order(array) is None and array.nbytes > 0:
            return _raw_blob([(number, held)], None)
        order = _order(array) or "C"
        row = (number, 0, array.shape, array.strides, bool(cluster[0][1].array.flags.writeable))
        return Blob(
            rows=(row,), root=(number, None, order), length=held.length, skew=0, data=_memory(held.start, held.length, array)
        )
    start = cluster[0][1].start
    length = max(h.start + h.length for _, h in cluster) - start
    root = next(
        ((n, h) for n, h in cluster if h.length == length and h.start == start and _order(h.array) and h.array.base is None), None
    )
    return _raw_blob(cluster, root)


def _raw_blob(cluster: list[tuple[int, Held]], root: tuple[int, Held] | None) -> Blob:
    start = cluster[0][1].start
    length = max(h.start + h.length for _, h in cluster) - start
    skew = start % 64
    rows = tuple(
        (n, int(h.array.__array_interface__["data"][0]) - start, h.array.shape, h.array.strides, bool(h.array.flags.writeable))
        for n, h in cluster
    )
    described: tuple[int, Any, str] | None = None
    if root is not None:
        import numpy as np

        described = (root[0], np.lib.format.dtype_to_descr(root[1].array.dtype), _order(root[1].array) or "C")
    return Blob(rows=rows, root=described, length=length, skew=skew, data=_memory(start, length, cluster))


def _memory(start: int, length: int, keep: object) -> Any:
    if not length:
        return b""
    memory = (ctypes.c_ubyte * length).from_address(start)
    memory._keep = keep  # type: ignore[attr-defined]
    return memoryview(memory).cast("B")


# --- in the stream -------------------------------------------------------------------------------------------------------------------


def reduce_memory_map(pickler: GraphPickler, value: Any) -> Any:
    """Reduce an array that is a whole mapped file to mapping the file again; a part of one, or a private copy, goes by content."""
    mapped = getattr(value, "_mmap", None)
    order = "C" if value.flags.c_contiguous else "F"
    if (
        pickler.tracing
        or mapped is None
        or value.base is not mapped
        or value.filename is None
        or value.mode not in ("r", "r+", "w+")
    ):
        return reduce_array(pickler, value)
    value.flush()
    mode = "r" if value.mode == "r" else "r+"
    return (rebuild_values.memory_map, (str(value.filename), value.dtype, mode, value.offset, value.shape, order))


def reduce_array(pickler: GraphPickler, array: Any) -> Any:
    """Reduce an ndarray, or an instance of a subclass that does not reduce itself."""
    numpy = sys.modules["numpy"]
    cls = type(array)
    if cls.__reduce__ is not numpy.ndarray.__reduce__ or cls.__reduce_ex__ is not numpy.ndarray.__reduce_ex__:
        return NotImplemented
    if cls is numpy.memmap:
        cls = numpy.ndarray
    kept = None if cls is numpy.ndarray else cls
    owner = owner_of(array)
    if id(array) not in pickler.internal:
        pickler.note_owner(owner)
    if array.dtype.hasobject:
        return _reduce_objects(pickler, array, owner, kept)
    if type(owner) in (bytearray, sys.modules["array"].array if "array" in sys.modules else bytearray) and kept is None:
        return _reduce_over(array, owner)
    attributes = dict(array.__dict__) if kept is not None and getattr(array, "__dict__", None) else {}
    if pickler.tracing:
        return pickler.digest_array(array, owner, kept, attributes)
    args = (pickler.hold(array), array.dtype) if kept is None else (pickler.hold(array), array.dtype, kept)
    return (
        (rebuild_values.array, args, attributes, None, None, rebuild.set_attributes)
        if attributes
        else (rebuild_values.array, args)
    )


def _reduce_over(array: Any, owner: Any) -> Any:
    with memoryview(owner) as view:
        whole = hold(sys.modules["numpy"].frombuffer(view, dtype="u1")) if view.nbytes else None
    offset = int(array.__array_interface__["data"][0]) - (whole.start if whole else 0)
    if whole is None or offset < 0:
        return NotImplemented
    return (rebuild_values.array_over, (owner, array.shape, array.dtype, offset, array.strides, bool(array.flags.writeable)))


def _reduce_objects(pickler: GraphPickler, array: Any, owner: Any, cls: type | None) -> Any:
    numpy = sys.modules["numpy"]
    if array.dtype != object:
        if array.dtype.kind == "V" and owner is not array:
            raise Refused(array, "is a view of a structured array with object fields")
        return NotImplemented
    if owner is array or type(owner) is not numpy.ndarray or owner.dtype != object or _order(owner) is None:
        if _order(array) is None:
            array = array.copy(order="C")
        order = _order(array) or "C"
        items = array.reshape(-1, order="A").tolist()
        attributes = dict(array.__dict__) if cls is not None else {}
        state = (items, bool(array.flags.writeable), attributes)
        return (rebuild_values.object_array, (array.shape, order, cls, None), state, None, None, rebuild_values.set_object_array)
    start = int(owner.__array_interface__["data"][0])
    offset = int(array.__array_interface__["data"][0]) - start
    return (rebuild_values.object_view, (owner, array.shape, offset, array.strides, bool(array.flags.writeable)))


def reduce_masked(pickler: GraphPickler, array: Any) -> Any:
    """Reduce a masked array so that its data keep sharing memory with others."""
    numpy = sys.modules["numpy"]
    if type(array) is not numpy.ma.MaskedArray or array is numpy.ma.masked:
        return NotImplemented
    attributes = {k: v for k, v in array.__dict__.items() if k not in {"_mask", "_fill_value", "_hardmask", "_data"}}
    data = array.view(numpy.ndarray)
    mask = array.__dict__["_mask"]
    return (rebuild_values.masked_array, (type(array), data, mask, array._fill_value, bool(array._hardmask), attributes))
