"""A VolumeSnapshotContent and a copied folder for every VolumeSnapshot; its status says how far it is, or what is wrong.

What it says is what Kubernetes' snapshot-controller and csi-snapshotter say.
"""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from typing import Any

from tests.k8s.behaviour import Behaviour
from tests.k8s.driver import CONTENTS, LABEL, VOLUMES, Driver, Refused
from tests.k8s.quantities import in_bytes, written
from tests.k8s.rest import SNAPSHOTS

Object = dict[str, Any]

_DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"
SOURCE_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"
BOUND_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
CONTENT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"


def take_snapshots(driver: Driver) -> None:
    """Do what is to be done next for every snapshot, and for every content that somebody deletes."""
    for snapshot in driver.rest.items(driver.space.snapshots_path):
        if "deletionTimestamp" in snapshot["metadata"]:
            _let_go(driver, snapshot)
        elif not (snapshot.get("status") or {}).get("readyToUse"):
            try:
                _advance(driver, snapshot)
            except Refused as refused:
                _say_error(driver, snapshot, refused)
    for content in driver.contents():
        if "deletionTimestamp" in content["metadata"]:
            _drop(driver, content)


def _path(driver: Driver, snapshot: Object) -> str:
    return f"{driver.space.snapshots_path}/{snapshot['metadata']['name']}"


def _advance(driver: Driver, snapshot: Object) -> None:
    """Take a snapshot one step on: protected, bound to its content, cut, ready."""
    metadata, source = snapshot["metadata"], snapshot["spec"]["source"]
    finalizers = metadata.get("finalizers") or []
    missing = [each for each in (SOURCE_FINALIZER, BOUND_FINALIZER) if each not in finalizers]
    if missing:
        driver.rest.patch(_path(driver, snapshot), {"metadata": {"finalizers": [*finalizers, *missing]}})
    if "volumeSnapshotContentName" in source:
        _bind_existing(driver, snapshot, source["volumeSnapshotContentName"])
        return
    behaviour = driver.towards(source["persistentVolumeClaimName"])
    content = driver.rest.find(f"{CONTENTS}/snapcontent-{metadata['uid']}")
    if content is None:
        content = _make_content(driver, snapshot)
        if content is not None:
            _set_status(driver, snapshot, {"boundVolumeSnapshotContentName": content["metadata"]["name"], "readyToUse": False})
        return
    if "creationTime" not in (content.get("status") or {}):
        content = _cut(driver, content, behaviour)
    if "creationTime" in (content.get("status") or {}):
        _finish(driver, snapshot, content, behaviour)


def _make_content(driver: Driver, snapshot: Object) -> Object | None:
    """Create the content; None when the class is another driver's.

    Raises:
        Refused: there is no class, or no volume.
    """
    metadata, claim_name = snapshot["metadata"], snapshot["spec"]["source"]["persistentVolumeClaimName"]
    claim = driver.rest.find(f"{driver.space.claims_path}/{claim_name}")
    chosen = _class_of(driver, snapshot, claim)
    if chosen is None:
        return None
    said = None
    if claim is None:
        said = f'failed to retrieve PVC {claim_name} from the lister: persistentvolumeclaim "{claim_name}" not found'
    elif (claim.get("status") or {}).get("phase") != "Bound":
        said = f"the PVC {claim_name} is not yet bound to a PV, will not attempt to take a snapshot"
    else:
        said = _driver_of(driver, chosen, claim)
    if said is not None or claim is None:
        words = f'failed to get input parameters to create snapshot {metadata["name"]}: "{said}"'
        raise Refused(f"Failed to create snapshot content with error {words}", "SnapshotContentCreationFailed")
    reference = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")}
    kind = {"apiVersion": "snapshot.storage.k8s.io/v1"}
    return driver.rest.post(
        CONTENTS,
        {
            **kind,
            "kind": "VolumeSnapshotContent",
            "metadata": {
                "name": f"snapcontent-{metadata['uid']}",
                "labels": {LABEL: driver.space.name},
                "finalizers": [CONTENT_FINALIZER],
            },
            "spec": {
                "deletionPolicy": chosen["deletionPolicy"],
                "driver": driver.name,
                "source": {"volumeHandle": claim["spec"]["volumeName"]},
                "volumeSnapshotClassName": chosen["metadata"]["name"],
                "volumeSnapshotRef": {**kind, "kind": "VolumeSnapshot", **reference},
            },
        },
    )


