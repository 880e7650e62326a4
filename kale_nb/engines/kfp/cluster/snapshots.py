"""Snapshots of one submission: taken together, waited for together, given back together.

Whoever waits looks again and again (`Cluster` says why). An error in a snapshot's status may pass: the snapshot controller tries again by
itself, so it is told at once and believed only when it has stood for a while.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kale_nb.engines.kfp.cluster.api import Body, Cluster
from kale_nb.engines.kfp.cluster.events import warnings_of
from kale_nb.engines.kfp.cluster.labels import Belonging, belonging, moment
from kale_nb.engines.kfp.cluster.problems import ClusterError, Conflicting, Forbidden, Missing
from kale_nb.engines.kfp.cluster.quantities import known_quantity
from kale_nb.engines.kfp.cluster.resources import SNAPSHOT_CONTENTS, SNAPSHOTS
from kale_nb.errors import VolumeError

Say = Callable[[str], None]
_FIRST_LOOK, _LAST_LOOK = 0.25, 5.0
_REMIND = 30.0
"""Seconds between two notes on what is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long snapshots are waited for.

    Attributes:
        timeout: seconds in all.
        grace: seconds for which an error in the status may stand: the controller tries again after 1, 2, 4, ... seconds.
        ready: wait until clones can be made; otherwise until the content is fixed (`creationTime`), and clones wait for the rest.
    """

    timeout: float = 600.0
    grace: float = 60.0
    ready: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot that we have made.

    Attributes:
        claim: what it is of.
    """

    name: str
    uid: str
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is known of a snapshot whose content is fixed.

    Attributes:
        created: the moment of that content.
        restore_size: bytes that a clone has to have at least; 0 when the driver does not say.
        ready: clones can be made.
        content: the object behind it.
        policy: what becomes of the storage when the snapshot is deleted: `Delete` or `Retain`; empty when we may not read it.
    """

    name: str
    created: datetime.datetime | None
    restore_size: int
    ready: bool
    content: str
    policy: str = ""


class Batch:
    """The snapshots of one submission. Names are drawn before anything is sent, so that what an interrupt cuts short is found again.

    Args:
        stem: what their names begin with; the rest is drawn by lot.
        annotations: more of them, for all.
    """

    def __init__(self, cluster: Cluster, stem: str, annotations: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._stem = stem
        self._annotations = annotations
        self._asked: dict[str, tuple[Belonging, Taken | None]] = {}

    @property
    def taken(self) -> tuple[Taken, ...]:
        """Those that were made."""
        return tuple(taken for _, taken in self._asked.values() if taken is not None)

    def take(self, claim: str, snapshot_class: str | None, belongs: Belonging) -> Taken:
        """Ask for a snapshot of a claim; returns at once. ClusterError when it cannot be."""
        spec: Body = {"source": {"persistentVolumeClaimName": claim}}
        if snapshot_class is not None:
            spec["volumeSnapshotClassName"] = snapshot_class
        for attempt in range(3):
            name = f"{self._stem}-{secrets.token_hex(3)}"
            metadata = {"name": name, "labels": belongs.labels, "annotations": {**belongs.annotations, **self._annotations}}
            self._asked[name] = belongs, None
            try:
                made = self._cluster.create(SNAPSHOTS, {"metadata": metadata, "spec": spec})
            except Conflicting:
                del self._asked[name]
                if attempt == 2:
                    raise
                continue
            taken = Taken(name=name, uid=str(made["metadata"]["uid"]), claim=claim)
            self._asked[name] = belongs, taken
            return taken
        raise AssertionError("three attempts end by a return or an error")

    def give_back(self) -> dict[str, str]:
        """Delete all of them; return why for those that could not be, by name. A second interrupt leaves the rest."""
        left: dict[str, str] = {}
        for name, (belongs, taken) in self._asked.items():
            if "interrupted" in left.values():
                left[name] = "interrupted"
                continue
            try:
                self._give_back(name, belongs, taken)
            except ClusterError as error:
                left[name] = error.message
            except KeyboardInterrupt:
                left[name] = "interrupted"
        return left

    def _give_back(self, name: str, belongs: Belonging, taken: Taken | None) -> None:
        uid = None if taken is None else taken.uid
        if uid is None:  # it was asked for, and whether it was made is not known
            found = self._cluster.find(SNAPSHOTS, name)
            metadata = {} if found is None else found["metadata"]
            if belonging(metadata.get("annotations") or {}, {}) != belongs:
                return
            uid = str(metadata["uid"])
        with contextlib.suppress(Conflicting):  # another one of that name, which is none of ours
            self._cluster.delete(SNAPSHOTS, name, uid=uid)


def wait_for(cluster: Cluster, taken: Sequence[Taken], patience: Patience, note: Say) -> dict[str, Cut]:
    """Wait for snapshots and return what is known of each, by name.

    Raises:
        VolumeError: one cannot be had, or not in time; says what was seen.
    """
    waits = {each.name: _Wait(each) for each in taken}
    begun = told = time.monotonic()
    pause = _FIRST_LOOK
    while True:
        for wait in waits.values():
            if wait.cut is None:
                wait.look(cluster, patience, note, begun)
        left = [wait for wait in waits.values() if wait.cut is None]
        if not left:
            return {name: wait.cut for name, wait in waits.items() if wait.cut is not None}
        now = time.monotonic()
        if now - begun > patience.timeout:
            raise left[0].late(cluster, patience)
        if now - told > _REMIND:
            told = now
            note(f"still waiting for {', '.join(f'{w.taken.name} ({w.state})' for w in left)}")
        cluster.wait(min(pause, max(0.0, begun + patience.timeout - now) + 0.01))
        pause = min(pause * 1.3, _LAST_LOOK)


@dataclass(slots=True)
class _Wait:
    """One snapshot that is waited for."""

    taken: Taken
    cut: Cut | None = None
    state: str = "not begun"
    error: str = ""
    erred: float = 0.0
    seen: Body = field(default_factory=dict)

    def look(self, cluster: Cluster, patience: Patience, note: Say, begun: float) -> None:
        """Look at it once; `cut` is set when there is no more to wait for. VolumeError when it cannot be had."""
        taken = self.taken
        try:
            self.seen = cluster.get(SNAPSHOTS, taken.name)
        except Missing:
            raise VolumeError(f"the snapshot {taken.name} was deleted while it was waited for") from None
        if self.seen["metadata"]["uid"] != taken.uid or "deletionTimestamp" in self.seen["metadata"]:
            raise VolumeError(f"the snapshot {taken.name} was deleted while it was waited for")
        status = self.seen.get("status") or {}
        self._hear(status, patience, note, cluster)
        cut = cut_of(cluster, self.seen)
        bound = bool(status.get("boundVolumeSnapshotContentName"))
        self.state = "not begun" if not bound else "being taken" if cut.created is None else "taken, not ready yet"
        if cut.ready or (cut.created is not None and bound and not patience.ready):
            self.cut = cut
            how = "ready" if cut.ready else "taken; clones wait until it is ready"
            note(f"snapshot {taken.name} of {taken.claim}: {how} after {time.monotonic() - begun:.1f} s")

    def _hear(self, status: Body, patience: Patience, note: Say, cluster: Cluster) -> None:
        """Take note of what the status says is wrong. VolumeError when that has stood for too long."""
        error = " ".join(str((status.get("error") or {}).get("message") or "").split())
        if not error:
            self.error = ""
        elif error != self.error:
            first = not self.error
            self.error = error
            self.erred = time.monotonic() if first else self.erred
            note(f"snapshot {self.taken.name} of {self.taken.claim}: {error}; it may be tried again")
        if self.error and time.monotonic() - self.erred > min(patience.grace, patience.timeout):
            raise VolumeError(
                f"no snapshot of claim {self.taken.claim} can be taken: {self.error}",
                hint=f"it said so for {time.monotonic() - self.erred:.0f} s; `kale doctor --engine kfp` checks what snapshots need"
                f"{_and_events(cluster, self.taken.name, self.error)}",
            )

    def late(self, cluster: Cluster, patience: Patience) -> VolumeError:
        """Return the error for a snapshot that is not there in time."""
        taken = self.taken
        hints = {
            "not begun": "nothing has touched it: is the snapshot controller running, and the driver's snapshotter?",
            "being taken": "the driver has not answered: its pods' logs say why",
            "taken, not ready yet": "the driver is still copying it, which takes long for large volumes: a longer "
            "--snapshot-timeout waits for it, and --no-wait does not wait for this part",
        }
        error = f"; it says: {self.error}" if self.error else ""
        return VolumeError(
            f"the snapshot {taken.name} of claim {taken.claim} is not ready after {patience.timeout:.0f} s: {self.state}{error}",
            hint=f"{hints[self.state]}{_and_events(cluster, taken.name, self.error)}",
        )


def _and_events(cluster: Cluster, name: str, known: str) -> str:
    events = [text for text in warnings_of(cluster, SNAPSHOTS, name) if not known or known not in text]
    return f"; events: {'; '.join(events)}" if events else ""


def cut_of(cluster: Cluster, snapshot: Body) -> Cut:
    """Return what a snapshot says of itself, and where we may read it, what the object behind it says.

    Raises:
        VolumeError: that object belongs to another snapshot.
    """
    metadata, status = snapshot["metadata"], snapshot.get("status") or {}
    name, bound = str(metadata["name"]), str(status.get("boundVolumeSnapshotContentName") or "")
    ready = bool(status.get("readyToUse")) and bool(bound)
    policy = ""
    if ready:
        try:
            content = cluster.find(SNAPSHOT_CONTENTS, bound)
        except Forbidden:
            content = None
        else:
            ready = content is not None
        if content is not None:
            back = content["spec"].get("volumeSnapshotRef") or {}
            if (back.get("namespace"), back.get("name")) != (metadata.get("namespace"), name) or (
                back.get("uid") not in (None, "", metadata["uid"])
            ):
                raise VolumeError(
                    f"the snapshot {name} is bound to {bound}, which belongs to {back.get('namespace')}/{back.get('name')}",
                    hint="delete the snapshot; an administrator should look at that VolumeSnapshotContent",
                )
            policy = str(content["spec"].get("deletionPolicy") or "")
    return Cut(
        name=name,
        created=moment(status.get("creationTime")),
        restore_size=known_quantity(status.get("restoreSize")),
        ready=ready,
        content=bound,
        policy=policy,
    )
