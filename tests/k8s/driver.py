"""Plays a cluster's CSI driver with its provisioner and its snapshot controller, for one namespace: volumes and snapshots are folders.

A thread looks at the namespace ten times a second and does what is to be done next for every claim and every snapshot (`provisioning.py`,
`snapshotting.py`). Nothing is remembered but when something was first seen, so that what a test does to the objects by hand counts.
"""

from __future__ import annotations

import subprocess
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.k8s.behaviour import Behaviour
from tests.k8s.rest import SNAPSHOTS, Rest
from tests.k8s.space import Space

PERIOD = 0.1
VOLUMES = "/api/v1/persistentvolumes"
CONTENTS = f"{SNAPSHOTS}/volumesnapshotcontents"
LABEL = "tests.kale/namespace"  # on what it makes that is in no namespace

Object = dict[str, Any]


class Refused(Exception):
    """What the driver says when it does not do what it is asked for.

    Attributes:
        reason: that of the event.
    """

    def __init__(self, message: str, reason: str = "ProvisioningFailed") -> None:
        super().__init__(message)
        self.reason = reason


class Driver:
    """A driver with a name that no other namespace's has, a StorageClass, and a VolumeSnapshotClass.

    Attributes:
        name: `NAMESPACE.test.csi.kale`; other tests' drivers and classes are none of its business.
        space: its namespace.
        storage_class: the name of a StorageClass of its own.
        snapshot_class: the name of a VolumeSnapshotClass of its own, which is the driver's default.
        behaviour: of whatever `of` says nothing about.
        host_paths: whether volumes tell their folder as `hostPath`, for what mounts them for real, instead of as `csi`.
    """

    def __init__(self, space: Space, root: Path, *, host_paths: bool = False) -> None:
        self.space = space
        self.root = root
        self.host_paths = host_paths
        self.name = f"{space.name}.test.csi.kale"
        self.storage_class = space.storage_class(self.name)
        self.snapshot_class = space.snapshot_class(self.name, default=True)
        self.behaviour = Behaviour()
        self.seen: dict[str, float] = {}
        self.problem: str | None = None
        self._own: dict[str, Behaviour] = {}
        self._api = space.cluster.client()
        self.rest = Rest(self._api)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def of(self, claim: str) -> Behaviour:
        """Return the behaviour towards a claim and its snapshots, which is then one of its own."""
        return self._own.setdefault(claim, Behaviour())

    def towards(self, claim: str) -> Behaviour:
        """Return the behaviour towards a claim and its snapshots."""
        return self._own.get(claim, self.behaviour)

    # -- what tests look at

    def folder(self, claim: str) -> Path:
        """Return the folder of a claim's volume."""
        return self.volume_folder(str(self.space.bound(claim)["spec"]["volumeName"]))

    def snapshot_folder(self, snapshot: str) -> Path:
        """Return the folder with a snapshot's content; only to be looked at."""
        return self.content_folder(str(self.space.snapshot_now(snapshot)["status"]["boundVolumeSnapshotContentName"]))

    def volume_folder(self, volume: str) -> Path:
        """Return the folder of a PersistentVolume."""
        return self.root / "volumes" / volume

    def content_folder(self, content: str) -> Path:
        """Return the folder of a VolumeSnapshotContent."""
        return self.root / "snapshots" / content

    def volumes(self) -> list[Object]:
        """Return the PersistentVolumes that it made."""
        return self.rest.items(VOLUMES, labelSelector=f"{LABEL}={self.space.name}")

    def contents(self) -> list[Object]:
        """Return the VolumeSnapshotContents that it made."""
        return self.rest.items(CONTENTS, labelSelector=f"{LABEL}={self.space.name}")

    # -- for its parts

    def waited(self, uid: str, what: str, seconds: float) -> bool:
        """Say whether something was first asked about so many seconds ago."""
        first = self.seen.setdefault(f"{uid} {what}", time.monotonic())
        return time.monotonic() - first >= seconds

    def event(self, about: Object, kind: str, reason: str, message: str) -> None:
        """Tell the namespace what happened to an object; the same words once."""
        metadata = about["metadata"]
        if message in self.space.events(metadata["name"], reason):
            return
        reference = {"kind": about["kind"], "apiVersion": about["apiVersion"]}
        reference |= {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = {
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": self.space.name},
            "involvedObject": reference,
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": self.name},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self.rest.post(f"{self.space.path}/events", event)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a folder with owners, modes, times and links; the target appears when it is whole."""
        part = target.with_name(f"{target.name}.part")
        part.mkdir(parents=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", f"{source}/.", str(part)], check=True)
        part.rename(target)

    # -- the thread

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def _run(self) -> None:
        from tests.k8s.provisioning import provision
        from tests.k8s.snapshotting import take_snapshots

        while not self._stopped.wait(PERIOD):
            for work in (take_snapshots, provision):
                try:
                    work(self)
                except Exception as error:
                    if getattr(error, "status", None) not in (404, 409):  # somebody else was quicker: look again
                        self.problem = traceback.format_exc()

    def close(self) -> None:
        """Stop, and remove what it made that is in no namespace, and what would keep the namespace from going away.

        Raises:
            AssertionError: something went wrong in the thread meanwhile.
        """
        self._stopped.set()
        self._thread.join(60)
        free: Object = {"metadata": {"finalizers": None}}
        for snapshot in self.rest.items(self.space.snapshots_path):
            self.rest.patch(f"{self.space.snapshots_path}/{snapshot['metadata']['name']}", free)
        for path, made in ((CONTENTS, self.contents()), (VOLUMES, self.volumes())):
            for each in made:
                self.rest.patch(f"{path}/{each['metadata']['name']}", free)
                self.rest.delete(f"{path}/{each['metadata']['name']}")
        self._api.close()
        assert self.problem is None, self.problem


@contextmanager
def new_driver(space: Space, root: Path, *, host_paths: bool = False) -> Iterator[Driver]:
    """Let a driver work in a namespace; its folders go below `root`."""
    driver = Driver(space, root, host_paths=host_paths)
    driver.start()
    try:
        yield driver
    finally:
        driver.close()
