"""The server is a real one, shared by the workers of a session, and nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kubernetes import client
from kubernetes.client.rest import ApiException

from tests.k8s import objects, programs
from tests.k8s.cluster import ROOT, Cluster
from tests.k8s.rest import SNAPSHOTS, Rest, until
from tests.k8s.space import Space


def test_the_official_client_reads_our_kubeconfig(cluster: Cluster, space: Space, tmp_path: Path) -> None:
    from kubernetes import config

    path = cluster.kubeconfig(tmp_path / "config", namespace=space.name)
    with config.new_client_from_config(str(path)) as api:
        assert client.CoreV1Api(api).read_namespace(space.name).status.phase == "Active"


def test_an_account_may_do_what_its_rules_say_and_no_more(cluster: Cluster, space: Space, tmp_path: Path) -> None:
    account = space.account("reader", ("", "pods", "get list"), everywhere=[("storage.k8s.io", "storageclasses", "list")])
    mine = Rest(cluster.client(account.token))
    assert mine.items(f"{space.path}/pods") == []
    assert mine.items("/apis/storage.k8s.io/v1/storageclasses") is not None
    with pytest.raises(ApiException, match="cannot create resource") as refused:
        mine.post(space.claims_path, objects.claim("data"))
    assert refused.value.status == 403
    folder = space.mounted_account(account, tmp_path / "account")
    assert (folder / "namespace").read_text() == space.name
    assert (folder / "token").read_text() == account.token


def test_a_wrong_token_is_refused(cluster: Cluster, space: Space) -> None:
    with pytest.raises(ApiException) as refused:
        Rest(cluster.client("nonsense")).get(f"{space.path}/pods")
    assert refused.value.status == 401


def counted(space: Space) -> bool:
    used = space.rest.get(f"{space.path}/resourcequotas/quota").get("status", {}).get("used", {})
    return bool(used.get("persistentvolumeclaims") == "1")


def test_a_quota_refuses_what_is_too_much(space: Space) -> None:
    space.quota(persistentvolumeclaims="1", requests_storage="2Gi")
    space.claim("one", size="1Gi")
    # The controller counts again every few seconds, from what it has heard: a count that it is sure of stays.
    until(lambda: counted(space) and time.sleep(1) is None and counted(space), "the claim is counted")
    with pytest.raises(ApiException, match="exceeded quota: quota") as refused:
        space.claim("two", size="1Gi")
    assert refused.value.status == 403


def test_a_quota_by_storage_class(space: Space) -> None:
    space.quota(**{"dear.storageclass.storage.k8s.io/requests.storage": "1Gi"})
    space.claim("cheap", size="5Gi", storage_class="cheap")
    with pytest.raises(ApiException, match="exceeded quota"):
        space.claim("dear", size="2Gi", storage_class="dear")


def test_a_volume_made_by_hand_is_bound(space: Space, tmp_path: Path) -> None:
    name = space.volume("data", tmp_path)
    space.claim("data", storage_class="manual")
    assert space.bound("data")["spec"]["volumeName"] == name


def test_a_notebook_servers_pod_is_as_on_a_cluster(space: Space) -> None:
    pod = space.notebook(
        "mine",
        claims={"mine-workspace": "/home/jovyan", "data": "/data"},
        config_maps={"settings": "/etc/settings"},
        sidecar=True,
    )
    assert pod["status"]["phase"] == "Running"
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v}
    assert claims == {"mine-workspace", "data"}
    [token] = [v for v in pod["spec"]["volumes"] if "projected" in v]  # the server itself adds it
    assert {"name": token["name"], "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True} in pod["spec"][
        "containers"
    ][0]["volumeMounts"]
    assert [c["name"] for c in pod["spec"]["containers"]] == ["mine", "istio-proxy"]


def test_a_snapshots_status_is_a_resource_of_its_own(space: Space) -> None:
    made = space.snapshot("now", "data")
    path = f"{space.snapshots_path}/now"
    assert "status" not in space.rest.put(path, made | {"status": {"readyToUse": True}})
    assert space.rest.patch(f"{path}/status", {"status": {"readyToUse": True}})["status"] == {"readyToUse": True}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"source": {}},
        {"source": {"persistentVolumeClaimName": "a", "volumeSnapshotContentName": "b"}},
        {"source": {"persistentVolumeClaimName": 1}},
    ],
)
def test_a_snapshot_that_makes_no_sense_is_refused(space: Space, spec: dict[str, object]) -> None:
    made = objects.snapshot("bad", "data")
    with pytest.raises(ApiException) as refused:
        space.rest.post(space.snapshots_path, made | {"spec": spec})
    assert refused.value.status == 422


def test_the_bare_server_knows_no_snapshots(bare_space: Space) -> None:
    assert bare_space.rest.find(f"{SNAPSHOTS}/namespaces/{bare_space.name}/volumesnapshots") is None
    groups = [group["name"] for group in bare_space.rest.get("/apis")["groups"]]
    assert "storage.k8s.io" in groups
    assert "snapshot.storage.k8s.io" not in groups


_USER = """
import json, sys, time
from pathlib import Path
from tests.k8s.cluster import shared_cluster
with shared_cluster(Path(sys.argv[1])) as cluster:
    print(cluster.url, flush=True)
    sys.stdin.read()
