"""Whether each volume of a run can be snapshotted and cloned, and shared by its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kale_nb.engines.kfp.checks import is_wide
from kale_nb.engines.kfp.cluster.api import Body
from kale_nb.engines.kfp.cluster.claims import Source
from kale_nb.engines.kfp.cluster.classes import choose_class
from kale_nb.engines.kfp.cluster.notebook import ClaimMount, NotebookServer
from kale_nb.engines.kfp.cluster.preflight_facts import Facts
from kale_nb.engines.kfp.cluster.preflight_quota import Wanted
from kale_nb.engines.kfp.cluster.problems import ClusterError, Forbidden
from kale_nb.engines.kfp.cluster.quantities import known_quantity, spell_quantity
from kale_nb.engines.kfp.plan import Claim, Origin, Plan
from kale_nb.engines.preflight import Finding, Mark
from kale_nb.errors import KaleError, VolumeError
from kale_nb.pipeline.volumes import WORKSPACE

PART = "Volumes"
_RWO, _RWOP = "ReadWriteOnce", "ReadWriteOncePod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a run is to be like, where the pipeline does not say.

    Attributes:
        plan: of the notebook; None: any.
        snapshot: it works on clones.
        clone_claims: of the claims themselves, without snapshots.
        snapshot_class, storage_class: by name, where they were named.
    """

    plan: Plan | None = None
    snapshot: bool = True
    clone_claims: bool = False
    snapshot_class: str | None = None
    storage_class: str | None = None

    @property
    def wide(self) -> bool:
        """Steps may run at the same time."""
        return self.plan is not None and is_wide(self.plan.pipeline) is not None


def volume_findings(facts: Facts, wish: Wish) -> Iterator[Finding]:
    """Say of the notebook server and of each volume whether a run can have it."""
    if wish.snapshot:
        yield from _notebook(facts)
        for name, source in facts.sources.items():
            yield from _source(name, source, facts, wish)
        for name, snapshot in facts.snapshots.items():
            yield _snapshot(name, snapshot)
    for name, modes in facts.mounted.items():
        yield _mounted(name, modes, wish)
    for claim in wish.plan.claims if wish.plan is not None else ():
        if claim.origin is Origin.NEW:
            yield from _empty(claim, facts, wish)


def wanted(facts: Facts, wish: Wish) -> tuple[list[Wanted], int]:
    """Return the claims that a run makes, and how many snapshots it takes."""
    sources = {name: source for name, source in facts.sources.items() if isinstance(source, Source)} if wish.snapshot else {}
    made: list[Wanted] = []
    for name, source in sources.items():
        one = Wanted(size=source.size, storage_class=source.storage_class)
        made += [one] * max(1, _places(facts, name))
    made += [
        Wanted(size=known_quantity(claim.size), storage_class=_class_of(claim, facts, wish))
        for claim in (wish.plan.claims if wish.plan is not None else ())
        if claim.origin is not Origin.CLONE
    ]
    return made, 0 if wish.clone_claims else len(sources)


def _places(facts: Facts, claim: str) -> int:
    """Return at how many places the notebook server has a claim: each becomes a clone of its own."""
    return sum(mount.claim == claim for mount in facts.server.mounts) if isinstance(facts.server, NotebookServer) else 0


def _class_of(claim: Claim, facts: Facts, wish: Wish) -> str:
    """Return the storage class of a volume that begins empty: as asked for, else the workspace's."""
    workspace = facts.sources.get(facts.workspace.claim) if isinstance(facts.workspace, ClaimMount) else None
    of_workspace = workspace.storage_class if wish.snapshot and isinstance(workspace, Source) else ""
    return claim.storage_class or wish.storage_class or of_workspace


def _notebook(facts: Facts) -> Iterator[Finding]:
    server, workspace = facts.server, facts.workspace
    if isinstance(server, KaleError):
        yield _wrong("notebook", server, "its volumes are what a run works on clones of")
    elif isinstance(server, NotebookServer):
        count = len(server.mounts)
        yield Finding(
            key="notebook",
            part=PART,
            mark=Mark.OK,
            found=f"this is notebook server {server.pod}, whose container {server.container} has {count} claim{'s' * (count != 1)}",
        )
    if isinstance(workspace, KaleError):
        yield _wrong("workspace", workspace, "steps work on a clone of the volume that holds the notebook")
    elif workspace is not None:
        at = f", at {workspace.path}" if workspace.path else ""
        yield Finding(key="workspace", part=PART, mark=Mark.OK, found=f"the workspace is claim {workspace.claim}{at}")
    elif server is None:
        yield Finding(
            key="workspace",
            part=PART,
            mark=Mark.MISSING,
            found="this runs in no notebook server, and nothing names the claim of the workspace",
            why="steps work on a clone of the volume that holds the notebook",
            mend="name it with --workspace-claim, run this in the notebook server, or look at a run without clones: --no-snapshot",
        )


