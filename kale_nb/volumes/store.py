"""The plain volume store: a clone is a copy made straight from the workspace."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.volumes.copying import Copier
from kale_nb.volumes.model import Clone, Policy, Snapshot
from kale_nb.volumes.scan import Scan, human_size, printable, scan, unreadable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SLACK = 0.02
"""Share of the files' size that a copy may take on top, for folders and what file systems reserve."""


class CopyStore:
    """A VolumeStore whose snapshots are only a list of what is there and whose clones are full copies.

    The workspace must stand still between `snapshot` and the end of `clone`: files that vanish in between are left out. The
    destination may lie in a folder of the workspace that is never copied, such as `.kale/`.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy if policy is not None else Policy()
        self._last: tuple[Snapshot, Scan] | None = None

    def snapshot(self, source: Path) -> Snapshot:
        """Look over `source`. VolumeError when it is too large, not a folder, or has a folder that cannot be listed."""
        source = Path(os.path.abspath(source))
        found = scan(source, self._policy)
        made = Snapshot(
            source=source,
            files=len(found.files) + len(found.links),
            size=found.size,
            skipped=tuple(printable(line) for line in found.skipped),
        )
        self._last = (made, found)
        return made

    def clone(self, snapshot: Snapshot, destination: Path) -> Clone:
        """Copy the workspace to `destination`, which must not exist. VolumeError leaves nothing there."""
        started = time.monotonic()
        destination = Path(os.path.abspath(destination))
        found = self._last[1] if self._last is not None and self._last[0] is snapshot else scan(snapshot.source, self._policy)
        if os.path.lexists(destination):
            raise VolumeError(f"{destination} exists already")
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            _check_room(found, snapshot.source, destination.parent)
            staging = destination.parent / f".{destination.name}.{secrets.token_hex(4)}"
            staging.mkdir(mode=0o700)
        except OSError as error:
            raise _cannot_write(destination, error) from error
        try:
            _fill(found, snapshot.source, staging, destination)
            os.rename(staging, destination)
        except OSError as error:
            raise _cannot_write(destination, error) from error
        finally:
            remove_tree(staging)
        return Clone(path=destination, snapshot=snapshot, seconds=time.monotonic() - started)


def remove_tree(path: Path) -> None:
    """Remove a folder of ours and all in it, also folders without write permission; nothing happens when it is not there."""

    def reopen(function: object, name: str, error: BaseException) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700, follow_symlinks=not os.path.islink(name))
        with contextlib.suppress(OSError):
            if os.path.isdir(name) and not os.path.islink(name):
                shutil.rmtree(name, ignore_errors=True)
            else:
                os.unlink(name)

    if os.path.lexists(path):
        import sys

        if sys.version_info >= (3, 12):
            shutil.rmtree(path, onexc=reopen)
        else:
            shutil.rmtree(path, onerror=lambda function, name, info: reopen(function, name, info[1]))


def _fill(found: Scan, source: Path, staging: Path, destination: Path) -> None:
    origin, target = os.fspath(source), os.fspath(staging)
    for folder in found.folders:
        os.mkdir(os.path.join(target, folder), 0o700)
    copier = Copier()
    for name in found.files:
        path = os.path.join(origin, name)
        try:
            copier.copy(path, os.path.join(target, name))
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.filename == path:
                raise unreadable(path, name, error) from error
            raise
    for name in found.links:
        _copy_link(origin, target, name, os.fspath(destination))
    for folder in reversed([".", *found.folders]):
        with contextlib.suppress(FileNotFoundError):
            _copy_status(os.path.join(origin, folder), os.path.join(target, folder))


def _copy_link(origin: str, target: str, name: str, destination: str) -> None:
    path = os.path.join(origin, name)
    try:
        aim = os.readlink(path)
    except OSError:
        return
    made = os.path.join(target, name)
    os.symlink(_aim_in_clone(aim, name, origin, destination), made)
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _aim_in_clone(aim: str, name: str, origin: str, destination: str) -> str:
    """Return where a link of the workspace must point to in the clone to mean the same.

    >>> _aim_in_clone("/ws/data/x", "link", "/ws", "/clone")
    '/clone/data/x'
    >>> _aim_in_clone("../shared/x", "link", "/ws", "/clone")
    '/shared/x'
    >>> _aim_in_clone("data/x", "link", "/ws", "/clone")
    'data/x'
    """
    if os.path.isabs(aim):
        for root in (origin, os.path.realpath(origin)):
            if aim == root or aim.startswith(root.rstrip("/") + "/"):
                return destination + aim[len(root.rstrip("/")) :]
        return aim
    inside = os.path.normpath(os.path.join(os.path.dirname(name), aim))
    if inside == ".." or inside.startswith("../"):
        return os.path.normpath(os.path.join(origin, inside))
    return aim


def _copy_status(origin: str, target: str) -> None:
    status = os.stat(origin)
    os.chmod(target, stat.S_IMODE(status.st_mode) & 0o1777)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _check_room(found: Scan, source: Path, folder: Path) -> None:
    """Raise VolumeError when the copy would not fit, unless the file system shares blocks between files."""
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    need = int(found.allocated * (1 + _SLACK)) + 4096 * (len(found.files) + len(found.folders))
    if free >= need or (found.files and _shares_blocks(source, found.files, folder)):
        return
    raise VolumeError(
        f"not enough disk space for a copy of the workspace: it needs {human_size(need)} and {human_size(free)} are free in {folder}",
        hint="free some space (old runs are in .kale/runs), or leave files out in .kaleignore",
    )


def _shares_blocks(source: Path, names: list[str], folder: Path) -> bool:
    probe = os.path.join(folder, f".probe.{secrets.token_hex(4)}")
    copier = Copier()
    try:
        reader = os.open(source / names[0], os.O_RDONLY | os.O_CLOEXEC)
        try:
            writer = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                return copier.share(reader, writer)
            finally:
                os.close(writer)
                os.unlink(probe)
        finally:
            os.close(reader)
    except OSError:
        return False


def _cannot_write(destination: Path, error: OSError) -> VolumeError:
    if error.errno in _FULL:
        return VolumeError(
            f"the disk is full: the workspace could not be copied to {destination}", hint="free some space and run again"
        )
    return VolumeError(f"the workspace could not be copied to {destination}: {error.strerror or error}")
