"""`load` and `describe`: a bundle to values, or to facts."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from collections.abc import Collection
from json import dumps, loads  # by name: a notebook may patch the module
from pathlib import Path
from typing import IO, Any

from kale_nb.errors import MarshalError
from kale_nb.marshal import rebuild, setorder
from kale_nb.marshal.bundle import BundleReader
from kale_nb.marshal.model import Entry


def describe(directory: Path) -> tuple[Entry, ...]:
    """Tell what a bundle holds, without unpickling anything.

    Raises:
        MarshalError: there is no bundle, or its index is damaged.
    """
    return tuple(
        Entry(
            name=entry["name"],
            type=entry["type"],
            size=entry["size"],
            group=entry["group"],
            globals=tuple(entry["globals"]),
            facts=entry["facts"],
        )
        for entry in BundleReader(directory).index["entries"]
    )


def digests(directory: Path) -> dict[str, str]:
    """Tell for every value of a bundle a digest of its content, without unpickling anything.

    Equal digests mean equal content. Values that share objects have theirs in common; other digests need not mean another value, for what
    is pickled may also tell the order in which something came to be.

    Raises:
        MarshalError: there is no bundle, or it is damaged.
    """
    reader = BundleReader(directory)
    found: dict[str, str] = {}
    with reader.open() as file:
        for record in reader.index["streams"]:
            table = loads(reader.read(file, record["table"]))
            arrays = [[place[2], [row[2:] for row in rows]] for place, _, _, rows in table["blobs"]]
            told = [record["names"], record["stream"][2], arrays, [[place[2], readonly] for place, readonly in table["buffers"]]]
            found |= dict.fromkeys(record["names"], hashlib.sha256(dumps(told).encode()).hexdigest())
    return found


def load(directory: Path, names: Collection[str] | None, *, main: dict[str, object], renew: bool = False) -> dict[str, object]:
    """Read values of a bundle.

    Args:
        directory: the bundle.
        names: which values; None for all. Only groups that hold one of them are read.
        renew: what to do with classes, functions and closure cells that another bundle brought before: leave them as they are, or give
            them the content they have in this one. Either way they stay the same objects.
        main: the namespace of the notebook: the globals of functions that travelled by value, and where references to the prelude lead.

    Returns:
        The values by name, in the order in which they were saved.

    Raises:
        MarshalError: the bundle is missing, damaged, of another format or Python, lacks a name, or a value cannot be made again.
    """
    reader = BundleReader(directory)
    reader.check_python()
    present = [entry["name"] for entry in reader.index["entries"]]
    wanted = set(present if names is None else names)
    missing = sorted(wanted - set(present))
    if missing:
        raise MarshalError(f"{directory} has no value named {', '.join(missing)}", variable=missing[0])
    found: dict[str, object] = {}
    with reader.open() as file:
        for record in reader.index["streams"]:
            if wanted & set(record["names"]):
                found.update(_load_stream(reader, file, record, main, renew))
    for same in reader.index["same"]:
        here = [name for name in same if name in found]
        for name in here[1:]:
            found[name] = found[here[0]]
    return {name: found[name] for name in present if name in wanted}


def _as_compiled(value: object) -> object:
    """Intern a text that the compiler interns where it stands in code, so that `mode is "train"` says the same as before."""
    if type(value) is str and value.isascii() and value.replace("_", "a").isalnum():
        return sys.intern(value)
    return value


def _load_stream(reader: BundleReader, file: IO[bytes], record: Any, main: dict[str, object], renew: bool) -> dict[str, object]:
    data = reader.read(file, record["stream"])
    table = loads(reader.read(file, record["table"]))
    buffers: list[Any] = []
    for place, readonly in table["buffers"]:
        buffer = reader.read(file, place)
        buffers.append(memoryview(buffer).toreadonly() if readonly else buffer)
    state = rebuild.Loading(main, _Arrays(reader, file, table["blobs"]), renew=renew)
    unpickler = _Unpickler(io.BytesIO(data), buffers=buffers)
    unpickler.main = main
    found: dict[str, object] = {}
    with rebuild.loading(state):
        name = None
        try:
            unpickler.load()
            for name in record["names"]:
                found[name] = _as_compiled(unpickler.load())
            for container, key, value in unpickler.load():
                (found if container is None else container)[key] = value
            for elements, order, gaps, mask in unpickler.load():
                setorder.follow(elements, order, gaps, mask)
        except MarshalError as error:
            raise MarshalError(error.message, variable=error.variable or name, culprit=error.culprit, hint=error.hint) from error
        except ModuleNotFoundError as error:
            raise MarshalError(f"{name} needs the module {error.name}, which cannot be imported here", variable=name) from error
        except Exception as error:
            raise MarshalError(f"{name} cannot be made again: {type(error).__name__}: {error}", variable=name) from error
    return found


class _Unpickler(pickle.Unpickler):
    """Finds names of `__main__` in the namespace given."""

    main: dict[str, object]

    def find_class(self, module: str, name: str) -> Any:
        """Find what a stream refers to by name."""
        if module == "__main__":
            return rebuild.main_attribute(name)
        return super().find_class(module, name)


class _Arrays:
    """Makes the arrays of one stream, each run of bytes read when the first array in it is asked for."""

    def __init__(self, reader: BundleReader, file: IO[bytes], blobs: list[Any]) -> None:
        self._reader = reader
        self._file = file
        self._blobs = blobs
        self._blob_of = {row[0]: number for number, blob in enumerate(blobs) for row in blob[3]}
        self._memory: dict[int, Any] = {}
        self._roots: dict[int, Any] = {}

    def array(self, index: int, dtype: Any, cls: type | None) -> Any:
        """Make array number `index` of the stream."""
        import numpy as np

        number = self._blob_of[index]
        place, skew, root, rows = self._blobs[number]
        if root is not None and root[1] is None:
            _, _, shape, _, writable = rows[0]
            made: Any = np.ndarray.__new__(cls or np.ndarray, tuple(shape), dtype, order=root[2])
            self._reader.read_into(self._file, place, _bytes_of(made))
            made.flags.writeable = writable
            return made
        if number not in self._memory:
            self._memory[number] = self._read(place, skew, root, rows)
        if index in self._roots and cls is None:
            made = self._roots[index]
            if made.dtype != dtype:
                made = made.view(dtype)
            return made
        memory, start = self._memory[number]
        _, offset, shape, strides, writable = next(row for row in rows if row[0] == index)
        made = np.ndarray(tuple(shape), dtype, memory, start + offset, tuple(strides))
        if cls is not None:
            made = made.view(cls)
        if made.flags.writeable != writable:
            made.flags.writeable = writable
        return made

    def _read(self, place: Any, skew: int, root: Any, rows: list[Any]) -> tuple[Any, int]:
        import numpy as np

        if root is None:
            memory = np.empty(place[1] + skew, "u1")
            self._reader.read_into(self._file, place, memory[skew:])
            return memory, skew
        number, described, order = root
        row = next(row for row in rows if row[0] == number)
        owner = np.empty(tuple(row[2]), np.lib.format.descr_to_dtype(_retuple(described)), order=order)
        memory = _bytes_of(owner)
        self._reader.read_into(self._file, place, memory)
        owner.flags.writeable = row[4]
        self._roots[number] = owner
        return memory, 0


def _bytes_of(array: Any) -> Any:
    import numpy as np

    plain = array.view(np.ndarray)
    if not plain.flags.c_contiguous:
        plain = plain.T
    return plain.reshape(-1).view("u1") if plain.size else np.empty(0, "u1")


def _retuple(described: Any) -> Any:
    """Give a dtype description back its tuples, which JSON wrote as lists."""
    if not isinstance(described, list):
        return described
    fields = []
    for field in described:
        name = tuple(field[0]) if isinstance(field[0], list) else field[0]
        fields.append((name, _retuple(field[1]), *(tuple(rest) for rest in field[2:])))
    return fields
