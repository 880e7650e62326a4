"""What kale made in a namespace: snapshots, which carry labels, and claims, which Kubeflow Pipelines makes with annotations only."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kale_nb.engines.kfp.cluster import resources as kinds
from kale_nb.engines.kfp.cluster.api import Body, Cluster
from kale_nb.engines.kfp.cluster.labels import CONTENT, EXPIRES, OURS, Belonging, belonging, moment
from kale_nb.engines.kfp.cluster.notebook import OWNER, find_pod, owner_of, read_server
from kale_nb.engines.kfp.cluster.problems import ClusterError, Forbidden, Unserved
from kale_nb.engines.kfp.cluster.quantities import known_quantity
from kale_nb.engines.kfp.cluster.resources import Resource

Kind = Literal["claim", "snapshot"]
RESOURCES: Mapping[Kind, Resource] = {"claim": kinds.CLAIMS, "snapshot": kinds.SNAPSHOTS}
_WORKFLOW = ("pipeline/runid", "workflows.argoproj.io/workflow")
"""Labels of the pods of a run."""
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A pod that mounts a claim.

    Attributes:
        run: the run of Kubeflow that it is part of; empty when of none.
        over: it has ended.
    """

    pod: str
    run: str = ""
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An object that kale made.

    Attributes:
        made: when the object was made, by the cluster's clock.
        taken: of a snapshot, the moment of its content; None when that is not known yet.
        size: bytes: of a claim what it may hold, of a snapshot what a clone of it has to have; 0 when not known.
        source: the claim that a snapshot is of, or the snapshot or claim that a claim was made from.
        of_class: snapshot class or storage class.
        policy: `Delete`: deleting it frees its storage; `Retain`: it does not; empty when we may not know.
        state: `ready`, `bound`, `pending`, ..., for people; `failed: ...` with the reason.
        expires: from then on it may be removed; None: never by itself.
        users: pods that mount it.
        needed_by: claims that are being made from it.
        going: it is being deleted.
        content: the object behind it: a VolumeSnapshotContent or a persistent volume.
        manifest: id of the list of files that a workspace's snapshot holds; empty when it was not noted.
    """

    kind: Kind
    name: str
    uid: str
    belongs: Belonging
    made: datetime.datetime
    taken: datetime.datetime | None = None
    size: int = 0
    source: str = ""
    of_class: str = ""
    policy: str = ""
    state: str = ""
    expires: datetime.datetime | None = None
    users: tuple[User, ...] = ()
    needed_by: tuple[str, ...] = ()
    going: bool = False
    content: str = ""
    manifest: str = ""

    @property
    def busy(self) -> tuple[User, ...]:
        """Pods that mount it and have not ended."""
        return tuple(user for user in self.users if not user.over)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All of it.

    Attributes:
        now: by the cluster's clock.
        objects: claims first, then snapshots, each the oldest first.
        unseen: what could not be looked at, and what that means, one sentence each.
        pods_known: pods could be looked at.
    """

    namespace: str
    now: datetime.datetime
    objects: tuple[Kept, ...]
    unseen: tuple[str, ...] = ()
    pods_known: bool = True

    def of(self, kind: Kind) -> tuple[Kept, ...]:
        """Return the objects of one kind."""
        return tuple(kept for kept in self.objects if kept.kind == kind)


def read_inventory(cluster: Cluster) -> Inventory:
    """Ask a cluster. ClusterError when not even snapshots and claims may be listed.

    What is not labelled or annotated as kale's is never part of it.
    """
    unseen: list[str] = []
    snapshots = _optional(cluster, kinds.SNAPSHOTS, unseen, "snapshots are not listed", labels=OURS)
    claims = _optional(cluster, kinds.CLAIMS, unseen, "claims are not listed")
    if snapshots is None and claims is None:
        raise ClusterError(
            f"neither snapshots nor claims of namespace {cluster.namespace} may be listed",
            hint="`kale doctor --engine kfp` lists the rights that are missing, with the Role to ask an administrator for",
            status=403,
        )
    pods = _optional(cluster, kinds.PODS, unseen, "it is not known which claims are in use") if claims else []
    contents = _optional(cluster, kinds.SNAPSHOT_CONTENTS, unseen, _NO_POLICY) if snapshots else []
    classes = _optional(cluster, kinds.STORAGE_CLASSES, unseen, _NO_RECLAIM) if claims else []
    return assemble(
        cluster.namespace,
        cluster.now(),
        snapshots or [],
        claims or [],
        pods,
        contents or [],
        classes or [],
        unseen,
    )


_NO_POLICY = "it is not known whether deleting snapshots frees their storage"
_NO_RECLAIM = "it is not known whether deleting claims frees their storage"


def assemble(
    namespace: str,
    now: datetime.datetime,
    snapshots: Iterable[Body],
    claims: Iterable[Body],
    pods: Iterable[Body] | None,
    contents: Iterable[Body],
    classes: Iterable[Body],
    unseen: Iterable[str] = (),
) -> Inventory:
    """Put together what a cluster answered. `pods`: None when they may not be looked at."""
    claims = list(claims)
    users = users_of(pods or ())
    policies = {
        (str(ref.get("namespace")), str(ref.get("name")), str(ref.get("uid") or "")): str(
            each["spec"].get("deletionPolicy") or ""
        )
        for each in contents
        for ref in [(each.get("spec") or {}).get("volumeSnapshotRef") or {}]
    }
    reclaims = {str(each["metadata"]["name"]): str(each.get("reclaimPolicy") or "Delete") for each in classes}
    making = _being_made(claims)
    kept = [found for each in claims if (found := _claim(each, users, reclaims, making)) is not None]
    taken = [found for each in snapshots if (found := _snapshot(each, namespace, policies, making)) is not None]
    ordered = [*sorted(kept, key=_age), *sorted(taken, key=_age)]
    return Inventory(namespace=namespace, now=now, objects=tuple(ordered), unseen=tuple(unseen), pods_known=pods is not None)


