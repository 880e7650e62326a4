"""From a run's record to what it left on the disk: its volumes, their snapshots, and the store that holds these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kale_nb.errors import UsageError, VolumeError
from kale_nb.results.gone import how_it_went
from kale_nb.runs.record import WORKSPACE, RunRecord
from kale_nb.runs.store import snapshot_folder
from kale_nb.volumes import Snapshot, SnapshotStore

_EARLIER = 0.05
"""Seconds by which the clock of file times may be behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVolume:
    """A volume of a run that is over.

    Attributes:
        name: `workspace`, or that of a data volume.
        snapshot: id of what it was cloned from, or of what that began as; empty when that is not known, or it began as an empty folder.
        clone: the folder that the steps worked in; need not be there any more.
    """

    name: str
    snapshot: str
    clone: Path

    @property
    def is_there(self) -> bool:
        """Whether the clone is still there; a link in its place is not it."""
        return self.clone.is_dir() and not self.clone.is_symlink()


def kept_volumes(record: RunRecord) -> tuple[KeptVolume, ...]:
    """Return the volumes that were made for a run, the workspace first; those that it only read are not among them."""
    work = record.directory / "work"  # the record's own path is that of the day it ran
    snapshots = {**record.snapshots, **record.origins}
    found = [KeptVolume(name=WORKSPACE, snapshot=snapshots.get(WORKSPACE, ""), clone=work)]
    made = (volume.volume for volume in record.volumes if volume.path.parent.name == "volumes")
    folder = record.directory / "volumes"
    others = sorted({*snapshots, *made} - {WORKSPACE})
    found.extend(KeptVolume(name=name, snapshot=snapshots.get(name, ""), clone=folder / name) for name in others)
    return tuple(found)


def all_snapshots(record: RunRecord) -> frozenset[str]:
    """Return the ids of every snapshot that a run names: of its volumes, and those taken after its steps."""
    after = (snapshot for step in record.steps for snapshot in step.snapshots.values())
    return frozenset(filter(None, (*record.snapshots.values(), *record.origins.values(), *after)))


def store_of(record: RunRecord) -> SnapshotStore:
    """Return the store that holds the snapshots of a run."""
    return SnapshotStore(snapshot_folder(record.directory.parent))


def snapshot_of(record: RunRecord, volume: KeptVolume, store: SnapshotStore) -> Snapshot:
    """Return the snapshot that a volume of a run was cloned from. VolumeError says how it went when it is gone."""
    if not volume.snapshot:
        raise VolumeError(
            f"the run {record.id} kept no snapshot of its {described(volume.name)}",
            hint="it never came so far, or ran in the live folder or under an earlier version of kale",
        )
    try:
        return store.find(volume.snapshot)
    except VolumeError as error:
        raise VolumeError(
            f"the snapshot {volume.snapshot[:12]} of the {described(volume.name)} of run {record.id} is gone: "
            f"{how_it_went(record.directory, volume.snapshot)}",
            hint=error.hint or "`kale snapshots` lists those that are left",
        ) from error


def workspace_of(record: RunRecord) -> Path:
    """Return the user's folder that a run was made from, also when it was moved with its `.kale` folder. UsageError when it is gone."""
    runs = record.directory.parent
    if runs.name == "runs" and runs.parent.name == ".kale":
        return runs.parent.parent
    if record.workspace is not None and record.workspace.is_dir():
        return record.workspace
    raise UsageError(
        f"the workspace {record.workspace} of run {record.id} is gone", hint="name a folder with --to or --workspace"
    )


def untouched_before(record: RunRecord, volume: KeptVolume) -> float | None:
    """Return up to when nothing had been done to a volume that its snapshot does not tell, seconds since the epoch; None: nothing was ever.

    It is when the first step began. It is 0 where that is not known, for of a step that was tried again only the last try's time is; and
    where the clone came from a snapshot taken in the middle of an earlier run, whose steps had done something by then.
    """
    if record.snapshots.get(volume.name, volume.snapshot) != volume.snapshot:
        return 0.0
    ran = [step for step in record.steps if step.started is not None and step.reused is None]
    if any(step.retried for step in ran):
        return 0.0
    return min(step.started for step in ran if step.started is not None) - _EARLIER if ran else None


def described(volume: str) -> str:
    """Return what people call a volume.

    >>> described("workspace"), described("photos")
    ('workspace', 'volume photos')
    """
    return volume if volume == WORKSPACE else f"volume {volume}"
