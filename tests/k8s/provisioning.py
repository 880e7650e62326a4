"""A PersistentVolume for every claim of the driver's classes, empty or a copy; said in the events where there can be none.

What it says is what Kubernetes' external-provisioner says.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.k8s.driver import CONTENTS, LABEL, VOLUMES, Driver, Refused
from tests.k8s.objects import NODE
from tests.k8s.quantities import in_bytes, written
from tests.k8s.rest import SNAPSHOTS, STORAGE

Object = dict[str, Any]

_SELECTED = "volume.kubernetes.io/selected-node"


def provision(driver: Driver) -> None:
    """Do what is to be done next for every claim and every volume of a claim that is gone."""
    classes: dict[str, Object | None] = {}
    for claim in driver.rest.items(driver.space.claims_path):
        name = claim["spec"].get("storageClassName")
        if not name or claim["spec"].get("volumeName") or "deletionTimestamp" in claim["metadata"]:
            continue
        if name not in classes:
            classes[name] = driver.rest.find(f"{STORAGE}/storageclasses/{name}")
        found = classes[name]
        if found is not None and found["provisioner"] == driver.name:
            _provide(driver, claim | {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}, found)
    for volume in driver.volumes():
        if volume["status"].get("phase") == "Released" and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            shutil.rmtree(driver.volume_folder(volume["metadata"]["name"]), ignore_errors=True)
            driver.rest.delete(f"{VOLUMES}/{volume['metadata']['name']}")


def _provide(driver: Driver, claim: Object, storage_class: Object) -> None:
    metadata, name = claim["metadata"], claim["metadata"]["name"]
    if storage_class["volumeBindingMode"] == "WaitForFirstConsumer" and not _consumed(driver, claim):
        return
    annotations = metadata.get("annotations") or {}
    if annotations.get("volume.beta.kubernetes.io/storage-provisioner") != driver.name:
        return  # Kubernetes' own controller asks for it by this
    if not driver.waited(metadata["uid"], "volume", driver.towards(name).provision_after):
        return
    try:
        _make_volume(driver, claim, storage_class, _source(driver, claim))
    except Refused as reason:
        words = f'failed to provision volume with StorageClass "{storage_class["metadata"]["name"]}": {reason}'
        driver.event(claim, "Warning", "ProvisioningFailed", words)


def _consumed(driver: Driver, claim: Object) -> bool:
    """Say whether a pod waits for the claim; then choose a node for it, as the scheduler does."""
    name = claim["metadata"]["name"]
    if _SELECTED in (claim["metadata"].get("annotations") or {}):
        return True
    for pod in driver.rest.items(f"{driver.space.path}/pods"):
        for volume in pod["spec"].get("volumes") or []:
            if volume.get("persistentVolumeClaim", {}).get("claimName") == name:
                driver.rest.patch(f"{driver.space.claims_path}/{name}", {"metadata": {"annotations": {_SELECTED: NODE}}})
                return True
    return False


def _source(driver: Driver, claim: Object) -> Path | None:
    """Return the folder that the volume is to be a copy of."""
    source = claim["spec"].get("dataSource")
    if source is None:
        return None
    kind, name = source["kind"], source["name"]
    try:
        if kind == "VolumeSnapshot":
            return _snapshot_source(driver, claim, name)
        return _claim_source(driver, claim, name)
    except Refused as reason:
        raise Refused(f"error getting handle for DataSource Type {kind} by Name {name}: {reason}") from None


def _snapshot_source(driver: Driver, claim: Object, name: str) -> Path:
    if not driver.towards(claim["metadata"]["name"]).clones_snapshots:
        raise Refused("CSI driver does not support snapshot restore: plugin does not support snapshots")
    snapshot = driver.rest.find(f"{driver.space.snapshots_path}/{name}")
    if snapshot is None:
        words = f'volumesnapshots.{SNAPSHOTS.split("/")[2]} "{name}" not found'
        raise Refused(f"error getting snapshot {name} from api server: {words}")
    if "deletionTimestamp" in snapshot["metadata"]:
        raise Refused(f"snapshot {name} is currently being deleted")
    status = snapshot.get("status") or {}
    bound = status.get("boundVolumeSnapshotContentName")
    if not bound:
        raise Refused(f"snapshot {name} not bound")
    if not status.get("readyToUse"):
        raise Refused(f"snapshot {name} is not Ready")
    content = driver.rest.find(f"{CONTENTS}/{bound}")
    if content is None:
        raise Refused(f"snapshotContent {bound} not found")
    if content["spec"]["driver"] != driver.name:
        raise Refused(f"the driver {content['spec']['driver']} of snapshotContent {bound} is not the provisioner {driver.name}")
    wanted = in_bytes(claim["spec"]["resources"]["requests"]["storage"])
    size = (content.get("status") or {}).get("restoreSize")
    if size is not None and wanted < size:
        raise Refused(f"requested volume size {wanted} is less than the size {size} for the source snapshot {name}")
    return driver.content_folder(bound)


def _claim_source(driver: Driver, claim: Object, name: str) -> Path:
    if not driver.towards(claim["metadata"]["name"]).clones_claims:
        raise Refused("CSI driver does not support clone operations: plugin does not support clone")
    source = driver.rest.find(f"{driver.space.claims_path}/{name}")
    if source is None:
        raise Refused(f'error getting PVC {name} (namespace "{driver.space.name}") from api server: not found')
    if (source.get("status") or {}).get("phase") != "Bound":
        raise Refused(f"the PVC DataSource {name} must have a status of Bound. Got {source['status'].get('phase')}")
    theirs, mine = source["spec"].get("storageClassName"), claim["spec"]["storageClassName"]
    if theirs != mine:
        words = "the source PVC and destination PVCs must be in the same storage class for cloning."
        raise Refused(f"{words} Source is in {theirs}, but new PVC is in {mine}")
    wanted = in_bytes(claim["spec"]["resources"]["requests"]["storage"])
    size = in_bytes(source["status"]["capacity"]["storage"])
    if wanted < size:
        words = "error, new PVC request must be greater than or equal in size to the specified PVC data source"
        raise Refused(f"{words}, requested {wanted} but source is {size}")
    return driver.volume_folder(source["spec"]["volumeName"])


def _make_volume(driver: Driver, claim: Object, storage_class: Object, source: Path | None) -> None:
    metadata = claim["metadata"]
    behaviour = driver.towards(metadata["name"])
    if behaviour.provision_error is not None:
        raise Refused(f"rpc error: code = Internal desc = {behaviour.provision_error}")
    volume = f"pvc-{metadata['uid']}"
    folder = driver.volume_folder(volume)
    if driver.rest.find(f"{VOLUMES}/{volume}") is not None:
        return  # about to be bound
    if not folder.exists() and source is not None:
        driver.copy(source, folder)
    folder.mkdir(parents=True, exist_ok=True)
    asked = in_bytes(claim["spec"]["resources"]["requests"]["storage"])
    kept: Object = (
        {"hostPath": {"path": str(folder), "type": "Directory"}}
        if driver.host_paths
        else {"csi": {"driver": driver.name, "volumeHandle": volume, "fsType": "ext4"}}
    )
    spec = {
        "capacity": {"storage": written(-(-asked // behaviour.round_up) * behaviour.round_up)},
        "accessModes": claim["spec"]["accessModes"],
        "storageClassName": storage_class["metadata"]["name"],
        "persistentVolumeReclaimPolicy": storage_class["reclaimPolicy"],
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            **{key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
        },
        **kept,
    }
    labels = {LABEL: driver.space.name}
    annotations = {"pv.kubernetes.io/provisioned-by": driver.name}
    driver.rest.post(VOLUMES, {"metadata": {"name": volume, "labels": labels, "annotations": annotations}, "spec": spec})
    driver.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {volume}")
