"""Keeping house: which runs go when there are too many, too large or too old, and removing them.

A run can go in two ways. Its *clones* can go, with the values that its steps passed on: the record, the executed notebooks, the logs, the
list of its files and its snapshots stay, so that it can still be looked at, compared and done again. Or the *run* goes, with everything.

A run that is not over, is pinned, or is being read is never touched. What goes is first renamed to a name that no reader looks at, so that
a run is whole or gone at any moment; what a killed `kale gc` left under such a name the next one removes. Several may run at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kale_nb.errors import KaleError
from kale_nb.results.facts import keep_digests
from kale_nb.results.files import keep_list
from kale_nb.results.gone import CLONE, note_removed, removals
from kale_nb.results.kept import all_snapshots
from kale_nb.results.locks import removing
from kale_nb.results.tidying import note_weights
from kale_nb.results.weighing import CLONES, Weight, disk_usage, is_live, is_pinned, value_files, weigh
from kale_nb.runs.record import RecordError, RunRecord
from kale_nb.runs.recorder import FILE
from kale_nb.runs.store import Store, read_record, snapshot_folder
from kale_nb.volumes import Freed, SnapshotStore
from kale_nb.volumes.trees import remove_tree

Level = Literal["runs", "clones"]
_TRASH = ".removing-"
_ID = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept. Each is a limit of its own: a run that is over any of them goes, the oldest first.

    Attributes:
        keep: so many runs.
        max_size: bytes of all runs and snapshots together; the newest run stays however large it is.
        older_than: seconds since the run began.
        grace: runs younger than this, in seconds, go only for `max_size`.
    """

    keep: int | None = None
    max_size: int | None = None
    older_than: float | None = None
    grace: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one run.

    Attributes:
        goes: whether it is removed.
        why: the limit that it is over, or what keeps it although it is.
    """

    weight: Weight
    goes: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection did, or would do.

    Attributes:
        fates: of every run that can be read, oldest first.
        freed: of the snapshots.
        litter: bytes of what killed collections and engines had left.
    """

    fates: tuple[Fate, ...]
    freed: Freed
    litter: int = 0

    @property
    def removed(self) -> tuple[Fate, ...]:
        """Those that went."""
        return tuple(fate for fate in self.fates if fate.goes)

    def bytes(self, level: Level) -> int:
        """Bytes that came free."""
        runs = sum(f.weight.total if level == "runs" else f.weight.clones + f.weight.values for f in self.removed)
        return runs + self.freed.bytes + self.litter


def collect(
    store: Store, limits: Limits, *, level: Level, why: str, dry_run: bool = False, now: float | None = None
) -> Collected:
    """Remove runs that are over the limits, and the snapshots and contents that nobody needs then.

    Args:
        level: what of a run goes.
        why: noted in what stays of it.
        now: seconds since the epoch.

    Raises:
        VolumeError: others were at work in the snapshot store for too long.
    """
    moment = time.time() if now is None else now
    snapshots = SnapshotStore(snapshot_folder(store.root))
    litter = _litter(store.root, dry_run=dry_run)
    records = store.records()
    everything = snapshots.gc(dry_run=True)
    pins = snapshots.pinned()
    weights = [weigh(record, dict(everything.per_snapshot), pins) for record in records]
    size = sum(w.total for w in weights) + disk_usage([snapshots.directory])
    fates = [*choose(weights, limits, level=level, size=size, now=moment)]
    if not dry_run:
        fates = [_carry_out(fate, level, why) if fate.goes else fate for fate in fates]
    gone = {f.weight.record.id for f in fates if f.goes and level == "runs"}
    freed = snapshots.gc(lambda: _needed(store, leaving_out=gone), dry_run=dry_run)
    if not dry_run and fates:
        note_weights(
            store, {f.weight.record.id: f.weight.clones + f.weight.values for f in fates if not f.goes and f.weight.clones}
        )
    return Collected(fates=tuple(fates), freed=freed, litter=litter)


def choose(weights: Sequence[Weight], limits: Limits, *, level: Level, size: int, now: float) -> list[Fate]:
    """Decide what becomes of runs, given oldest first. `size`: bytes of all of them and their snapshots."""
    fates = []
    has_any = [w for w in weights if level == "runs" or w.clones or w.values]
    surplus = {w.record.id for w in has_any[: max(0, len(has_any) - limits.keep)]} if limits.keep is not None else set()
    newest = weights[-1].record.id if weights else None
    for weight in weights:
        age = max(0.0, now - weight.record.started)  # a clock may have been set back
        why = ""
        if weight in has_any:
            if limits.older_than is not None and age > limits.older_than:
                why = "too old"
            elif weight.record.id in surplus and age >= limits.grace:
                why = "too many"
            elif limits.max_size is not None and size > limits.max_size and weight.record.id != newest:
                why = "too much"
        held = "it runs" if weight.live else "pinned" if weight.pinned else ""
        if why and not held:
            size -= weight.total + weight.snapshots if level == "runs" else weight.clones + weight.values
        fates.append(Fate(weight=weight, goes=bool(why) and not held, why=held or why))
    return fates


