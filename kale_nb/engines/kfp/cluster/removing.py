"""Which of the things that kale made on a cluster go, and their going.

Nothing goes that is in use: not a claim that a pod mounts, not what a volume is being made from, nothing of a run that goes on. Claims go
before snapshots, each by its uid, so that another object of the same name is never meant.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from kale_nb.engines.kfp.cluster.api import Cluster
from kale_nb.engines.kfp.cluster.inventory import RESOURCES, Inventory, Kept, Kind
from kale_nb.engines.kfp.cluster.labels import OURS, label_value
from kale_nb.engines.kfp.cluster.problems import ClusterError, Conflicting

_SETTLING = 3600.0
"""Seconds for which a run of which nothing is known may be about to begin."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What may go. What narrows (runs, pipeline, owner) holds together; each limit is one of its own.

    Attributes:
        runs: only what belongs to these; then all of it goes.
        pipeline, owner: only what belongs to it, or to them.
        older_than: seconds: runs all of whose things are older.
        expired: what may go by its own annotation.
        keep: runs beyond the newest so many.
        everything: all of it.
    """

    runs: tuple[str, ...] = ()
    pipeline: str | None = None
    owner: str | None = None
    older_than: float | None = None
    expired: bool = False
    keep: int | None = None
    everything: bool = False

    @property
    def limited(self) -> bool:
        """Something is to go."""
        return bool(self.runs) or self.expired or self.everything or self.older_than is not None or self.keep is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of an object.

    Attributes:
        why: why it goes, or why it stays although a limit would have it go; empty when no limit meets it.
    """

    kept: Kept
    goes: bool = False
    why: str = ""


def choose(
    inventory: Inventory, selection: Selection, alive: Mapping[str, str] | None = None, ended: Iterable[str] = ()
) -> tuple[Fate, ...]:
    """Decide for each object that the selection is about.

    Args:
        alive: runs that go on, or may, and how that is known.
        ended: runs of which it is known that they are over.
    """
    mine = [kept for kept in inventory.objects if _concerns(selection, kept)]
    runs = _runs(mine)
    met: dict[str, str] = {}
    for run, objects in runs.items():
        why = _limit(selection, run, objects, inventory.now, list(runs))
        met |= {kept.uid: why for kept in objects if why}
    if selection.expired:
        for kept in mine:
            if kept.expires is not None and kept.expires <= inventory.now and kept.uid not in met:
                met[kept.uid] = f"expired {_spoken(inventory.now - kept.expires)} ago"
    held = _held_runs(inventory, alive or {}, set(ended), named=selection.runs)
    fates = [_fate(kept, met.get(kept.uid, ""), held.get(_run_of(kept), ""), inventory) for kept in mine]
    return _without_sources(fates, inventory)


def _concerns(selection: Selection, kept: Kept) -> bool:
    belongs = kept.belongs
    if selection.runs and not any(_means(text, belongs.run) for text in selection.runs):
        return False
    if selection.pipeline is not None and belongs.pipeline not in (selection.pipeline, label_value(selection.pipeline)):
        return False
    return selection.owner is None or belongs.owner in (selection.owner, label_value(selection.owner))


def _means(text: str, run: str) -> bool:
    """A run is named by its id, or the beginning or the end of it, as everywhere."""
    return bool(text) and (run == text or (len(text) >= 4 and (run.startswith(text) or run.endswith(f"-{text}"))))


def _run_of(kept: Kept) -> str:
    """What belongs to no run is on its own."""
    return kept.belongs.run or f"{kept.kind}/{kept.name}"


def _runs(objects: Iterable[Kept]) -> dict[str, list[Kept]]:
    """Return the objects by run, the newest run first: a run is as old as the last thing that it made."""
    found: dict[str, list[Kept]] = {}
    for kept in objects:
        found.setdefault(_run_of(kept), []).append(kept)
    return dict(sorted(found.items(), key=lambda item: (-max(kept.made for kept in item[1]).timestamp(), item[0])))


def _limit(selection: Selection, run: str, objects: Sequence[Kept], now: datetime.datetime, order: list[str]) -> str:
    if selection.runs:
        return "named by --run"
    if selection.everything:
        return "--all"
    age = now - max(kept.made for kept in objects)
    if selection.older_than is not None and age.total_seconds() > selection.older_than:
        return f"{_spoken(age)} old"
    if selection.keep is not None and order.index(run) >= selection.keep:
        return f"over --keep {selection.keep}"
    return ""


def _held_runs(inventory: Inventory, alive: Mapping[str, str], ended: set[str], named: tuple[str, ...]) -> dict[str, str]:
    """Return why whole runs stay: they go on, or may be about to begin."""
    held: dict[str, str] = {}
    for run, objects in _runs(inventory.objects).items():
        workers = [user.pod for kept in objects for user in kept.busy if user.run]
        if run in alive:
            held[run] = f"its run goes on: {alive[run]}"
        elif workers:
            held[run] = f"its run goes on: pod {workers[0]} has not ended"
        elif run not in ended and not any(_means(text, run) for text in named):
            young = (inventory.now - max(kept.made for kept in objects)).total_seconds()
            if young < _SETTLING:
                held[run] = (
                    "it is not known whether its run is over, and it is less than an hour old (--run names it all the same)"
                )
    return held


