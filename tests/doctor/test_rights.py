"""Every right by itself: missing, told with the manifest that gives just it, and there when that was applied."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kale_nb.engines.kfp.cluster.api import Right
from kale_nb.engines.kfp.cluster.resources import CLAIMS, PODS, SNAPSHOTS, STORAGE_CLASSES
from kale_nb.engines.kfp.cluster.rights import (
    NEEDS,
    SOMEBODY,
    Grant,
    Subject,
    all_rights,
    cleaning_rights,
    manifest,
    rules_of,
    subject_of,
)
from kale_nb.engines.preflight import Mark
from tests.doctor.looking import account_with, apply, forget, look, not_ok, of_key, rights_in, until_it
from tests.k8s.cluster import Cluster
from tests.k8s.driver import Driver
from tests.k8s.schemas import check
from tests.k8s.space import Space
from tests.kfp_api.server import Server

ADA = Subject(kind="ServiceAccount", name="ada", namespace="team")
ALL = all_rights()


def test_nothing_missing_asks_for_nothing() -> None:
    assert manifest([]) == manifest([Grant(subject=ADA, rights=(), namespace="team")]) == ""


def test_a_manifest_holds_just_the_rights_that_are_missing_for_whom_they_are_missing() -> None:
    rights = (Right(verb="delete", resource=CLAIMS), Right(verb="list", resource=STORAGE_CLASSES))
    role, binding, wide, wide_binding = yaml.safe_load_all(manifest([Grant(subject=ADA, rights=rights, namespace="team")]))
    assert role["rules"] == [{"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["delete"]}]
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "team")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "ada", "namespace": "team"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == binding["metadata"]["name"]
    assert wide["rules"] == [{"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["list"]}]
    assert (wide["kind"], wide_binding["kind"], "namespace" in wide["metadata"]) == ("ClusterRole", "ClusterRoleBinding", False)
    for each in (role, binding, wide, wide_binding):
        check(each)


def test_manifests_of_different_rights_or_people_replace_nothing_of_each_other() -> None:
    grants = [
        Grant(subject=subject, rights=(Right(verb=verb, resource=PODS),), namespace=namespace)
        for subject in (ADA, Subject(kind="User", name="ada"))
        for verb in ("get", "list")
        for namespace in ("team", "other")
    ]
    names = {next(iter(yaml.safe_load_all(manifest([each]))))["metadata"]["name"] for each in grants}
    assert len(names) == 8
    assert manifest([grants[0]]) == manifest([grants[0]])


def test_an_unknown_user_is_left_for_the_reader_to_fill_in() -> None:
    text = manifest([Grant(subject=SOMEBODY, rights=(Right(verb="get", resource=PODS),), namespace="team")])
    assert text.startswith("# put the user's name")
    assert yaml.safe_load_all(text)
    assert "name: THE-USER" in text


def test_names_of_the_api_server_become_subjects() -> None:
    assert subject_of("system:serviceaccount:team:ada") == ADA
    assert subject_of("ada@example.org").body() == {
        "kind": "User",
        "name": "ada@example.org",
        "apiGroup": "rbac.authorization.k8s.io",
    }
    assert subject_of("system:serviceaccount:odd").kind == "User"
    assert str(ADA) == "system:serviceaccount:team:ada"


def test_kinds_with_the_same_verbs_share_a_rule_and_no_rule_mixes_groups() -> None:
    found = rules_of(ALL)
    assert all(len(rule["apiGroups"]) == 1 for rule in found)
    given = {(rule["apiGroups"][0], plural, verb) for rule in found for plural in rule["resources"] for verb in rule["verbs"]}
    assert given == {(right.resource.group, right.resource.plural, right.verb) for right in ALL}


def test_kale_never_asks_to_write_what_belongs_to_the_cluster() -> None:
    assert {right.verb for right in ALL if not right.resource.namespaced} == {"get", "list"}
    assert {right.resource for right in ALL if right.verb in ("create", "delete")} == {SNAPSHOTS, CLAIMS}


def test_cleaning_takes_no_right_to_make_anything() -> None:
    assert {right.verb for right in cleaning_rights()} == {"get", "list", "delete"}
    assert set(cleaning_rights()) < set(ALL)


@pytest.fixture
def volumes(space: Space, driver: Driver) -> Space:
    space.claim("home", storage_class=driver.storage_class)
    space.bound("home")
    return space


def test_what_is_asked_for_and_applied_makes_the_next_look_green(
    cluster: Cluster, volumes: Space, server: Server, tmp_path: Path
) -> None:
    account = account_with(volumes, "ada", [])
    config = cluster.kubeconfig(tmp_path / "config", account.token, namespace=volumes.name)
    server.deployment.several = True
    first = look(config, host=server.url, workspace="home", asked_namespace=volumes.name)
    assert not first.ready
    assert not_ok(first, "Rights of system:serviceaccount")
    assert f"name: ada, namespace: {volumes.name}" in first.asks
    apply(volumes.rest, first.asks)
    try:
        until_it(lambda: not look(config, workspace="home").asks, "the rights are in force")
        then = look(config, host=server.url, workspace="home", asked_namespace=volumes.name)
        assert then.ready, not_ok(then)
        assert set(not_ok(then)) == {"right:run:persistentvolumeclaims:create"}, "another account's, of which we may not ask"
        assert of_key(then, "volume:home:snapshot-class").mark is Mark.OK
    finally:
        forget(volumes.rest, first.asks)


def test_the_account_of_the_notebook_server_is_also_asked_as_the_runs(
    cluster: Cluster, space: Space, server: Server, tmp_path: Path
) -> None:
    server.deployment.several = True
    account = account_with(space, "default-editor", [])
    config = cluster.kubeconfig(tmp_path / "config", account.token, namespace=space.name)
    found = look(config, host=server.url, workspace="home", asked_namespace=space.name)
    assert of_key(found, "right:run:persistentvolumeclaims:create").mark is Mark.MISSING
    assert ("", "persistentvolumeclaims", "create") in rights_in(found.asks)
    assert found.asks.count("kind: RoleBinding") == 1, "one Role for one account"


def test_the_runs_account_is_asked_about_where_that_is_allowed(
    cluster: Cluster, space: Space, server: Server, tmp_path: Path
) -> None:
    space.account("pipeline-runner", ("", "persistentvolumeclaims", "create"))
    account = space.account("ada", ("authorization.k8s.io", "localsubjectaccessreviews", "create"))
    config = cluster.kubeconfig(tmp_path / "config", account.token, namespace=space.name)
    found = look(config, host=server.url, workspace="home")
    assert of_key(found, "right:run:persistentvolumeclaims:create").mark is Mark.OK
    assert of_key(found, "right:run:persistentvolumeclaims:delete").mark is Mark.WARNING
    roles = list(yaml.safe_load_all(found.asks))
    assert roles[-1]["kind"] == "RoleBinding", "the role for the run's account is one of its own"
    assert roles[-1]["subjects"] == [{"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": space.name}]


def test_rights_given_later_do_not_take_away_those_given_before(cluster: Cluster, space: Space, tmp_path: Path) -> None:
    account = account_with(space, "ada", [right for right in ALL if right.verb != "delete"])
    config = cluster.kubeconfig(tmp_path / "config", account.token, namespace=space.name)
    one = look(config, workspace="home").asks
    assert rights_in(one) == {
        ("snapshot.storage.k8s.io", "volumesnapshots", "delete"),
        ("", "persistentvolumeclaims", "delete"),
    }
    apply(space.rest, one)
    until_it(lambda: not look(config, workspace="home").asks, "the rights are in force")
    binding = next(each for each in yaml.safe_load_all(one) if each["kind"] == "RoleBinding")
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space.name}/rolebindings"
    space.rest.delete(f"{path}/ada")  # what it had before
    until_it(lambda: bool(look(config, workspace="home").asks), "the rights are gone")
    two = look(config, workspace="home").asks
    assert not rights_in(one) & rights_in(two)
    apply(space.rest, two)
    try:
        until_it(lambda: not look(config, workspace="home").asks, "both are in force")
        assert space.rest.find(f"{path}/{binding['metadata']['name']}") is not None
    finally:
        forget(space.rest, two)


@pytest.mark.parametrize("missing", ALL, ids=lambda right: f"{right.verb}-{right.resource.plural}")
def test_a_right_that_is_missing_is_told_by_its_own_finding_and_asked_for_alone(
    cluster: Cluster, space: Space, tmp_path: Path, missing: Right
) -> None:
    account = account_with(space, "ada", [right for right in ALL if right != missing])
    inside = space.mounted_account(account, tmp_path / "root/var/run/secrets/kubernetes.io/serviceaccount").parents[4]
    config = cluster.kubeconfig(tmp_path / "config", account.token, namespace=space.name)
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}
    found = look(config, workspace="home", root=inside, environ=environ)
    told = {each.key for each in found.findings if each.key.startswith("right:") and "not allowed" in each.found}
    concerned = [need for need in NEEDS if need.who == "submitter" and missing in need.rights]
    assert len(told) == len(concerned) > 0
    marks = {each.mark for each in found.findings if each.key in told}
    assert (Mark.MISSING in marks) is any(need.required for need in concerned)
    assert rights_in(found.asks) == {(missing.resource.group, missing.resource.plural, missing.verb)}
