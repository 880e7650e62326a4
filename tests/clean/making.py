"""Objects as kale and Kubeflow Pipelines make them, in memory and on a server."""

from __future__ import annotations

import datetime
from typing import Any

from kale_nb.engines.kfp.cluster.inventory import Inventory, Kept, assemble
from kale_nb.engines.kfp.cluster.labels import EXPIRES, Belonging
from tests.k8s import objects
from tests.k8s.space import Space

Body = dict[str, Any]
NOW = datetime.datetime(2026, 6, 1, 12, 0, tzinfo=datetime.UTC)


def belongs(
    run: str = "20260501-120000-train-aaaa", pipeline: str = "train", owner: str = "ada", volume: str = "workspace"
) -> Belonging:
    return Belonging(pipeline=pipeline, run=run, owner=owner, volume=volume)


def spelled(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(**much: float) -> datetime.datetime:
    return NOW - datetime.timedelta(**much)


def claim(
    name: str, of: Belonging | None = None, *, made: datetime.datetime | None = None, expires: str | None = None, **more: Any
) -> Body:
    """A claim as CreatePVC makes it: annotations, no labels."""
    body = objects.claim(name, **{"size": "1Gi", "storage_class": "fast", **more})
    body["metadata"] |= {"annotations": _annotations(of, expires), "uid": f"uid-{name}"}
    body["metadata"]["creationTimestamp"] = spelled(made or ago(days=40))
    return {**body, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}


def snapshot(
    name: str, of: Belonging | None = None, *, made: datetime.datetime | None = None, expires: str | None = None
) -> Body:
    body = objects.snapshot(name, "home", labels=of.labels if of is not None else {})
    body["metadata"] |= {"annotations": _annotations(of, expires), "uid": f"uid-{name}", "namespace": "team"}
    body["metadata"]["creationTimestamp"] = spelled(made or ago(days=40))
    status = {"readyToUse": True, "restoreSize": "1Gi", "creationTime": spelled(made or ago(days=40))}
    return {**body, "status": {**status, "boundVolumeSnapshotContentName": f"content-{name}"}}


def content(snapshot: str, policy: str = "Delete") -> Body:
    spec = {"deletionPolicy": policy, "volumeSnapshotRef": {"namespace": "team", "name": snapshot, "uid": f"uid-{snapshot}"}}
    return {"metadata": {"name": f"content-{snapshot}"}, "spec": spec}


def pod(name: str, claims: list[str], *, labels: dict[str, str] | None = None, phase: str = "Running") -> Body:
    volumes = [{"name": f"v{n}", "persistentVolumeClaim": {"claimName": each}} for n, each in enumerate(claims)]
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"volumes": volumes}, "status": {"phase": phase}}


def inventory(*bodies: Body, pods: list[Body] | None = None, contents: list[Body] | None = None) -> Inventory:
    """Put objects together as a cluster's answer."""
    claims = [each for each in bodies if each["kind"] == "PersistentVolumeClaim"]
    snapshots = [each for each in bodies if each["kind"] == "VolumeSnapshot"]
    classes = [
        {"metadata": {"name": "fast"}, "reclaimPolicy": "Delete"},
        {"metadata": {"name": "kept"}, "reclaimPolicy": "Retain"},
    ]
    return assemble("team", NOW, snapshots, claims, pods if pods is not None else [], contents or [], classes)


def names(objects: tuple[Kept, ...]) -> list[str]:
    return [kept.name for kept in objects]


def _annotations(of: Belonging | None, expires: str | None) -> dict[str, str]:
    return {**(of.annotations if of is not None else {}), **({EXPIRES: expires} if expires else {})}


def put_claim(space: Space, name: str, of: Belonging | None = None, *, expires: str | None = None, **more: Any) -> Body:
    """Make a claim on a server as CreatePVC does."""
    body = objects.claim(name, **more)
    body["metadata"]["annotations"] = _annotations(of, expires)
    return space.rest.post(space.claims_path, body)


def put_snapshot(
    space: Space,
    name: str,
    source: str,
    of: Belonging | None = None,
    *,
    expires: str | None = None,
    snapshot_class: str | None = None,
) -> Body:
    """Make a snapshot on a server as a submission does."""
    body = objects.snapshot(name, source, labels=of.labels if of is not None else {}, snapshot_class=snapshot_class)
    body["metadata"]["annotations"] = _annotations(of, expires)
    return space.rest.post(space.snapshots_path, body)
