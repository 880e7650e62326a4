"""The rights that kale needs on a cluster, what for, and the Roles to ask an administrator for.

Two accounts are concerned: that of whoever submits (the notebook server's service account, or a user), and that of the run's pods, as which
Kubeflow Pipelines makes and deletes claims. Nothing here asks a cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kale_nb.engines.kfp.cluster import resources as kinds
from kale_nb.engines.kfp.cluster.api import Right
from kale_nb.engines.kfp.cluster.resources import Resource

RBAC = "rbac.authorization.k8s.io"
Who = Literal["submitter", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Verbs on a kind of objects, needed for one thing.

    Attributes:
        why: what they are for, as the end of "needed ...".
        without: what happens without them; empty where a run is not possible then.
        who: whose right it is: of whoever submits, or of the run's pods.
        within: only in a notebook server, which finds its volumes by its own pod.
        cleaning: for `kale clean` and `kale snapshots`.
    """

    resource: Resource
    verbs: tuple[str, ...]
    why: str
    without: str = ""
    who: Who = "submitter"
    within: bool = False
    cleaning: bool = False

    @property
    def required(self) -> bool:
        """No run on clones is possible without."""
        return not self.without

    @property
    def rights(self) -> tuple[Right, ...]:
        """One for each verb."""
        return tuple(Right(verb=verb, resource=self.resource) for verb in self.verbs)


