"""The objects of a store: whole files named by the sha256 of what they hold, never changed once they have their name.

An object's own time tells what is known of it: 0, that it is on the disk; 1 s, that it was published without waiting for the disk, so
that it is hashed again should the machine have been restarted since (`recover`); any other, that somebody wrote to it after that, or
copied the store, so that it is hashed before it is used (`trusts`). The design note on the store says why.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from kale_nb.volumes.copying import hash_of, write_all
from kale_nb.volumes.locks import Staging

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_DURABLE, _PUBLISHED = 0, 1_000_000_000
_FEW = 32
"""Up to this many files are flushed one by one, more by one flush of the file system."""


class Objects:
    """The folder `objects` of a store: `ab/cdef...` holds the content whose sha256 is `abcdef...`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The open folder."""
        if self._fd is None:
            try:
                self._fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._fd

    def close(self) -> None:
        """Let the folder go; it is opened again when needed."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def path(self, sha256: str) -> Path:
        """Return where an object is, whether it is there or not."""
        return self.folder / sha256[:2] / sha256[2:]

    def open(self, sha256: str) -> int:
        """Open an object for reading. FileNotFoundError when it is not there."""
        return os.open(f"{sha256[:2]}/{sha256[2:]}", _READ, dir_fd=self.fd)

    def status(self, sha256: str) -> os.stat_result | None:
        """Return the status of an object, None when it is not there."""
        try:
            return os.stat(f"{sha256[:2]}/{sha256[2:]}", dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def has(self, sha256: str, size: int) -> bool:
        """Tell whether an object is there, as long as it should be, and not written to since it was published."""
        status = self.status(sha256)
        return status is not None and status.st_size == size and status.st_mtime_ns in (_DURABLE, _PUBLISHED)

    def trusts(self, sha256: str, status: os.stat_result) -> bool:
        """Tell whether an object holds what its name says: by its time, which any write changes, else by reading it, once.

        Args:
            status: of the object, just asked for.
        """
        if status.st_mtime_ns in (_DURABLE, _PUBLISHED):
            return True
        if self.damage(sha256):
            return False
        with contextlib.suppress(OSError):  # a store that cannot be written, or another user's: read again the next time
            self._stamp(sha256, _PUBLISHED)
        return True

    def is_whole(self, sha256: str) -> bool:
        """Tell whether an object is there and holds what its name says, as `trusts` tells."""
        status = self.status(sha256)
        return status is not None and self.trusts(sha256, status)

    def names(self) -> set[str]:
        """Return all objects."""
        found: set[str] = set()
        for shard in self._shards():
            found.update(shard + name for name in os.listdir(self.folder / shard))
        return found

    def statuses(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield all objects with their status."""
        for shard in self._shards():
            with os.scandir(self.folder / shard) as listing:
                for entry in listing:
                    yield shard + entry.name, entry.stat(follow_symlinks=False)

    def _shards(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.folder) if len(name) == 2]
        except FileNotFoundError:
            return []

    def publish(self, staged: dict[str, str], staging: Staging) -> None:
        """Give staged files, by sha256, their names as objects."""
        for sha256, name in staged.items():
            target = f"{sha256[:2]}/{sha256[2:]}"
            os.utime(name, ns=(_PUBLISHED, _PUBLISHED), dir_fd=staging.fd)
            try:
                os.rename(name, target, src_dir_fd=staging.fd, dst_dir_fd=self.fd)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(sha256[:2], dir_fd=self.fd)
                os.rename(name, target, src_dir_fd=staging.fd, dst_dir_fd=self.fd)

    def flush(self, names: list[str], others: Iterable[Path]) -> None:
        """Wait until objects and other files of the store are on the disk, and mark the objects so."""
        if len(names) > _FEW:
            flush_file_system(self.fd)
        else:
            for name in names:
                with contextlib.closing(_Descriptor(self.open(name))) as file:
                    os.fsync(file.fd)
        folders = {self.path(name).parent for name in names} if len(names) <= _FEW else set()
        for path in [*others, *folders, self.folder]:
            with contextlib.closing(_Descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC))) as file:
                os.fsync(file.fd)
        for name in names:
            self.mark_durable(name)

    def mark_durable(self, sha256: str) -> None:
        """Remember that an object is on the disk."""
        self._stamp(sha256, _DURABLE)

    def _stamp(self, sha256: str, ns: int) -> None:
        os.utime(f"{sha256[:2]}/{sha256[2:]}", ns=(ns, ns), dir_fd=self.fd)

    def damage(self, sha256: str) -> str:
        """Return what is wrong with the content of an object, nothing when it is right. Reads it all."""
        try:
            fd = self.open(sha256)
        except FileNotFoundError:
            return "it is missing"
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        try:
            found, _ = hash_of(fd, os.fstat(fd))
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        finally:
            os.close(fd)
        return "" if found == sha256 else f"its content has the sha256 {found[:12]}..."

    def discard(self, names: Iterable[str], trash: Staging) -> None:
        """Take objects out of the store, into the staging folder `trash`; needs the store held alone."""
        for sha256 in names:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{sha256[:2]}/{sha256[2:]}", trash.name(), src_dir_fd=self.fd, dst_dir_fd=trash.fd)


class _Descriptor:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        os.close(self.fd)


def flush_file_system(fd: int) -> None:
    """Wait until all of the file system that holds `fd` is on the disk."""
    try:
        import ctypes

        done = ctypes.CDLL(None, use_errno=True).syncfs(fd) == 0
    except (OSError, AttributeError, ImportError):
        done = False
    if not done:
        os.sync()


def stage_bytes(data: bytes, staging: Staging) -> str:
    """Write content into a staging folder and return the file's name there."""
    name = staging.name()
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=staging.fd)
    try:
        write_all(fd, data, 0)
    finally:
        os.close(fd)
    return name
