"""The proxy fails as it is told to, and lets everything else through."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3.exceptions
from kubernetes import client, watch
from kubernetes.client.rest import ApiException

from tests.k8s import objects
from tests.k8s.cluster import Cluster
from tests.k8s.proxy import Proxy, answer_lost, cut, dropped, gone, late, new_proxy, silence, status
from tests.k8s.rest import Rest
from tests.k8s.space import Space


@pytest.fixture
def through(cluster: Cluster, proxy: Proxy) -> Rest:
    """The API as seen through the proxy, by a client that tries nothing twice by itself."""
    return Rest(_once(cluster.client(url=proxy.url)))


def _once(api: Any) -> Any:
    api.rest_client.pool_manager.connection_pool_kw["retries"] = False
    return api


def test_what_is_not_to_fail_goes_through_as_it_is(space: Space, proxy: Proxy, through: Rest) -> None:
    through.post(space.claims_path, objects.claim("data"))
    assert through.get(f"{space.claims_path}/data") == space.claim_now("data")
    with pytest.raises(ApiException) as refused:
        through.post(space.claims_path, objects.claim("data"))
    assert refused.value.status == 409
    assert proxy.count("POST", "/persistentvolumeclaims$") == 2


@pytest.mark.parametrize("code", [429, 500, 503])
def test_errors_come_as_often_as_asked_for_and_the_server_hears_of_none(
    space: Space, proxy: Proxy, through: Rest, code: int
) -> None:
    rule = proxy.fail("POST", "/persistentvolumeclaims$", status(code, "busy", retry_after=1), times=2)
    for _ in range(2):
        with pytest.raises(ApiException) as refused:
            through.post(space.claims_path, objects.claim("data"))
        assert refused.value.status == code
        assert refused.value.headers["Retry-After"] == "1"
        assert through.items(space.claims_path) == []
    through.post(space.claims_path, objects.claim("data"))
    assert rule.hits == 2
    assert [asked.fault is not None for asked in proxy.asked if asked.method == "POST"] == [True, True, False]


def test_a_dropped_request_was_not_carried_out_and_a_lost_answers_was(space: Space, proxy: Proxy, through: Rest) -> None:
    proxy.fail("POST", "/persistentvolumeclaims$", dropped())
    proxy.fail("POST", "/persistentvolumeclaims$", answer_lost())
    with pytest.raises(urllib3.exceptions.HTTPError):
        through.post(space.claims_path, objects.claim("data"))
    assert space.rest.items(space.claims_path) == []
    with pytest.raises(urllib3.exceptions.HTTPError):
        through.post(space.claims_path, objects.claim("data"))
    assert [item["metadata"]["name"] for item in space.rest.items(space.claims_path)] == ["data"]


def test_a_late_answer(space: Space, proxy: Proxy, through: Rest) -> None:
    proxy.fail("GET", "/pods$", late(0.5))
    start = time.monotonic()
    through.items(f"{space.path}/pods")
    assert time.monotonic() - start >= 0.5


def test_a_group_is_unknown(proxy: Proxy, through: Rest, space: Space) -> None:
    proxy.hide("snapshot.storage.k8s.io")
    assert through.find(space.snapshots_path) is None
    assert "snapshot.storage.k8s.io" not in [group["name"] for group in through.get("/apis")["groups"]]
    proxy.heal()
    assert through.items(space.snapshots_path) == []


def _watched(through: Rest, space: Space, **more: Any) -> list[str]:
    """Return the names of the claims that a watch tells of until it ends."""
    core = client.CoreV1Api(through.api)
    stream = watch.Watch().stream(core.list_namespaced_persistent_volume_claim, space.name, **more)
    return [event["object"].metadata.name for event in stream]


def test_a_watch_goes_through_as_events_come(space: Space, through: Rest) -> None:
    core = client.CoreV1Api(through.api)
    watching = watch.Watch()
    seen = []
    space.claim("a")
    for event in watching.stream(core.list_namespaced_persistent_volume_claim, space.name, timeout_seconds=30):
        seen.append(event["object"].metadata.name)
        if len(set(seen)) == 1:
            space.claim("b")
        if "b" in seen:
            watching.stop()
    assert seen[0] == "a"


def test_a_watch_is_really_cut(space: Space, proxy: Proxy, through: Rest) -> None:
    for name in "abc":
        space.claim(name)
    proxy.fail("GET", "/persistentvolumeclaims$", cut(after=2), times=math.inf)
    core = client.CoreV1Api(through.api)
    answer = core.list_namespaced_persistent_volume_claim(space.name, watch=True, timeout_seconds=30, _preload_content=False)
    lines = watch.watch.iter_resp_lines(answer)
    assert {json.loads(next(lines))["object"]["metadata"]["name"] for _ in range(2)} < set("abc")
    with pytest.raises(urllib3.exceptions.HTTPError):
        next(lines)


def test_a_watch_is_told_that_it_is_too_old(space: Space, proxy: Proxy, through: Rest) -> None:
    proxy.fail("GET", "/persistentvolumeclaims$", gone(), times=2)
    with pytest.raises(ApiException) as refused:
        _watched(through, space, timeout_seconds=30, resource_version="1")
    assert refused.value.status == 410
    proxy.heal()
    proxy.fail("GET", "/persistentvolumeclaims$", status(410), watch=True)  # the other way in which it is said
    with pytest.raises(ApiException) as refused:
        _watched(through, space, timeout_seconds=30)
    assert refused.value.status == 410


def test_a_watch_says_nothing_any_more(space: Space, proxy: Proxy, through: Rest) -> None:
    space.claim("a")
    proxy.fail("GET", "/persistentvolumeclaims$", silence())
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        _watched(through, space, _request_timeout=(5, 0.5))  # a single float would be ignored by the client


def test_it_speaks_plain_http_too(cluster: Cluster, space: Space, tmp_path: Path) -> None:
    from kubernetes import config

    with new_proxy(cluster, tls=False) as plain:
        assert plain.url.startswith("http://")
        path = cluster.kubeconfig(tmp_path / "config", namespace=space.name, url=plain.url)
        with config.new_client_from_config(str(path)) as api:
            assert client.CoreV1Api(api).list_namespaced_pod(space.name).items == []
        assert plain.count("GET", "/pods$") == 1
