"""A claim that is to be cloned: what its clone has to be like, and why it cannot be cloned."""

from __future__ import annotations

from dataclasses import dataclass

from kale_nb.engines.kfp.cluster.api import Body, Cluster
from kale_nb.engines.kfp.cluster.problems import ClusterError, Forbidden, Missing
from kale_nb.engines.kfp.cluster.quantities import known_quantity
from kale_nb.engines.kfp.cluster.resources import CLAIMS, STORAGE_CLASSES, VOLUMES
from kale_nb.errors import VolumeError

_PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
_MIGRATED = "pv.kubernetes.io/migrated-to"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A claim with a volume behind it.

    Attributes:
        size: bytes that a clone has to have at least.
        storage_class: empty when it was bound by hand.
        driver: the CSI driver; empty when nothing that we may read tells it.
    """

    name: str
    uid: str
    size: int
    storage_class: str
    access_modes: tuple[str, ...]
    driver: str


def read_source(cluster: Cluster, name: str) -> Source:
    """Return a claim of the namespace that can be cloned. VolumeError says why one cannot, ClusterError why it cannot be read."""
    claim = _claim(cluster, name)
    _refuse_state(claim, name, cluster.namespace)
    spec, status = claim["spec"], claim.get("status") or {}
    asked = known_quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage"))
    return Source(
        name=name,
        uid=str(claim["metadata"]["uid"]),
        size=max(asked, known_quantity((status.get("capacity") or {}).get("storage"))),
        storage_class=str(spec.get("storageClassName") or ""),
        access_modes=tuple(spec.get("accessModes") or ("ReadWriteOnce",)),
        driver=_driver(cluster, claim),
    )


def check_claim(cluster: Cluster, name: str) -> tuple[str, ...]:
    """Return the access modes of a claim that is to be mounted as it is. VolumeError when it is lost or being deleted."""
    claim = _claim(cluster, name)
    _refuse_end(claim, name)
    return tuple(claim["spec"].get("accessModes") or ())


def provisioner_of(cluster: Cluster, storage_class: str) -> str:
    """Return the driver of a storage class; empty when there is none, or we may not read it."""
    try:
        return str((cluster.find(STORAGE_CLASSES, storage_class) or {}).get("provisioner") or "")
    except Forbidden:
        return ""


def class_of_driver(cluster: Cluster, driver: str) -> str:
    """Return the only storage class of a driver; empty when there is none or several, or we may not read them."""
    try:
        found = [each for each in cluster.list(STORAGE_CLASSES) if each.get("provisioner") == driver]
    except Forbidden:
        return ""
    return str(found[0]["metadata"]["name"]) if len(found) == 1 else ""


def _claim(cluster: Cluster, name: str) -> Body:
    try:
        return cluster.get(CLAIMS, name)
    except Missing as error:
        raise VolumeError(
            f"there is no claim (PersistentVolumeClaim) {name} in namespace {cluster.namespace}", hint=_others(cluster)
        ) from error


def _others(cluster: Cluster) -> str:
    try:
        names = sorted(str(each["metadata"]["name"]) for each in cluster.list(CLAIMS))
    except ClusterError:
        return "is it in another namespace? --namespace names one"
    some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"there are {some}" if names else "there are none there; is it in another namespace? --namespace names one"


def _refuse_end(claim: Body, name: str) -> None:
    if "deletionTimestamp" in claim["metadata"]:
        raise VolumeError(
            f"the claim {name} is being deleted (Terminating)",
            hint="it goes when no pod uses it any more; name another one, or make it anew",
        )
    if (claim.get("status") or {}).get("phase") == "Lost":
        raise VolumeError(
            f"the claim {name} has lost its volume (Lost): the persistent volume {claim['spec'].get('volumeName')} is gone",
            hint="its data can only come back from a snapshot or a backup",
        )


def _refuse_state(claim: Body, name: str, namespace: str) -> None:
    _refuse_end(claim, name)
    if claim["spec"].get("volumeMode") == "Block":
        raise VolumeError(f"the claim {name} is a raw block device, and steps need a file system")
    if (claim.get("status") or {}).get("phase") != "Bound":
        raise VolumeError(
            f"the claim {name} has no volume yet (Pending): no pod has used it, so there is nothing to be cloned",
            hint=f"`kubectl -n {namespace} describe pvc {name}` says what it waits for; or leave it out",
        )


def _driver(cluster: Cluster, claim: Body) -> str:
    """Return the CSI driver: of the volume where we may read it, else what the claim or its class says. VolumeError when it has none."""
    name, annotations = claim["metadata"]["name"], claim["metadata"].get("annotations") or {}
    try:
        volume = cluster.find(VOLUMES, str(claim["spec"].get("volumeName") or ""))
    except Forbidden:
        volume = None
    if volume is not None:
        csi = volume["spec"].get("csi")
        if csi:
            return str(csi["driver"])
        kind = next((key for key in volume["spec"] if key in _IN_TREE), "no CSI volume")
        migrated = (volume["metadata"].get("annotations") or {}).get(_MIGRATED)
        more = f", which {migrated} serves, but not with snapshots" if migrated else ""
        raise VolumeError(
            f"the claim {name} is on a volume without a CSI driver ({kind}){more}: it cannot be snapshotted",
            hint="mount it as it is (`type: pvc`: steps then write to it), or leave it out with --only-workspace, "
            "or copy it to a claim of a class with a CSI driver",
        )
    told = next((annotations[key] for key in _PROVISIONERS if annotations.get(key)), "")
    return str(told or provisioner_of(cluster, str(claim["spec"].get("storageClassName") or "")))


_IN_TREE = (
    "hostPath", "local", "nfs", "iscsi", "fc", "cephfs", "rbd", "glusterfs", "awsElasticBlockStore", "gcePersistentDisk", "azureDisk",
    "azureFile", "cinder", "vsphereVolume", "portworxVolume", "flexVolume", "flocker", "quobyte", "scaleIO", "storageos",
)  # fmt: skip
