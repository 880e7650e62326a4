"""The volumes of a run, made when it starts: the workspace's clone, data volumes, the marshal volume.

`provide` makes them in order, tells of each, and returns where they are and where steps are to see them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kale_nb.engines.local.views import Mount
from kale_nb.engines.protocol import Job
from kale_nb.errors import VolumeError
from kale_nb.pipeline.model import Volume
from kale_nb.pipeline.volumes import MARSHAL, WORKSPACE, Creation, creations, quantity_bytes, variable
from kale_nb.runs.events import Observer, RunNote, RunWarning, VolumeCreated, VolumeRead
from kale_nb.runs.store import snapshot_folder
from kale_nb.sizes import size
from kale_nb.volumes.glance import glance
from kale_nb.volumes.model import Clone, Policy, Probe, Snapshot
from kale_nb.volumes.probing import describe
from kale_nb.volumes.scan import SPECIAL
from kale_nb.volumes.snapshots import SnapshotStore
from kale_nb.volumes.taking import LEADS_OUT, LEADS_TO

Stores = Callable[[Path, Policy], SnapshotStore]
"""Makes the store that keeps its snapshots in a folder."""

_WORTH_SAYING = 1.0
"""Seconds that making a volume is to take for it to be said before."""
_SHOWN = 5
_OURS = ".kale"
"""The folder of the marshal volume that holds the values; the rest of it is the user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """What a run has to work with.

    Attributes:
        workspace: the folder that is the workspace on this machine: its clone, or the workspace itself.
        cloned: whether it is a clone.
        environments: virtual environments of the workspace that its clone does not have, relative to it.
        data: the folder of the values that steps pass on.
        marshal: the marshal volume, None when values pass through the run's own folder.
        volumes: data volumes by name.
        read_only: names of those that are only read, and are not copied.
        limit: bytes that data and marshal volume may hold together; None for no limit.
        snapshots: of what was cloned, by volume.
        originals: what stands for the folder that a data volume is on this machine: its clone, or itself for reading.
    """

    workspace: Path
    cloned: bool
    data: Path
    environments: tuple[Path, ...] = ()
    marshal: Mount | None = None
    volumes: Mapping[str, Mount] = field(default_factory=dict)
    read_only: frozenset[str] = frozenset()
    limit: int | None = None
    snapshots: Mapping[str, str] = field(default_factory=dict)
    originals: tuple[Mount, ...] = ()

    def mounts(self) -> tuple[Mount, ...]:
        """Return what is to be seen at other places than it is, the workspace apart."""
        if self.marshal is None:
            return tuple(self.volumes.values())
        values = Mount(source=self.data, target=self.marshal.target / _OURS)
        return (*self.volumes.values(), self.marshal, values)

    def environment(self, workspace: Path, *, mounted: bool) -> dict[str, str]:
        """Return the variables that tell a step where the volumes are."""
        told = {"KALE_WORKSPACE": str(workspace if mounted else self.workspace)}
        for name, mount in self.volumes.items():
            told[variable(name)] = str(mount.target if mounted else mount.source)
        if self.marshal is not None:
            told["KALE_MARSHAL"] = str(self.marshal.target if mounted else self.marshal.source)
        return told

    def data_seen(self, *, mounted: bool) -> Path:
        """Return where steps find the values of others."""
        return self.data if self.marshal is None or not mounted else self.marshal.target / _OURS


def provide(job: Job, stores: Stores, observer: Observer, *, seen: bool) -> Provided:
    """Make the volumes of a run.

    Args:
        seen: steps will see each volume at its own path, so that links into it stay as they are.

    Raises:
        VolumeError: a volume cannot be made; what was made stays in the run's folder.
    """
    provider = _Provider(job, stores, observer, seen=seen)
    if job.live:
        message = f"there is no snapshot: steps work in {job.workspace} itself, and what they change there stays changed"
        observer(RunWarning(time=time.time(), message=message))
    for volume in job.volumes:
        if holds_workspace(volume, job.workspace):
            observer(
                RunWarning(
                    time=time.time(),
                    message=f"volume {volume.name} is a folder that holds the workspace: steps find its clone at {volume.mount_point}, and "
                    f"what they write to {volume.source} by its own path, or by `..`, changes the folder itself",
                )
            )
    provider.check_marshal()
    with provider.store.lease(job.run, job.snapshots.values()):  # until the record names them
        for creation in creations(job.volumes, job.pipeline.marshal_volume, workspace=not job.live):
            provider.make(creation)
    for volume in job.volumes:
        if volume.read_only:
            provider.look(volume)
    return provider.provided()


