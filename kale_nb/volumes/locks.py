"""Locks and staging folders of a store: what a killed process held is free at once, what it left is swept by the next one.

All are `flock`s, which the system drops with the process, in every container and whatever its id.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from kale_nb.errors import VolumeError
from kale_nb.volumes.trees import remove_tree

_ELSEWHERE = "elsewhere"
"""File of a staging folder that names what its owner builds outside of the store."""


@contextlib.contextmanager
def shared(file: Path) -> Iterator[None]:
    """Hold the store for work with others; waits while somebody sweeps it."""
    import fcntl

    fd = _open(file)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def exclusive(file: Path, *, wait: float) -> Iterator[None]:
    """Hold the store alone. VolumeError when others work in it for longer than `wait` seconds."""
    import fcntl

    fd = _open(file)
    try:
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno != errno.EWOULDBLOCK:
                    raise
            if time.monotonic() >= until:
                raise VolumeError(
                    f"other runs are taking or cloning snapshots in {file.parent} right now", hint="try again when they are done"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)  # a store on read-only media can still be read


class Staging:
    """A folder of our own in the store where things are made whole before they get their name. Gone when the block ends.

    Attributes:
        now: the time by the clock of the file system, nanoseconds since the epoch.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = itertools.count(1)

    def __enter__(self) -> Staging:
        import fcntl

        while True:
            self.path = self._folder / os.urandom(8).hex()
            try:
                os.mkdir(self.path, 0o700)
            except FileNotFoundError:
                self._folder.mkdir(parents=True, exist_ok=True)
                continue
            try:
                self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # somebody took the new folder for a dead one's before it was locked
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            status = os.fstat(self.fd)
            if status.st_nlink:
                self.now = status.st_mtime_ns
                return self
            os.close(self.fd)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _remove(self.path)
        os.close(self.fd)

    def name(self) -> str:
        """Return a name that nothing in this folder has yet; threads may ask at once."""
        return str(next(self._count))

    def write(self, content: bytes, target: Path) -> None:
        """Put `content` to `target`, a file of the store: there whole or not at all."""
        name = self.name()
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=self.fd)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        try:
            os.rename(name, target, src_dir_fd=self.fd)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(name, target, src_dir_fd=self.fd)

    def builds(self, path: Path) -> None:
        """Remember that `path`, outside of the store, is ours until this block ends: removed then, or by the next one when we die."""
        (self.path / _ELSEWHERE).write_bytes(os.fsencode(path))


def sweep_staging(folder: Path) -> None:
    """Remove the staging folders of processes that are gone, with what they were building elsewhere."""
    import fcntl

    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        try:
            fd = os.open(folder / name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            _remove(folder / name)
        finally:
            os.close(fd)


def _remove(staging: Path) -> None:
    with contextlib.suppress(OSError):
        remove_tree(Path(os.fsdecode((staging / _ELSEWHERE).read_bytes())))
    remove_tree(staging)