def _source(name: str, source: Source | KaleError, facts: Facts, wish: Wish) -> Iterator[Finding]:
    key = f"volume:{name}"
    if isinstance(source, KaleError):
        yield _wrong(key, source, "a run works on a clone of it")
        return
    of_class = _named(facts.storage_classes, source.storage_class)
    modes = ", ".join(source.access_modes)
    yield Finding(
        key=key,
        part=PART,
        mark=Mark.OK,
        found=f"claim {name}: {spell_quantity(source.size)}, class {source.storage_class or 'none'}{_binding(of_class)}, {modes}, "
        f"driver {source.driver or 'not known'}",
    )
    if not source.storage_class:
        yield from _without_class(key, source, facts, wish)
    elif isinstance(facts.storage_classes, list) and of_class is None:
        yield Finding(
            key=f"{key}:class",
            part=PART,
            mark=Mark.MISSING,
            found=f"the storage class {source.storage_class} of claim {name} does not exist any more",
            why="its clone is made with that class, and would stay Pending for ever",
            mend="ask an administrator to make it again",
        )
    yield from _sharing(key, f"claim {name}", source.access_modes, wish)
    if not wish.clone_claims:
        yield from _snapshot_class(key, source, facts, wish)


def _without_class(key: str, source: Source, facts: Facts, wish: Wish) -> Iterator[Finding]:
    classes = facts.storage_classes if isinstance(facts.storage_classes, list) else []
    fit = [each for each in classes if source.driver and each.get("provisioner") == source.driver]
    if wish.storage_class or len(fit) == 1:
        return
    yield Finding(
        key=f"{key}:class",
        part=PART,
        mark=Mark.MISSING,
        found=f"claim {source.name} has no storage class",
        why=f"its clone needs one of the driver {source.driver or '(not known)'}",
        mend=f"name one with --storage-class{_there(fit)}",
    )


def _snapshot_class(key: str, source: Source, facts: Facts, wish: Wish) -> Iterator[Finding]:
    key = f"{key}:snapshot-class"
    why = "the driver takes a snapshot as its class says"
    if "volumesnapshotclasses" not in facts.kinds:
        return  # told once, for the cluster
    if isinstance(facts.snapshot_classes, ClusterError):
        if wish.snapshot_class is None:
            yield Finding(
                key=key,
                part=PART,
                mark=Mark.WARNING,
                found=f"snapshot classes cannot be looked at: {facts.snapshot_classes.message}",
                why=f"{why}; the cluster's default is taken",
                mend="ask for the right, or name a class with --snapshot-class",
            )
        return
    try:
        chosen = choose_class(facts.snapshot_classes, source, wish.snapshot_class)
    except VolumeError as error:
        fits = any(each.get("driver") == source.driver for each in facts.snapshot_classes)
        yield Finding(
            key=key, part=PART, mark=Mark.MISSING, found=error.message, why=why, mend=error.hint or "",
            yaml="" if fits or not source.driver else class_yaml(source.driver),
        )  # fmt: skip
        return
    policy = str((_named(facts.snapshot_classes, chosen or "") or {}).get("deletionPolicy") or "")
    if policy == "Retain":
        yield Finding(
            key=key,
            part=PART,
            mark=Mark.WARNING,
            found=f"snapshots of claim {source.name} are of class {chosen}, whose deletionPolicy is Retain",
            why="deleting such a snapshot frees no storage: what it holds stays in the storage system, and is paid for",
            mend="an administrator has to delete the VolumeSnapshotContents and what is behind them; or name another class with "
            "--snapshot-class",
        )
        return
    yield Finding(
        key=key, part=PART, mark=Mark.OK, found=f"snapshots of claim {source.name} are of class {chosen}, deletionPolicy {policy}"
    )


def class_yaml(driver: str) -> str:
    """Return a snapshot class for a driver. Some drivers need parameters too."""
    from kale_nb.engines.kfp.yamltext import to_short_yaml

    return f"# many drivers need parameters as well: see the manual of {driver}\n" + to_short_yaml(
        {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotClass",
            "metadata": {"name": f"{driver}-snapshots"},
            "driver": driver,
            "deletionPolicy": "Delete",
        }
    )


