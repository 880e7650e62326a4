"""The bundle on disk: a directory with `values.bin` and `index.json`, written whole or not at all.

`values.bin` is a row of sections, each starting at a multiple of 64: for every group of values that share objects one pickle stream
(protocol 5), one JSON table of its arrays, and the raw bytes of the arrays. `index.json` has format and version, the Python that wrote it,
facts on every value, and for every group the place, length and xxh3 of its sections. Its last field is the xxh3 of the rest, so a reader
knows all of it to be right before it unpickles anything; sections are compared with their sums as they are read.

A stream starts with one pickle of two namespaces (the reader's `main`, the builtins), so that everything after can refer to them,
and goes on with one pickle a value, in the order of the names.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from json import dumps, loads  # by name: a notebook may patch the module
from pathlib import Path
from typing import IO, Any

import xxhash

from kale_nb.errors import MarshalError

FORMAT = "kale-bundle"
VERSION = 1
VALUES = "values.bin"
INDEX = "index.json"
_ALIGN = 64
_PART = 1 << 24

Place = tuple[int, int, str]


class BundleWriter:
    """Writes sections to a temporary directory; `commit` gives it its name, leaving the context without it removes everything."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(os.path.abspath(directory))
        self._temporary = self.directory.parent / f".{self.directory.name[:80]}.{uuid.uuid4().hex[:12]}.tmp"
        self._file: IO[bytes] | None = None
        self._position = 0

    def __enter__(self) -> BundleWriter:
        with self._naming_the_directory():
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir(mode=0o700)
            self._file = open(self._temporary / VALUES, "xb", buffering=0, opener=_private_opener)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def section(self, parts: Iterable[Any]) -> Place:
        """Write one section and tell its place."""
        with self._naming_the_directory():
            assert self._file is not None
            padding = -self._position % _ALIGN
            if padding:
                self._write(bytes(padding))
            start = self._position
            digest = xxhash.xxh3_64()
            for part in parts:
                view = memoryview(part).cast("B")
                for low in range(0, len(view), _PART):
                    piece = view[low : low + _PART]
                    digest.update(piece)
                    self._write(piece)
            return (start, self._position - start, digest.hexdigest())

    def _write(self, data: Any) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view.nbytes:
            written = self._file.write(view)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._position += written
            view = view[written:]

    def commit(self, index: Mapping[str, Any], *, sync: bool = False) -> None:
        """Write the index and give the bundle its name, in the place of what had that name."""
        with self._naming_the_directory():
            assert self._file is not None
            body = {"format": FORMAT, "version": VERSION, **_this_python(), "length": self._position, **index}
            text = _seal(body)
            with open(self._temporary / INDEX, "xb", opener=_private_opener) as file:
                file.write(text)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            if sync:
                os.fsync(self._file.fileno())
            self._file.close()
            _replace(self._temporary, self.directory)

    @contextlib.contextmanager
    def _naming_the_directory(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            reason = "the disk is full" if full else error.strerror or str(error)
            hint = "free some space or choose another data directory" if full else None
            raise MarshalError(f"cannot write {self.directory}: {reason}", hint=hint) from error


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _this_python() -> dict[str, Any]:
    libraries = {}
    for name in ("numpy", "pandas", "scipy", "sklearn", "torch"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            libraries[name] = version
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python, "implementation": sys.implementation.name, "machine": platform.machine(), "libraries": libraries}


def _seal(body: Mapping[str, Any]) -> bytes:
    text = dumps(body, separators=(",", ":")).encode()
    return text[:-1] + b',"checksum":"' + xxhash.xxh3_64_hexdigest(text).encode() + b'"}\n'


def _unseal(text: bytes) -> dict[str, Any] | None:
    start = text.rfind(b',"checksum":"')
    if start < 0 or not text.endswith(b'"}\n'):
        return None
    body = text[:start] + b"}"
    stated = text[start + len(b',"checksum":"') : -3]
    if xxhash.xxh3_64_hexdigest(body).encode() != stated:
        return None
    try:
        read = loads(body)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _replace(new: Path, target: Path) -> None:
    """Give `new` the name `target` at once; what stood there goes away."""
    try:
        os.rename(new, target)
        return
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
    if not _exchange(new, target):
        aside = new.with_name(new.name + ".old")
        os.rename(target, aside)
        try:
            os.rename(new, target)
        except OSError:
            os.rename(aside, target)
            raise
        new = aside
    if new.is_dir() and not new.is_symlink():
        shutil.rmtree(new, ignore_errors=True)
    else:
        new.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one move, where the system can."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_cwd, exchange = -100, 2
    return bool(renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0)


class BundleReader:
    """Reads a bundle's index, and its sections when asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self.index = self._read_index()

    def _read_index(self) -> dict[str, Any]:
        where = self.directory
        try:
            text = (where / INDEX).read_bytes()
            length = (where / VALUES).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            if where.exists():
                raise MarshalError(f"{where} is not a bundle of values: {INDEX} or {VALUES} is missing") from None
            raise MarshalError(f"there are no values at {where}: the step that writes them has not run or failed") from None
        except OSError as error:
            raise MarshalError(f"cannot read {where}: {error.strerror or error}") from error
        index = _unseal(text)
        if index is None:
            known = FORMAT.encode() in text[:200]
            raise MarshalError(f"{where / INDEX} is corrupt or cut short" if known else f"{where} is not a bundle of values")
        if index.get("format") != FORMAT:
            raise MarshalError(f"{where} is not a bundle of values")
        if index.get("version") != VERSION:
            raise MarshalError(f"{where} has format version {index.get('version')}, this program reads version {VERSION}")
        if length != index["length"]:
            raise MarshalError(f"{where / VALUES} is cut short or overwritten: {length} bytes instead of {index['length']}")
        return index

    def check_python(self) -> None:
        """Refuse a bundle of another Python: code objects of another version crash the interpreter."""
        here = _this_python()
        for key, what in (("python", "Python"), ("implementation", "the interpreter")):
            if self.index.get(key) != here[key]:
                raise MarshalError(
                    f"{self.directory} was written by {what} {self.index.get(key)}, this is {here[key]}",
                    hint="run all steps with the same Python version",
                )

    def open(self) -> IO[bytes]:
        """Open the file of values."""
        try:
            return open(self.directory / VALUES, "rb", buffering=0)
        except OSError as error:
            raise MarshalError(f"cannot read {self.directory}: {error.strerror or error}") from error

    def read_into(self, file: IO[bytes], place: Place, memory: Any) -> None:
        """Fill `memory` (a writable buffer of just the right size) with a section and compare its sum."""
        start, length, stated = place
        view = memoryview(memory).cast("B")
        digest = xxhash.xxh3_64()
        file.seek(start)
        done = 0
        while done < length:
            count = file.readinto(view[done : min(done + _PART, length)])  # type: ignore[attr-defined]
            if not count:
                break
            digest.update(view[done : done + count])
            done += count
        if done < length or digest.hexdigest() != stated:
            raise MarshalError(
                f"{self.directory / VALUES} is corrupt: bytes {start} to {start + length} do not match their checksum"
            )

    def read(self, file: IO[bytes], place: Place) -> bytearray:
        """Read a section and compare its sum."""
        data = bytearray(place[1])
        self.read_into(file, place, data)
        return data
