"""Everything that a run on Kubeflow Pipelines needs, looked at before one is tried: the server, the cluster, the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kale_nb.diagnostics import CompileError, Diagnostic, Severity
from kale_nb.engines.kfp.cluster.connection import WITHOUT, ClusterAsked, find_cluster
from kale_nb.engines.kfp.cluster.preflight import asks, cluster_findings
from kale_nb.engines.kfp.cluster.preflight_facts import Ask, gather
from kale_nb.engines.kfp.cluster.preflight_volumes import Wish
from kale_nb.engines.kfp.compiling import compile_kfp
from kale_nb.engines.kfp.plan import Origin, Plan, workspace_volume
from kale_nb.engines.kfp.submission.address import Address, Asked, find_address
from kale_nb.engines.kfp.submission.client import Client
from kale_nb.engines.kfp.submission.problems import ServerError
from kale_nb.engines.kfp.submission.sending import NEEDED, Server, read_server
from kale_nb.engines.kfp.target import Cleanup, Target
from kale_nb.engines.preflight import Diagnosis, Finding, Mark
from kale_nb.errors import EngineError, UsageError
from kale_nb.pipeline.model import Pipeline
from kale_nb.stepbooks.model import Stepbook

PART = "Kubeflow Pipelines"
NOTEBOOK = "Notebook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is to be looked at.

    Attributes:
        pipeline: of the notebook; None: of any run.
        workspace, snapshot_class, storage_class, only_workspace, clone_claims: as of a submission.
        folder: where the notebook lies, absolute, without symbolic links.
        patience: seconds for which a server that fails in passing is asked again.
    """

    asked: Asked
    cluster: ClusterAsked
    environ: Mapping[str, str]
    folder: str
    hostname: str
    target: Target = field(default_factory=Target)
    pipeline: Pipeline | None = None
    stepbooks: Sequence[Stepbook] = ()
    workspace: str = ""
    snapshot_class: str | None = None
    storage_class: str | None = None
    only_workspace: bool = False
    clone_claims: bool = False
    root: Path = Path("/")
    patience: float = 6.0


def diagnose(checked: Checked) -> Diagnosis:
    """Look at everything and return all that was found; never stops at the first."""
    found: list[Finding] = []
    plan = None
    checked = _like_the_server(checked)
    if checked.pipeline is not None:
        plan, of_notebook = _compiled(checked.pipeline, checked)
        found += of_notebook
    server, of_server = _server(checked)
    found += of_server
    wish = Wish(
        plan=plan,
        snapshot=checked.target.snapshot,
        clone_claims=checked.clone_claims,
        snapshot_class=checked.snapshot_class,
        storage_class=checked.storage_class,
    )
    if not wish.snapshot and plan is not None and not plan.mounts:
        return Diagnosis(engine="kfp", findings=tuple(found))  # such a run has no volumes
    if not wish.snapshot and plan is None:
        return Diagnosis(engine="kfp", findings=tuple(found))
    ask = _ask(checked, plan, server)
    try:
        cluster = find_cluster(checked.cluster, checked.environ, checked.root, patience=checked.patience, instead=WITHOUT)
    except (UsageError, EngineError) as error:
        finding = Finding(
            key="kubernetes",
            part="Kubernetes",
            mark=Mark.MISSING,
            found=error.message,
            why="snapshots of volumes are taken there",
            mend=error.hint or "",
        )
        return Diagnosis(engine="kfp", findings=(*found, finding))
    facts = gather(cluster, ask)
    deletes = checked.target.cleanup is not Cleanup.KEEP
    found += cluster_findings(facts, wish, inside=ask.inside, deletes=deletes)
    return Diagnosis(engine="kfp", findings=tuple(found), asks=asks(facts, wish, inside=ask.inside), user=facts.user)


def _like_the_server(checked: Checked) -> Checked:
    """In a notebook server, steps whose marks name no image run on the server's, whatever that is."""
    ask = Ask(environ=checked.environ, folder=checked.folder, hostname=checked.hostname, root=checked.root)
    if checked.target.image or not ask.inside:
        return checked
    return replace(checked, target=replace(checked.target, image="the-notebook-server"))


def _ask(checked: Checked, plan: Plan | None, server: Server | None) -> Ask:
    """Name what the cluster is to be asked about."""
    account = (plan.pipeline.service_account if plan is not None else None) or ""
    if not account and server is not None:
        account = "default-editor" if server.several else "pipeline-runner"
    of_workspace = workspace_volume(plan.pipeline, plan.target) if plan is not None else None
    named = of_workspace.name if of_workspace is not None and of_workspace.kind in ("clone", "pvc") else ""
    claims = [claim for claim in plan.claims if claim.name] if plan is not None else []
    return Ask(
        environ=checked.environ,
        folder=checked.folder,
        hostname=checked.hostname,
        root=checked.root,
        run_account=account,
        workspace=checked.workspace or named,
        cloned=tuple(claim.name for claim in claims if claim.origin is Origin.CLONE),
        mounted=tuple(mount.claim for mount in plan.mounts if isinstance(mount.claim, str)) if plan is not None else (),
        snapshots=tuple(claim.name for claim in claims if claim.origin is Origin.SNAPSHOT),
        only_workspace=checked.only_workspace,
        told=frozenset(v.mount_point.rstrip("/") for v in plan.pipeline.volumes) if plan is not None else frozenset(),
    )


