"""Bring the files of a workspace into the store: each is read once, hashed, and copied only when the store lacks its content.

The workspace may change meanwhile. What is hashed is always what is stored; a file that changes while it is read is read again, and when it
never stands still, taken as it was read and reported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.volumes.cache import Row, row_of, settled
from kale_nb.volumes.copying import Copier, hash_of
from kale_nb.volumes.locks import Staging
from kale_nb.volumes.objects import Objects, stage_bytes
from kale_nb.volumes.scan import unreadable
from kale_nb.volumes.trees import Tree

_SMALL = 1 << 20
"""Files up to this size are read at once and written only when the store lacks them."""
_TRIES = 4
_DIRTY_FOR = 600_000_000_000
"""Nanoseconds after which a page written through a mapping is surely on the disk (the kernel's default is 35 s)."""
_F_SETSIG = 10
"""Command of Linux's fcntl, from fcntl.h; only newer Pythons name it."""

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}


class Intake:
    """Takes files of one tree into one store. Two threads may take files at once, while none publishes.

    Attributes:
        staged: contents that wait for their name, by sha256.
        published: contents that got it.
        unsettled: files that never stood still.
    """

    def __init__(self, tree: Tree, objects: Objects, staging: Staging, *, trusted: bool) -> None:
        self._tree, self._objects, self._staging, self._trusted = tree, objects, staging, trusted
        self._copier = Copier()
        self._lease = hasattr(os, "posix_fadvise")
        self.staged: dict[str, str] = {}
        self.published: list[str] = []
        self.unsettled: list[str] = []
        self._sizes: dict[str, int] = {}

    def take(self, path: str, known: Row | None) -> tuple[os.stat_result, Row] | None:
        """Store one file; return its status and its row of the stat cache, None when it is gone.

        Args:
            known: the row of an earlier snapshot that is not to be trusted, when there is one.

        Raises:
            VolumeError: the file cannot be read.
            OSError: the store cannot be written.
        """
        tries = _TRIES
        while True:
            tries -= 1
            try:
                fd = self._tree.open(path, os.O_RDONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno in _GONE:
                    return None
                raise unreadable(path, path, error) from error
            try:
                before = os.fstat(fd)
                if not stat.S_ISREG(before.st_mode):
                    return None
                alone = self._settle(fd, before)
                sha256, size = self._absorb(fd, before, path, known, last=not tries, alone=alone)
                after = os.fstat(fd)
            finally:
                os.close(fd)
            if _same(before, after) and size == after.st_size:
                return after, row_of(after, sha256, self._staging.now, trusted=self._trusted)
            if not tries:
                self.unsettled.append(path)
                return after, [after.st_mtime_ns, 0, size, after.st_ino, after.st_mode, sha256]

    @property
    def new_bytes(self) -> int:
        """Bytes of the contents that the store lacked."""
        return sum(self._sizes.values())

    def publish(self) -> None:
        """Give all that is staged its name."""
        self._objects.publish(self.staged, self._staging)
        self.published += self.staged
        self.staged.clear()

    def _settle(self, fd: int, status: os.stat_result) -> bool:
        """See to it that no write from here on can go unseen; tell whether the kernel says that nobody has the file open for writing.

        A page written through a mapping stays writable, and further writes leave no trace in the file's times until the page has been
        written to the disk. Only who has the file open for writing can do that: a read lease, which the kernel grants when nobody has,
        costs a microsecond where flushing would cost a wait for the disk.
        """
        if self._lease:
            import fcntl
            import signal

            try:
                fcntl.fcntl(
                    fd, _F_SETSIG, signal.SIGURG
                )  # ignored by default; who opens the file in this moment breaks the lease
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                return True
            except OSError as error:
                if error.errno != errno.EAGAIN and status.st_mtime_ns < self._staging.now - _DIRTY_FOR:
                    return False
        with contextlib.suppress(OSError):
            os.fsync(fd) if not hasattr(os, "fdatasync") else os.fdatasync(fd)
        return False

    def _absorb(
        self, fd: int, status: os.stat_result, path: str, known: Row | None, *, last: bool, alone: bool
    ) -> tuple[str, int]:
        """Hash a file and stage its content when the store lacks it; return its sha256 and size."""
        try:
            if status.st_size <= _SMALL:
                return self._absorb_small(fd, status, still=alone and settled(status, self._staging.now))
            if known is not None and known[2] == status.st_size and known[0] == status.st_mtime_ns:
                found, size = hash_of(fd, status)  # unchanged, most likely: no need to copy before that is known
                if found == known[5] and (found in self.staged or self._objects.has(found, size)):
                    return found, size
            return self._absorb_large(fd, status, last=last)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE):
                raise unreadable(path, path, error) from error
            raise

    def _absorb_small(self, fd: int, status: os.stat_result, *, still: bool) -> tuple[str, int]:
        """Take a small file. `still`: a change of it from here on shows in its times, so that it can be read first and shared then."""
        import hashlib

        data = os.read(fd, status.st_size + 1)
        while len(data) != status.st_size:
            more = os.read(fd, _SMALL)
            data += more
            if not more:
                break
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self.staged and not self._objects.has(sha256, len(data)):
            shared = self._share(fd, status) if still and len(data) == status.st_size else None
            self.staged[sha256] = shared or stage_bytes(data, self._staging)
            self._sizes[sha256] = len(data)
        return sha256, len(data)

    def _share(self, fd: int, status: os.stat_result) -> str | None:
        """Stage a file that shares the blocks of another; None when that is not possible, or when that file changed meanwhile."""
        if not self._copier.reflink or not status.st_size:
            return None
        name = self._staging.name()
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=self._staging.fd)
        try:
            if self._copier.share(fd, writer) and _same(status, os.fstat(fd)):
                return name
        finally:
            os.close(writer)
        os.unlink(name, dir_fd=self._staging.fd)
        return None

    def _absorb_large(self, fd: int, status: os.stat_result, *, last: bool) -> tuple[str, int]:
        name = self._staging.name()
        writer = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=self._staging.fd)
        try:
            if self._copier.share(fd, writer):
                # The source's pages are in memory more likely than the clone's; but only the clone surely stands still.
                sha256, size = hash_of(fd, status)
                cloned = os.fstat(writer)
                if not _same(status, os.fstat(fd)) or cloned.st_size != size:
                    if not last:
                        return sha256, -1
                    sha256, size = hash_of(writer, cloned)
            else:
                sha256, size = hash_of(fd, status, writer)
        except BaseException:
            os.unlink(name, dir_fd=self._staging.fd)
            raise
        finally:
            os.close(writer)
        if not last and not _same(status, os.fstat(fd)):
            os.unlink(name, dir_fd=self._staging.fd)
            return sha256, -1
        if sha256 in self.staged or self._objects.has(sha256, size):
            os.unlink(name, dir_fd=self._staging.fd)
        else:
            self.staged[sha256] = name
            self._sizes[sha256] = size
        return sha256, size


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_mtime_ns, before.st_ctime_ns, before.st_size) == (after.st_mtime_ns, after.st_ctime_ns, after.st_size)


def full_disk(error: OSError, what: str, folder: Path) -> VolumeError:
    """Return the error for a store or clone that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return VolumeError(
            f"the disk is full: {what} could not be written to {folder}; nothing of it was left there",
            hint="free some space (old runs are in .kale/runs), or leave files out in .kaleignore, and run again",
        )
    return VolumeError(f"{what} could not be written to {folder}: {error.strerror or error}")
