"""`save`: values to a bundle."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from json import dumps  # by name: a notebook may patch the module
from pathlib import Path
from typing import Any

from kale_nb.errors import MarshalError
from kale_nb.marshal import arrays
from kale_nb.marshal.bundle import BundleWriter, Place
from kale_nb.marshal.graphs import CannotPickle, Stream, is_mutable, pickle_together, with_deep_stack
from kale_nb.marshal.model import Entry, Saved


def save(values: Mapping[str, object], directory: Path, *, main: dict[str, object], by_reference: Collection[str]) -> Saved:
    """Write named values as a bundle.

    Names that share mutable objects or memory share them again when read. A value that cannot travel does not keep the others from
    being written. What stood at `directory` before is replaced, at once, when all is written.

    Args:
        values: the values by name.
        directory: the bundle to make.
        main: the namespace of the notebook.
        by_reference: names in it that every step defines again for itself.

    Returns:
        What was written, and a MarshalError for each value that could not be.

    Raises:
        MarshalError: the directory cannot be written.
    """
    streams, failures = _pickle_all(values, main, by_reference)
    with BundleWriter(directory) as writer:
        written = [_write_stream(writer, stream) for stream in streams]
        entries = tuple(
            entry for number, (stream, sizes, _) in enumerate(written) for entry in _entries(values, stream, sizes, number)
        )
        entries = tuple(sorted(entries, key=lambda entry: list(values).index(entry.name)))
        index = {
            "entries": [_as_json(entry) for entry in entries],
            "streams": [record for _, _, record in written],
            "same": _same(values, [entry.name for entry in entries]),
        }
        writer.commit(index)
    return Saved(entries=entries, failures=failures)


def _pickle_all(
    values: Mapping[str, object], main: dict[str, object], by_reference: Collection[str]
) -> tuple[list[Stream], dict[str, MarshalError]]:
    alone: list[Stream] = []
    failures: dict[str, MarshalError] = {}

    def pickle(chosen: Mapping[str, object]) -> Stream:
        return with_deep_stack(lambda: pickle_together(chosen, main=main, by_reference=by_reference))

    for name, value in values.items():
        try:
            alone.append(pickle({name: value}))
        except CannotPickle as error:
            failures[name] = _explain(name, value, error, main, by_reference)
    streams = []
    for group in _groups(alone):
        if len(group) == 1:
            streams.append(group[0])
            continue
        together = {stream.names[0]: values[stream.names[0]] for stream in group}
        try:
            streams.append(pickle(together))
        except CannotPickle as error:  # a value that changed its mind between two times
            for name, value in together.items():
                failures[name] = _explain(name, value, error, main, by_reference)
    return streams, failures


def _explain(
    name: str, value: object, error: CannotPickle, main: dict[str, object], by_reference: Collection[str]
) -> MarshalError:
    from kale_nb.marshal.culprit import explain

    return explain(name, value, error.__cause__, main=main, by_reference=by_reference)


def _groups(streams: list[Stream]) -> list[list[Stream]]:
    """Put streams together that share mutable objects or memory."""
    parent = list(range(len(streams)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    if len(streams) > 1:
        seen: dict[int, int] = {}
        for number, stream in enumerate(streams):
            pickler = stream.pickler
            met: dict[int, Any] = {key: value for key, (_, value) in pickler.memo.copy().items()}
            for key in met.keys() & seen.keys():
                if key not in pickler.first and is_mutable(pickler, met[key]):
                    parent[root(number)] = root(seen[key])
            for key in pickler.owners.keys() & seen.keys():
                parent[root(number)] = root(seen[key])
            for key in met:
                seen.setdefault(key, number)
            for key in pickler.owners:
                seen.setdefault(key, number)
        for one, other in arrays.overlaps((n, s.pickler.held) for n, s in enumerate(streams)):
            parent[root(one)] = root(other)
    groups: dict[int, list[Stream]] = {}
    for number, stream in enumerate(streams):
        groups.setdefault(root(number), []).append(stream)
    return list(groups.values())


def _write_stream(writer: BundleWriter, stream: Stream) -> tuple[Stream, dict[str, int], dict[str, Any]]:
    sizes = dict.fromkeys(stream.names, 0)
    before = 0
    for name, (length, _, _) in zip(stream.names, stream.ends, strict=True):
        sizes[name] += length - before
        before = length
    table = []
    for blob in arrays.blobs(stream.pickler.held):
        place = writer.section([blob.data])
        sizes[_name_of(stream, 1, min(row[0] for row in blob.rows))] += place[1]
        table.append([place, blob.skew, blob.root, blob.rows])
    buffers: list[tuple[Place, bool]] = []
    for number, buffer in enumerate(stream.pickler.buffers):
        with buffer.raw() as raw:
            place = writer.section([raw])
            buffers.append((place, raw.readonly))
        sizes[_name_of(stream, 2, number)] += place[1]
    record = {
        "names": stream.names,
        "stream": writer.section(stream.sink.parts),
        "table": writer.section([dumps({"blobs": table, "buffers": buffers}).encode()]),
    }
    return stream, sizes, record


def _name_of(stream: Stream, what: int, number: int) -> str:
    return next(name for name, end in zip(stream.names, stream.ends, strict=True) if number < end[what])


def _entries(values: Mapping[str, object], stream: Stream, sizes: Mapping[str, int], group: int) -> list[Entry]:
    return [
        Entry(
            name=name,
            type=_type_name(values[name]),
            size=sizes[name],
            group=group,
            globals=stream.wants[name],
            facts=_facts(values[name]),
        )
        for name in stream.names
    ]


def _type_name(value: object) -> str:
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _facts(value: Any) -> dict[str, str]:
    """Collect what people like to know of a value, from attributes that are cheap and harmless to read."""
    facts = {}
    module = type(value).__module__.partition(".")[0]
    if module in {"numpy", "pandas", "scipy", "torch"}:
        for name in ("shape", "dtype"):
            try:
                facts[name] = str(getattr(value, name))
            except Exception:  # noqa: BLE001 - a fact less
                continue
    if isinstance(value, str | bytes | bytearray | list | tuple | dict | set | frozenset):
        try:
            facts["length"] = str(len(value))
        except Exception:  # noqa: BLE001 - a subclass with a length of its own
            return facts
    return facts


def _same(values: Mapping[str, object], names: list[str]) -> list[list[str]]:
    """Find names of one object, which may stand in different streams if it is immutable."""
    by_id: dict[int, list[str]] = {}
    for name in names:
        by_id.setdefault(id(values[name]), []).append(name)
    return [same for same in by_id.values() if len(same) > 1]


def _as_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "type": entry.type,
        "size": entry.size,
        "group": entry.group,
        "globals": entry.globals,
        "facts": dict(entry.facts),
    }