def _class_of(driver: Driver, snapshot: Object, claim: Object | None) -> Object | None:
    """Return the snapshot's class, and write a default one into the snapshot; None when the claim is none of this driver's business.

    Raises:
        Refused: there is no such class, or not one default.
    """
    name = snapshot["spec"].get("volumeSnapshotClassName")
    if name is not None:
        found = driver.rest.find(f"{SNAPSHOTS}/volumesnapshotclasses/{name}")
        if found is None:
            words = f'volumesnapshotclass.snapshot.storage.k8s.io "{name}" not found'
            raise Refused(f"Failed to get snapshot class with error {words}", "GetSnapshotClassFailed")
        return found if claim is None or _provider(driver, claim) in (None, "", driver.name) else None
    if claim is None:
        raise _no_default("the driver of the claim is not known: there is no such claim")
    if _provider(driver, claim) not in (None, driver.name):
        return None
    classes = driver.rest.items(f"{SNAPSHOTS}/volumesnapshotclasses")
    mine = [each for each in classes if each["driver"] == driver.name]
    default = [each for each in mine if (each["metadata"].get("annotations") or {}).get(_DEFAULT) == "true"]
    if not default:
        raise _no_default("cannot find default snapshot class")
    if len(default) > 1:
        raise _no_default(f"{len(default)} default snapshot classes were found")
    driver.rest.patch(_path(driver, snapshot), {"spec": {"volumeSnapshotClassName": default[0]["metadata"]["name"]}})
    return default[0]


def _no_default(said: str) -> Refused:
    return Refused(f"Failed to set default snapshot class with error {said}", "SetDefaultSnapshotClassFailed")


def _provider(driver: Driver, claim: Object) -> str | None:
    """Return the driver of a claim's volume; empty when it is not a driver's, None when there is no volume yet."""
    volume = driver.rest.find(f"{VOLUMES}/{claim['spec'].get('volumeName') or '-'}")
    if volume is None:
        return None
    if (volume["metadata"].get("labels") or {}).get(LABEL) == driver.space.name:
        return driver.name
    return str(volume["spec"].get("csi", {}).get("driver", ""))


def _driver_of(driver: Driver, snapshot_class: Object, claim: Object) -> str | None:
    """Say what is wrong with a class for a volume, if anything is."""
    theirs, volume = _provider(driver, claim), claim["spec"]["volumeName"]
    if not theirs:
        return f"unsupported volume type: {volume} is not a CSI volume"
    if theirs != snapshot_class["driver"]:
        words = f"snapshot driver {snapshot_class['driver']} of VolumeSnapshotClass {snapshot_class['metadata']['name']}"
        return f"{words} does not match the driver {theirs} of the volume {volume}"
    return None


def _cut(driver: Driver, content: Object, behaviour: Behaviour) -> Object:
    """Copy the volume's folder as it is now, when it is time.

    Raises:
        Refused: the driver was told to.
    """
    name, volume = content["metadata"]["name"], content["spec"]["source"]["volumeHandle"]
    if not driver.waited(content["metadata"]["uid"], "cut", behaviour.cut_after):
        return content
    if behaviour.snapshot_error is not None:
        words = f'failed to take snapshot of the volume {volume}: "rpc error: code = Internal desc = {behaviour.snapshot_error}"'
        raise Refused(f"Failed to check and update snapshot content: {words}", "SnapshotContentCheckandUpdateFailed")
    driver.copy(driver.volume_folder(volume), driver.content_folder(name))
    status: Object = {"snapshotHandle": name, "creationTime": time.time_ns(), "readyToUse": False}
    if behaviour.tells_size:
        capacity = driver.rest.get(f"{VOLUMES}/{volume}")["spec"]["capacity"]["storage"]
        size = behaviour.restore_size
        status["restoreSize"] = in_bytes(capacity) if size is None else size
    return driver.rest.patch(f"{CONTENTS}/{name}/status", {"status": status})


