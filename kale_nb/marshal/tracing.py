"""`trace`: the state of a value as a digest, and which objects it is made of."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import xxhash

from kale_nb.marshal.graphs import shared_objects, with_deep_stack
from kale_nb.marshal.model import Trace
from kale_nb.marshal.pickler import GraphPickler


class _Digest:
    """A sink that keeps only the digest of what is written."""

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()
        self.size = 0

    def update(self, data: Any) -> None:
        """Take a piece of any buffer."""
        self._hash.update(data)
        self.size += len(data) if isinstance(data, bytes) else memoryview(data).nbytes

    def write(self, data: Any) -> int:
        """Take a piece."""
        self.update(data)
        return len(data)

    def digest(self) -> bytes:
        """Give the digest so far."""
        return self._hash.digest()


def trace(value: object, *, main: dict[str, object], by_reference: Collection[str]) -> Trace:
    """Take the state of a value: equal later if nothing reachable from it has changed.

    Nothing is copied but arrays with gaps, a part at a time. Names go by value and by reference as in `save`.

    Args:
        value: any value.
        main: the namespace of the notebook.
        by_reference: names in it that every step defines again for itself.
    """
    try:
        return with_deep_stack(lambda: _trace(value, main, by_reference, strict=True))
    except RecursionError:
        return _trace(value, main, by_reference, strict=False)


def _trace(value: object, main: dict[str, object], by_reference: Collection[str], *, strict: bool) -> Trace:
    sink = _Digest()
    pickler = GraphPickler(sink, main=main, by_reference=by_reference, tracing=True, update=sink.update)
    digest: bytes | None
    try:
        pickler.dump(value)
        digest = None if pickler.opaque else sink.digest()
    except RecursionError:
        if strict:
            raise
        digest = None
    except Exception:  # noqa: BLE001 - whatever a value's own reduction raises: it cannot be walked
        digest = None
    met = dict(shared_objects(pickler))
    wants = tuple(sorted(pickler.wants))
    pickler.release()
    objects = _lasting(met)
    return Trace(digest=digest, objects=frozenset(objects), globals=wants, size=sink.size, order=hash(tuple(objects)))


def _lasting(met: dict[int, Any]) -> list[int]:
    """Leave out what reductions made on the way and nobody else holds: their ids mean nothing."""
    held = list(met.values())
    met.clear()
    floor = _held_only_here([object()], 0)
    count = len(held)
    for _ in range(4):
        gone = 0
        for index in range(count):
            if held[index] is not None and _held_only_here(held, index) <= floor:
                held[index] = None
                gone += 1
        if not gone:
            break
    return [id(value) for value in held if value is not None]


def _held_only_here(held: list[Any], index: int) -> int:
    return sys.getrefcount(held[index])
