"""Move the content of a file the cheapest safe way: share its blocks where the file system can, else copy what is not a hole.

Never a hard link: a write through it would change the original. All works on open descriptors.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

_FICLONE = 0x40049409
"""`ioctl` of Linux that makes a file share the blocks of another, from linux/fs.h."""
_CHUNK = 1 << 20
_RANGE = 1 << 26
_NO_RANGE = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM, errno.EBADF, errno.ETXTBSY}
_NEVER = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}
_SMALL = 1 << 17
"""Up to this many bytes reading and writing beats asking the kernel to copy."""


class Copier:
    """Copies files between two places; remembers which shortcuts the file system does not have."""

    def __init__(self) -> None:
        self.reflink = hasattr(os, "copy_file_range")
        self._range = hasattr(os, "copy_file_range")

    def copy(self, source: str, target: str) -> None:
        """Copy the regular file `source` to the new file `target`: content, holes, permissions (no setuid), times.

        Raises:
            OSError: of either file; `filename` tells which.
        """
        try:
            reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise OSError(error.errno, error.strerror, source) from error
        try:
            status = os.fstat(reader)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "is no longer a file", source)
            writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                self.fill(reader, writer, status)
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def fill(self, reader: int, writer: int, status: os.stat_result) -> None:
        """Give the new, empty file `writer` the content, holes, permissions (no setuid) and times of `reader`, whose status is given."""
        self.content(reader, writer, status)
        os.fchmod(writer, stat.S_IMODE(status.st_mode) & 0o1777)
        os.utime(writer, ns=(status.st_atime_ns, status.st_mtime_ns))

    def content(self, reader: int, writer: int, status: os.stat_result) -> bool:
        """Fill the empty file `writer` with what `reader`, whose status is given, holds; True when they share blocks now."""
        size = status.st_size
        if not size:
            return False
        if self.reflink and self.share(reader, writer):
            return True
        if size <= _SMALL:
            data = os.read(reader, size + 1)
            if os.write(writer, data) == len(data) == size:
                return False
            os.ftruncate(writer, 0)
        if is_sparse(status):
            for start, end in data_ranges(reader, size):
                self._copy_range(reader, writer, start, end)
            os.ftruncate(writer, max(size, os.fstat(writer).st_size))
        else:
            self._copy_range(reader, writer, 0, None)
        return False

    def share(self, reader: int, writer: int) -> bool:
        """Make the empty file `writer` share all blocks of `reader`; False where the file system cannot."""
        if not self.reflink:
            return False
        import fcntl

        try:
            fcntl.ioctl(writer, _FICLONE, reader)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            if error.errno in _NEVER:  # anything else is about this one file: no copy-on-write on btrfs, a swap file, sealed
                self.reflink = False
            return False
        return True

    def _copy_range(self, reader: int, writer: int, start: int, end: int | None) -> None:
        """Copy bytes `start` to `end` (None: to the end of the file) to the same place."""
        while end is None or start < end:
            want = _RANGE if end is None else min(_RANGE, end - start)
            done = self._transfer(reader, writer, start, want)
            if done == 0:
                return
            start += done

    def _transfer(self, reader: int, writer: int, start: int, want: int) -> int:
        if self._range:
            try:
                return os.copy_file_range(reader, writer, want, start, start)
            except OSError as error:
                if error.errno not in _NO_RANGE:
                    raise
                self._range = False
        data = os.pread(reader, min(want, _CHUNK), start)
        write_all(writer, data, start)
        return len(data)


def is_sparse(status: os.stat_result) -> bool:
    """Tell whether a file may have holes."""
    return status.st_blocks * 512 < status.st_size


def data_ranges(reader: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a file that are not holes."""
    position = 0
    while position < size:
        try:
            start = os.lseek(reader, position, os.SEEK_DATA)
            end = os.lseek(reader, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return
            start, end = position, size
        yield start, min(end, size)
        position = end


def write_all(writer: int, data: bytes | memoryview, start: int) -> None:
    """Write `data` at `start`."""
    view = memoryview(data)
    while view:
        done = os.pwrite(writer, view, start)
        start += done
        view = view[done:]


def hash_of(reader: int, status: os.stat_result, writer: int | None = None) -> tuple[str, int]:
    """Return the sha256 of a file and how many bytes that was; copy them to the empty file `writer` on the way, holes as holes.

    What is hashed is what is copied, also when the file changes meanwhile.
    """
    import hashlib

    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(_CHUNK, max(status.st_size, 1) + 1)))
    position = 0
    ranges = data_ranges(reader, status.st_size) if is_sparse(status) else iter(())
    for start, end in ranges:
        _feed_zeros(digest, start - position)
        position = start
        while position < end:
            count = _read_into(reader, buffer[: min(len(buffer), end - position)], position)
            if not count:
                break
            digest.update(buffer[:count])
            if writer is not None:
                write_all(writer, buffer[:count], position)
            position += count
    if is_sparse(status):
        _feed_zeros(digest, status.st_size - position)
        if writer is not None:
            os.ftruncate(writer, status.st_size)
        return digest.hexdigest(), status.st_size
    while count := _read_into(reader, buffer, position):
        digest.update(buffer[:count])
        if writer is not None:
            write_all(writer, buffer[:count], position)
        position += count
    return digest.hexdigest(), position


def _read_into(reader: int, buffer: memoryview, position: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(reader, [buffer], position)
    data = os.pread(reader, len(buffer), position)
    buffer[: len(data)] = data
    return len(data)


_ZEROS = bytes(1 << 18)


def _feed_zeros(digest: object, count: int) -> None:
    update = digest.update  # type: ignore[attr-defined]  # hashlib names no type
    while count > 0:
        part = min(count, len(_ZEROS))
        update(_ZEROS if part == len(_ZEROS) else _ZEROS[:part])
        count -= part