def _carry_out(fate: Fate, level: Level, why: str) -> Fate:
    """Remove what is to go of a run, unless it is needed by now; tell what became of it."""
    record = fate.weight.record
    try:
        with removing(record.directory) as alone:
            if not alone:
                return Fate(weight=fate.weight, goes=False, why="in use, or gone already")
            now = read_record(record.directory)
            if is_live(now) or is_pinned(now, frozenset()):
                return Fate(weight=fate.weight, goes=False, why="it runs" if is_live(now) else "pinned")
            if level == "runs":
                _discard([record.directory], record.directory.parent)
            else:
                drop_clones(record, why)
    except (OSError, RecordError) as error:
        reason = error.message if isinstance(error, KaleError) else error.strerror or str(error)
        return Fate(weight=fate.weight, goes=False, why=f"cannot be removed: {reason}")
    return fate


def drop_if_over(directory: Path, why: str) -> bool:
    """Remove the clones of the run in `directory`, unless it is not over, pinned or in use; tell whether they went."""
    try:
        with removing(directory) as alone:
            if not alone:
                return False
            record = read_record(directory)
            pins = SnapshotStore(snapshot_folder(directory.parent)).pinned()
            if is_live(record) or is_pinned(record, pins):
                return False
            drop_clones(record, why)
    except (OSError, KaleError):
        return False
    return True


def forget_snapshots(store: Store, bytes: int, why: str) -> tuple[int, int]:
    """Remove snapshots of runs whose clones are gone, oldest first, until so many bytes came free; return how many went, and their bytes.

    The runs' records stay, and say what became of the snapshots.
    """
    snapshots = SnapshotStore(snapshot_folder(store.root))
    pins = snapshots.pinned()
    freed = snapshots.gc(lambda: _needed(store, leaving_out=()))
    count, won = len(freed.snapshots), freed.bytes
    for record in store.records():
        if won >= bytes:
            break
        mine = all_snapshots(record) - {removed.what for removed in removals(record.directory)}
        kept = is_live(record) or is_pinned(record, pins) or any((record.directory / name).is_dir() for name in CLONES)
        if not mine or kept:
            continue
        note_removed(record.directory, sorted(mine), why)
        freed = snapshots.gc(lambda: _needed(store, leaving_out=()))
        count, won = count + len(freed.snapshots), won + freed.bytes
    return count, won


def drop_clones(record: RunRecord, why: str) -> None:
    """Remove the clones of a run that is over, and the values that its steps passed on; what it left for people stays."""
    directory = record.directory
    with contextlib.suppress(OSError, KaleError):
        keep_list(record)
    with contextlib.suppress(OSError):
        keep_digests(directory)
    note_removed(directory, [CLONE], why)
    _discard([*(directory / name for name in CLONES), *value_files(directory)], directory.parent)


def _discard(paths: Iterable[Path], root: Path) -> None:
    """Take things away by one rename each, and remove them."""
    trash = root / f"{_TRASH}{secrets.token_hex(6)}"
    trash.mkdir()
    try:
        for number, path in enumerate(paths):
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, trash / str(number))
    finally:
        remove_tree(trash)


def _litter(root: Path, *, dry_run: bool) -> int:
    """Remove what killed collections left; return its bytes."""
    found = [path for path in _folders(root) if path.name.startswith(_TRASH)]
    total = disk_usage(found)
    if not dry_run:
        for path in found:
            remove_tree(path)
    return total


def _needed(store: Store, leaving_out: Collection[str]) -> set[str]:
    """Return the snapshots that the runs need which are there now, also those of records that this version cannot read."""
    needed: set[str] = set()
    for directory in _folders(store.root):
        if directory.name.startswith(".") or directory.name in leaving_out:
            continue
        try:
            needed |= all_snapshots(read_record(directory)) - {removed.what for removed in removals(directory)}
        except RecordError:
            with contextlib.suppress(OSError):
                needed |= set(_ID.findall((directory / FILE).read_text(encoding="utf-8", errors="replace")))
    return needed


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
