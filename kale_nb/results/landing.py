"""A folder to put files into, entered part by part so that no symbolic link on the way is ever followed.

All that is written goes to a new file beside its place and takes the place in one rename. A place that is not as it was found when it was
looked at is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kale_nb.volumes.copying import Copier

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STAGED = ".kale-pull-"


class InTheWay(Exception):
    """Something stands where a file is to go, or on the way there; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What stands at a place: `status` is None when nothing does."""

    status: os.stat_result | None
    target: str = ""

    @property
    def kind(self) -> str:
        """`nothing`, `file`, `link`, `folder` or `special`."""
        if self.status is None:
            return "nothing"
        mode = self.status.st_mode
        for kind, test in (("file", stat.S_ISREG), ("link", stat.S_ISLNK), ("folder", stat.S_ISDIR)):
            if test(mode):
                return kind
        return "special"


class Landing:
    """The folder `root`, which must exist.

    Args:
        ours: the folder is one that was made for a run, and so no link to another.
    """

    def __init__(self, root: Path, *, ours: bool = False) -> None:
        self.root = root
        self._copier = Copier()
        self._root = os.open(root, _FOLDER if ours else _FOLDER & ~os.O_NOFOLLOW)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._root)

    def look(self, path: str) -> Found:
        """Tell what stands at a path. InTheWay when a part of the path before the last is no folder."""
        *folders, name = path.split("/")
        with self._inside(folders, make=False) as folder:
            if folder is None:
                return Found(status=None)
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else ""
            except FileNotFoundError:
                return Found(status=None)
        return Found(status=status, target=target)

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[int]:
        """Open the regular file at a path for reading. OSError or InTheWay when there is none."""
        *folders, name = path.split("/")
        with self._inside(folders, make=False) as folder:
            if folder is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise InTheWay("it is no file")
                yield file
            finally:
                os.close(file)

    def put_file(self, path: str, source: int, seen: Found) -> None:
        """Put a copy of the open file `source` at a path, which still is as it was `seen`. OSError, InTheWay."""
        *folders, name = path.split("/")
        with self._inside(folders, make=True) as folder, self._staged(folder, name) as staged:
            assert folder is not None
            writer = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
            try:
                self._copier.fill(source, writer, os.fstat(source))
                os.fsync(writer)
            finally:
                os.close(writer)
            self._take_place(folder, staged, name, seen)

    def put_link(self, path: str, target: str, seen: Found) -> None:
        """Put a symbolic link at a path, which still is as it was `seen`. OSError, InTheWay."""
        *folders, name = path.split("/")
        with self._inside(folders, make=True) as folder, self._staged(folder, name) as staged:
            assert folder is not None
            os.symlink(target, staged, dir_fd=folder)
            self._take_place(folder, staged, name, seen)

    def remove(self, path: str, seen: Found) -> None:
        """Remove the file or link at a path, which still is as it was `seen`, and the folders that it leaves empty. OSError, InTheWay."""
        *folders, name = path.split("/")
        with self._inside(folders, make=False) as folder:
            if folder is None:
                return
            self._check_unchanged(folder, name, seen)
            os.unlink(name, dir_fd=folder)
        for depth in range(len(folders), 0, -1):
            with self._inside(folders[: depth - 1], make=False) as above:
                try:
                    os.rmdir(folders[depth - 1], dir_fd=above)
                except OSError:
                    return

    def _take_place(self, folder: int, staged: str, name: str, seen: Found) -> None:
        self._check_unchanged(folder, name, seen)
        if seen.status is None:
            try:
                os.link(
                    staged, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False
                )  # fails where a name appeared meanwhile
                return
            except FileExistsError:
                raise InTheWay("it appeared in this moment") from None
            except OSError:  # a file system without hard links
                self._check_unchanged(folder, name, seen)
        os.rename(staged, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _check_unchanged(self, folder: int, name: str, seen: Found) -> None:
        try:
            now = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            if seen.status is None:
                return
            raise InTheWay("it was removed in this moment") from None
        if seen.status is None:
            raise InTheWay("it appeared in this moment")
        if _identity(now) != _identity(seen.status):
            raise InTheWay("it was changed in this moment")

    @contextlib.contextmanager
    def _staged(self, folder: int | None, name: str) -> Iterator[str]:
        staged = f"{_STAGED}{secrets.token_hex(6)}"
        try:
            yield staged
        finally:
            with contextlib.suppress(OSError):
                os.unlink(staged, dir_fd=folder)

    @contextlib.contextmanager
    def _inside(self, folders: list[str], *, make: bool) -> Iterator[int | None]:
        """Give the folder that `folders` lead to; None when it is missing and not to be made."""
        here = os.dup(self._root)
        try:
            for depth, name in enumerate(folders):
                if name in ("", ".", ".."):
                    raise InTheWay("its path leaves the folder")
                try:
                    below = self._enter(here, name, make=make)
                except OSError as error:
                    if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                        raise
                    raise InTheWay(_what_blocks(here, name, "/".join(folders[: depth + 1]))) from None
                if below is None:
                    yield None
                    return
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    def _enter(self, here: int, name: str, *, make: bool) -> int | None:
        try:
            return os.open(name, _FOLDER, dir_fd=here)
        except FileNotFoundError:
            if not make:
                return None
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=here)
        return os.open(name, _FOLDER, dir_fd=here)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _what_blocks(folder: int, name: str, path: str) -> str:
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError:
        return f"{path} is no folder"
    return f"{path} is a link to {target}, and links are not followed"