def users_of(pods: Iterable[Body]) -> dict[str, tuple[User, ...]]:
    """Return the pods that mount each claim, by its name."""
    found: dict[str, list[User]] = {}
    for pod in pods:
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        user = User(
            pod=str(metadata["name"]),
            run=next((str(labels[key]) for key in _WORKFLOW if labels.get(key)), ""),
            over=(pod.get("status") or {}).get("phase") in _OVER,
        )
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            named = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            name = named or (f"{metadata['name']}-{volume.get('name')}" if "ephemeral" in volume else "")
            if name:
                found.setdefault(str(name), []).append(user)
    return {name: tuple(dict.fromkeys(each)) for name, each in found.items()}


def owner_here(cluster: Cluster, environ: Mapping[str, str], hostname: str, folder: str) -> str:
    """Return whose the things are that a submission from here makes (see `notebook.owner_of`). EngineError when the notebook server's pod
    cannot be read."""
    inside = environ.get("KUBERNETES_SERVICE_HOST") and not environ.get(OWNER)
    return owner_of(read_server(find_pod(cluster, environ, hostname), folder) if inside else None, environ)


def _claim(
    body: Body, users: Mapping[str, tuple[User, ...]], reclaims: Mapping[str, str], making: Mapping[tuple[str, str], list[str]]
) -> Kept | None:
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    belongs = _belonging(metadata)
    if belongs is None:
        return None
    name, going = str(metadata["name"]), "deletionTimestamp" in metadata
    capacity = known_quantity((status.get("capacity") or {}).get("storage"))
    asked = known_quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage"))
    of_class = str(spec.get("storageClassName") or "")
    phase = str(status.get("phase") or "Pending").lower()
    return Kept(
        kind="claim",
        name=name,
        uid=str(metadata["uid"]),
        belongs=belongs,
        made=_made(metadata),
        size=max(capacity, asked),
        source=str((spec.get("dataSource") or {}).get("name") or ""),
        of_class=of_class,
        policy=reclaims.get(of_class, ""),
        state="terminating" if going else phase,
        expires=moment((metadata.get("annotations") or {}).get(EXPIRES)),
        users=users.get(name, ()),
        needed_by=tuple(making.get(("PersistentVolumeClaim", name), ())),
        going=going,
        content=str(spec.get("volumeName") or ""),
    )


def _snapshot(
    body: Body, namespace: str, policies: Mapping[tuple[str, str, str], str], making: Mapping[tuple[str, str], list[str]]
) -> Kept | None:
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    belongs = _belonging(metadata)
    if belongs is None:
        return None
    name, uid, going = str(metadata["name"]), str(metadata["uid"]), "deletionTimestamp" in metadata
    error = " ".join(str((status.get("error") or {}).get("message") or "").split())
    state = "ready" if status.get("readyToUse") else f"failed: {error}" if error else "pending"
    policy = policies.get((namespace, name, uid)) or policies.get((namespace, name, "")) or ""
    return Kept(
        kind="snapshot",
        name=name,
        uid=uid,
        belongs=belongs,
        made=_made(metadata),
        taken=moment(status.get("creationTime")),
        size=known_quantity(status.get("restoreSize")),
        source=str((spec.get("source") or {}).get("persistentVolumeClaimName") or ""),
        of_class=str(spec.get("volumeSnapshotClassName") or ""),
        policy=policy,
        state="terminating" if going else state,
        expires=moment((metadata.get("annotations") or {}).get(EXPIRES)),
        needed_by=tuple(making.get(("VolumeSnapshot", name), ())),
        going=going,
        content=str(status.get("boundVolumeSnapshotContentName") or ""),
        manifest=str((metadata.get("annotations") or {}).get(CONTENT) or ""),
    )


def _belonging(metadata: Mapping[str, Any]) -> Belonging | None:
    return belonging(metadata.get("annotations") or {}, metadata.get("labels") or {})


def _being_made(claims: Iterable[Body]) -> dict[tuple[str, str], list[str]]:
    """Return the claims, of anybody, that have no volume yet and will be made from something, by its kind and name."""
    found: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        source = (claim.get("spec") or {}).get("dataSource") or {}
        pending = (claim.get("status") or {}).get("phase") not in ("Bound", "Lost") and "deletionTimestamp" not in claim[
            "metadata"
        ]
        if source.get("name") and pending:
            found.setdefault((str(source.get("kind")), str(source["name"])), []).append(str(claim["metadata"]["name"]))
    return found


def _made(metadata: Mapping[str, Any]) -> datetime.datetime:
    return moment(metadata.get("creationTimestamp")) or datetime.datetime.max.replace(tzinfo=datetime.UTC)


def _age(kept: Kept) -> tuple[datetime.datetime, str]:
    return kept.taken or kept.made, kept.name


def _optional(cluster: Cluster, resource: Resource, unseen: list[str], otherwise: str, *, labels: str = "") -> list[Body] | None:
    try:
        return cluster.list(resource, labels=labels)
    except (Forbidden, Unserved) as error:
        unseen.append(f"{otherwise}: {error.message}")
        return None
