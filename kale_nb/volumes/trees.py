"""Folders reached through descriptors, so that no path is ever too long for the system and no link is followed on the way.

Relative paths are text with `/` between the parts and without `.` or `..`; "" is the root itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_SHORT = 900
"""Characters of a path that the system takes in one go, whatever their length in bytes (4 at most; the limit is 4,096)."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """An open folder; everything in it is named by its relative path.

    Use as `os.open(name, flags, dir_fd=fd)` with what `reach` returns.
    """

    def __init__(self, root: str | Path) -> None:
        self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.fd)

    @contextlib.contextmanager
    def reach(self, path: str) -> Iterator[tuple[int, str]]:
        """Give a descriptor and the rest of `path` relative to it, short enough for every system call."""
        if len(path) <= _SHORT:
            yield self.fd, path or "."
            return
        fd = self.fd
        try:
            while len(path) > _SHORT:
                cut = path.rfind("/", 0, _SHORT)
                if cut <= 0:
                    break
                inner = os.open(path[:cut], _FOLDER, dir_fd=fd)
                if fd != self.fd:
                    os.close(fd)
                fd, path = inner, path[cut + 1 :]
            yield fd, path
        finally:
            if fd != self.fd:
                os.close(fd)

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open like `os.open`, never through a link at the end of the path; the descriptor does not outlive an exec."""
        if len(path) <= _SHORT:
            return os.open(path or ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.fd)
        with self.reach(path) as (fd, name):
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=fd)

    def stat(self, path: str) -> os.stat_result:
        """Return the status of an entry itself, not of what a link points to."""
        with self.reach(path) as (fd, name):
            return os.stat(name, dir_fd=fd, follow_symlinks=False)

    def readlink(self, path: str) -> str:
        """Return where a link points."""
        with self.reach(path) as (fd, name):
            return os.readlink(name, dir_fd=fd)


def remove_tree(path: Path) -> None:
    """Remove a folder of ours and all in it, also folders without write permission; nothing happens when it is not there.

    What cannot be removed is left, without an error.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        os.chmod(path, 0o700)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        return
    with contextlib.suppress(OSError), Tree(path) as tree:
        folders = [""]
        for folder in folders:  # grows while it is walked
            with contextlib.suppress(OSError):
                _empty(tree, folder, folders)
        for folder in reversed(folders[1:]):
            with contextlib.suppress(OSError), tree.reach(folder) as (fd, name):
                os.rmdir(name, dir_fd=fd)
    with contextlib.suppress(OSError):
        os.rmdir(path)


def _empty(tree: Tree, folder: str, folders: list[str]) -> None:
    """Remove the files of one folder and add its folders to the list."""
    fd = tree.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(fd) as listing:
            entries = list(listing)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    os.chmod(entry.name, 0o700, dir_fd=fd)
                folders.append(f"{folder}/{entry.name}" if folder else entry.name)
            else:
                os.unlink(entry.name, dir_fd=fd)
    finally:
        os.close(fd)