def _finish(driver: Driver, snapshot: Object, content: Object, behaviour: Behaviour) -> None:
    """Tell of a snapshot that was cut, and when it is time that it is ready.

    Raises:
        Refused: the driver was told to.
    """
    name = content["metadata"]["name"]
    status: Object = {"boundVolumeSnapshotContentName": name, "readyToUse": False, "error": None}
    status["creationTime"] = _moment(content["status"]["creationTime"])
    if "restoreSize" in content["status"]:
        status["restoreSize"] = written(content["status"]["restoreSize"])
    late = not driver.waited(content["metadata"]["uid"], "ready", behaviour.ready_after)
    if behaviour.ready_error is not None and not late:
        words = f"Failed to check and update snapshot content: {behaviour.ready_error}"
        raise Refused(words, "SnapshotContentCheckandUpdateFailed")
    if not behaviour.never_ready and not late:
        driver.rest.patch(f"{CONTENTS}/{name}/status", {"status": {"readyToUse": True, "error": None}})
        status["readyToUse"] = True
    _set_status(driver, snapshot, status)


def _bind_existing(driver: Driver, snapshot: Object, name: str) -> None:
    """Bind a snapshot to a content that an administrator made for it."""
    content = driver.rest.find(f"{CONTENTS}/{name}")
    if content is None:
        raise Refused("VolumeSnapshotContent is missing", "SnapshotContentMissing")
    reference = content["spec"]["volumeSnapshotRef"]
    if (reference["namespace"], reference["name"]) != (driver.space.name, snapshot["metadata"]["name"]):
        raise Refused(f"VolumeSnapshotContent [{name}] is bound to a different snapshot", "SnapshotContentMisbound")
    if content["spec"]["driver"] == driver.name and "creationTime" in (content.get("status") or {}):
        _finish(driver, snapshot, content, driver.behaviour)


def _set_status(driver: Driver, snapshot: Object, status: Object) -> None:
    now = snapshot.get("status") or {}
    if any(now.get(key) != value for key, value in status.items()):
        driver.rest.patch(f"{_path(driver, snapshot)}/status", {"status": status})


def _say_error(driver: Driver, snapshot: Object, refused: Refused) -> None:
    message = str(refused)
    if ((snapshot.get("status") or {}).get("error") or {}).get("message") != message:
        error = {"message": message, "time": _moment(time.time_ns())}
        driver.rest.patch(f"{_path(driver, snapshot)}/status", {"status": {"error": error, "readyToUse": False}})
        about = snapshot | {"kind": "VolumeSnapshot", "apiVersion": "snapshot.storage.k8s.io/v1"}
        driver.event(about, "Warning", refused.reason, message)


def _moment(nanoseconds: int) -> str:
    """Return a moment as Kubernetes writes it: whole seconds."""
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _let_go(driver: Driver, snapshot: Object) -> None:
    """Delete a snapshot, and its content when the class says so, once no claim waits to be made from it."""
    for claim in driver.rest.items(driver.space.claims_path):
        source = claim["spec"].get("dataSource") or {}
        mine = (source.get("kind"), source.get("name")) == ("VolumeSnapshot", snapshot["metadata"]["name"])
        if mine and claim["status"].get("phase") == "Pending":
            return
    content = driver.rest.find(f"{CONTENTS}/{(snapshot.get('status') or {}).get('boundVolumeSnapshotContentName') or '-'}")
    if content is not None and content["spec"]["deletionPolicy"] == "Delete":
        driver.rest.delete(f"{CONTENTS}/{content['metadata']['name']}")
        _drop(driver, content)
    driver.rest.patch(_path(driver, snapshot), {"metadata": {"finalizers": None}})


def _drop(driver: Driver, content: Object) -> None:
    """Let a content go that is being deleted, and with it what it stands for unless it is to be retained."""
    name = content["metadata"]["name"]
    if content["spec"]["deletionPolicy"] == "Delete":
        shutil.rmtree(driver.content_folder(name), ignore_errors=True)
    driver.rest.patch(f"{CONTENTS}/{name}", {"metadata": {"finalizers": None}})
