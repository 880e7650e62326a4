"""The notebook server that we are in: its pod, the claims that its container sees, and what else steps should have like it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from kale_nb.engines.kfp.cluster.api import Body, Cluster
from kale_nb.engines.kfp.cluster.problems import ClusterError
from kale_nb.engines.kfp.cluster.resources import PODS
from kale_nb.errors import EngineError, VolumeError

_CREATORS = ("notebooks.kubeflow.org/creator", "opendatahub.io/username")
_NAME_LABEL = "notebook-name"
_PREFIX = "NB_PREFIX"
"""Kubeflow's notebook controller sets it to `/notebook/NAMESPACE/NAME`."""
OWNER = "KALE_OWNER"
"""The variable that says whose the things are that are made on the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMount:
    """A claim in the notebook's container.

    Attributes:
        sub_path: the folder of the volume that is mounted; empty for the whole.
    """

    claim: str
    path: str
    sub_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookServer:
    """What a pod says of the notebook's container.

    Attributes:
        image: by digest where the pod's status tells it.
        user, group: as the pod asks for; None where it leaves that to the image.
        owner: whom it belongs to, as far as the pod says.
        mounts: claims, in the order of the container.
        others: what kind of volume is mounted where no claim is, by path.
        home: the container's HOME; empty when its spec does not set it.
    """

    pod: str
    container: str
    image: str
    user: int | None
    group: int | None
    node: str
    owner: str
    mounts: tuple[ClaimMount, ...]
    others: Mapping[str, str]
    home: str


def owner_of(server: NotebookServer | None, environ: Mapping[str, str]) -> str:
    """Return whose the things are that a submission makes: as a variable says, the notebook server, or the user of this machine; empty when
    nothing tells."""
    if environ.get(OWNER):
        return environ[OWNER]
    if server is not None:
        return server.owner or server.pod
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def find_pod(cluster: Cluster, environ: Mapping[str, str], hostname: str) -> Body:
    """Return the pod that this process is in. EngineError when it cannot be found or read."""
    names = list(_pod_names(environ, hostname))
    try:
        for name in names:
            found = cluster.find(PODS, name)
            if found is not None:
                return found
    except ClusterError as error:
        more = "; or name the workspace's claim with --workspace-claim"
        raise EngineError(
            f"the notebook server's own pod cannot be read: {error.message}", hint=f"{error.hint or ''}{more}"
        ) from error
    raise EngineError(
        f"there is no pod {' or '.join(names)} in namespace {cluster.namespace}, and one of that name should be this notebook server",
        hint="name the workspace's claim with --workspace-claim and where it is mounted with --mount; or is it another --namespace?",
    )


def _pod_names(environ: Mapping[str, str], hostname: str) -> Iterator[str]:
    """The host's name is the pod's, unless somebody set another; a server of Kubeflow is a StatefulSet of one."""
    server = environ.get(_PREFIX, "").rstrip("/").rpartition("/")[2]
    yield from dict.fromkeys(name for name in (hostname, environ.get("HOSTNAME", ""), f"{server}-0" if server else "") if name)


def read_server(pod: Body, folder: str) -> NotebookServer:
    """Return what a pod says of the container that holds the notebook.

    Args:
        folder: where the notebook lies, absolute, without symbolic links.
    """
    spec, metadata = pod["spec"], pod["metadata"]
    claims = dict(_claims(spec.get("volumes") or (), str(metadata["name"])))
    container = _container(spec["containers"], metadata.get("labels") or {}, claims, folder)
    security = {**(spec.get("securityContext") or {}), **(container.get("securityContext") or {})}
    kinds = {str(v["name"]): next((key for key in v if key != "name"), "volume") for v in spec.get("volumes") or ()}
    mounted = [(m, str(m["mountPath"]).rstrip("/") or "/") for m in container.get("volumeMounts") or ()]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return NotebookServer(
        pod=str(metadata["name"]),
        container=str(container["name"]),
        image=_image(container, (pod.get("status") or {}).get("containerStatuses") or ()),
        user=security.get("runAsUser"),
        group=security.get("runAsGroup"),
        node=str(spec.get("nodeName") or ""),
        owner=next((annotations[key] for key in _CREATORS if annotations.get(key)), str(labels.get(_NAME_LABEL) or "")),
        mounts=tuple(
            ClaimMount(
                claim=claims[m["name"]], path=path, sub_path=str(m.get("subPath") or m.get("subPathExpr") or "").strip("/")
            )
            for m, path in mounted
            if m["name"] in claims
        ),
        others={path: kinds.get(str(m["name"]), "volume") for m, path in mounted if m["name"] not in claims},
        home=next((str(e.get("value") or "") for e in container.get("env") or () if e.get("name") == "HOME"), ""),
    )


def mount_of_folder(server: NotebookServer, folder: str) -> ClaimMount:
    """Return the claim that holds a folder: that of the longest mount above it. VolumeError when none does."""
    inside = [mount for mount in server.mounts if _holds(mount.path, folder)]
    best = max(inside, key=lambda mount: len(mount.path), default=None)
    covers = max((path for path in server.others if _holds(path, folder)), key=len, default="")
    if best is None or len(covers) > len(best.path):
        where = f"is on {_spoken(server.others[covers])} at {covers}" if covers else "is in the container itself"
        there = ", ".join(f"{m.claim} at {m.path}" for m in server.mounts) or "none"
        raise VolumeError(
            f"the notebook's folder {folder} {where}, which no step can see",
            hint=f"move it to one of the server's volumes, which are {there}; or run with --no-snapshot",
        )
    return best


def _holds(path: str, folder: str) -> bool:
    return PurePosixPath(folder).is_relative_to(path)


def _spoken(kind: str) -> str:
    return {"emptyDir": "an emptyDir", "configMap": "a config map", "secret": "a secret", "hostPath": "a folder of the node"}.get(
        kind, f"a volume ({kind})"
    )


def _claims(volumes: Iterable[Body], pod: str) -> Iterator[tuple[str, str]]:
    """Return volumes that are claims: name in the pod, and of the claim."""
    for volume in volumes:
        if "persistentVolumeClaim" in volume:
            yield str(volume["name"]), str(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            yield str(volume["name"]), f"{pod}-{volume['name']}"


def _container(containers: list[Body], labels: Mapping[str, str], claims: Mapping[str, str], folder: str) -> Body:
    """Choose the notebook's container among sidecars: by Kubeflow's label, by its variable, by who sees the notebook; else the first."""
    named = [c for c in containers if c["name"] == labels.get(_NAME_LABEL)]
    prefixed = [c for c in containers if any(e.get("name") == _PREFIX for e in c.get("env") or ())]
    seeing = [
        c
        for c in containers
        if any(m["name"] in claims and _holds(str(m["mountPath"]), folder) for m in c.get("volumeMounts") or ())
    ]
    return next(iter([*named, *prefixed, *seeing, *containers]))


def _image(container: Body, statuses: Iterable[Body]) -> str:
    """Return the image by its digest, which stays what it is when the tag moves on."""
    asked = str(container.get("image") or "")
    if "@sha256:" in asked:
        return asked
    said = next((str(s.get("imageID") or "") for s in statuses if s.get("name") == container["name"]), "")
    found = re.search(r"@(sha256:[0-9a-f]{64})$", said)
    if found is None or not asked:
        return asked
    head, slash, last = asked.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{found[1]}"