"""


def _user(folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _USER, str(folder)]
    return subprocess.Popen(words, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def _left(folder: Path) -> list[str]:
    """Return the commands of the processes that say the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(str(folder).encode() in word for word in words) and str(os.getpid()) != path.parent.name:
            found.append(b" ".join(words[:3]).decode())
    return found


@pytest.mark.k8s
@pytest.mark.slow
def test_users_share_one_server_and_it_goes_when_the_last_of_them_is_killed(tmp_path: Path) -> None:
    programs.need(programs.missing())
    folder = tmp_path / "servers"
    users = [_user(folder), _user(folder)]
    said = [user.stdout.readline() for user in users if user.stdout]
    assert said[0] == said[1] != ""
    users[0].send_signal(signal.SIGKILL)
    users[0].communicate()
    time.sleep(0.5)
    assert json.loads((folder / "full" / "cluster.json").read_text())["url"] == said[1].strip()
    assert len([command for command in _left(folder) if "kube-apiserver" in command]) == 1
    users[1].send_signal(signal.SIGKILL)
    users[1].communicate()
    until(lambda: not _left(folder), "all of it is stopped", 30)
    assert sorted(path.name for path in folder.iterdir()) == ["full.log", "full.starting"]


@pytest.mark.k8s
@pytest.mark.slow
def test_what_was_started_ends_when_the_one_that_started_it_is_killed(tmp_path: Path) -> None:
    programs.need(programs.missing())
    folder = tmp_path / "servers"
    user = _user(folder)
    assert user.stdout is not None
    assert user.stdout.readline()
    [server] = [path for path in Path("/proc").glob("[0-9]*") if _is_server(path, folder)]
    os.kill(int(server.name), signal.SIGKILL)
    until(lambda: len(_left(folder)) == 1, "only the user is left", 30)
    user.communicate("")


def _is_server(process: Path, folder: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().decode().split("\0")
    except OSError:
        return False
    return "tests.k8s.serving" in words and str(folder / "full") in words


def test_without_the_programs_the_reason_says_which_command_builds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    programs.missing.cache_clear()
    try:
        lack = programs.missing()
        assert lack is not None
        assert "bash .ci/kubernetes" in lack
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match="kube-apiserver"):
            programs.need(lack)
        monkeypatch.setenv("CI", "true")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        with pytest.raises(pytest.fail.Exception, match="kube-apiserver"):
            programs.need(lack)
    finally:
        programs.missing.cache_clear()


def test_programs_that_are_given_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    for name in programs.NEEDED:
        assert programs.find(*programs.NEEDED) is None
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert programs.find(*programs.NEEDED) == tmp_path


def test_the_script_keeps_them_where_the_tests_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ROOT / ".ci" / "kubernetes"
    if not script.exists():
        pytest.skip("not in a checkout")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    where = subprocess.run(["bash", str(script), "--where"], capture_output=True, text=True, check=True).stdout.strip()
    assert programs.folders()[-1] == Path(where)
