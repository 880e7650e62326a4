"""Objects that tests create, as a cluster's own parts make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

NODE = "node"  # of the tests' server: there is one, on which nothing runs
ACCOUNT = "default-editor"  # which Kubeflow gives to notebook servers


def claim(
    name: str,
    *,
    size: str = "1Gi",
    storage_class: str | None = None,
    modes: Sequence[str] = ("ReadWriteOnce",),
    snapshot: str | None = None,
    source: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    """Return a PersistentVolumeClaim; a clone of a snapshot, or of another claim, when one is named."""
    spec: Object = {"accessModes": list(modes), "resources": {"requests": {"storage": size}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    if snapshot is not None:
        spec["dataSource"] = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot}
    if source is not None:
        spec["dataSource"] = {"kind": "PersistentVolumeClaim", "name": source}
    metadata: Object = {"name": name, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def snapshot(name: str, claim: str, *, snapshot_class: str | None = None, labels: Mapping[str, str] | None = None) -> Object:
    """Return a VolumeSnapshot of a claim."""
    spec: Object = {"source": {"persistentVolumeClaimName": claim}}
    if snapshot_class is not None:
        spec["volumeSnapshotClassName"] = snapshot_class
    metadata: Object = {"name": name, "labels": dict(labels or {})}
    return {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": metadata, "spec": spec}


def notebook_pod(
    name: str = "notebook",
    *,
    claims: Mapping[str, str] | None = None,
    sub_paths: Mapping[str, str] | None = None,
    config_maps: Mapping[str, str] | None = None,
    image: str = "registry.test/notebook:1",
    sidecar: bool = False,
    account: str = ACCOUNT,
    home: str = "/home/jovyan",
    node: str | None = NODE,
) -> Object:
    """Return the pod of a notebook server, as Kubeflow's notebook controller and its StatefulSet make it.

    Args:
        name: of the server; the pod is `NAME-0`, its container `NAME`.
        claims: where each claim is mounted, by the claim's name; the first is the workspace, by default.
        sub_paths: the folder of a claim that is mounted, by the claim's name.
        config_maps: where each config map is mounted.
        image: of the notebook's container.
        sidecar: with a service mesh's container beside it, which mounts volumes of its own, among them the first claim, elsewhere.
        account: the ServiceAccount; it must be there.
        home: the variable HOME.
        node: where it runs; None: nowhere yet, and then it does not protect its claims from deletion.
    """
    claims = claims if claims is not None else {f"{name}-workspace": home}
    volumes: list[Object] = [{"name": "dshm", "emptyDir": {"medium": "Memory"}}]
    mounts: list[Object] = [{"name": "dshm", "mountPath": "/dev/shm"}]
    for claim_name, path in claims.items():
        volumes.append({"name": f"vol-{claim_name}", "persistentVolumeClaim": {"claimName": claim_name}})
        mounts.append({"name": f"vol-{claim_name}", "mountPath": path})
        if claim_name in (sub_paths or {}):
            mounts[-1]["subPath"] = (sub_paths or {})[claim_name]
    for map_name, path in (config_maps or {}).items():
        volumes.append({"name": f"map-{map_name}", "configMap": {"name": map_name, "defaultMode": 420}})
        mounts.append({"name": f"map-{map_name}", "mountPath": path})
    container: Object = {
        "name": name,
        "image": image,
        "env": [{"name": "NB_PREFIX", "value": f"/notebook/here/{name}"}, {"name": "HOME", "value": home}],
        "ports": [{"containerPort": 8888, "name": "notebook-port", "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        "volumeMounts": mounts,
        "workingDir": home,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-0",
            "labels": {
                "app": name,
                "notebook-name": name,
                "statefulset": name,
                "statefulset.kubernetes.io/pod-name": f"{name}-0",
            },
        },
        "spec": {
            "serviceAccountName": account,
            "hostname": f"{name}-0",
            **({"nodeName": node} if node is not None else {}),
            "securityContext": {"fsGroup": 100},
            "containers": [container, *([_sidecar(next(iter(claims), None))] if sidecar else [])],
            "volumes": [*volumes, *([{"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}] if sidecar else [])],
        },
    }


def _sidecar(claim: str | None) -> Object:
    mounts = [{"name": "istio-envoy", "mountPath": "/etc/istio/proxy"}]
    if claim is not None:
        mounts.append({"name": f"vol-{claim}", "mountPath": "/var/sidecar"})
    return {"name": "istio-proxy", "image": "registry.test/istio/proxyv2:1", "volumeMounts": mounts}


def running(pod: Object) -> Object:
    """Return the status that a kubelet gives to a pod all of whose containers run."""
    started = "2026-01-01T00:00:00Z"
    return {
        "phase": "Running",
        "hostIP": "192.0.2.1",
        "podIP": "192.0.2.2",
        "startTime": started,
        "conditions": [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": f"{container['image'].rpartition(':')[0]}@sha256:{'0' * 64}",
                "containerID": f"containerd://{'1' * 64}",
                "ready": True,
                "restartCount": 0,
                "started": True,
                "state": {"running": {"startedAt": started}},
            }
            for container in pod["spec"]["containers"]
        ],
    }