def _snapshot(name: str, snapshot: Body | KaleError) -> Finding:
    key = f"snapshot:{name}"
    if isinstance(snapshot, KaleError):
        return _wrong(key, snapshot, "the pipeline names it as the source of a volume")
    if (snapshot.get("status") or {}).get("readyToUse"):
        return Finding(key=key, part=PART, mark=Mark.OK, found=f"snapshot {name} is ready")
    return Finding(
        key=key,
        part=PART,
        mark=Mark.WARNING,
        found=f"snapshot {name} is not ready",
        why="the pipeline names it as the source of a volume, which cannot be made before",
        mend=f"`kubectl describe volumesnapshot {name}` says what it waits for",
    )


def _mounted(name: str, modes: tuple[str, ...] | KaleError, wish: Wish) -> Finding:
    key = f"volume:{name}"
    if isinstance(modes, KaleError):
        return _wrong(key, modes, "the pipeline mounts it as it is")
    found = next(_sharing(key, f"claim {name}, mounted as it is,", modes, wish), None)
    return found or Finding(key=key, part=PART, mark=Mark.OK, found=f"claim {name}, mounted as it is: {', '.join(modes)}")


def _empty(claim: Claim, facts: Facts, wish: Wish) -> Iterator[Finding]:
    key = f"volume:{claim.task}"
    what = f"{claim.task}{f' ({claim.name})' if claim.name else ''}"
    of_class = _class_of(claim, facts, wish)
    if not of_class:
        yield Finding(
            key=key,
            part=PART,
            mark=Mark.MISSING,
            found=f"{what} begins empty, and nothing says of which storage class",
            why="Kubeflow Pipelines would take one called `standard`",
            mend=f"name one with --storage-class{_there(facts.storage_classes)}",
        )
        return
    if isinstance(facts.storage_classes, list) and _named(facts.storage_classes, of_class) is None:
        yield Finding(
            key=key,
            part=PART,
            mark=Mark.MISSING,
            found=f"{what} is to be of storage class {of_class}, which does not exist",
            why="it would stay Pending for ever",
            mend=f"name another with --storage-class{_there(facts.storage_classes)}",
        )
        return
    yield Finding(key=key, part=PART, mark=Mark.OK, found=f"{what} begins empty: {claim.size}, class {of_class}")
    if claim.use != WORKSPACE:
        yield from _sharing(key, what, claim.access_modes, wish)


def _sharing(key: str, what: str, modes: tuple[str, ...], wish: Wish) -> Iterator[Finding]:
    """Say whether steps that run at once can have a volume."""
    if not wish.wide:
        return
    if _RWOP in modes:
        yield Finding(
            key=f"{key}:access",
            part=PART,
            mark=Mark.MISSING,
            found=f"{what} can be mounted by one pod only ({_RWOP}), and steps run in parallel",
            why="the second of them would wait for ever",
            mend="order the steps one after the other, or use a volume with another access mode",
        )
    elif set(modes) == {_RWO}:
        yield Finding(
            key=f"{key}:access",
            part=PART,
            mark=Mark.WARNING,
            found=f"{what} can be mounted on one node only ({_RWO}), and steps run in parallel",
            why="on other nodes they wait until the first are done, or for ever",
            mend="keep the steps on one node with a node selector, or use a class with ReadWriteMany",
        )


def _binding(of_class: Body | None) -> str:
    return ", bound when a step needs it" if (of_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer" else ""


def _named(classes: list[Body] | ClusterError, name: str) -> Body | None:
    found = classes if isinstance(classes, list) else []
    return next((each for each in found if (each.get("metadata") or {}).get("name") == name), None)


def _there(classes: list[Body] | ClusterError) -> str:
    names = sorted(str(each["metadata"]["name"]) for each in classes) if isinstance(classes, list) else []
    return f"; there are {', '.join(names)}" if names else ""


def _wrong(key: str, error: KaleError, why: str) -> Finding:
    cause = error if isinstance(error, Forbidden) else error.__cause__
    if isinstance(cause, Forbidden):
        what = f"{key.replace(':', ' ')}: not allowed to {cause.verb} {cause.resource.full_name}"
        return Finding(key=key, part=PART, mark=Mark.MISSING, found=what, why=why, mend="see the rights below")
    return Finding(key=key, part=PART, mark=Mark.MISSING, found=error.message, why=why, mend=error.hint or "")
