"""Make a writable folder from a snapshot: every file new, none shared with the store but by blocks that are copied on the first write."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.sizes import size
from kale_nb.volumes import subvolumes
from kale_nb.volumes.copying import Copier
from kale_nb.volumes.locks import Staging
from kale_nb.volumes.manifest import Header
from kale_nb.volumes.model import Entry, Mechanism, Snapshot
from kale_nb.volumes.objects import Objects
from kale_nb.volumes.scan import printable
from kale_nb.volumes.trees import Tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_INODE = 512
"""Bytes that describing a file takes, near enough."""


_SLACK = 0.02
"""Share of the files' size that a clone may take on top, for folders and what file systems reserve."""


Entries = Sequence[Entry]


class Damaged(VolumeError):
    """A snapshot needs content that the store has no more, or not as it was."""


def fill(tree: Tree, header: Header, entries: Entries, objects: Objects, *, seen_at: str) -> tuple[int, Mechanism]:
    """Put a snapshot's entries into an empty folder.

    Args:
        seen_at: where the clone will be seen; absolute links into the workspace, and relative ones out of it, are made to mean the same
            from there.

    Returns:
        Bytes taken on the disk, near enough, and how the files were made.

    Raises:
        VolumeError: an object is missing, cut short, or was written to.
        OSError: the folder cannot be written.
    """
    copier = Copier()
    umask = _umask()
    taken = 0
    shared = None
    for entry in entries:
        try:
            if entry.kind == "file":
                blocks = _put_file(tree, entry, objects, copier, umask)
                shared = blocks if shared is None and entry.size else shared
                taken += _INODE if blocks else _INODE + entry.size
            elif entry.kind == "folder":
                with tree.reach(entry.path) as (fd, name):
                    os.mkdir(name, 0o700, dir_fd=fd)
            else:
                _put_link(tree, entry, header.source, seen_at)
        except FileExistsError as error:
            raise _one_name_twice(entry) from error
    for entry in reversed(entries):
        if entry.kind == "folder":
            with tree.reach(entry.path) as (fd, name):
                os.chmod(name, entry.mode, dir_fd=fd)
                os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd)
    return taken, "reflink" if shared else "copy"


def _one_name_twice(entry: Entry) -> VolumeError:
    return VolumeError(
        f"{printable(entry.path)} and another name of the snapshot are one name to the file system of the clone, most likely because "
        "it takes upper and lower case for the same",
        hint="rename one of them",
    )


def _put_file(tree: Tree, entry: Entry, objects: Objects, copier: Copier, umask: int) -> bool:
    """Make one file; True when it shares its blocks with the object."""
    writer = tree.open(entry.path, _CREATE, entry.mode)
    try:
        shared = False
        if entry.size:
            shared = _put_content(writer, entry, objects, copier)
        if entry.mode & umask or entry.mode & 0o7000:
            os.fchmod(writer, entry.mode)
        os.utime(writer, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(writer)
    return shared


def _put_content(writer: int, entry: Entry, objects: Objects, copier: Copier) -> bool:
    try:
        reader = objects.open(entry.sha256)
    except FileNotFoundError as error:
        raise _damaged(entry, "missing") from error
    try:
        status = os.fstat(reader)
        if status.st_size != entry.size:
            raise _damaged(entry, f"{status.st_size} bytes long, not {entry.size},")
        if not objects.trusts(entry.sha256, status):
            raise _damaged(entry, "no longer what it was")
        return copier.content(reader, writer, status)
    finally:
        os.close(reader)


def _damaged(entry: Entry, what: str) -> Damaged:
    return Damaged(
        f"the content of {printable(entry.path)} is {what} in the store ({entry.sha256[:12]}...)",
        hint="`kale snapshots verify` tells what else is damaged and heals what the workspace still holds",
    )


def _put_link(tree: Tree, entry: Entry, source: str, seen_at: str) -> None:
    with tree.reach(entry.path) as (fd, name):
        os.symlink(aim_in_clone(entry.target, entry.path, source, seen_at), name, dir_fd=fd)
        with contextlib.suppress(OSError, NotImplementedError):
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)


