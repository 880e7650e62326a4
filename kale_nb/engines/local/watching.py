"""What a run watches while its steps run: files that change, the size of the marshal volume, the folders that must not change.

`Watch` is told when steps start and end; it writes `<run>/files/<step>.json`, tells conflicts and takes the snapshots after steps.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kale_nb.engines.local.files import Conflict, FileWatch, Look, Part, changes, look_at, shown_places, write_report
from kale_nb.engines.local.provision import Provided, Stores
from kale_nb.engines.local.seeing import Sight
from kale_nb.engines.local.views import hidden_originals
from kale_nb.engines.local.writes import read_notes
from kale_nb.engines.protocol import Job
from kale_nb.errors import VolumeError
from kale_nb.names import StepName
from kale_nb.pipeline.order import ancestors_of, predecessors
from kale_nb.pipeline.volumes import MARSHAL, WORKSPACE
from kale_nb.runs.events import Failure, Observer, RunWarning
from kale_nb.runs.store import snapshot_folder
from kale_nb.sizes import size
from kale_nb.volumes.model import Policy
from kale_nb.volumes.snapshots import SnapshotStore

_SHOWN = 5


class Watch:
    """Watches one run."""

    def __init__(self, job: Job, observer: Observer, stores: Stores, provided: Provided, seen: Sight) -> None:
        self._job = job
        self._observe = observer
        self._stores = stores
        self._provided = provided
        self._folder = job.directory / "files"
        self._folder.mkdir(exist_ok=True)
        self._ancestors = ancestors_of(predecessors(job.pipeline))
        self._several = any(self._unordered(a, b) for a in job.steps for b in job.steps)
        self._clones = {WORKSPACE: provided.workspace} | {
            name: job.directory / "volumes" / name for name in provided.volumes if name not in provided.read_only
        }
        mounts = dict(provided.volumes)
        if provided.marshal is not None:
            mounts[MARSHAL] = provided.marshal
            self._clones[MARSHAL] = provided.marshal.source
        places = {WORKSPACE: seen.workspace} | {
            name: mount.target if seen.view is not None else mount.source for name, mount in mounts.items()
        }
        self._mounts = {name: _mounted_in(places[name], folder, seen) for name, folder in self._clones.items()}
        self._files = FileWatch(
            self._clones,
            _parts(job, provided, seen, self._clones),
            self._unordered,
            lambda step: read_notes(self.notes(step)),
            self._mounts,
        )
        self._originals = {} if seen.view is not None or not provided.cloned else self._look_at_originals()

    def notes(self, step: StepName) -> Path:
        """Return the file in which a step's kernel notes what it writes to."""
        return self._folder / f".{step}.writes"

    def noting(self, step: StepName) -> Path | None:
        """Return where a step's kernel is to note what it writes to; None when all steps follow each other."""
        return self.notes(step) if self._several else None

    def started(self, step: StepName) -> None:
        """Take note that a step runs."""
        self._files.started(step)

    def ended(self, step: StepName, *, well: bool) -> Failure | None:
        """Take note that a step has ended. Return why it counts as failed, when it wrote what another did and that is to be an error.

        Args:
            well: it has not failed by itself.
        """
        conflicts = self._files.ended(step)
        try:
            write_report(self._folder / f"{step}.json", self._files.report(step))
        except OSError as error:
            self._warn(f"what step {step} did to files could not be written: {error.strerror or error}")
        self.notes(step).unlink(missing_ok=True)
        if well and self._job.conflicts == "error" and conflicts:
            message = "; ".join(conflict.message() for conflict in conflicts)
            return Failure(kind="conflict", message=message, hint=conflicts[0].hint())
        self._tell(conflicts)
        return None

    def again(self, step: StepName) -> None:
        """Tell when a step is tried again on files that its failed attempt changed, which no longer are what it should find."""
        places = self._files.altered(step)
        if places:
            shown = shown_places(places)
            self._warn(
                f"step `{step}` is tried again on the files as its failed attempt left them: it had changed or removed {shown}"
            )

    def _tell(self, conflicts: Iterable[Conflict]) -> None:
        for conflict in conflicts:
            self._warn(f"{conflict.message()}; {conflict.hint()}")

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Keep the snapshots that are taken after steps from being collected before the record names them."""
        if not self._job.pipeline.autosnapshot:
            yield
            return
        with self._store().lease(f"{self._job.run}-steps"):
            yield

    def _store(self, *, everything: bool = False) -> SnapshotStore:
        """Return the store; with `everything` such that it leaves out nothing that a user's rules name."""
        policy = Policy(max_bytes=1 << 62, max_files=1 << 62, environments=everything, listed=everything)
        return self._stores(snapshot_folder(self._job.directory.parent), policy)

    def snapshots(self, step: StepName) -> dict[str, str]:
        """Take a snapshot of each clone after a step, when the pipeline asks for it; return the ids by volume."""
        if not self._job.pipeline.autosnapshot:
            return {}
        taken: dict[str, str] = {}
        for name, folder in self._clones.items():
            ours = name != WORKSPACE or self._provided.cloned  # a clone began without what is left out: such files are a step's
            store = self._store(everything=ours)
            try:
                note = f"after step {step} of run {self._job.run}"
                taken[name] = store.snapshot(folder, note=note, exclude=self._mounts[name]).id
            except VolumeError as error:
                self._warn(f"there is no snapshot of the {name} after step {step}: {error.message}")
        return taken

    def overflow(self, step: StepName) -> Failure | None:
        """Return the failure of a step with which the marshal volume holds more than it may."""
        limit = self._provided.limit
        if limit is None:
            return None
        used = self._used()
        if used <= limit:
            return None
        own = _size(self._provided.data / step)
        return Failure(
            kind="marshal",
            message=f"the marshal volume is full: it may hold {size(limit)}, and with step `{step}` it holds {size(used)} "
            f"({size(own)} of that are values of `{step}`)",
            hint="ask for more with marshal_volume_size, or let steps pass on less",
        )

    @property
    def limited(self) -> bool:
        """Whether the size of the marshal volume is to be looked at while steps run."""
        return self._provided.limit is not None

    def _used(self) -> int:
        marshal = self._provided.marshal
        return _size(self._provided.data) + (0 if marshal is None else _size(marshal.source))

    def finish(self) -> None:
        """At the end of the run: tell when originals changed that the run worked on clones of."""
        why = "this machine cannot keep it from that" if self._job.isolation != "none" else "as --isolation none lets it"
        for name, (folder, before) in self._originals.items():
            found = sorted(path for path in changes(before, self._look_at(folder)) if not path.endswith("/"))
            if not found:
                continue
            shown = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
            what = f"the workspace {folder}" if name == WORKSPACE else f"the folder {folder} of volume {name}"
            self._warn(
                f"in {what} files changed while the run worked on a copy: {shown}; a step wrote there by an absolute path "
                f"({why}), or you or another program did"
            )

    def _look_at_originals(self) -> dict[str, tuple[Path, Look]]:
        folders = {WORKSPACE: self._job.workspace} | {v.name: Path(v.source) for v in self._job.volumes if v.source is not None}
        return {name: (folder, self._look_at(folder)) for name, folder in folders.items()}

    def _look_at(self, folder: Path) -> Look:
        ours = [path for path in (self._job.output_dir, self._job.directory.parent) if path is not None]
        return look_at(folder, ours)

    def _unordered(self, one: StepName, other: StepName) -> bool:
        return one != other and one not in self._ancestors[other] and other not in self._ancestors[one]

    def _warn(self, message: str) -> None:
        self._observe(RunWarning(time=time.time(), message=message))


