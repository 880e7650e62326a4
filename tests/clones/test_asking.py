"""Requests to a Kubernetes API: where it is, patience, lost answers, pages, refusals in words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines.kfp.cluster.api import Cluster, Right
from kale_nb.engines.kfp.cluster.connection import ACCOUNT, ClusterAsked, find_cluster
from kale_nb.engines.kfp.cluster.problems import ClusterError, Conflicting, Forbidden, Invalid, Missing, Unreached, Unserved
from kale_nb.engines.kfp.cluster.resources import CLAIMS, PODS, SNAPSHOTS, Resource
from kale_nb.errors import UsageError
from tests.k8s import objects
from tests.k8s.proxy import Fault, Proxy, answer_lost, dropped, late, status
from tests.k8s.serving import kubeconfig
from tests.k8s.space import Space

MAPS = Resource(plural="configmaps", kind="ConfigMap")


def asked(space: Space, url: str | None = None, token: str | None = None, **more: Any) -> Cluster:
    from kubernetes.client import ApiClient

    settings = space.cluster.client(token, url=url).configuration
    settings.retries = False
    return Cluster(ApiClient(settings), **{"namespace": space.name, "origin": "the tests", "patience": 5.0, **more})


def a_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}


# -- where --------------------------------------------------------------------------------------------------------------------


def config(path: Path, server: str, namespace: str = "theirs") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kubeconfig(server, path.parent / "ca.crt", "token", namespace)))
    (path.parent / "ca.crt").write_text("-")
    return path


def pod_root(folder: Path, namespace: str = "of-the-pod") -> Path:
    account = folder / ACCOUNT
    account.mkdir(parents=True)
    for name, text in (("token", "secret"), ("namespace", namespace), ("ca.crt", "-")):
        (account / name).write_text(text)
    return folder


IN_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture(autouse=True)
def _no_reading_of_certificates(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "cluster" not in request.fixturenames:
        monkeypatch.setattr("ssl.SSLContext.load_verify_locations", lambda *_, **__: None)


def test_the_first_that_says_where_a_cluster_is_counts(tmp_path: Path) -> None:
    own = config(tmp_path / ".kube" / "config", "https://own:1")
    variable = config(tmp_path / "variable", "https://variable:1")
    option = config(tmp_path / "option", "https://option:1")
    root = pod_root(tmp_path / "root")
    home = {"HOME": str(tmp_path)}
    everything = {**home, **IN_POD, "KUBECONFIG": str(variable)}
    assert find_cluster(ClusterAsked(kubeconfig=option), everything, root).host == "https://option:1"
    assert find_cluster(ClusterAsked(), everything, root).host == "https://variable:1"
    inside = find_cluster(ClusterAsked(), {**home, **IN_POD}, root)
    assert (inside.host, inside.namespace, inside.origin) == ("https://10.0.0.1:443", "of-the-pod", "the pod's service account")
    outside = find_cluster(ClusterAsked(), home, tmp_path)
    assert (outside.host, outside.namespace) == ("https://own:1", "theirs")
    assert find_cluster(ClusterAsked(namespace="asked"), {**home, **IN_POD}, root).namespace == "asked"
    assert own.exists()


def test_a_pod_whose_account_is_not_mounted_is_no_place_to_ask_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing says where a Kubernetes cluster is"):
        find_cluster(ClusterAsked(), {**IN_POD, "HOME": str(tmp_path)}, tmp_path)


def test_a_context_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    path = config(tmp_path / "config", "https://x:1")
    with pytest.raises(UsageError, match="has no context 'other'") as caught:
        find_cluster(ClusterAsked(kubeconfig=path, context="other"), {}, tmp_path)
    assert caught.value.hint == "contexts: tests"
    path.write_text("{")
    with pytest.raises(UsageError, match="cannot be used"):
        find_cluster(ClusterAsked(kubeconfig=path), {}, tmp_path)


def test_a_token_that_was_renewed_is_read_again(tmp_path: Path, space: Space) -> None:
    import datetime
    from urllib.parse import urlsplit

    account = space.account("reader", ("", "configmaps", "get list"))
    root = tmp_path / "root"
    space.mounted_account(account, root / ACCOUNT)
    (root / ACCOUNT / "token").write_text("old")
    where = urlsplit(space.cluster.url)
    environ = {"KUBERNETES_SERVICE_HOST": str(where.hostname), "KUBERNETES_SERVICE_PORT": str(where.port)}
    cluster = find_cluster(ClusterAsked(), environ, root, patience=0.5)
    with pytest.raises(ClusterError, match="does not know who asks"):
        cluster.list(MAPS)
    (root / ACCOUNT / "token").write_text(account.token)
    loader = cluster._client.configuration.refresh_api_key_hook.__closure__[0].cell_contents
    loader.token_expires_at = datetime.datetime.now()  # a minute has gone by
    assert cluster.namespace == space.name
    cluster.list(MAPS)


# -- patience -----------------------------------------------------------------------------------------------------------------


def test_what_fails_in_passing_is_asked_again_and_the_servers_wait_is_kept(space: Space, proxy: Proxy) -> None:
    waits: list[float] = []
    cluster = asked(space, proxy.url, pause=waits.append, patience=60.0)
    for fault in (status(429, retry_after=7), status(500), status(503), dropped()):
        proxy.fail("GET", "/configmaps$", fault)
    cluster.list(MAPS)
    assert waits[0] == 7
    assert all(wait < 5 for wait in waits[1:])
    assert len(waits) == 4


def test_patience_ends(space: Space, proxy: Proxy) -> None:
    proxy.fail("GET", "/configmaps$", status(500, "etcd is not well"), times=math.inf)
    with pytest.raises(ClusterError, match=r"did not list configmaps: etcd is not well \(HTTP 500\)"):
        asked(space, proxy.url, patience=0.5).list(MAPS)


def test_a_server_that_does_not_answer_in_time(space: Space, proxy: Proxy) -> None:
    proxy.fail("GET", "/configmaps$", late(3.0), times=math.inf)
    with pytest.raises(Unreached, match="broke"):
        asked(space, proxy.url, patience=0.2, within=0.5).list(MAPS)


def test_nothing_listens() -> None:
    from kubernetes import client

    configuration = client.Configuration()
    configuration.host, configuration.retries, configuration.proxy = "http://127.0.0.1:9", False, None
    cluster = Cluster(client.ApiClient(configuration), namespace="x", origin="the tests", patience=0.1)
    with pytest.raises(Unreached, match=r"nothing answers at http://127\.0\.0\.1:9") as caught:
        cluster.version()
    assert caught.value.sent is False


def test_a_certificate_that_is_not_to_be_trusted(space: Space) -> None:
    from kubernetes import client

    configuration = client.Configuration()
    configuration.host, configuration.retries, configuration.proxy = space.cluster.url, False, None
    cluster = Cluster(client.ApiClient(configuration), namespace="x", origin="the tests", patience=30.0)
    with pytest.raises(Unreached, match="is not to be trusted") as caught:
        cluster.version()
    assert caught.value.passing is False


# -- making things --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [answer_lost(), dropped(), status(500)], ids=["answer lost", "dropped", "500"])
def test_an_object_is_made_once_whatever_becomes_of_the_answer(fault: Any, space: Space, proxy: Proxy) -> None:
    proxy.fail("POST", "/configmaps$", fault)
    made = asked(space, proxy.url).create(MAPS, a_map("mine", owner="me"))
    assert made["metadata"]["labels"] == {"owner": "me"}
    assert proxy.count("POST", "/configmaps$") == 2


def test_an_object_of_somebody_else_is_not_taken_for_ours_after_a_lost_answer(space: Space, proxy: Proxy) -> None:
    cluster = asked(space, proxy.url)
    cluster.create(MAPS, a_map("same", owner="other"))
    with pytest.raises(Conflicting):
        cluster.create(MAPS, a_map("same", owner="me"))
    proxy.fail("POST", "/configmaps$", dropped())
    with pytest.raises(Conflicting):
        cluster.create(MAPS, a_map("same", owner="me"))


def test_only_that_very_object_is_deleted(space: Space) -> None:
    cluster = asked(space)
    first = cluster.create(MAPS, a_map("one"))
    with pytest.raises(Conflicting):
        cluster.delete(MAPS, "one", uid="another")
    assert cluster.delete(MAPS, "one", uid=first["metadata"]["uid"]) is True
    assert cluster.delete(MAPS, "one") is False
    assert cluster.find(MAPS, "one") is None


def test_a_deletion_whose_answer_is_lost_has_happened(space: Space, proxy: Proxy) -> None:
    cluster = asked(space, proxy.url)
    cluster.create(MAPS, a_map("one"))
    proxy.fail("DELETE", "/configmaps/one", answer_lost())
    cluster.delete(MAPS, "one")
    assert cluster.find(MAPS, "one") is None


def test_objects_are_merged_into(space: Space) -> None:
    cluster = asked(space)
    cluster.create(MAPS, a_map("one", a="1", b="2"))
    assert cluster.patch(MAPS, "one", {"metadata": {"labels": {"a": None, "c": "3"}}})["metadata"]["labels"] == {
        "b": "2",
        "c": "3",
    }


# -- lists ----------------------------------------------------------------------------------------------------------------------


def test_lists_come_in_pages_and_begin_anew_when_the_server_forgot(
    space: Space, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kale_nb.engines.kfp.cluster.api._PAGE", 2)
    cluster = asked(space, proxy.url)
    for number in range(5):
        cluster.create(MAPS, a_map(f"m{number}", mine="yes"))
    assert [m["metadata"]["name"] for m in cluster.list(MAPS, labels="mine=yes")] == [f"m{n}" for n in range(5)]
    before = proxy.count("GET", "/configmaps$")
    assert before == 3
    proxy.fail("GET", "/configmaps$", Fault())  # the first page comes
    proxy.fail("GET", "/configmaps$", status(410, "The provided continue parameter is too old"))
    found = cluster.list(MAPS, labels="mine=yes")
    assert [m["metadata"]["name"] for m in found] == [f"m{n}" for n in range(5)]
    assert proxy.count("GET", "/configmaps$") == before + 1 + 1 + 3
    assert {(m["apiVersion"], m["kind"]) for m in found} == {("v1", "ConfigMap")}


def test_a_list_that_is_gone_at_its_beginning_is_an_error(space: Space, proxy: Proxy) -> None:
    proxy.fail("GET", "/configmaps$", status(410), times=math.inf)
    with pytest.raises(ClusterError, match="HTTP 410"):
        asked(space, proxy.url).list(MAPS)


# -- refusals -------------------------------------------------------------------------------------------------------------------


def test_refusals_say_what_to_do(space: Space) -> None:
    cluster = asked(space)
    with pytest.raises(Missing, match=f'pods "none" not found in namespace {space.name}'):
        cluster.get(PODS, "none")
    with pytest.raises(Invalid, match="the cluster does not accept it"):
        cluster.create(CLAIMS, {"metadata": {"name": "Bad_Name"}, "spec": {}})
    unknown = Resource(group="example.org", plural="things", kind="Thing")
    with pytest.raises(Unserved, match=r"the cluster knows no things\.example\.org"):
        cluster.list(unknown)
    nobody = asked(space, token=space.account("nobody").token)
    with pytest.raises(Forbidden) as caught:
        nobody.list(SNAPSHOTS)
    assert (caught.value.verb, caught.value.resource, caught.value.namespace) == ("list", SNAPSHOTS, space.name)
    assert nobody.may(Right(verb="list", resource=SNAPSHOTS))[0] is False
    assert cluster.may(Right(verb="list", resource=SNAPSHOTS))[0] is True
    assert cluster.version().startswith("v")


def test_what_is_no_kubernetes_says_so(tmp_path: Path) -> None:
    from kubernetes import client

    from tests.kfp_api.deployment import Fault as Trouble
    from tests.kfp_api.server import serving

    with serving(tmp_path, faults=[Trouble("GET /", "page", 9)]) as server:
        configuration = client.Configuration()
        configuration.host, configuration.retries, configuration.proxy = server.url, False, None
        cluster = Cluster(client.ApiClient(configuration), namespace="x", origin="the tests", patience=0.1)
        with pytest.raises(ClusterError, match="is it a Kubernetes API server"):
            cluster.version()
    assert objects.ACCOUNT