def aim_in_clone(aim: str, path: str, origin: str, seen_at: str) -> str:
    """Return where a link of the workspace must point to in the clone to mean the same.

    >>> aim_in_clone("/ws/data/x", "link", "/ws", "/clone")
    '/clone/data/x'
    >>> aim_in_clone("../shared/x", "link", "/ws", "/clone")
    '/shared/x'
    >>> aim_in_clone("data/x", "link", "/ws", "/clone")
    'data/x'
    >>> aim_in_clone("../shared/x", "link", "/ws", "/ws")
    '../shared/x'
    """
    if seen_at == origin:
        return aim
    if posixpath.isabs(aim):
        for root in (origin, os.path.realpath(origin)):
            bare = root.rstrip("/")
            if aim == root or aim.startswith(bare + "/"):
                return seen_at + aim[len(bare) :]
        return aim
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), aim))
    if inside == ".." or inside.startswith("../"):
        return posixpath.normpath(posixpath.join(origin, inside))
    return aim


def check_room(made: Snapshot, folder: Path, entries: Entries, objects: Objects) -> None:
    """Raise VolumeError when a clone would not fit, unless the file system shares blocks between files."""
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free >= made.size * (1 + _SLACK) + 4096 * len(entries):
        return
    files = [entry for entry in entries if entry.kind == "file" and entry.size]
    need = sum(min(entry.size, _allocated(objects, entry)) for entry in files) * (1 + _SLACK) + 4096 * len(entries)
    if free >= need or (files and _shares_blocks(objects, files[0], folder)):
        return
    raise VolumeError(
        f"not enough disk space for a clone of the workspace: it needs {size(int(need))} and {size(free)} are free in "
        f"{folder.parent}",
        hint="free some space (old runs are in .kale/runs), or leave files out in .kaleignore",
    )


def _allocated(objects: Objects, entry: Entry) -> int:
    status = objects.status(entry.sha256)
    return 0 if status is None else status.st_blocks * 512


def _shares_blocks(objects: Objects, entry: Entry, folder: Path) -> bool:
    probe = folder / ".probe"
    try:
        reader = objects.open(entry.sha256)
        try:
            writer = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                return Copier().share(reader, writer)
            finally:
                os.close(writer)
                os.unlink(probe)
        finally:
            os.close(reader)
    except OSError:
        return False


def _umask() -> int:
    """Return the bits that the system takes away from new files; all when it does not tell without changing them."""
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o777


def move_into_place(staged: Path, destination: Path) -> bool:
    """Give a finished folder its place; False when that is on another file system. VolumeError when something is there already."""
    try:
        os.rename(staged, destination)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise VolumeError(f"{destination} exists already") from error
        raise
    return True


def beside(destination: Path) -> Path:
    """Return a hidden name next to a destination."""
    return destination.parent / f".{destination.name[:200]}.{os.urandom(4).hex()}"


def subvolume_of(tree: Path, destination: Path, header: Header, entries: Entries, staging: Staging, *, seen_at: str) -> bool:
    """Make a clone as a writable snapshot of the subvolume `tree`; False where the destination is on another file system."""
    folder = beside(destination)
    staging.builds(folder)
    try:
        subvolumes.snapshot(tree, folder)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTTY):
            return False
        raise
    with Tree(folder) as clone:
        _aim_links(clone, header, entries, seen_at)
        os.fchmod(clone.fd, header.mode | 0o700)
    if not move_into_place(folder, destination):
        return False
    os.chmod(destination, header.mode)
    return True


def _aim_links(clone: Tree, header: Header, entries: Entries, seen_at: str) -> None:
    """Make the links of a clone point to where they mean the same, without a trace in their folders' times."""
    for entry in entries:
        if entry.kind != "link" or aim_in_clone(entry.target, entry.path, header.source, seen_at) == entry.target:
            continue
        folder = posixpath.dirname(entry.path)
        before = clone.stat(folder)
        with clone.reach(entry.path) as (fd, name):
            os.unlink(name, dir_fd=fd)
        _put_link(clone, entry, header.source, seen_at)
        with clone.reach(folder) as (fd, name):
            os.utime(name, ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=fd)
