"""What keeps snapshots from being collected: pins, for good; leases, for as long as a process lives."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from kale_nb.process import Writer, is_gone, this_process

_UNFINISHED = ".tmp"
_OLD = 60.0
"""Seconds after which a lease that was being written is a dead process's."""


class Lease:
    """Keeps snapshots for a run: those named, and every one taken while the lease is held."""

    def __init__(self, file: Path, ids: Iterable[str]) -> None:
        self._file = file
        self._since = time.time()
        self._ids = set(ids)
        self._write()

    def add(self, id: str) -> None:
        """Keep one more snapshot."""
        self._ids.add(id)
        self._write()

    def end(self) -> None:
        """Let go."""
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        told = {"holder": asdict(this_process()), "since": self._since, "ids": sorted(self._ids)}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        staging = self._file.with_name(f"{self._file.name}.{os.getpid()}{_UNFINISHED}")
        staging.write_text(json.dumps(told), encoding="ascii")
        os.replace(staging, self._file)


def leased(folder: Path) -> tuple[set[str], float]:
    """Return the snapshots that living processes hold, and since when every new one is held; removes the leases of dead ones."""
    ids: set[str] = set()
    since = float("inf")
    for file in _files(folder):
        try:
            told = json.loads(file.read_bytes())
            holder = Writer(**told["holder"])
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, KeyError):
            file.unlink(missing_ok=True)  # cut short by a crash: whoever wrote it is gone
            continue
        if is_gone(holder):
            file.unlink(missing_ok=True)
            continue
        ids.update(told["ids"])
        since = min(since, told["since"])
    return ids, since


def sweep_unfinished(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote a lease."""
    with contextlib.suppress(OSError), os.scandir(folder) as listing:
        for entry in listing:
            if entry.name.endswith(_UNFINISHED) and entry.stat().st_mtime < time.time() - _OLD:
                os.unlink(entry.path)


def pinned(folder: Path) -> frozenset[str]:
    """Return the pinned snapshots."""
    return frozenset(file.name for file in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return iter(())
    return (folder / name for name in names if not name.endswith(_UNFINISHED))
