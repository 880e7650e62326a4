"""How one tree of files differs from another: two snapshots, or a snapshot and a folder by now."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from kale_nb.volumes.cloning import aim_in_clone
from kale_nb.volumes.copying import hash_of
from kale_nb.volumes.manifest import Header, sorted_paths
from kale_nb.volumes.model import Changes, Entry, Policy
from kale_nb.volumes.scan import scan
from kale_nb.volumes.trees import Tree


def changes_between(before: Iterable[Entry], after: Iterable[Entry]) -> Changes:
    """Return how one list of entries differs from another."""
    old = {entry.path: entry for entry in before if entry.kind != "folder"}
    new = {entry.path: entry for entry in after if entry.kind != "folder"}
    changed = [path for path, entry in new.items() if path in old and _facts(old[path]) != _facts(entry)]
    return _told([path for path in new if path not in old], changed, [path for path in old if path not in new])


def changes_in(
    header: Header,
    entries: Iterable[Entry],
    folder: Path,
    policy: Policy,
    exclude: frozenset[str],
    *,
    user: bool,
    since: float | None = None,
) -> Changes:
    """Return how a folder differs from a snapshot; files are read only where size or time differ.

    Args:
        since: when the folder was made, seconds since the epoch: a file whose status changed later is read whatever its time says, for that
            can be set back.
    """
    found = scan(folder, policy, exclude=exclude, user=user, refuse_mounts=False)
    old = {entry.path: entry for entry in entries if entry.kind != "folder"}
    created = [path for path in (*found.files, *found.links) if path not in old]
    changed, deleted = [], []
    with Tree(folder) as tree:
        for path, entry in old.items():
            status = found.files.get(path)
            if status is None and path not in found.links:
                deleted.append(path)
            elif status is None:
                if entry.kind != "link" or not _same_aim(tree, entry, header, folder):
                    changed.append(path)
            elif entry.kind == "link" or not _same_file(tree, entry, status, since):
                changed.append(path)
    return _told(created, changed, deleted)


def _facts(entry: Entry) -> tuple[object, ...]:
    return entry.kind, entry.mode, entry.sha256, entry.target


def _same_file(tree: Tree, entry: Entry, status: os.stat_result, since: float | None) -> bool:
    if status.st_mode & 0o1777 != entry.mode or status.st_size != entry.size:
        return False
    untouched = since is None or status.st_ctime < since
    return (untouched and status.st_mtime_ns == entry.mtime_ns) or _content(tree, entry.path) == entry.sha256


def _same_aim(tree: Tree, entry: Entry, header: Header, folder: Path) -> bool:
    try:
        aim = tree.readlink(entry.path)
    except OSError:
        return False
    return aim in (entry.target, aim_in_clone(entry.target, entry.path, header.source, os.fspath(folder)))


def _content(tree: Tree, path: str) -> str:
    """Return the sha256 of a file, nothing when it went meanwhile or cannot be read."""
    try:
        fd = tree.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return hash_of(fd, os.fstat(fd))[0]
    except OSError:
        return ""
    finally:
        os.close(fd)


def _told(created: list[str], changed: list[str], deleted: list[str]) -> Changes:
    return Changes(
        created=tuple(sorted_paths(created)), changed=tuple(sorted_paths(changed)), deleted=tuple(sorted_paths(deleted))
    )
