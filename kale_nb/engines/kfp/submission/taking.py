"""What a submission takes from the cluster: snapshots of the volumes, and with them what the pipeline is given."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kale_nb.engines.kfp.cluster.api import Cluster
from kale_nb.engines.kfp.cluster.claims import Source, class_of_driver, provisioner_of
from kale_nb.engines.kfp.cluster.events import warnings_of
from kale_nb.engines.kfp.cluster.labels import EXPIRES, Belonging, belonging
from kale_nb.engines.kfp.cluster.notebook import owner_of
from kale_nb.engines.kfp.cluster.problems import ClusterError
from kale_nb.engines.kfp.cluster.quantities import known_quantity, spell_quantity
from kale_nb.engines.kfp.cluster.resources import CLAIMS, SNAPSHOTS
from kale_nb.engines.kfp.cluster.snapshots import Batch, Cut, Patience, cut_of, wait_for
from kale_nb.engines.kfp.cluster.syncing import sync_folder
from kale_nb.engines.kfp.code import stage_code
from kale_nb.engines.kfp.ir import annotations_of
from kale_nb.engines.kfp.plan import Claim, Origin, Plan
from kale_nb.engines.kfp.submission.following import Made
from kale_nb.engines.kfp.submission.places import Place
from kale_nb.engines.kfp.submission.supplies import Say, Taken, class_and_size, mount_of
from kale_nb.engines.kfp.target import Cleanup, Target
from kale_nb.errors import VolumeError
from kale_nb.names import RunId, kubernetes_name
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.volumes import WORKSPACE
from kale_nb.runs.events import State

_SPREAD = 5.0
"""Seconds between the first and the last snapshot from which on a warning says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloning:
    """What is asked for where volumes are cloned.

    Attributes:
        kubeconfig, context: the cluster; None: see `cluster.connection`.
        workspace_claim: the workspace; None: that of the notebook server, or the one that the marks name.
        only_workspace: the server's other volumes are left out.
        snapshot_class: None: the one for the volume's driver.
        clone_claims: the claims themselves are cloned, without snapshots.
        one_node: all steps run on the notebook server's node.
        keep_for: seconds after which `kale clean` may remove what was made; None: never by itself.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    workspace_claim: str | None = None
    only_workspace: bool = False
    snapshot_class: str | None = None
    clone_claims: bool = False
    one_node: bool = False
    keep_for: float | None = None
    patience: Patience = field(default_factory=Patience)


@dataclass(slots=True, kw_only=True)
class Clones:
    """The volumes of one submission; see `Supplies`.

    Attributes:
        sources: the claims that are cloned, by name.
        classes: their snapshot classes; empty where the claims themselves are cloned.
        storage_class: of what begins empty, when that was asked for.
        asked_modes: access modes that the marks ask for, by mount point.
    """

    pipeline: Pipeline
    target: Target
    cluster: Cluster
    place: Place
    sources: Mapping[str, Source]
    classes: Mapping[str, str | None]
    wanted: Cloning
    storage_class: str | None
    run: RunId
    said: tuple[str, ...]
    asked_modes: Mapping[str, str]
    batch: Batch | None = None
    expiry: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def taken(self, plan: Plan, note: Say, warn: Say) -> Iterator[Taken]:
        """Write the code into the workspace, then out to the disk, then take all snapshots, then wait for them."""
        for text in self.said:
            warn(text)
        self._write_out(plan, warn)
        stem = f"kale-{kubernetes_name(self.run)[:46].rstrip('-')}"
        self.expiry = self._expiry()
        self.batch = batch = Batch(self.cluster, stem, self.expiry)
        try:
            existing = {c.name: self._existing(c.name) for c in plan.claims if c.origin is Origin.SNAPSHOT}
            cuts = self._take(plan, note, warn)
            yield self._given(plan, cuts, existing)
        except BaseException:
            self._give_back(batch, note, warn)
            raise

    def _write_out(self, plan: Plan, warn: Say) -> None:
        place = self.place
        if place.local is None:
            return
        if not plan.carries:
            stage_code(plan.code, place.local)
        folders = [place.local, *(Path(mount.path) for mount in place.data if mount.claim in self.sources)]
        for folder in folders:
            problem = sync_folder(folder) if folder.is_dir() else ""
            if problem:
                warn(f"what was written last may not be in the snapshot: {problem}")
        if self.wanted.clone_claims:
            warn("claims are cloned when the run makes them, not now (--clone-claims): until then leave your files as they are")

    def _take(self, plan: Plan, note: Say, warn: Say) -> dict[str, Cut]:
        """Take a snapshot of each claim that the plan clones; return them by claim."""
        if self.wanted.clone_claims or self.batch is None:
            return {}
        volumes = {self._claim_of(c): _spoken(c) for c in reversed(plan.claims) if c.origin is Origin.CLONE}
        order = [name for name in self.sources if name in volumes]
        taken = [self.batch.take(name, self.classes.get(name), self._belongs(volumes[name])) for name in order]
        if not taken:
            return {}
        note(f"waiting for {len(taken)} snapshot{'s' if len(taken) != 1 else ''}: {', '.join(each.claim for each in taken)}")
        found = wait_for(self.cluster, taken, self.wanted.patience, note)
        cuts = {each.claim: found[each.name] for each in taken}
        moments = [cut.created for cut in cuts.values() if cut.created is not None]
        apart = (max(moments) - min(moments)).total_seconds() if moments else 0.0
        if apart > _SPREAD:
            warn(f"the snapshots are {apart:.0f} s apart: files of one volume may not fit those of another")
        retained = [cut.name for cut in cuts.values() if cut.policy == "Retain"]
        if retained:
            note(f"deleting {', '.join(retained)} will not free its storage: the snapshot class retains it")
        return cuts

    def _existing(self, name: str) -> Cut:
        """Return a snapshot that was there before. VolumeError when clones cannot be made from it."""
        found = self.cluster.find(SNAPSHOTS, name)
        if found is None:
            raise VolumeError(f"there is no snapshot {name} in namespace {self.cluster.namespace}")
        cut = cut_of(self.cluster, found)
        if not cut.ready or "deletionTimestamp" in found["metadata"]:
            error = ((found.get("status") or {}).get("error") or {}).get("message")
            raise VolumeError(
                f"the snapshot {name} is not ready{f': {error}' if error else ''}", hint="wait until it is, or take a clone"
            )
        return cut

    # -- what the pipeline is given ---------------------------------------------------------------------------------------

    def _given(self, plan: Plan, cuts: Mapping[str, Cut], existing: Mapping[str, Cut]) -> Taken:
        values: dict[str, Any] = {}
        made: list[Made] = []
        told = {"volumes in": self.cluster.namespace}
        for claim in plan.claims:
            cut = cuts.get(self._claim_of(claim)) if claim.origin is Origin.CLONE else existing.get(claim.name)
            size = self._size(claim, cut)
            values |= class_and_size(claim, spell_quantity(size) if size else None, self._class(claim))
            belongs = self._belongs(_spoken(claim))
            said = {**annotations_of(claim, self.pipeline.name), **belongs.annotations, **self.expiry}
            values[claim.parameters["annotations"]] = said
            if claim.origin is Origin.CLONE:
                values[claim.parameters["source"]] = self._source(claim, cut)
                modes = self._modes(claim, plan)
                if modes is not None:
                    values[claim.parameters["access_modes"]] = modes
            if cut is not None:
                told[f"snapshot {_spoken(claim)}"] = cut.name
            asked = max(size, known_quantity(claim.size))
            made.append(Made(claim=claim, mount=mount_of(plan, claim), size=asked, snapshot="" if cut is None else cut.name))
        return Taken(values=values, made=made, told=told)

    def _source(self, claim: Claim, cut: Cut | None) -> dict[str, str]:
        if cut is None:
            return {"kind": CLAIMS.kind, "name": self._claim_of(claim)}
        return {"apiGroup": SNAPSHOTS.group, "kind": SNAPSHOTS.kind, "name": cut.name}

    def _size(self, claim: Claim, cut: Cut | None) -> int:
        """Return the least size of a clone; 0 for what is none."""
        source = self.sources.get(self._claim_of(claim)) if claim.origin is Origin.CLONE else None
        size = max(source.size if source is not None else 0, cut.restore_size if cut is not None else 0)
        if claim.origin is Origin.SNAPSHOT and not max(size, known_quantity(claim.size)):
            raise VolumeError(f"the snapshot {claim.name} does not say how large it is", hint="give the volume a size")
        return size

    def _class(self, claim: Claim) -> str | None:
        """Return the storage class: as asked, of the source, or the one that the driver has."""
        if claim.origin is not Origin.CLONE:
            workspace = self.sources.get(self.place.claim)
            return self.storage_class or (workspace.storage_class if workspace is not None else None)
        source = self.sources[self._claim_of(claim)]
        if claim.storage_class is not None:
            self._fits(claim.storage_class, source)
            return None
        found = (
            source.storage_class or self.storage_class or (class_of_driver(self.cluster, source.driver) if source.driver else "")
        )
        if not found:
            raise VolumeError(
                f"the claim {source.name} has no storage class, and its clone needs one of the driver {source.driver or '(unknown)'}",
                hint="name one with --storage-class",
            )
        return found

    def _fits(self, storage_class: str, source: Source) -> None:
        """Refuse a class that cannot restore: clones are made by the driver that took the snapshot, or within one class."""
        driver = provisioner_of(self.cluster, storage_class)
        if driver and source.driver and driver != source.driver:
            raise VolumeError(
                f"a clone of claim {source.name} cannot be of storage class {storage_class}, whose driver is {driver}: "
                f"the claim's is {source.driver}",
                hint="leave storage_class out, or name one of that driver",
            )
        if self.wanted.clone_claims and storage_class != source.storage_class:
            raise VolumeError(
                f"without a snapshot a clone is of the class of its claim: {source.name} is of {source.storage_class}, not {storage_class}"
            )

    def _modes(self, claim: Claim, plan: Plan) -> list[str] | None:
        """Return the source's access modes, unless the marks ask for one or they are what was compiled."""
        asked = self.asked_modes.get(mount_of(plan, claim) or "")
        modes = self.sources[self._claim_of(claim)].access_modes
        return None if asked or modes == claim.access_modes else list(modes)

    def _claim_of(self, claim: Claim) -> str:
        return self.place.claim if claim.use == WORKSPACE else claim.name

    # -- whose it is, and its end -----------------------------------------------------------------------------------------

    def _belongs(self, volume: str) -> Belonging:
        return Belonging(pipeline=self.pipeline.name, run=self.run, owner=owner_of(self.place.server, os.environ), volume=volume)

    def _expiry(self) -> dict[str, str]:
        if self.wanted.keep_for is None:
            return {}
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.wanted.keep_for)
        return {EXPIRES: end.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def _give_back(self, batch: Batch, note: Say, warn: Say) -> None:
        """Delete what was taken, and say what is left of it."""
        left = batch.give_back()
        gone = [each.name for each in batch.taken if each.name not in left]
        if gone:
            note(f"given back: {', '.join(gone)}")
        for name, why in left.items():
            warn(f"the snapshot {name} is left: {why}; `kale clean` removes it")

    def troubles(self) -> tuple[str, ...]:
        """Return what the cluster says of the run's claims that have no volume yet."""
        try:
            claims = self.cluster.list(CLAIMS)
        except ClusterError:
            return ()
        found = []
        for claim in claims:
            metadata = claim["metadata"]
            belongs = belonging(metadata.get("annotations") or {}, metadata.get("labels") or {})
            if belongs is None or belongs.run != self.run or (claim.get("status") or {}).get("phase") != "Pending":
                continue
            events = warnings_of(self.cluster, CLAIMS, str(metadata["name"]), most=1)
            found += [f"the claim {metadata['name']} ({belongs.volume}) gets no volume: {text}" for text in events]
        return tuple(found)

    def ended(self, state: State, note: Say, warn: Say) -> None:
        """Delete the snapshots together with the clones, as the policy says."""
        over = state is State.SUCCEEDED if self.target.cleanup is Cleanup.DELETE_ON_SUCCESS else state is not State.RUNNING
        if self.target.cleanup is Cleanup.KEEP or not over or self.batch is None or not self.batch.taken:
            return
        left = self.batch.give_back()
        gone = [each.name for each in self.batch.taken if each.name not in left]
        if gone:
            note(f"deleted: snapshot{'s' if len(gone) != 1 else ''} {', '.join(gone)}")
        for name, why in left.items():
            warn(f"the snapshot {name} is left: {why}; `kale clean` removes it")


def _spoken(claim: Claim) -> str:
    return WORKSPACE if claim.use == WORKSPACE else claim.name or claim.use
