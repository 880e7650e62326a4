"""Which files a kernel opens for writing or for reading, moves and removes, noted from inside it by an audit hook.

It is used to tell apart steps of which neither follows the other; what programs and compiled libraries do is not seen. The kernel host
imports this before it forks: standard library only.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FILE, _ENTRY, _TREE, _READ, _LISTED = b"=", b"-", b"/", b"<", b"*"
"""What is put before each path: what the path leads to was written, the path itself was (it came, went or leads elsewhere), it came or went
with all that is below it, it was read, it is a folder that was listed."""
_EVENTS = {
    "os.truncate": (_FILE, ((0, None),)),
    "os.chmod": (_FILE, ((0, 2),)),
    "os.utime": (_FILE, ((0, 3),)),
    "sqlite3.connect": (_FILE, ((0, None),)),
    "os.remove": (_ENTRY, ((0, 1),)),
    "os.symlink": (_ENTRY, ((1, 2),)),
    "os.link": (_ENTRY, ((0, 2), (1, 3))),
    "os.rename": (_TREE, ((0, 2), (1, 3))),
    "shutil.rmtree": (_TREE, ((0, 1),)),
    "os.listdir": (_LISTED, ()),
    "os.scandir": (_LISTED, ()),
    "os.chdir": (_ENTRY, ()),
}
"""Events that tell of files other than by opening them: which arguments are paths, and which the descriptors of the folders that these
start from."""
_MOVING = ("os.chdir", "os.rename", "os.symlink")
"""Events after which a path may lead to another file than before."""
_IMPORTERS = ("importlib", "pkg_resources", "pkgutil")
"""Parts of the names of files that list the folders of `sys.path`, such as the current one, for modules and distributions."""
_END = b"\0"
_ELSEWHERE = ("/usr/", "/lib", "/proc/", "/sys/", "/dev/", "/etc/", sys.prefix + "/", sys.base_prefix + "/")
"""Where files are that are read all the time and that no step writes."""
_MOST_LINKS = 40
"""As many links as Linux follows on the way to a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Paths that a kernel noted, absolute; only their last part may be a link.

    Attributes:
        moved: came or went, and if they are folders, with all that is below them.
    """

    written: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()


def note_writes(descriptor: int) -> None:
    """From now on write each path that this process writes to or reads, once for each, to a descriptor."""
    known: dict[bytes, set[str | bytes]] = {mark: set() for mark in (_FILE, _ENTRY, _TREE, _READ, _LISTED)}
    told: set[bytes] = set()

    def note(mark: bytes, path: Any, folder: int | None = None) -> None:
        if isinstance(path, os.PathLike):
            path = os.fspath(path)
        if not isinstance(path, str | bytes):
            return
        if folder is None or folder < 0:
            if path in known[mark]:
                return
            known[mark].add(path)
        if mark not in (_READ, _LISTED) or not os.fsdecode(path).startswith(_ELSEWHERE):
            records = _records(mark, _absolute(os.fsencode(path), folder))
            if records not in told:
                told.add(records)
                os.write(descriptor, records)

    def take(event: str, args: tuple[Any, ...]) -> None:
        mark, paths = _EVENTS[event]
        for path, folder in paths:
            note(mark, args[path], None if folder is None else args[folder])
        if mark is _LISTED and not _is_importer(sys._getframe(2).f_code.co_filename):
            note(_LISTED, *_listed(args[0]))
        if event in _MOVING:
            for given in known.values():
                given.clear()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        try:
            if event == "open":
                path, _, flags = args
                if isinstance(flags, int):
                    note(_FILE if flags & _WRITING else _READ, path)
            elif event in _EVENTS:
                take(event, args)
        except Exception:  # noqa: BLE001 - never in the way of what the user does
            pass

    sys.addaudithook(hook)


def _is_importer(file: str) -> bool:
    return any(name in file for name in _IMPORTERS)


def _listed(folder: Any) -> tuple[Any, int | None]:
    """Return which folder is listed, as a path and the descriptor of a folder that it starts from."""
    if isinstance(folder, int):
        return ".", folder
    return ("." if folder is None else folder), None


def _absolute(path: bytes, folder: int | None) -> bytes:
    """Return a path from the root; a relative one starts from the folder that a descriptor stands for, or from the current one."""
    start = os.getcwdb() if folder is None or folder < 0 else os.readlink(b"/proc/self/fd/%d" % folder)
    return os.path.join(start, path)


def _records(mark: bytes, path: bytes) -> bytes:
    """Return what is noted of a path: itself, and that the links which it leads over were read."""
    if mark in (_ENTRY, _TREE):
        parent, name = os.path.split(path.rstrip(b"/"))
        folder, links = _resolve(parent)
        real = folder + b"/" + name
    else:
        real, links = _resolve(path)
    return b"".join([*(_READ + link + _END for link in links), mark + real + _END])


def _resolve(path: bytes) -> tuple[bytes, list[bytes]]:
    """Return an absolute path without links, and the links that it led over."""
    here = b""
    links: list[bytes] = []
    parts = path.split(b"/")[::-1]
    while parts:
        name = parts.pop()
        if name == b"..":
            here = here.rpartition(b"/")[0]
        elif name not in (b"", b"."):
            there = here + b"/" + name
            try:
                target = os.readlink(there) if len(links) < _MOST_LINKS else b""
            except OSError:
                target = b""
            if target:
                links.append(there)
                parts += target.split(b"/")[::-1]
                there = b"" if target.startswith(b"/") else here
            here = there
    return here, links


def read_notes(path: str | os.PathLike[str]) -> Notes:
    """Return what was noted so far."""
    paths: dict[bytes, set[str]] = defaultdict(set)
    for record in _whole(path):
        paths[record[:1]].add(os.fsdecode(record[1:]))
    return Notes(
        written=frozenset(paths[_FILE] | paths[_ENTRY]),
        moved=frozenset(paths[_TREE]),
        read=frozenset(paths[_READ]),
        listed=frozenset(paths[_LISTED]),
    )


def _whole(path: str | os.PathLike[str]) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().split(_END)[:-1]
    except FileNotFoundError:
        return []
