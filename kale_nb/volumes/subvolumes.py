"""btrfs subvolumes: a whole folder cloned at once. Requests and structures are those of linux/btrfs.h.

A store on btrfs keeps the tree of each snapshot that was cloned more than once as a read-only subvolume; all clones from the second on
are writable snapshots of that. The first is filled file by file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Container
from pathlib import Path

from kale_nb.volumes.trees import remove_tree

_NAMED = struct.Struct("=q4088s")


def _request(number: int, size: int) -> int:
    return 1 << 30 | size << 16 | 0x94 << 8 | number


_SNAP_CREATE = _request(1, _NAMED.size)
_SUBVOL_CREATE = _request(14, _NAMED.size)
_SNAP_DESTROY = _request(15, _NAMED.size)
_SETFLAGS = _request(26, 8)
_READ_ONLY = 2
_DUE = ".due"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def create(path: Path) -> bool:
    """Make an empty subvolume; False where that is not possible."""
    return not _attempt(path)


def why_not(folder: Path) -> str:
    """Return why no subvolume can be made in a folder, nothing when one can."""
    trial = folder / "subvolume"
    error = _attempt(trial)
    if not error:
        os.rmdir(trial)
        return ""
    return "this file system is none" if error in (errno.ENOTTY, errno.EINVAL, errno.ENOSYS) else os.strerror(error).lower()


def _attempt(path: Path) -> int:
    """Make a subvolume; return the system's error number, 0 when it was made."""
    try:
        _ask(path.parent, _SUBVOL_CREATE, 0, path.name)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def snapshot(subvolume: Path, path: Path) -> None:
    """Make `path` a writable snapshot of a subvolume."""
    source = os.open(subvolume, _FOLDER)
    try:
        _ask(path.parent, _SNAP_CREATE, source, path.name)
    finally:
        os.close(source)


def set_read_only(subvolume: Path, read_only: bool) -> None:
    """Forbid or allow changes in a subvolume."""
    import fcntl

    fd = os.open(subvolume, _FOLDER)
    try:
        fcntl.ioctl(fd, _SETFLAGS, struct.pack("=Q", _READ_ONLY if read_only else 0))
    finally:
        os.close(fd)


def remove(subvolume: Path) -> None:
    """Remove a subvolume at once where that is allowed, else file by file."""
    if not os.path.lexists(subvolume):
        return
    with contextlib.suppress(OSError):
        _ask(subvolume.parent, _SNAP_DESTROY, 0, subvolume.name)
        return
    with contextlib.suppress(OSError):
        set_read_only(subvolume, False)
    remove_tree(subvolume)


class Templates:
    """Read-only subvolumes, each the tree of a snapshot that was cloned before, named by its id.

    Making a snapshot of a subvolume waits for the disk, which only pays when there are more clones than one: so the first clone leaves
    an empty file `ID.due`, and the next one has the template made.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def find(self, id: str) -> Path | None:
        """Return the template of a snapshot, None when there is none."""
        path = self.directory / id
        return path if path.is_dir() else None

    def is_due(self, id: str) -> bool:
        """Tell whether the next clone of a snapshot pays for a template."""
        return self._due(id).exists()

    def mark_due(self, id: str) -> None:
        """Have the next clone of a snapshot make a template, unless nothing can be written any more."""
        with contextlib.suppress(OSError):
            self.directory.mkdir(exist_ok=True)
            self._due(id).touch()

    def adopt(self, subvolume: Path, id: str) -> Path:
        """Make a finished subvolume the template of a snapshot, unless another process was faster; return the template."""
        self.directory.mkdir(exist_ok=True)
        path = self.directory / id
        try:
            os.rename(subvolume, path)
        except OSError:
            if not path.is_dir():
                raise
        set_read_only(path, True)
        self._due(id).unlink(missing_ok=True)
        return path

    def remove(self, id: str) -> None:
        """Remove the template of a snapshot, and that one is due."""
        remove(self.directory / id)
        self._due(id).unlink(missing_ok=True)

    def remove_all_but(self, ids: Container[str]) -> None:
        """Remove the templates of all snapshots but some; also those that `rm -rf`, which cannot remove read-only ones, left behind."""
        try:
            found = os.listdir(self.directory)
        except FileNotFoundError:
            return
        for name in found:
            if name.removesuffix(_DUE) not in ids:
                remove(self.directory / name)

    def _due(self, id: str) -> Path:
        return self.directory / f"{id}{_DUE}"


def _ask(folder: Path, request: int, fd: int, name: str) -> None:
    import fcntl

    where = os.open(folder, _FOLDER)
    try:
        fcntl.ioctl(where, request, bytearray(_NAMED.pack(fd, os.fsencode(name))))  # bytes may not be this long
    finally:
        os.close(where)
