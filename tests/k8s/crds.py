"""The kinds of `snapshot.storage.k8s.io/v1`, written from the published API: the fields that controllers and clients read and write."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

GROUP, VERSION = "snapshot.storage.k8s.io", "v1"

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "integer", "format": "int64"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_POLICY: Schema = {"type": "string", "enum": ["Delete", "Retain"]}
_QUANTITY: Schema = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
}


def _fields(required: str = "", /, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return schema | ({"required": required.split()} if required else {})


def _either(*names: str) -> Schema:
    return _fields(**dict.fromkeys(names, _TEXT)) | {"oneOf": [{"required": [name]} for name in names]}


_ERROR = _fields(message=_TEXT, time=_TIME)
_REFERENCE = _fields(**dict.fromkeys(["apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"], _TEXT))

_SNAPSHOT = _fields(
    "spec",
    spec=_fields(
        "source", source=_either("persistentVolumeClaimName", "volumeSnapshotContentName"), volumeSnapshotClassName=_TEXT
    ),
    status=_fields(
        boundVolumeSnapshotContentName=_TEXT, creationTime=_TIME, error=_ERROR, readyToUse=_FLAG, restoreSize=_QUANTITY
    ),
)
_CONTENT = _fields(
    "spec",
    spec=_fields(
        "deletionPolicy driver source volumeSnapshotRef",
        deletionPolicy=_POLICY,
        driver=_TEXT,
        source=_either("snapshotHandle", "volumeHandle"),
        sourceVolumeMode=_TEXT,
        volumeSnapshotClassName=_TEXT,
        volumeSnapshotRef=_REFERENCE,
    ),
    status=_fields(
        creationTime=_NUMBER, error=_ERROR, readyToUse=_FLAG, restoreSize=_NUMBER | {"minimum": 0}, snapshotHandle=_TEXT
    ),
)
_CLASS = _fields(
    "deletionPolicy driver",
    deletionPolicy=_POLICY,
    driver=_TEXT,
    parameters={"type": "object", "additionalProperties": _TEXT},
)


def _kind(kind: str, short: str, schema: Schema, *, scope: str) -> dict[str, Any]:
    singular = kind.lower()
    plural = f"{singular}es" if singular.endswith("s") else f"{singular}s"
    own = _fields(apiVersion=_TEXT, kind=_TEXT, metadata={"type": "object"})
    whole = schema | {"properties": own["properties"] | schema["properties"]}
    version: dict[str, Any] = {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": whole}}
    if "status" in schema["properties"]:
        version["subresources"] = {"status": {}}
    names = {"kind": kind, "listKind": f"{kind}List", "singular": singular, "plural": plural, "shortNames": short.split()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, written for tests"},
        },
        "spec": {"group": GROUP, "scope": scope, "names": names, "versions": [version]},
    }


def snapshot_crds() -> list[dict[str, Any]]:
    """Return the definitions of the three kinds."""
    return [
        _kind("VolumeSnapshot", "vs", _SNAPSHOT, scope="Namespaced"),
        _kind("VolumeSnapshotContent", "vsc vscs", _CONTENT, scope="Cluster"),
        _kind("VolumeSnapshotClass", "vsclass vsclasses", _CLASS, scope="Cluster"),
    ]
