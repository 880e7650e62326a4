"""Which files a kernel opens for writing or for reading, moves and removes, noted from inside it by an audit hook.

It is used when several steps run at once on one clone, to tell them apart; what programs and compiled libraries do is not seen. The
kernel host imports this before it forks: standard library only.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {
    "os.rename": 2, "os.remove": 1, "os.truncate": 1, "os.link": 2, "os.symlink": 2, "os.chmod": 1, "sqlite3.connect": 1,
}  # fmt: skip
"""Events that name files which change, and how many of their first arguments are such."""
_END = b"\0"
_READ = b"<"
"""What is put before a path that was read; all paths begin with a slash."""
_ELSEWHERE = ("/usr/", "/lib", "/proc/", "/sys/", "/dev/", "/etc/", sys.prefix + "/", sys.base_prefix + "/")
"""Where files are that are read all the time and that no step writes."""


def note_writes(descriptor: int) -> None:
    """From now on write each path that this process writes to or reads, once for each, to a descriptor."""
    known: dict[bytes, set[Any]] = {b"": set(), _READ: set()}

    def note(path: Any, mark: bytes = b"") -> None:
        if isinstance(path, os.PathLike):
            path = os.fspath(path)
        if not isinstance(path, str | bytes) or path in known[mark]:
            return
        known[mark].add(path)
        if not mark or not os.fsdecode(path).startswith(_ELSEWHERE):
            os.write(descriptor, mark + os.path.realpath(os.fsencode(path)) + _END)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        try:
            if event == "open":
                path, _, flags = args
                if isinstance(flags, int):
                    note(path, b"" if flags & _WRITING else _READ)
            elif event in _PATHS:
                for path in args[: _PATHS[event]]:
                    note(path)
        except Exception:  # noqa: BLE001 - never in the way of what the user does
            pass

    sys.addaudithook(hook)


def read_writes(path: str | os.PathLike[str]) -> set[str]:
    """Return the paths that were noted so far as written to."""
    return {os.fsdecode(part) for part in _parts(path) if not part.startswith(_READ)}


def read_reads(path: str | os.PathLike[str]) -> set[str]:
    """Return the paths that were noted so far as read."""
    return {os.fsdecode(part[len(_READ) :]) for part in _parts(path) if part.startswith(_READ)}


def _parts(path: str | os.PathLike[str]) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return [part for part in file.read().split(_END) if part]
    except FileNotFoundError:
        return []