def _mounted_in(place: Path, clone: Path, seen: Sight) -> tuple[Path, ...]:
    """Return the places in a clone, seen at `place`, that mounting makes because the clone lacks them, relative to it."""
    root = Path(os.path.realpath(place))
    targets = [Path(target) for _, target, _ in seen.view["mounts"]] if seen.view is not None else []
    inside = [target.relative_to(root) for target in targets if target != root and target.is_relative_to(root)]
    return tuple(path for path in inside if not os.path.lexists(clone / path))


def _parts(job: Job, provided: Provided, seen: Sight, clones: Mapping[str, Path]) -> list[Part]:
    """Return the places at which steps see the clones: of data volumes the mount points and, where they have a view, their own folders."""
    parts = [Part(path=os.path.realpath(seen.workspace), volume=WORKSPACE)]
    if seen.view is None:
        return parts + [Part(path=os.path.realpath(clone), volume=name) for name, clone in clones.items() if name != WORKSPACE]
    roots = {name: clone.resolve() for name, clone in clones.items() if name != WORKSPACE}
    for mount in (*hidden_originals(provided.originals, job.workspace), *provided.mounts()):  # what is mounted last comes first
        source = mount.source.resolve()
        parts += [
            Part(path=os.path.realpath(mount.target), volume=name, inside="/".join(source.relative_to(root).parts))
            for name, root in roots.items()
            if source.is_relative_to(root)
        ]
    return parts


def _size(folder: Path) -> int:
    """Return the bytes that the files in a folder take on the disk."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                status = os.lstat(os.path.join(root, name))
            except OSError:
                continue
            total += min(status.st_size, status.st_blocks * 512) if status.st_blocks else status.st_size
    return total
