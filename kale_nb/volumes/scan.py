"""Look over a workspace before anything is copied: what to take, what to leave out, and whether it is too much.

The scan goes level by level, so that when it stops early the largest entries it names come from all over the workspace.
"""

from __future__ import annotations

import collections
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.sizes import size
from kale_nb.volumes.environments import fingerprint
from kale_nb.volumes.ignore import IGNORE_FILE, ignored_always, is_environment, user_rules
from kale_nb.volumes.model import Policy
from kale_nb.volumes.mounts import mounts_inside
from kale_nb.volumes.trees import Tree


@dataclass(slots=True, kw_only=True)
class Scan:
    """What a workspace holds, paths relative to it, each folder before what is in it, with the status of each.

    Attributes:
        size: bytes of the files as their length tells.
        allocated: bytes that the files take on disk (less than `size` for sparse files).
        skipped: what is left out by rule, `path: reason`.
        special: what no snapshot can hold, `path: reason`; also in `skipped`.
        environments: Python environments left out: path, kind, and what tells one set of installed distributions from another.
    """

    folders: dict[str, os.stat_result] = field(default_factory=dict)
    files: dict[str, os.stat_result] = field(default_factory=dict)
    links: dict[str, os.stat_result] = field(default_factory=dict)
    size: int = 0
    allocated: int = 0
    skipped: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    environments: list[tuple[str, str, str]] = field(default_factory=list)
    largest: collections.Counter[str] = field(default_factory=collections.Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    ignored: Callable[[str], bool] | None
    excluded: frozenset[str]
    mounts: frozenset[str]
    environments: bool


def scan(
    source: Path, policy: Policy, *, exclude: frozenset[str] = frozenset(), user: bool = True, refuse_mounts: bool = True
) -> Scan:
    """Return what a snapshot of `source` takes.

    Args:
        exclude: relative paths that are left out without a word.
        refuse_mounts: what is mounted inside is an error; otherwise it is looked into like any folder.
        user: honour `.kaleignore` and the policy's patterns.

    Raises:
        VolumeError: not a folder, a folder that cannot be listed, another file system mounted inside, or more than the policy allows
            (told as soon as it is known).
    """
    rules = _Rules(
        ignored=user_rules(source, policy.ignore) if user else None,
        excluded=exclude,
        mounts=mounts_inside(source) if refuse_mounts else frozenset(),
        environments=policy.environments,
    )
    found = Scan()
    with _root(source) as tree:
        waiting = collections.deque([""])
        while waiting:
            _look_into(tree, waiting.popleft(), rules, found, waiting)
            if found.size > policy.max_bytes or len(found.files) + len(found.links) > policy.max_files:
                _refuse(source, found, policy)
    found.skipped.sort()
    return found


def _root(source: Path) -> Tree:
    try:
        return Tree(source)
    except FileNotFoundError as error:
        raise VolumeError(f"the workspace {source} does not exist") from error
    except NotADirectoryError as error:
        raise VolumeError(f"the workspace {source} is not a folder") from error
    except OSError as error:
        raise unreadable(os.fspath(source), ".", error) from error


def _look_into(tree: Tree, folder: str, rules: _Rules, found: Scan, waiting: collections.deque[str]) -> None:
    """Take what is in one folder and queue its folders."""
    try:
        fd = tree.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return  # removed since it was seen
    except OSError as error:
        raise unreadable(folder or ".", folder or ".", error) from error
    try:
        with os.scandir(fd) as listing:
            entries = list(listing)
        if folder:
            if not rules.environments and is_environment(entry.name for entry in entries):
                found.environments.append(fingerprint(fd, folder))
                found.skipped.append(f"{folder}: a Python environment")
                return
            if folder in rules.mounts:
                raise _mounted(folder)
            found.folders[folder] = os.fstat(fd)
        _take(entries, f"{folder}/" if folder else "", rules, found, waiting)
    except OSError as error:
        raise unreadable(folder or ".", folder or ".", error) from error
    finally:
        os.close(fd)


def _take(entries: list[os.DirEntry[str]], prefix: str, rules: _Rules, found: Scan, waiting: collections.deque[str]) -> None:
    files, ignored, excluded, mounts = found.files, rules.ignored, rules.excluded, rules.mounts
    size = allocated = 0
    for entry in entries:
        name = entry.name
        path = prefix + name
        is_folder = entry.is_dir(follow_symlinks=False)
        if ignored_always(name, is_folder=is_folder):
            if is_folder:
                found.skipped.append(f"{path}: never copied")
            continue
        if path in excluded:
            continue
        if ignored is not None and ignored(path + "/" if is_folder else path):
            found.skipped.append(f"{path}: {IGNORE_FILE}")
            continue
        if is_folder:
            waiting.append(path)
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            if path in mounts:
                raise _mounted(path)
            files[path] = status
            size += status.st_size
            allocated += min(status.st_size, status.st_blocks * 512)
            found.largest[path.split("/", 1)[0]] += status.st_size
        elif kind == stat.S_IFLNK:
            found.links[path] = status
        else:
            found.special.append(f"{path}: {_KINDS.get(kind, 'not a file')}")
            found.skipped.append(found.special[-1])
    found.size += size
    found.allocated += allocated


def _mounted(path: str) -> VolumeError:
    return VolumeError(
        f"{printable(path)} in the workspace is a mount of its own, which a snapshot would silently take or miss",
        hint=f"declare it as a data volume, or leave it out with a line `/{printable(path)}` in {IGNORE_FILE}",
    )


SPECIAL = (": a named pipe", ": a socket", ": a device", ": not a file")
"""How the lines end that tell of what no snapshot can hold."""
_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


def unreadable(path: str, shown: str, error: OSError) -> VolumeError:
    """Return the error for something in the workspace that cannot be read."""
    return VolumeError(
        f"cannot read {printable(path)} in the workspace: {error.strerror or error}",
        hint=f"make it readable, or leave it out with a line `{printable(shown)}` in {IGNORE_FILE}",
    )


def printable(path: str) -> str:
    """Return a path for a message: control characters and bytes that are no text are escaped.

    >>> printable("a\\nb"), printable("größe")
    ('a\\\\nb', 'größe')
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in path
    )


def _refuse(source: Path, found: Scan, policy: Policy) -> None:
    """Raise the error for a workspace that is too large."""
    count = len(found.files) + len(found.links)
    if found.size > policy.max_bytes:
        reason = f"it holds {size(found.size)} or more, and at most {size(policy.max_bytes)} are copied"
    else:
        reason = f"it holds {count:,} files or more, and at most {policy.max_files:,} are copied"
    largest = ", ".join(f"{printable(name)} ({size(length)})" for name, length in _largest(found))
    raise VolumeError(
        f"the workspace {source} is too large to copy: {reason}. Largest so far: {largest}",
        hint=f"leave what the steps do not need out in {IGNORE_FILE} (gitignore syntax), name a smaller folder with --workspace, "
        "or raise the limit with --max-workspace-size",
    )


def _largest(found: Scan) -> Iterator[tuple[str, int]]:
    yield from found.largest.most_common(5)
