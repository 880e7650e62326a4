"""What a preflight asks a cluster, all of it, whatever fails: each fact is there, or the error that stood in its way."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kale_nb.engines.kfp.cluster import resources as kinds
from kale_nb.engines.kfp.cluster.api import Body, Cluster, Right
from kale_nb.engines.kfp.cluster.claims import Source, check_claim, read_source
from kale_nb.engines.kfp.cluster.connection import ACCOUNT
from kale_nb.engines.kfp.cluster.notebook import ClaimMount, NotebookServer, find_pod, mount_of_folder, read_server
from kale_nb.engines.kfp.cluster.problems import ClusterError
from kale_nb.engines.kfp.cluster.resources import SNAPSHOT_GROUP
from kale_nb.engines.kfp.cluster.rights import NEEDS
from kale_nb.errors import EngineError, KaleError, VolumeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a preflight is about.

    Attributes:
        folder: where the notebook lies, absolute, without symbolic links.
        hostname: of this machine.
        root: where the pod's files are looked for.
        run_account: the service account of the run's pods; empty when it is not known.
        workspace: the claim of the workspace, where the notebook server does not tell.
        cloned: further claims that the pipeline asks to be cloned.
        mounted: claims that the pipeline mounts as they are.
        snapshots: snapshots that it names.
        only_workspace: the server's other claims are left out.
        told: mount points of which the pipeline says what is there: what the server has there does not count.
    """

    environ: Mapping[str, str]
    folder: str
    hostname: str
    root: Path = Path("/")
    run_account: str = ""
    workspace: str = ""
    cloned: tuple[str, ...] = ()
    mounted: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    only_workspace: bool = False
    told: frozenset[str] = frozenset()

    @property
    def inside(self) -> bool:
        """This runs in a pod that has a service account."""
        return bool(self.environ.get("KUBERNETES_SERVICE_HOST")) and (self.root / ACCOUNT / "token").exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A cluster as it answered.

    Attributes:
        version: of the API server; nothing else was asked when it is an error.
        user: as whom it knows us; empty when that is not known.
        ahead: seconds by which our clock is ahead of the server's.
        groups: versions of the snapshots' API group.
        kinds: plurals of its kinds in `v1`.
        rights: whether we have each, of those that a submitter needs.
        run_rights: whether the run's account has each; None: we may not ask.
        server: the notebook server that this runs in; None when it runs in no pod.
        workspace: the claim that holds the notebook; None when nothing tells.
        sources: claims that are to be cloned, by name.
        mounted: access modes of claims that are mounted as they are, by name.
        snapshots: that the pipeline names.
        quotas, storage_classes, snapshot_classes: all that there are.
    """

    host: str
    origin: str
    namespace: str
    version: str | ClusterError
    user: str = ""
    ahead: float = 0.0
    groups: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    rights: Mapping[Right, bool | ClusterError] = field(default_factory=dict)
    run_account: str = ""
    run_rights: Mapping[Right, bool | None] = field(default_factory=dict)
    server: NotebookServer | KaleError | None = None
    workspace: ClaimMount | KaleError | None = None
    sources: Mapping[str, Source | KaleError] = field(default_factory=dict)
    mounted: Mapping[str, tuple[str, ...] | KaleError] = field(default_factory=dict)
    snapshots: Mapping[str, Body | KaleError] = field(default_factory=dict)
    quotas: list[Body] | ClusterError = field(default_factory=list)
    storage_classes: list[Body] | ClusterError = field(default_factory=list)
    snapshot_classes: list[Body] | ClusterError = field(default_factory=list)


def gather(cluster: Cluster, ask: Ask) -> Facts:
    """Ask a cluster everything. Raises nothing that a cluster is to blame for."""
    host, origin, namespace = cluster.host, cluster.origin, cluster.namespace
    version = _tried(cluster.version)
    if isinstance(version, KaleError):
        return Facts(host=host, origin=origin, namespace=namespace, version=_as_cluster_error(version))
    user = _or(_tried(cluster.user), "")
    clock = _tried(cluster.now)
    ours = datetime.datetime.now(datetime.UTC)
    group = _or(_tried(lambda: cluster.discover(f"/apis/{SNAPSHOT_GROUP}")), None) or {}
    of_v1 = _or(_tried(lambda: cluster.discover(f"/apis/{SNAPSHOT_GROUP}/v1")), None)
    server, workspace = _notebook(cluster, ask)
    others = server.mounts if isinstance(server, NotebookServer) and not ask.only_workspace else ()
    names = [mount.claim for mount in others if mount.path not in ask.told]
    names = [*([workspace.claim] if isinstance(workspace, ClaimMount) else []), *names, *ask.cloned]
    account = ask.run_account
    return Facts(
        host=host,
        origin=origin,
        namespace=namespace,
        version=version,
        user=user,
        ahead=(ours - clock).total_seconds() if isinstance(clock, datetime.datetime) else 0.0,
        groups=tuple(str(each.get("version")) for each in group.get("versions") or ()),
        kinds=frozenset(str(each.get("name")) for each in (of_v1 or {}).get("resources") or ()),
        rights=dict(_rights(cluster)),
        run_account=account,
        run_rights=_rights_of_run(cluster, user, account),
        server=server,
        workspace=workspace,
        sources=_each(names, lambda name: read_source(cluster, name)),
        mounted=_each(ask.mounted, lambda name: check_claim(cluster, name)),
        snapshots=_each(ask.snapshots, lambda name: cluster.get(kinds.SNAPSHOTS, name)),
        quotas=_listed(lambda: cluster.list(kinds.QUOTAS)),
        storage_classes=_listed(lambda: cluster.list(kinds.STORAGE_CLASSES)),
        snapshot_classes=_listed(lambda: cluster.list(kinds.SNAPSHOT_CLASSES)) if of_v1 is not None else [],
    )


def _notebook(cluster: Cluster, ask: Ask) -> tuple[NotebookServer | KaleError | None, ClaimMount | KaleError | None]:
    """Return the notebook server, and the claim of the workspace."""
    named = ClaimMount(claim=ask.workspace, path="") if ask.workspace else None
    if not ask.inside:
        return None, named
    server = _tried(lambda: read_server(find_pod(cluster, ask.environ, ask.hostname), ask.folder))
    if isinstance(server, KaleError):
        return server, named
    return server, named or _tried(lambda: mount_of_folder(server, ask.folder))


def _rights(cluster: Cluster) -> Iterable[tuple[Right, bool | ClusterError]]:
    for right in dict.fromkeys(right for need in NEEDS if need.who == "submitter" for right in need.rights):
        said = _tried(lambda right=right: cluster.may(right))  # type: ignore[misc]
        yield right, _as_cluster_error(said) if isinstance(said, KaleError) else said[0]


def _rights_of_run(cluster: Cluster, user: str, account: str) -> dict[Right, bool | None]:
    """Ask what the run's account may do: as ourselves when that is we, else with a right that few have."""
    found: dict[Right, bool | None] = {}
    ours = user == f"system:serviceaccount:{cluster.namespace}:{account}"
    for right in (right for need in NEEDS if need.who == "run" for right in need.rights):
        said = _tried(lambda right=right: cluster.may(right, "" if ours else account)) if account else None  # type: ignore[misc]
        found[right] = said[0] if isinstance(said, tuple) else None
    return found


def _each(names: Iterable[str], read: Callable[[str], T]) -> dict[str, T | KaleError]:
    return {name: _tried(lambda name=name: read(name)) for name in dict.fromkeys(names)}  # type: ignore[misc]


def _listed(ask: Callable[[], list[Body]]) -> list[Body] | ClusterError:
    found = _tried(ask)
    return _as_cluster_error(found) if isinstance(found, KaleError) else found


def _tried(ask: Callable[[], T]) -> T | KaleError:
    try:
        return ask()
    except (EngineError, VolumeError) as error:
        return error


def _as_cluster_error(error: KaleError) -> ClusterError:
    return error if isinstance(error, ClusterError) else ClusterError(error.message, hint=error.hint)


def _or(value: T | KaleError, otherwise: T) -> T:
    return otherwise if isinstance(value, KaleError) else value
