"""Copy one file the cheapest safe way: share its blocks where the file system can, else copy what is not a hole.

Never a hard link: a write through it would change the original.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

_FICLONE = 0x40049409
"""`ioctl` of Linux that makes a file share the blocks of another, from linux/fs.h."""
_CHUNK = 1 << 26
_NO_RANGE = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM, errno.EBADF, errno.ETXTBSY}


class Copier:
    """Copies files of one workspace; remembers which shortcuts this file system does not have."""

    def __init__(self) -> None:
        self._reflink = hasattr(os, "copy_file_range")
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
                if status.st_size and not self.share(reader, writer):
                    self._copy_content(reader, writer, status)
                os.fchmod(writer, stat.S_IMODE(status.st_mode) & 0o1777)
                os.utime(writer, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def share(self, reader: int, writer: int) -> bool:
        """Make the empty file `writer` share all blocks of `reader`; False where the file system cannot."""
        if not self._reflink:
            return False
        import fcntl

        try:
            fcntl.ioctl(writer, _FICLONE, reader)
        except OSError:
            self._reflink = False
            return False
        return True

    def _copy_content(self, reader: int, writer: int, status: os.stat_result) -> None:
        if status.st_blocks * 512 >= status.st_size:
            self._copy_range(reader, writer, 0, None)
            return
        for start, end in _data_ranges(reader, status.st_size):
            self._copy_range(reader, writer, start, end)
        os.ftruncate(writer, max(status.st_size, os.fstat(writer).st_size))

    def _copy_range(self, reader: int, writer: int, start: int, end: int | None) -> None:
        """Copy bytes `start` to `end` (None: to the end of the file) to the same place."""
        while end is None or start < end:
            want = _CHUNK if end is None else min(_CHUNK, end - start)
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
        data = os.pread(reader, min(want, 1 << 20), start)
        view = memoryview(data)
        while view:
            written = os.pwrite(writer, view, start + len(data) - len(view))
            view = view[written:]
        return len(data)


def _data_ranges(reader: int, size: int) -> Iterator[tuple[int, int]]:
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
        yield start, end
        position = end