def holds_workspace(volume: Volume, workspace: Path) -> bool:
    """Tell whether a volume is cloned from a folder above the workspace, over which no clone can be put."""
    return (
        volume.source is not None and not volume.read_only and workspace.resolve().is_relative_to(Path(volume.source).resolve())
    )


class _Provider:
    def __init__(self, job: Job, stores: Stores, observer: Observer, *, seen: bool) -> None:
        self._job = job
        self._observe = observer
        self._seen = seen
        self.store = stores(snapshot_folder(job.directory.parent), Policy(max_bytes=job.max_bytes))
        self._workspace = job.workspace
        self._environments: tuple[Path, ...] = ()
        self._volumes: dict[str, Mount] = {}
        self._snapshots: dict[str, str] = {}
        self._marshal: Mount | None = None
        self._limit: int | None = None

    def provided(self) -> Provided:
        names = [volume.name for volume in self._job.volumes]
        return Provided(
            workspace=self._workspace,
            cloned=not self._job.live,
            data=self._job.directory / "data",
            environments=self._environments,
            marshal=self._marshal,
            volumes={name: self._volumes[name] for name in names},
            read_only=frozenset(volume.name for volume in self._job.volumes if volume.read_only),
            limit=self._limit,
            snapshots=self._snapshots,
            originals=tuple(
                Mount(
                    source=Path(volume.source) if volume.read_only else self._job.directory / "volumes" / volume.name,
                    target=Path(volume.source),
                    read_only=volume.read_only,
                )
                for volume in self._job.volumes
                if volume.source is not None
            ),
        )

    def make(self, creation: Creation) -> None:
        if creation.name == WORKSPACE and creation.volume is None:
            self._workspace = self._clone(creation, self._job.workspace, self._job.directory / "work", self._job.workspace)
        elif creation.name == MARSHAL and creation.volume is None:
            self._make_marshal(creation)
        elif creation.volume is not None:
            self._make_data(creation, creation.volume)

    def _make_data(self, creation: Creation, volume: Volume) -> None:
        place = Path(volume.mount_point)
        folder = self._job.directory / "volumes" / volume.name
        folder.parent.mkdir(exist_ok=True)
        if volume.source is not None:
            source = self._clone(creation, Path(volume.source), folder, place)
        else:
            source = folder
            self._make_empty(creation, folder, place)
            if (volume.kind != "new" or volume.snapshot) and volume.name not in self._job.snapshots:
                self._warn_missing(volume, "it is an empty folder here")
        self._volumes[volume.name] = Mount(source=_part(source, volume), target=place)

    def look(self, volume: Volume) -> None:
        """Take a volume that is only read as it is."""
        if volume.source is None:
            folder = self._job.directory / "volumes" / volume.name
            folder.mkdir(parents=True)
            self._warn_missing(volume, "it is an empty folder here")
        else:
            folder = _part(Path(volume.source), volume)
            self._observe(
                VolumeRead(
                    time=time.time(),
                    volume=volume.name,
                    path=folder,
                    mount_point=Path(volume.mount_point),
                    fingerprint=glance(folder),
                )
            )
        self._volumes[volume.name] = Mount(source=folder, target=Path(volume.mount_point), read_only=True)

    def _warn_missing(self, volume: Volume, what: str) -> None:
        kinds = {"pvc": "a claim", "pv": "a volume", "snap": "a snapshot", "clone": "a claim to clone"}
        message = (
            f"the volume {volume.name} is {kinds.get(volume.kind, 'a volume')} of a cluster and no folder of this machine: {what}; "
            f"give it one with --volume {volume.name}=./folder"
        )
        self._observe(RunWarning(time=time.time(), message=message))

    def check_marshal(self) -> None:
        """Refuse a marshal volume that is to hold more than there is room for, before anything is copied."""
        asked = self._job.pipeline.marshal_volume
        if not asked.enabled or asked.size is None:
            return
        self._limit = quantity_bytes(asked.size)
        free = shutil.disk_usage(self._job.directory).free
        if free < self._limit:
            raise VolumeError(
                f"the marshal volume is to hold {asked.size}, and only {size(free)} are free in {self._job.directory}",
                hint="ask for less with marshal_volume_size, or free some space",
            )

    def _make_marshal(self, creation: Creation) -> None:
        folder = self._job.directory / "marshal"
        assert creation.mount_point is not None
        place = Path(creation.mount_point)
        self._make_empty(creation, folder, place)
        self._marshal = Mount(source=folder, target=place)

    def _make_empty(self, creation: Creation, folder: Path, place: Path) -> None:
        """Make a volume that begins empty; it holds what the steps left there that are not run again."""
        started = time.monotonic()
        known = self._job.snapshots.get(creation.name)
        clone = None
        if known is None:
            folder.mkdir()
        else:
            clone = self.store.clone(self.store.find(known), folder, seen_at=place if self._seen else None)
        self._tell(creation, folder, time.monotonic() - started, clone)

    def _clone(self, creation: Creation, source: Path, folder: Path, place: Path) -> Path:
        started = time.monotonic()
        known = self._job.snapshots.get(creation.name)
        snapshot = self.store.find(known) if known is not None else self._take(creation, source)
        self._warn_of_deviations(creation, snapshot)
        clone = self.store.clone(snapshot, folder, seen_at=place if self._seen else None)
        self._snapshots[creation.name] = snapshot.id
        if creation.volume is None:
            begun = self._job.origins.get(creation.name)  # a snapshot of a clone does not know what the clone lacked
            self._environments = tuple(Path(path) for path in (self.store.find(begun) if begun else snapshot).environments)
        self._observe(
            VolumeCreated(
                time=time.time(),
                step=creation.step,
                volume=creation.name,
                path=clone.path,
                files=snapshot.files,
                size=snapshot.size,
                seconds=time.monotonic() - started,
                bytes=clone.bytes,
                mount_point=place if self._seen and creation.volume is not None else None,
                mechanism=clone.mechanism,
                snapshot=snapshot.id,
            )
        )
        return clone.path

    def _take(self, creation: Creation, source: Path) -> Snapshot:
        try:
            return self.store.snapshot(source, tell=lambda told: self._foretell(creation, told))
        except VolumeError as error:
            if creation.volume is None:
                raise
            raise VolumeError(
                f"the volume {creation.name} cannot be cloned: {error.message.replace('the workspace', 'the folder')}",
                hint=f"{error.hint or 'mend that'}; or have it only read, with no clone: --volume {source}:{creation.mount_point}:ro",
            ) from error

    def _foretell(self, creation: Creation, told: Probe) -> None:
        """Say what a volume will cost before it is made, when that is worth waiting for."""
        if told.estimated_seconds >= _WORTH_SAYING:
            self._observe(RunNote(time=time.time(), message=f"{creation.step}: {describe(told)}"))

    def _warn_of_deviations(self, creation: Creation, snapshot: Snapshot) -> None:
        """Tell what a clone does not have, or not as the folder has it."""
        places = [text for v in self._job.volumes if self._seen for text in (v.mount_point, v.source) if text]
        found = [line for line in snapshot.warnings if not any(_leads_to(line, place) for place in places)]
        found += [line for line in snapshot.skipped if line.endswith(SPECIAL)]
        if not found:
            return
        more = f" and {len(found) - _SHOWN} more (kale snapshots show {snapshot.id[:12]})" if len(found) > _SHOWN else ""
        what = "the workspace" if creation.volume is None else f"volume {creation.name}"
        shown = "; ".join(found[:_SHOWN])
        outside = "; what a step writes through such a link stays changed" if LEADS_OUT in shown else ""
        message = f"the clone of {what} is not all that the folder is: {shown}{more}{outside}"
        self._observe(RunWarning(time=time.time(), message=message))

    def _tell(self, creation: Creation, folder: Path, seconds: float, clone: Clone | None = None) -> None:
        """Tell of a volume that began empty, or that began as what an earlier run left in one that did."""
        self._observe(
            VolumeCreated(
                time=time.time(),
                step=creation.step,
                volume=creation.name,
                path=folder,
                files=0 if clone is None else clone.snapshot.files,
                size=0 if clone is None else clone.snapshot.size,
                seconds=seconds,
                bytes=0 if clone is None else clone.bytes,
                mount_point=Path(creation.mount_point) if self._seen and creation.mount_point is not None else None,
                mechanism="empty" if clone is None else clone.mechanism,
            )
        )


def _leads_to(warning: str, place: str) -> bool:
    """Tell whether what a snapshot warns of is a link to a volume's place, where the clone is to be seen."""
    return any(f"{LEADS_TO}{place.rstrip('/')}{end}" in warning for end in ("/", ","))


def _part(folder: Path, volume: Volume) -> Path:
    """Return the folder in a volume that is mounted."""
    if not volume.sub_path:
        return folder
    part = folder / volume.sub_path.strip("/")
    if not part.resolve().is_relative_to(folder.resolve()) or (part.exists() and not part.is_dir()):
        raise VolumeError(f"{volume.sub_path} is no folder of the volume {volume.name}")
    if not volume.read_only:
        part.mkdir(parents=True, exist_ok=True)
    elif not part.is_dir():
        raise VolumeError(f"the volume {volume.name} has no folder {volume.sub_path}")
    return part
