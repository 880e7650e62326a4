"""A look at a real API server, as somebody, and what an administrator does with what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kale_nb.engines.kfp.cluster.api import Right
from kale_nb.engines.kfp.cluster.connection import ClusterAsked
from kale_nb.engines.kfp.submission.address import Asked
from kale_nb.engines.kfp.submission.preflight import Checked, diagnose
from kale_nb.engines.preflight import Diagnosis, Finding, Mark
from tests.k8s.rest import RBAC, Rest, until
from tests.k8s.space import Account, Space


def look(config: Path, *, host: str = "http://127.0.0.1:9", **more: Any) -> Diagnosis:
    """Look at a cluster; Kubeflow Pipelines is asked at `host`, where nothing listens without more."""
    asked_namespace = more.pop("asked_namespace", None)
    options = {"patience": 0.0, "folder": "/home/jovyan", "hostname": "notebook-0", "environ": {"HOME": "/nowhere"}, **more}
    return diagnose(
        Checked(asked=Asked(host=host, namespace=asked_namespace), cluster=ClusterAsked(kubeconfig=config), **options)
    )


def of_key(diagnosis: Diagnosis, start: str) -> Finding:
    """Return the only finding whose key begins so."""
    found = [each for each in diagnosis.findings if each.key == start] or [
        each for each in diagnosis.findings if each.key.startswith(start)
    ]
    assert len(found) == 1, (start, [each.key for each in diagnosis.findings])
    return found[0]


def not_ok(diagnosis: Diagnosis, part: str = "") -> dict[str, Mark]:
    """Return what is not well, by key, of the parts that begin so."""
    return {f.key: f.mark for f in diagnosis.findings if f.mark is not Mark.OK and f.part.startswith(part)}


def rules(rights: Iterable[Right]) -> list[tuple[str, str, str]]:
    """Return rights as `Space.account` takes them."""
    return [(right.resource.group, right.resource.plural, right.verb) for right in rights]


def account_with(space: Space, name: str, rights: Iterable[Right]) -> Account:
    """Make an account that has just these rights."""
    given = list(rights)
    return space.account(
        name,
        *rules(right for right in given if right.resource.namespaced),
        everywhere=rules(right for right in given if not right.resource.namespaced),
    )


def apply(rest: Rest, text: str, *, dry_run: bool = False) -> list[dict[str, Any]]:
    """Do what `kubectl apply --server-side` does."""
    query = {"fieldManager": "kubectl", "force": "true", **({"dryRun": "All"} if dry_run else {})}
    return [
        rest._call("PATCH", path_of(each), each, "application/apply-patch+yaml", **query) for each in yaml.safe_load_all(text)
    ]


def path_of(body: Mapping[str, Any]) -> str:
    version, name, namespace = body["apiVersion"], body["metadata"]["name"], body["metadata"].get("namespace")
    start = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{start}{place}/{body['kind'].lower()}s/{name}"


def forget(rest: Rest, text: str) -> None:
    """Delete what is in no namespace of what was applied."""
    for each in yaml.safe_load_all(text):
        if not each["metadata"].get("namespace"):
            rest.delete(path_of(each))


def until_it(ask: Callable[[], bool], what: str) -> None:
    until(lambda: ask() or None, what, 30)


def rights_in(text: str) -> set[tuple[str, str, str]]:
    """Return what a manifest gives."""
    roles = [each for each in yaml.safe_load_all(text) if each["kind"] in ("Role", "ClusterRole")]
    return {
        (group, plural, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
        for verb in rule["verbs"]
    }


__all__ = ["RBAC", "Rest"]
