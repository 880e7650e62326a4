"""What each run takes on the disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kale_nb.results.kept import all_snapshots
from kale_nb.runs.events import State
from kale_nb.runs.record import RunRecord

PINNED = "pinned"
"""A file of this name in a run's folder keeps the run from being removed."""

CLONES = ("work", "volumes", "marshal")
"""Folders of a run that hold its volumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What a run takes, in bytes on the disk; blocks that files share count for each of them.

    Attributes:
        clones: its volumes' clones.
        values: what its steps passed on.
        rest: record, notebooks, logs.
        snapshots: the part of its snapshots that no other snapshot needs, not counting any twice.
        live: it runs.
        pinned: it is to be kept, by itself or because a snapshot that it needs is pinned.
    """

    record: RunRecord
    clones: int
    values: int
    rest: int
    snapshots: int = 0
    live: bool = False
    pinned: bool = False

    @property
    def total(self) -> int:
        """All of its folder."""
        return self.clones + self.values + self.rest


def weigh(record: RunRecord, alone: dict[str, int], pins: frozenset[str] = frozenset()) -> Weight:
    """Return what a run takes. `alone`: for each snapshot what only it needs; `pins`: the pinned ones."""
    snapshots = all_snapshots(record)
    directory = record.directory
    clones = disk_usage(directory / name for name in CLONES)
    values = disk_usage(value_files(directory))
    return Weight(
        record=record,
        clones=clones,
        values=values,
        rest=max(0, disk_usage([directory]) - clones - values),
        snapshots=sum(alone.get(snapshot, 0) for snapshot in snapshots),
        live=is_live(record),
        pinned=is_pinned(record, pins),
    )


def value_files(directory: Path) -> list[Path]:
    """Return the files that hold the values which the steps of a run passed on; the facts on these are in files of their own."""
    return [folder / "values.bin" for folder in value_folders(directory) if _is_kind(folder / "values.bin", stat.S_ISREG)]


def value_folders(directory: Path) -> list[Path]:
    """Return the folders of the values that steps passed on; none that a link leads to, for what is there is not the run's."""
    data = directory / "data"
    try:
        steps = sorted(os.listdir(data)) if _is_kind(data, stat.S_ISDIR) else []
    except OSError:
        return []
    return [
        data / s / "values" for s in steps if _is_kind(data / s, stat.S_ISDIR) and _is_kind(data / s / "values", stat.S_ISDIR)
    ]


def _is_kind(path: Path, test: Callable[[int], bool]) -> bool:
    try:
        return test(os.lstat(path).st_mode)
    except OSError:
        return False


def is_live(record: RunRecord) -> bool:
    """Tell whether a run is not over."""
    return record.state in (State.PENDING, State.RUNNING)


def is_pinned(record: RunRecord, pins: frozenset[str]) -> bool:
    """Tell whether a run is to be kept."""
    return (record.directory / PINNED).exists() or bool(pins & all_snapshots(record))


def disk_usage(paths: Iterable[Path]) -> int:
    """Return the bytes that files and folders take on the disk, links not followed; what is not there takes none."""
    total = 0
    waiting = [os.fspath(path) for path in paths]
    while waiting:
        path = waiting.pop()
        try:
            status = os.lstat(path)
            total += status.st_blocks * 512
            if not stat.S_ISDIR(status.st_mode):
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total
