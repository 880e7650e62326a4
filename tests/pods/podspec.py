"""The pod of a step: its executor's container and settings, as KFP's driver puts them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.pods.node import IMAGE, NODE

Object = dict[str, Any]

STORE = "store"
_KNOWN = {
    "pvcMount",
    "activeDeadlineSeconds",
    "imagePullPolicy",
    "podMetadata",
    "securityContext",
    "secretAsEnv",
    "configMapAsEnv",
}
_RESOURCES = {
    "resourceCpuLimit": ("limits", "cpu"),
    "resourceCpuRequest": ("requests", "cpu"),
    "resourceMemoryLimit": ("limits", "memory"),
    "resourceMemoryRequest": ("requests", "memory"),
}


def pod_of(
    name: str, container: Object, words: list[str], settings: Object, mounts: list[tuple[str, str, str]], store: Path
) -> Object:
    """Return the pod of a step.

    Args:
        name: of the pod.
        container: of the executor; its image is taken for that of the tests.
        words: the arguments, with nothing left to be filled in.
        settings: what the platform half of the IR says of the executor; what is not known here is refused.
        mounts: claim, path and sub-path of each volume.
        store: the folder of the artifacts; KFP's launcher uploads and downloads them, here they are there.
    """
    assert set(settings) <= _KNOWN, set(settings) - _KNOWN
    assert set(container) <= {"image", "command", "args", "env", "resources"}, container
    volumes: dict[str, Object] = {"store": {"name": "store", "hostPath": {"path": str(store), "type": "Directory"}}}
    mounted: list[Object] = [{"name": "store", "mountPath": f"/minio/{STORE}"}]
    for claim, path, sub_path in mounts:
        volumes[claim] = {"name": claim, "persistentVolumeClaim": {"claimName": claim}}
        mounted.append({"name": claim, "mountPath": path, **({"subPath": sub_path} if sub_path else {})})
    context = settings.get("securityContext", {})
    metadata = settings.get("podMetadata", {})
    made: Object = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": container["command"],
        "args": words,
        "env": [*container.get("env", ()), *_from_objects(settings)],
        "resources": _resources(container.get("resources", {})),
        "volumeMounts": mounted,
        "securityContext": {key: int(value) for key, value in context.items()},
    }
    spec: Object = {
        "nodeName": NODE,
        "hostNetwork": True,
        "restartPolicy": "Never",
        "containers": [made],
        "volumes": list(volumes.values()),
    }
    if "activeDeadlineSeconds" in settings:
        spec["activeDeadlineSeconds"] = int(settings["activeDeadlineSeconds"])
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def _from_objects(settings: Object) -> list[Object]:
    """Return the variables that come from secrets and config maps."""
    return [
        {"name": pair["envVar"], "valueFrom": {field: {"name": each[name], "key": pair[key]}}}
        for kind, name, key, field in (
            ("secretAsEnv", "secretName", "secretKey", "secretKeyRef"),
            ("configMapAsEnv", "configMapName", "configMapKey", "configMapKeyRef"),
        )
        for each in settings.get(kind, ())
        for pair in each["keyToEnv"]
    ]


def _resources(given: Object) -> Object:
    made: Object = {}
    for key, amount in given.items():
        part, resource = _RESOURCES[key]
        made.setdefault(part, {})[resource] = amount
    return made