def _compiled(pipeline: Pipeline, checked: Checked) -> tuple[Plan | None, list[Finding]]:
    try:
        package = compile_kfp(pipeline, checked.stepbooks, checked.target)
    except CompileError as error:
        return None, [_of_diagnostic(number, each) for number, each in enumerate(error.diagnostics, 1)]
    told = [_of_diagnostic(number, each) for number, each in enumerate(package.diagnostics, 1)]
    count = len(pipeline.steps)
    compiled = Finding(
        key="notebook-compiles",
        part=NOTEBOOK,
        mark=Mark.OK,
        found=f"{pipeline.source}: pipeline {pipeline.name}, {count} step{'s' * (count != 1)}, compiles for a cluster",
    )
    return package.plan, [compiled, *told]


def _of_diagnostic(number: int, diagnostic: Diagnostic) -> Finding:
    mark = {Severity.ERROR: Mark.MISSING, Severity.WARNING: Mark.WARNING}.get(diagnostic.level, Mark.OK)
    rule = diagnostic.rule
    return Finding(
        key=f"notebook:{rule.code}:{number}",
        part=NOTEBOOK,
        mark=mark,
        found=f"{diagnostic.message} ({rule.code} {rule.slug})",
        why="" if mark is Mark.OK else f"`kale explain {rule.code}` says why",
        mend="" if mark is Mark.OK else diagnostic.hint or "",
    )


def _server(checked: Checked) -> tuple[Server | None, list[Finding]]:
    try:
        address = find_address(checked.asked, checked.environ, checked.root)
        client = Client(address, patience=checked.patience, within=10.0)
        server = read_server(client)
    except (UsageError, ServerError) as error:
        why = "pipelines are sent there and run there"
        finding = Finding(
            key="kfp-server", part=PART, mark=Mark.MISSING, found=error.message, why=why, mend=error.hint or "is it up?"
        )
        return None, [finding]
    place = f", namespace {address.namespace}" if address.namespace and server.several else ""
    found = Finding(
        key="kfp-server",
        part=PART,
        mark=Mark.OK,
        found=f"the API at {address.host} ({address.origin}) answers, asked with {address.credentials.told}{place}",
    )
    return server, [found, *_access(client, address, server), *_version(server, checked.target)]


def _access(client: Client, address: Address, server: Server) -> Iterator[Finding]:
    """Whether we may see runs: the address of its health needs no login in many installations."""
    if server.several and not address.namespace:
        yield Finding(
            key="kfp-access",
            part=PART,
            mark=Mark.MISSING,
            found="this Kubeflow has several users, and nothing says which namespace runs are to be in",
            why="every experiment and run is in somebody's namespace",
            mend="name yours with --namespace, or set KALE_KFP_NAMESPACE",
        )
        return
    try:
        client.get("/experiments", {"page_size": "1", "namespace": address.namespace or "" if server.several else ""})
    except ServerError as error:
        why = "experiments and runs are made and looked at there"
        yield Finding(key="kfp-access", part=PART, mark=Mark.MISSING, found=error.message, why=why, mend=error.hint or "")
        return
    yield Finding(key="kfp-access", part=PART, mark=Mark.OK, found="it lets us list experiments")


def _version(server: Server, target: Target) -> Iterator[Finding]:
    key, needed = "kfp-version", ".".join(map(str, NEEDED))
    if not target.snapshot or (server.version is not None and server.version >= NEEDED):
        yield Finding(
            key=key, part=PART, mark=Mark.OK, found=f"its version is {server.tag or 'not told, which is no matter here'}"
        )
    elif server.version is None:
        yield Finding(
            key=key,
            part=PART,
            mark=Mark.WARNING,
            found=f"the server says {f'`{server.tag}`' if server.tag else 'nothing'} of its version",
            why=f"before {needed} its CreatePVC ignores what a volume is to be cloned from and makes an empty one; "
            "the first step then refuses to run",
            mend=f"if it is older than {needed}, submit with --create-volumes script",
        )
    else:
        yield Finding(
            key=key,
            part=PART,
            mark=Mark.WARNING,
            found=f"its version is {server.tag}: the clones are made by a step of kale's",
            why=f"before {needed} its CreatePVC ignores what a volume is to be cloned from. The step runs in the steps' image, and the "
            "run's service account must be allowed to create persistentvolumeclaims (see Rights)",
            mend=f"nothing, if that right is there; a server of {needed} needs no such step",
        )
