"""Where the notebook's volumes are: on the notebook server that we are in, or as options and marks name them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kale_nb.engines.kfp.cluster.api import Cluster
from kale_nb.engines.kfp.cluster.claims import Source
from kale_nb.engines.kfp.cluster.notebook import ClaimMount, NotebookServer, find_pod, mount_of_folder, read_server
from kale_nb.engines.kfp.plan import workspace_volume
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.protocol import Job
from kale_nb.errors import UsageError
from kale_nb.pipeline.model import Pipeline, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a run's volumes are clones of.

    Attributes:
        claim: the workspace.
        mount: where steps see it.
        folder: the notebook's folder relative to the mount.
        local: the mount on this machine; None: the workspace cannot be seen from here, and the pipeline carries the code.
        server: None outside of a notebook server.
        data: the server's other claims.
    """

    claim: str
    mount: str
    sub_path: str
    folder: str
    local: Path | None
    server: NotebookServer | None = None
    data: tuple[ClaimMount, ...] = ()
    warnings: tuple[str, ...] = ()


_UNSEEN = (
    "the workspace {} is not seen from here: the code is put into the pipeline, and what the notebook server has not written to the disk "
    "yet is not in the snapshot"
)


def is_inside(environ: Mapping[str, str]) -> bool:
    """Tell whether this process is in a pod."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST"))


def find_place(job: Job, target: Target, cluster: Cluster, claim: str | None, environ: Mapping[str, str]) -> Place:
    """Return where the volumes are.

    Args:
        target: as options describe it.
        claim: the workspace's, when it was named.

    Raises:
        UsageError: nothing says which claim the workspace is.
        VolumeError: the notebook is on none.
        EngineError: the pod cannot be read.
    """
    if claim is None and is_inside(environ):
        return _of_server(job, cluster, environ)
    marked = workspace_volume(job.pipeline, target)
    named = named_claim(job.pipeline, target, claim)
    return Place(
        claim=named,
        mount=target.mount.rstrip("/"),
        sub_path=(marked.sub_path if marked is not None else None) or "",
        folder=target.folder,
        local=None,
        warnings=(_UNSEEN.format(named),),
    )


def named_claim(pipeline: Pipeline, target: Target, claim: str | None) -> str:
    """Return the claim that is the workspace, as options or marks name it. UsageError when they do not."""
    marked = workspace_volume(pipeline, target)
    named = claim or (marked.name if marked is not None and marked.kind in ("clone", "pvc") else None)
    if named is None:
        raise UsageError(
            "nothing says which claim is the workspace, and this is no notebook server that would",
            hint=f"name it with --workspace-claim NAME (steps see it at --mount, {target.mount}), run kale in the notebook server, "
            "or run with --no-snapshot",
        )
    return named


def _of_server(job: Job, cluster: Cluster, environ: Mapping[str, str]) -> Place:
    folder = os.path.realpath(job.workspace / job.cwd)
    server = read_server(find_pod(cluster, environ, socket.gethostname()), folder)
    mount = mount_of_folder(server, folder)
    return Place(
        claim=mount.claim,
        mount=mount.path,
        sub_path=mount.sub_path,
        folder=PurePosixPath(folder).relative_to(mount.path).as_posix(),
        local=Path(mount.path),
        server=server,
        data=tuple(other for other in server.mounts if other.path != mount.path),
    )


def with_volumes(pipeline: Pipeline, place: Place, *, only_workspace: bool) -> tuple[Pipeline, tuple[str, ...]]:
    """Return the pipeline with the server's volumes added, and what is to be said of that. What its marks say of a mount point counts."""
    said: list[str] = []
    volumes = list(pipeline.volumes)
    taken = {volume.mount_point.rstrip("/"): position for position, volume in enumerate(volumes)}
    at = taken.get(place.mount)
    if at is None:
        made = Volume(name=place.claim, mount_point=place.mount, kind="clone", sub_path=place.sub_path or None)
        volumes.insert(0, made)
    else:
        volumes[at] = _as_workspace(volumes[at], place, said)
    if not only_workspace:
        volumes += [
            Volume(name=mount.claim, mount_point=mount.path, kind="clone", sub_path=mount.sub_path or None)
            for mount in place.data
            if mount.path not in taken
        ]
    said += _shared_claims(volumes)
    return replace(pipeline, volumes=tuple(volumes)), tuple(said)


def _as_workspace(volume: Volume, place: Place, said: list[str]) -> Volume:
    if volume.kind in ("new", "pv"):
        raise UsageError(
            f"volume {volume.name} is to be mounted at {place.mount}, where the workspace is, and is not a clone of it",
            hint="give it another mount point, or `type: clone`",
        )
    if volume.kind == "snap":
        return volume
    if volume.name != place.claim:
        said.append(f"the notebook calls its workspace {volume.name}; on this server it is {place.claim}, which is taken")
    elif volume.kind == "pvc" and not volume.snapshot:
        said.append(f"the workspace {place.claim} is cloned, though its type is `pvc`: steps never write to the workspace itself")
    return replace(volume, name=place.claim, kind="clone", sub_path=volume.sub_path or place.sub_path or None)


def _shared_claims(volumes: list[Volume]) -> list[str]:
    """Tell of claims that the server mounts in several places: a pod of Kubeflow Pipelines cannot, so each becomes a clone of its own."""
    places: dict[str, list[str]] = {}
    for volume in volumes:
        if volume.kind == "clone":
            places.setdefault(volume.name, []).append(volume.mount_point)
    return [
        f"the claim {name} is mounted at {' and '.join(points)}: steps see a clone of its own at each, and what is written to one is not "
        "in the other"
        for name, points in places.items()
        if len(points) > 1
    ]


def with_access(pipeline: Pipeline, sources: Mapping[str, Source]) -> Pipeline:
    """Return the pipeline with the access modes of what is cloned, so that it can be checked: the widest of each."""
    return replace(
        pipeline,
        volumes=tuple(
            replace(volume, access_mode=_widest(sources[volume.name]))
            if volume.kind == "clone" and volume.access_mode is None and volume.name in sources
            else volume
            for volume in pipeline.volumes
        ),
    )


def _widest(source: Source) -> str:
    order = ("ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany")
    return next((mode for mode in order if mode in source.access_modes), "ReadWriteOnce")
