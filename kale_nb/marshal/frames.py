"""pandas: blocks that copy on write must not share memory when read, and reading a frame must not change its digest."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from kale_nb.marshal import rebuild

if TYPE_CHECKING:
    from kale_nb.marshal.pickler import GraphPickler


def digest(array: Any, update: Any) -> None:
    """Feed the elements of an array to a digest, in memory order, without copying more than a part of it at a time."""
    numpy = sys.modules["numpy"]
    if not array.size:
        return
    if type(array) is not numpy.ndarray:
        array = array.view(numpy.ndarray)
    if array.flags.f_contiguous:
        array = array.T
    if array.flags.c_contiguous:
        update(array.reshape(-1).view("u1").data)
        return
    if array.ndim > 1 and array.nbytes > 1 << 16:
        for part in array:
            digest(part, update)
        return
    update(numpy.ascontiguousarray(array).reshape(-1).view("u1").data)


@functools.cache
def copies_on_write() -> bool:
    """Tell whether pandas frames share memory only until written to, so that sharing cannot be seen."""
    pandas = sys.modules["pandas"]
    return int(pandas.__version__.split(".")[0]) >= 3


def reduce_block(pickler: GraphPickler, block: Any) -> Any:
    """Reduce a block of a frame; what it shares with other frames under copy-on-write is read into memory of its own."""
    if not copies_on_write() or pickler.tracing or not block.refs.has_reference():
        return NotImplemented
    make, (values, *rest) = block.__reduce__()[:2]
    return (make, (_apart(pickler, values), *rest))


def _apart(pickler: GraphPickler, values: Any) -> Any:
    numpy = sys.modules["numpy"]
    apart = values.view() if type(values) is numpy.ndarray else values.copy()
    if type(apart) is numpy.ndarray:
        pickler.keep_apart(apart)
    return apart


def reduce_series_manager(pickler: GraphPickler, manager: Any) -> Any:
    """Reduce what is inside a series; it does not pickle by way of its block."""
    if not copies_on_write() or pickler.tracing or not manager.blocks[0].refs.has_reference():
        return NotImplemented
    make, args, (axes, arrays, items, extra) = manager.__reduce_ex__(5)[:3]
    apart = [_apart(pickler, values) for values in arrays]
    newer = {
        version: {**state, "blocks": [{**block, "values": v} for block, v in zip(state["blocks"], apart, strict=True)]}
        for version, state in extra.items()
    }
    return (make, args, (axes, apart, items, newer))


def reduce_frame(pickler: GraphPickler, frame: Any) -> Any:
    """Reduce a frame or series: as it is for a bundle, column by column for a digest (reading may merge blocks)."""
    if not pickler.tracing:
        return NotImplemented
    manager = frame._mgr
    is_series = manager.ndim == 1
    columns = [manager.internal_values()] if is_series else [manager.iget_values(i) for i in range(len(frame.columns))]
    for values in columns:
        _keep_apart(pickler, values)
    own = {k: v for k, v in frame.__dict__.items() if k not in _DERIVED}
    labels = (frame.index,) if is_series else (frame.index, frame.columns)
    state = (labels, columns, frame.attrs, frame.flags.allows_duplicate_labels, own)
    return (rebuild.module_attribute, (type(frame), *state))


_DERIVED = {"_mgr", "_item_cache", "_attrs", "_flags", "_cacher", "_is_copy"}


def reduce_index(pickler: GraphPickler, index: Any) -> Any:
    """Reduce an index its own way; nobody can tell whether the memory of its labels is shared."""
    data = getattr(index, "_data", None)
    if data is not None and "MultiIndex" not in type(index).__name__ and "RangeIndex" not in type(index).__name__:
        _keep_apart(pickler, data)
    return NotImplemented


def _keep_apart(pickler: GraphPickler, values: Any) -> None:
    if not copies_on_write():
        return
    numpy = sys.modules["numpy"]
    parts = [values, *(getattr(values, name, None) for name in ("_ndarray", "_codes", "_data", "_mask", "_left", "_right"))]
    for part in parts:
        if isinstance(part, numpy.ndarray) or part is values:
            pickler.keep_apart(part)
