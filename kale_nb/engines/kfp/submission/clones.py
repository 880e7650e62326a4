"""Clones of the notebook server's volumes: from what the cluster says of them to what can be taken."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kale_nb.engines.kfp.cluster.api import Cluster
from kale_nb.engines.kfp.cluster.claims import Source, check_claim, read_source
from kale_nb.engines.kfp.cluster.classes import choose_class, read_classes
from kale_nb.engines.kfp.cluster.connection import WITHOUT, ClusterAsked, find_cluster
from kale_nb.engines.kfp.submission.places import Place, find_place, with_access, with_volumes
from kale_nb.engines.kfp.submission.taking import Clones, Cloning
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.protocol import Job
from kale_nb.errors import UsageError
from kale_nb.pipeline.model import Pipeline, Volume

if TYPE_CHECKING:
    from kale_nb.engines.kfp.submission.address import Address
    from kale_nb.engines.kfp.submission.engine import Options


_ONE_NAMESPACE = (
    "this Kubeflow Pipelines runs everything in one namespace of its own, and clones are made in the namespace of their snapshots: "
    "that should be {}"
)


def from_server(job: Job, options: Options, address: Address, *, several: bool = True) -> Clones:
    """Find the volumes of a run and see that they can be cloned; takes nothing yet.

    Args:
        several: Kubeflow Pipelines has several users; otherwise its runs are all in one namespace, its own.

    Raises:
        UsageError: nothing says where the cluster is, or which claim the workspace is.
        VolumeError: a volume cannot be cloned; says why.
        ClusterError: the cluster does not answer, or does not allow it.
    """
    wanted = options.cloning
    asked = ClusterAsked(kubeconfig=wanted.kubeconfig, context=wanted.context, namespace=address.namespace)
    cluster = find_cluster(asked, os.environ, patience=options.patience, instead=WITHOUT)
    place = find_place(job, options.target, cluster, wanted.workspace_claim, os.environ)
    pipeline, said = with_volumes(job.pipeline, place, only_workspace=wanted.only_workspace)
    sources, classes = _read_sources(cluster, pipeline, place, wanted)
    said += tuple(_check_mounted(cluster, pipeline, place))
    if not several and f".{cluster.namespace}." not in address.host:
        said += (_ONE_NAMESPACE.format(cluster.namespace),)
    target, more = _target(options.target, place, sources, wanted, pipeline)
    return Clones(
        pipeline=with_access(pipeline, sources),
        target=target,
        cluster=cluster,
        place=place,
        sources=sources,
        classes=classes,
        wanted=replace(wanted, patience=replace(wanted.patience, ready=options.wait)),
        storage_class=options.storage_class,
        run=job.run,
        said=(*place.warnings, *said, *more),
        asked_modes={v.mount_point.rstrip("/"): v.access_mode for v in pipeline.volumes if v.access_mode},
    )


def _read_sources(
    cluster: Cluster, pipeline: Pipeline, place: Place, wanted: Cloning
) -> tuple[dict[str, Source], dict[str, str | None]]:
    """Return the claims that are cloned, and the snapshot class of each."""
    names = dict.fromkeys([place.claim, *(v.name for v in pipeline.volumes if _is_clone(v))])
    if any(v.kind == "snap" and v.mount_point.rstrip("/") == place.mount for v in pipeline.volumes):
        del names[place.claim]
    known = None if wanted.clone_claims or not names else read_classes(cluster)
    sources = {name: read_source(cluster, name) for name in names}
    if wanted.clone_claims:
        return sources, {}
    return sources, {name: choose_class(known, source, wanted.snapshot_class) for name, source in sources.items()}


def _is_clone(volume: Volume) -> bool:
    return volume.kind == "clone" or (volume.snapshot and volume.kind == "pvc")


def _check_mounted(cluster: Cluster, pipeline: Pipeline, place: Place) -> Iterator[str]:
    """Look at the claims that are mounted as they are; give what is to be said of them."""
    in_use = {mount.claim for mount in place.server.mounts} if place.server is not None else set()
    for volume in pipeline.volumes:
        if volume.kind != "pvc" or _is_clone(volume):
            continue
        modes = set(check_claim(cluster, volume.name))
        if volume.name in in_use and modes <= {"ReadWriteOnce", "ReadWriteOncePod"}:
            yield (
                f"the claim {volume.name} is {' and '.join(sorted(modes))} and in use by this notebook server: "
                f"steps can mount it on this server's node only{_node(place)}"
            )


def _node(place: Place) -> str:
    return f", {place.server.node} (--one-node keeps them there)" if place.server is not None and place.server.node else ""


def _target(
    target: Target, place: Place, sources: Mapping[str, Source], wanted: Cloning, pipeline: Pipeline
) -> tuple[Target, tuple[str, ...]]:
    """Return the target with what the notebook server has, and what is to be said of that."""
    server, said = place.server, []
    user, group = target.user, target.group
    if server is not None:
        user = _first(user, server.user, os.getuid())
        group = _first(group, server.group, os.getgid())
        if user == 0 and target.user is None:
            said.append(
                "the notebook server runs as root, and Kubeflow Pipelines runs no steps as root: they run as their image says"
            )
            user, group = None, target.group
    if wanted.one_node and (server is None or not server.node):
        raise UsageError("--one-node keeps steps on the notebook server's node, and this is none whose node is known")
    of_workspace = next((v for v in pipeline.volumes if v.mount_point.rstrip("/") == place.mount), None)
    home = None
    if server is not None and any(m.path == server.home.rstrip("/") for m in place.data) and not wanted.only_workspace:
        home = server.home.rstrip("/")
    return replace(
        target,
        image=target.image or (server.image if server is not None else None) or None,
        mount=place.mount,
        folder=place.folder,
        user=user,
        group=group,
        access_modes=sources[place.claim].access_modes if place.claim in sources else target.access_modes,
        carried=place.local is None or (of_workspace is not None and of_workspace.kind == "snap"),
        home=home,
        node=server.node if wanted.one_node and server is not None else None,
    ), tuple(said)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
