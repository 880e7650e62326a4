"""The gentle collection after a run: old clones go when there are too many or they take too much; records never do.

The environment variable `KALE_GC` is the budget: `keep=20,max-size=10G,grace=7d` says how many clones stay, how many bytes runs and
snapshots may take together, and how young a run must be for its clone to stay even when there are more (not when they take too much); parts
that are left out have the values given here. `KALE_GC=0` switches it off. The clone of the newest run always stays.

What the clones take is kept in a small file beside the runs (`weights`), so that a run with nothing to tidy after it pays for reading that
file and no more. It is only a cache: a run that is not in it is weighed when there is something to do.
"""

from __future__ import annotations

import calendar
import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kale_nb.errors import KaleError
from kale_nb.results.weighing import CLONES, disk_usage, value_files
from kale_nb.runs.record import RunRecord
from kale_nb.runs.store import Store, snapshot_folder

VARIABLE = "KALE_GC"
_WEIGHTS = "weights"
_STORE = "store"
_LOOK_AGAIN = 20
"""After so many runs what the snapshots take is looked up again."""
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be kept. `max_size` in bytes, `grace` in seconds."""

    keep: int = 20
    max_size: int = 10 * 1024**3
    grace: float = 7 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """What a collection removed: runs that lost their clones, the number of snapshots that went, bytes that came free."""

    clones: tuple[str, ...]
    snapshots: int
    bytes: int


def read_budget(text: str) -> Budget | None:
    """Return the budget that a text means; None for `0`. ValueError when it means none.

    >>> read_budget("keep=5,max-size=1G").max_size, read_budget("0"), read_budget("").keep
    (1073741824, None, 20)
    """
    found: dict[str, float] = {}
    if text.strip() in ("0", "off", "no"):
        return None
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        size = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)i?B?", value, re.IGNORECASE)
        age = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", value, re.IGNORECASE)
        if name == "keep" and value.isdecimal():
            found["keep"] = int(value)
        elif name == "max-size" and size:
            found["max_size"] = int(float(size[1]) * _UNITS[size[2].upper()])
        elif name == "grace" and age:
            found["grace"] = float(age[1]) * _AGES[age[2].lower()]
        else:
            raise ValueError(f"{part!r} is none of keep=N, max-size=SIZE, grace=AGE")
    return Budget(**found)  # type: ignore[arg-type]


def tidy(record: RunRecord, budget: Budget, *, now: float | None = None) -> Tidied | None:
    """Note what a run that is over takes, and remove clones of older ones, and snapshots, when the budget is passed.

    Returns:
        None when nothing was removed. Trouble with the disk or the snapshot store leaves things as they are.
    """
    root = record.directory.parent
    with contextlib.suppress(OSError, KaleError):
        weights = _Weights(root)
        weights.add(record.id, _weight_of(record))
        if weights.since_store >= _LOOK_AGAIN:
            weights.add(_STORE, disk_usage([snapshot_folder(root)]))
        if weights.known and not _is_passed(weights.runs, weights.store, budget, _now(now)):
            return None
        return _collect(root, weights, record.id, budget, _now(now))
    return None


def note_weights(store: Store, runs: Mapping[str, int]) -> None:
    """Write down anew what the clones of runs take, after a collection has weighed them."""
    with contextlib.suppress(OSError):
        _Weights(store.root, empty=True).replace(runs, disk_usage([snapshot_folder(store.root)]))


def began(run: str) -> float:
    """Return when a run began, in seconds since the epoch, as its id tells; 0 when it does not.

    >>> began("20261124-101500-demo-x7k2")
    1795515300.0
    """
    match = re.match(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-", run)
    return float(calendar.timegm(tuple(map(int, match.groups())))) if match else 0.0


def weights_file(runs: Path) -> Path:
    """Return the file that tells what the clones of the runs in a folder take: beside it, or hidden in it."""
    store = snapshot_folder(runs)
    return store.with_name(f".{_WEIGHTS}" if store.parent == runs else _WEIGHTS)


class _Weights:
    """The file that tells what clones take: one `RUN BYTES` a line, the last of a name counts; `store` is that of the snapshots."""

    def __init__(self, root: Path, *, empty: bool = False) -> None:
        self._file = weights_file(root)
        self.runs: dict[str, int] = {}
        self.store = 0
        self.since_store = _LOOK_AGAIN
        self.known = self._file.exists()
        with contextlib.suppress(FileNotFoundError):
            for line in [] if empty else self._file.read_text(encoding="utf-8", errors="replace").splitlines():
                self._take(line)

    def _take(self, line: str) -> None:
        name, _, size = line.partition(" ")
        if not size.isdecimal():
            return
        if name == _STORE:
            self.store, self.since_store = int(size), 0
        else:
            self.runs[name] = int(size)
            self.since_store += 1

    def add(self, name: str, size: int) -> None:
        """Add a line; one write, so that others who add at the same time do no harm."""
        with open(self._file, "ab", buffering=0) as file:
            file.write(f"{name} {size}\n".encode())
        self._take(f"{name} {size}")

    def replace(self, runs: Mapping[str, int], store: int) -> None:
        """Write the file anew."""
        lines = [*(f"{run} {size}" for run, size in sorted(runs.items())), f"{_STORE} {store}"]
        part = self._file.with_name(f".{_WEIGHTS}.{os.getpid()}")
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(part, self._file)


def _weight_of(record: RunRecord) -> int:
    """Return what the clones and values of a run take, near enough, without looking at files that it did not touch."""
    from kale_nb.results.files import step_reports

    cloned = sum(volume.bytes for volume in record.volumes)
    touched = {(report.volume, path) for report in step_reports(record) for path in report.changes}
    clones = {"workspace": record.directory / "work"}
    written = (clones.get(volume, record.directory / "volumes" / volume) / path for volume, path in touched)
    return cloned + disk_usage(written) + disk_usage(value_files(record.directory))


def _is_passed(runs: Mapping[str, int], store: int, budget: Budget, now: float) -> bool:
    if sum(runs.values()) + store > budget.max_size:
        return len(runs) > 1 or store > budget.max_size
    surplus = sorted(runs)[: max(0, len(runs) - max(1, budget.keep))]
    return any(now - began(run) >= budget.grace for run in surplus)


def _collect(root: Path, weights: _Weights, newest: str, budget: Budget, now: float) -> Tidied | None:
    from kale_nb.results.keeping import drop_if_over, forget_snapshots

    with _alone(root) as alone:
        if not alone:
            return None
        runs = {run: weights.runs.get(run, -1) for run in _with_clones(root)}
        runs = {run: _weigh(root / run) if size < 0 else size for run, size in runs.items()}
        snapshots = disk_usage([snapshot_folder(root)])
        total = sum(runs.values()) + snapshots
        gone: list[str] = []
        freed = 0
        latest = max((newest, *runs))  # a run that began later may have ended before
        for run in sorted(runs):
            old = len(runs) > max(1, budget.keep) and now - began(run) >= budget.grace
            if run in (newest, latest) or not (old or total > budget.max_size):
                continue
            if drop_if_over(root / run, f"the automatic collection ({VARIABLE})"):
                size = runs.pop(run)
                total, freed = total - size, freed + size
                gone.append(run)
        forgotten = 0
        if total > budget.max_size:
            count, size = forget_snapshots(Store(root=root), total - budget.max_size, f"the automatic collection ({VARIABLE})")
            snapshots, freed, forgotten = snapshots - size, freed + size, count
        weights.replace(runs, max(0, snapshots))
    return Tidied(clones=tuple(gone), snapshots=forgotten, bytes=freed) if gone or forgotten else None


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """Tell whether nobody else tidies these runs at this moment, and keep others from it."""
    import fcntl

    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            pass
        yield True
    finally:
        os.close(folder)


def _with_clones(root: Path) -> Iterable[str]:
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)]
    return [name for name in names if any((root / name / clone).is_dir() for clone in CLONES)]


def _weigh(directory: Path) -> int:
    return disk_usage([*(directory / name for name in CLONES), *value_files(directory)])


def _now(now: float | None) -> float:
    return time.time() if now is None else now
