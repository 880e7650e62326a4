"""The stat cache: files whose status is as it was when they were hashed need not be read again. Only a cache: without it all is read.

A row is trusted when size, times, inode and permission bits are the same, and only if the file had last changed well before it was hashed:
a second change within one tick of the clock would leave no trace (git's rule for racy entries).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from kale_nb.volumes.locks import Staging

_FORMAT = 1
_TICK = 20_000_000
"""Nanoseconds within which two changes may get the same time: the clock of file times moves every 1 to 10 ms."""
_COARSE = 2_000_000_000
"""The same where file times are whole seconds."""

Row = list[object]
"""mtime, ctime (0 when not to be trusted), size, inode, mode, sha256."""


class StatCache:
    """What is known of the files of one folder.

    Attributes:
        epoch: the state of the store's objects that the rows were written for.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        import hashlib

        self.file = folder / f"{hashlib.sha256(os.fsencode(source)).hexdigest()[:32]}.json"
        self.source = os.fspath(source)
        self.rows: dict[str, Row] = {}
        self.epoch = ""
        try:
            told = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return
        if isinstance(told, dict) and told.get("format") == _FORMAT and told.get("source") == self.source:
            self.rows, self.epoch = told["rows"], told["epoch"]

    def save(self, rows: dict[str, Row], epoch: str, staging: Staging) -> None:
        """Write the cache."""
        told = {"format": _FORMAT, "source": self.source, "epoch": epoch, "rows": rows}
        staging.write(json.dumps(told, separators=(",", ":")).encode("ascii"), self.file)


def sweep_caches(folder: Path) -> None:
    """Remove the caches of folders that are no more, such as clones that were taken after a step."""
    for file in sorted(folder.glob("*.json")):
        try:
            source = json.loads(file.read_bytes())["source"]
        except (OSError, ValueError, KeyError, TypeError):
            source = ""
        if not os.path.isdir(source):
            file.unlink(missing_ok=True)


def row_of(status: os.stat_result, sha256: str, now: int, *, trusted: bool = True) -> Row:
    """Return the row of a file.

    Args:
        now: when the hashing began, by the clock of the file system.
        trusted: nobody can change the file without changing its times.
    """
    known = trusted and settled(status, now)
    return [status.st_mtime_ns, status.st_ctime_ns if known else 0, status.st_size, status.st_ino, status.st_mode, sha256]


def settled(status: os.stat_result, now: int) -> bool:
    """Tell whether a file last changed so long before `now` that every change since then has given it another time."""
    return status.st_ctime_ns < now - (_TICK if status.st_ctime_ns % 1_000_000_000 else _COARSE)


def matches(row: Row, status: os.stat_result) -> bool:
    """Tell whether the file is certainly as it was."""
    return (
        row[1] == status.st_ctime_ns
        and row[0] == status.st_mtime_ns
        and row[2] == status.st_size
        and row[3] == status.st_ino
        and row[4] == status.st_mode
    )