NEEDS = (
    Need(
        resource=kinds.SNAPSHOTS,
        verbs=("create", "get"),
        why="to take a snapshot of each volume and see when it is ready",
    ),
    Need(
        resource=kinds.CLAIMS,
        verbs=("get",),
        why="to read size, class and access modes of the volumes that are cloned",
    ),
    Need(
        resource=kinds.PODS,
        verbs=("get",),
        why="to find the notebook server's volumes, image and user by its own pod",
        within=True,
    ),
    Need(
        resource=kinds.SNAPSHOTS,
        verbs=("delete",),
        why="to give back the snapshots of a submission that failed, and for `kale clean`",
        without="they stay until somebody else deletes them",
        cleaning=True,
    ),
    Need(
        resource=kinds.SNAPSHOTS,
        verbs=("list",),
        why="for `kale snapshots --engine kfp` and `kale clean`",
        without="kale cannot list what it made",
        cleaning=True,
    ),
    Need(
        resource=kinds.CLAIMS,
        verbs=("list",),
        why="to tell which volumes of a run are not made and why, and for `kale clean`",
        without="kale does not know which claims are a run's",
        cleaning=True,
    ),
    Need(
        resource=kinds.CLAIMS,
        verbs=("delete",),
        why="for `kale clean`, which removes the volumes that runs left",
        without="they stay until somebody else deletes them",
        cleaning=True,
    ),
    Need(
        resource=kinds.PODS,
        verbs=("list",),
        why="for `kale clean`, which leaves claims alone that a pod mounts",
        without="`kale clean` removes no claims, for it cannot know which are in use",
        cleaning=True,
    ),
    Need(
        resource=kinds.EVENTS,
        verbs=("list",),
        why="to tell why a snapshot or a volume is not made",
        without="kale can only say that it takes long",
    ),
    Need(
        resource=kinds.QUOTAS,
        verbs=("list",),
        why="to compare what a run needs with what is left of the namespace's quota, before it is begun",
        without="a run that does not fit fails when its first volume is refused",
    ),
    Need(
        resource=kinds.STORAGE_CLASSES,
        verbs=("get", "list"),
        why="to know the driver of each volume, and whether it is bound before a pod needs it",
        without="which classes there are is told by nothing but an error",
        cleaning=True,
    ),
    Need(
        resource=kinds.SNAPSHOT_CLASSES,
        verbs=("list",),
        why="to choose the snapshot class of each volume's driver",
        without="the cluster's default is taken, and a wrong one is told by nothing but an error",
    ),
    Need(
        resource=kinds.SNAPSHOT_CONTENTS,
        verbs=("get", "list"),
        why="to tell whether deleting a snapshot frees its storage",
        without="`kale snapshots` and `kale clean` do not know it",
        cleaning=True,
    ),
    Need(
        resource=kinds.VOLUMES,
        verbs=("get",),
        why="to know the driver of a volume that was made by hand",
        without="the driver is taken from the storage class",
    ),
    Need(
        resource=kinds.CLAIMS,
        verbs=("create",),
        why="for `create-volume-N`, which makes the clones: Kubeflow does it as the run's account",
        who="run",
    ),
    Need(
        resource=kinds.CLAIMS,
        verbs=("delete",),
        why="for `--cleanup delete` and `delete-on-success`",
        without="the claims stay, and the run fails at its end if it was asked for",
        who="run",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who is to get a right.

    Attributes:
        kind: `ServiceAccount` or `User`.
        known: otherwise the name is for the reader to fill in.
    """

    kind: str
    name: str
    namespace: str = ""
    known: bool = True

    def __str__(self) -> str:
        """Return how people and the API server call it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}" if self.kind == "ServiceAccount" else self.name

    def body(self) -> dict[str, str]:
        """Return it as a binding has it."""
        if self.kind == "ServiceAccount":
            return {"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}
        return {"kind": "User", "name": self.name, "apiGroup": RBAC}


SOMEBODY = Subject(kind="User", name="THE-USER", known=False)


def subject_of(user: str) -> Subject:
    """Return whom a name of the API server means; `SOMEBODY` when it is empty.

    >>> subject_of("system:serviceaccount:team-a:default-editor").name, subject_of("ada@example.org").kind
    ('default-editor', 'User')
    """
    parts = user.split(":")
    if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4:
        return Subject(kind="ServiceAccount", name=parts[3], namespace=parts[2])
    return Subject(kind="User", name=user) if user else SOMEBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Rights that somebody is to get in a namespace; those on objects of no namespace in the whole cluster."""

    subject: Subject
    rights: tuple[Right, ...]
    namespace: str


def manifest(grants: Iterable[Grant]) -> str:
    """Return YAML for `kubectl apply` that gives exactly these rights; empty when there are none.

    Names are made of whom and what, so that a later manifest with other rights replaces nothing.
    """
    from kale_nb.engines.kfp.yamltext import to_short_yaml

    documents: list[dict[str, Any]] = []
    unknown = False
    for grant in grants:
        for namespaced in (True, False):
            rules = rules_of(right for right in grant.rights if right.resource.namespaced is namespaced)
            if rules:
                documents += _role(grant.subject, rules, grant.namespace if namespaced else "")
                unknown = unknown or not grant.subject.known
    if not documents:
        return ""
    note = f"# put the user's name, as the cluster knows it, in the place of {SOMEBODY.name}\n" if unknown else ""
    return note + to_short_yaml(*documents)


def rules_of(rights: Iterable[Right]) -> list[dict[str, Any]]:
    """Return rights as the rules of a Role: kinds in the order in which they come, one rule for each set of verbs of a group."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        found = verbs.setdefault((right.resource.group, right.resource.plural), [])
        found += [right.verb] if right.verb not in found else []
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, plural), wanted in verbs.items():
        rules.setdefault((group, _sorted(wanted)), []).append(plural)
    return [{"apiGroups": [group], "resources": plurals, "verbs": [*wanted]} for (group, wanted), plurals in rules.items()]


def all_rights(who: Who = "submitter", needs: Sequence[Need] = NEEDS) -> tuple[Right, ...]:
    """Return every right of one account, once."""
    return tuple(dict.fromkeys(right for need in needs if need.who == who for right in need.rights))


def cleaning_rights() -> tuple[Right, ...]:
    """Return the rights that `kale clean` works with."""
    return all_rights(needs=[need for need in NEEDS if need.cleaning])


_ORDER = ("create", "get", "list", "watch", "patch", "delete")


def _sorted(verbs: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(verbs, key=_ORDER.index))


def _role(subject: Subject, rules: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    kind = "Role" if namespace else "ClusterRole"
    told = json.dumps([subject.body(), rules, namespace], sort_keys=True)
    name = f"kale-nb-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    version = f"{RBAC}/v1"
    return [
        {"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules},
        {
            "apiVersion": version,
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [subject.body()],
        },
    ]
