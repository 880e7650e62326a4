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
from kale_nb.volumes.ignore import IGNORE_FILE, ignored_always, is_environment, user_rules
from kale_nb.volumes.model import Policy


@dataclass(slots=True, kw_only=True)
class Scan:
    """What a workspace holds, paths relative to it, each folder before what is in it.

    Attributes:
        size: bytes of the files as their length tells.
        allocated: bytes that the files take on disk (less than `size` for sparse files).
    """

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    size: int = 0
    allocated: int = 0
    skipped: list[str] = field(default_factory=list)
    largest: collections.Counter[str] = field(default_factory=collections.Counter)


def scan(source: Path, policy: Policy) -> Scan:
    """Return what a snapshot of `source` takes.

    Raises:
        VolumeError: not a folder, a folder that cannot be listed, or more than the policy allows (told as soon as it is known).
    """
    root = os.fspath(source)
    ignored = user_rules(source, policy.ignore)
    found = Scan()
    waiting = collections.deque([""])
    while waiting:
        folder = waiting.popleft()
        entries = _entries(root, folder)
        if folder:
            if is_environment(entry.name for entry in entries):
                found.skipped.append(f"{folder}: a Python environment")
                continue
            found.folders.append(folder)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if _left_out(entry, path, ignored, found):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                _take(entry, path, found)
        _check_limits(source, found, policy)
    return found


def _entries(root: str, folder: str) -> list[os.DirEntry[str]]:
    path = os.path.join(root, folder) if folder else root
    try:
        with os.scandir(path) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except FileNotFoundError as error:
        if folder:
            return []  # removed since it was seen
        raise VolumeError(f"the workspace {path} does not exist") from error
    except NotADirectoryError as error:
        raise VolumeError(f"the workspace {path} is not a folder") from error
    except OSError as error:
        raise unreadable(path, folder or ".", error) from error


def _left_out(entry: os.DirEntry[str], path: str, ignored: Callable[[str], bool] | None, found: Scan) -> bool:
    is_folder = entry.is_dir(follow_symlinks=False)
    if ignored_always(entry.name, is_folder=is_folder):
        if is_folder:
            found.skipped.append(f"{path}: never copied")
        return True
    if ignored is not None and ignored(path + "/" if is_folder else path):
        found.skipped.append(f"{path}: {IGNORE_FILE}")
        return True
    return False


def _take(entry: os.DirEntry[str], path: str, found: Scan) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        found.links.append(path)
    elif stat.S_ISREG(status.st_mode):
        found.files.append(path)
        found.size += status.st_size
        found.allocated += min(status.st_size, status.st_blocks * 512)
        found.largest[path.split("/", 1)[0]] += status.st_size
    else:
        found.skipped.append(f"{path}: {_KINDS.get(stat.S_IFMT(status.st_mode), 'not a file')}")


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


def _check_limits(source: Path, found: Scan, policy: Policy) -> None:
    count = len(found.files) + len(found.links)
    if found.size <= policy.max_bytes and count <= policy.max_files:
        return
    if found.size > policy.max_bytes:
        reason = f"it holds {human_size(found.size)} or more, and at most {human_size(policy.max_bytes)} are copied"
    else:
        reason = f"it holds {count:,} files or more, and at most {policy.max_files:,} are copied"
    largest = ", ".join(f"{printable(name)} ({human_size(size)})" for name, size in _largest(found))
    raise VolumeError(
        f"the workspace {source} is too large to copy: {reason}. Largest so far: {largest}",
        hint=f"leave what the steps do not need out in {IGNORE_FILE} (gitignore syntax), name a smaller folder with --workspace, "
        "or raise the limit with --max-workspace-size",
    )


def _largest(found: Scan) -> Iterator[tuple[str, int]]:
    yield from found.largest.most_common(5)


def human_size(size: int) -> str:
    """Say a number of bytes for people.

    >>> human_size(512), human_size(4 * 1024**3)
    ('512 B', '4.0 GiB')
    """
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