def _fate(kept: Kept, why: str, held: str, inventory: Inventory) -> Fate:
    if not why:
        return Fate(kept=kept)
    if kept.going:
        return Fate(kept=kept, why="is being deleted already")
    if held:
        return Fate(kept=kept, why=held)
    if kept.kind == "claim" and not inventory.pods_known:
        return Fate(kept=kept, why="it is not known whether a pod mounts it (pods may not be listed)")
    if kept.busy:
        return Fate(kept=kept, why=f"pod {kept.busy[0].pod} mounts it")
    return Fate(kept=kept, goes=True, why=why)


def _without_sources(fates: list[Fate], inventory: Inventory) -> tuple[Fate, ...]:
    """Keep what a claim that stays is being made from."""
    going = {fate.kept.name for fate in fates if fate.goes and fate.kept.kind == "claim"}
    kept: list[Fate] = []
    for fate in fates:
        makes = [name for name in fate.kept.needed_by if name not in going]
        kept.append(replace(fate, goes=False, why=f"claim {makes[0]} is being made from it") if fate.goes and makes else fate)
    return tuple(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What some objects take.

    Attributes:
        claims, snapshots: bytes: what the claims may hold, what clones of the snapshots have to have at least.
        retained: bytes of those whose storage stays when they are deleted.
        unknown: bytes of those of which that is not known.
    """

    claims: int = 0
    snapshots: int = 0
    retained: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.claims + self.snapshots


def cost_of(objects: Iterable[Kept]) -> Cost:
    """Add up what objects take."""
    sums = {"claims": 0, "snapshots": 0, "retained": 0, "unknown": 0}
    for kept in objects:
        sums["claims" if kept.kind == "claim" else "snapshots"] += kept.size
        if kept.policy == "Retain":
            sums["retained"] += kept.size
        elif not kept.policy:
            sums["unknown"] += kept.size
    return Cost(**sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the going went.

    Attributes:
        gone: objects that are there no more.
        terminating: objects that are being deleted still, each with what holds it.
        failed: objects that could not be deleted, each with why.
    """

    gone: tuple[Kept, ...] = ()
    terminating: tuple[tuple[Kept, str], ...] = ()
    failed: tuple[tuple[Kept, str], ...] = ()


@dataclass(slots=True)
class _Going:
    gone: list[Kept] = field(default_factory=list)
    terminating: list[tuple[Kept, str]] = field(default_factory=list)
    failed: list[tuple[Kept, str]] = field(default_factory=list)


def remove(
    cluster: Cluster, fates: Iterable[Fate], *, patience: float = 20.0, said: Callable[[str], None] = lambda text: None
) -> Outcome:
    """Delete what is to go: claims, then snapshots. Goes on when one cannot be deleted.

    Args:
        patience: seconds for which finalizers are waited for, of claims and again of snapshots.
        said: takes a line on what goes on, for people.
    """
    going = [fate.kept for fate in fates if fate.goes]
    done = _Going()
    for kind in ("claim", "snapshot"):
        objects = [kept for kept in going if kept.kind == kind]
        if objects:
            _remove(cluster, kind, objects, done, patience, said)
    return Outcome(gone=tuple(done.gone), terminating=tuple(done.terminating), failed=tuple(done.failed))


def _remove(
    cluster: Cluster, kind: Kind, objects: Sequence[Kept], done: _Going, patience: float, said: Callable[[str], None]
) -> None:
    said(f"deleting {len(objects)} {kind}{'s' * (len(objects) != 1)}")
    told: list[Kept] = []
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
        for kept, why in zip(objects, threads.map(lambda each: _delete(cluster, each), objects), strict=True):
            if why:
                done.failed.append((kept, why))
            else:
                told.append(kept)
    end = time.monotonic() + patience
    pause = 0.1
    waited = False
    while told:
        there = _still_there(cluster, kind, told)
        done.gone += [kept for kept in told if kept.uid not in there]
        told = [kept for kept in told if kept.uid in there]
        if not told:
            return
        if time.monotonic() > end:
            done.terminating += [(kept, there[kept.uid]) for kept in told]
            return
        if not waited:
            said(f"waiting for {len(told)} to be gone, {patience:.0f} s at most")
            waited = True
        cluster.wait(pause)
        pause = min(pause * 1.5, 2.0)


def _delete(cluster: Cluster, kept: Kept) -> str:
    """Ask for the end of an object; return why it could not be."""
    try:
        cluster.delete(RESOURCES[kept.kind], kept.name, uid=kept.uid)
    except Conflicting:
        return "another object has its name by now"
    except ClusterError as error:
        return error.message
    return ""


def _still_there(cluster: Cluster, kind: Kind, objects: Sequence[Kept]) -> dict[str, str]:
    """Return uid, and what holds it, of those that are still there; all of them when that cannot be seen."""
    wanted = {kept.uid for kept in objects}
    try:
        bodies = cluster.list(RESOURCES[kind], labels=OURS if kind == "snapshot" else "")
    except ClusterError as error:
        return dict.fromkeys(wanted, f"it cannot be seen whether it is gone: {error.message}")
    return {
        str(body["metadata"]["uid"]): ", ".join(body["metadata"].get("finalizers") or ()) or "nothing that can be seen"
        for body in bodies
        if body["metadata"]["uid"] in wanted
    }


def _spoken(age: datetime.timedelta) -> str:
    seconds = age.total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"
