"""What a look finds on a real API server: its volumes, classes, quotas and the notebook server, and what it makes of faults."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from kale_nb.compiler import compile_path
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.preflight import Diagnosis, Mark
from tests.doctor.looking import look, not_ok, of_key
from tests.k8s import proxy as faults
from tests.k8s.cluster import Cluster
from tests.k8s.driver import Driver
from tests.k8s.proxy import Proxy
from tests.k8s.space import Space
from tests.kfp.sources import write_notebook

CHAIN = "%pipeline --name chain --image python:3.11\n\n%%step one\nx = 1\n\n%%step two --after one\nprint(x)"
WIDE = "%pipeline --name wide --image python:3.11\n\n%%step one\nx = 1\n\n%%step two --after one\nprint(x)\n\n%%step three --after one\nprint(x)"


@pytest.fixture
def config(cluster: Cluster, space: Space, tmp_path: Path) -> Path:
    return cluster.kubeconfig(tmp_path / "config", namespace=space.name)


@pytest.fixture
def home(space: Space, driver: Driver) -> Space:
    space.claim("home", size="2Gi", storage_class=driver.storage_class)
    space.bound("home")
    return space


def with_notebook(text: str, folder: Path, **target: Any) -> dict[str, Any]:
    compiled = compile_path(write_notebook(text, folder / "nb.ipynb"))
    made = Target(image="python:3.11", **target)
    return {"pipeline": compiled.pipeline, "stepbooks": compiled.stepbooks, "target": made}


def test_a_claim_with_all_that_a_clone_needs(config: Path, home: Space, driver: Driver) -> None:
    found = look(config, workspace="home")
    assert not_ok(found, "Volumes") == not_ok(found, "Kubernetes") == not_ok(found, "Quota") == {}
    assert of_key(found, "volume:home").found == (
        f"claim home: 2Gi, class {driver.storage_class}, ReadWriteOnce, driver {driver.name}"
    )
    assert of_key(found, "volume:home:snapshot-class").found.endswith(f"{driver.snapshot_class}, deletionPolicy Delete")


def test_without_the_kinds_of_snapshots_everything_else_is_looked_at_all_the_same(
    bare_cluster: Cluster, bare_space: Space, tmp_path: Path
) -> None:
    bare_space.claim("home", storage_class="none")
    found = look(bare_cluster.kubeconfig(tmp_path / "config", namespace=bare_space.name), workspace="home")
    kinds = of_key(found, "snapshot-kinds")
    assert (kinds.mark, "not installed" in kinds.found, "external-snapshotter" in kinds.mend) == (Mark.MISSING, True, True)
    assert of_key(found, "volume:home").mark is Mark.MISSING
    assert "Pending" in of_key(found, "volume:home").found
    assert any(each.part.startswith("Rights") for each in found.findings)


def test_kinds_of_an_older_version_only_are_not_enough(proxy: Proxy, cluster: Cluster, space: Space, tmp_path: Path) -> None:
    proxy.hide("snapshot.storage.k8s.io/v1")
    group = {"kind": "APIGroup", "name": "snapshot.storage.k8s.io", "versions": [{"version": "v1beta1"}]}
    proxy.fail("GET", "^/apis/snapshot.storage.k8s.io$", faults.Fault(answer=(200, group)), times=math.inf)
    found = look(cluster.kubeconfig(tmp_path / "config", namespace=space.name, url=proxy.url), workspace="home")
    assert of_key(found, "snapshot-kinds").found == "the cluster knows snapshots of v1beta1 only, and not of v1"


def test_no_snapshot_class_for_the_driver_is_missing_with_one_to_ask_for(config: Path, space: Space) -> None:
    of_class = space.storage_class("other.csi.example.org", "other")
    space.rest.post(
        "/api/v1/persistentvolumes",
        {
            "metadata": {"name": f"{space.name}-pv"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": of_class,
                "claimRef": {"namespace": space.name, "name": "home"},
                "csi": {"driver": "other.csi.example.org", "volumeHandle": "1"},
            },
        },
    )
    space.claim("home", storage_class=of_class)
    space.bound("home")
    try:
        found = of_key(look(config, workspace="home"), "volume:home:snapshot-class")
        assert found.mark is Mark.MISSING
        assert "no snapshot class is for the driver of claim home, other.csi.example.org" in found.found
        assert "kind: VolumeSnapshotClass" in found.yaml
        assert "driver: other.csi.example.org" in found.yaml
    finally:
        space.rest.delete(f"/api/v1/persistentvolumes/{space.name}-pv")


def test_two_default_snapshot_classes_of_one_driver_are_not_chosen_between(config: Path, home: Space, driver: Driver) -> None:
    other = home.snapshot_class(driver.name, "more", default=True)
    found = of_key(look(config, workspace="home"), "volume:home:snapshot-class")
    assert found.mark is Mark.MISSING
    assert other in found.found
    assert driver.snapshot_class in found.found
    assert "--snapshot-class" in found.mend
    named = of_key(look(config, workspace="home", snapshot_class=other), "volume:home:snapshot-class")
    assert named.mark is Mark.OK
    assert other in named.found


def test_a_class_that_retains_is_a_warning(config: Path, home: Space, driver: Driver) -> None:
    kept = home.snapshot_class(driver.name, "kept", policy="Retain")
    found = of_key(look(config, workspace="home", snapshot_class=kept), "volume:home:snapshot-class")
    assert (found.mark, "frees no storage" in found.why) == (Mark.WARNING, True)


def test_a_volume_without_a_csi_driver_cannot_be_cloned(config: Path, space: Space, tmp_path: Path) -> None:
    space.volume("home", tmp_path)
    space.claim("home", storage_class="manual")
    space.bound("home")
    found = of_key(look(config, workspace="home"), "volume:home")
    assert found.mark is Mark.MISSING
    assert "without a CSI driver" in found.found


def test_a_claim_that_is_not_there_or_is_being_deleted(config: Path, home: Space) -> None:
    home.rest.patch(f"{home.claims_path}/home", {"metadata": {"finalizers": ["example.org/held"]}})
    home.rest.delete(f"{home.claims_path}/home")
    found = look(config, workspace="home")
    assert "being deleted" in of_key(found, "volume:home").found
    assert "there is no claim" in of_key(look(config, workspace="nothing"), "volume:nothing").found
    home.rest.patch(f"{home.claims_path}/home", {"metadata": {"finalizers": None}})


def test_nothing_names_the_workspace(config: Path) -> None:
    found = of_key(look(config), "workspace")
    assert found.mark is Mark.MISSING
    assert "--workspace-claim" in found.mend


def in_pod(space: Space, tmp_path: Path, **more: Any) -> dict[str, Any]:
    account = space.account("default-editor", ("", "pods persistentvolumeclaims", "get list"))
    root = tmp_path / "root"
    space.mounted_account(account, root / "var/run/secrets/kubernetes.io/serviceaccount")
    return {"root": root, "environ": {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "HOME": "/home/jovyan"}, **more}


def test_in_a_notebook_server_its_own_volumes_are_found(config: Path, home: Space, driver: Driver, tmp_path: Path) -> None:
    home.claim("data", storage_class=driver.storage_class)
    home.bound("data")
    given = in_pod(home, tmp_path, hostname="notebook-0")
    home.notebook(claims={"home": "/home/jovyan", "data": "/data"}, sidecar=True)
    found = look(config, **given)
    assert of_key(found, "workspace").found == "the workspace is claim home, at /home/jovyan"
    assert "has 2 claims" in of_key(found, "notebook").found
    assert {"volume:home", "volume:data"} <= {each.key for each in found.findings}
    assert not_ok(found, "Volumes") == {}
    elsewhere = look(config, **{**given, "folder": "/tmp/work"})
    assert "/tmp/work" in of_key(elsewhere, "workspace").found
    assert of_key(elsewhere, "workspace").mark is Mark.MISSING


def test_other_volumes_of_the_server_may_be_left_out_or_told_of_by_the_notebook(
    config: Path, home: Space, driver: Driver, tmp_path: Path
) -> None:
    home.claim("data", storage_class=driver.storage_class, modes=["ReadWriteMany"])
    home.bound("data")
    given = in_pod(home, tmp_path, hostname="notebook-0")
    home.notebook(claims={"home": "/home/jovyan", "data": "/data"})
    assert "volume:data" not in {each.key for each in look(config, only_workspace=True, **given).findings}
    text = CHAIN.replace("%pipeline", "%pipeline --volume name=data,mount=/data,type=pvc")
    found = look(config, **given, **with_notebook(text, tmp_path))
    assert of_key(found, "volume:data").found == "claim data, mounted as it is: ReadWriteMany"


def test_a_pod_that_is_not_found_is_told_and_the_rest_is_looked_at(config: Path, home: Space, tmp_path: Path) -> None:
    found = look(config, workspace="home", **in_pod(home, tmp_path, hostname="someone-else"))
    assert of_key(found, "notebook").mark is Mark.MISSING
    assert of_key(found, "volume:home").mark is Mark.OK


def test_the_pods_own_account_is_used_without_a_kubeconfig(cluster: Cluster, home: Space, tmp_path: Path) -> None:
    host, port = cluster.url.removeprefix("https://").split(":")
    given = in_pod(home, tmp_path, hostname="notebook-0")
    home.notebook(claims={"home": "/home/jovyan"})
    environ = {**given["environ"], "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    found = look(None, **{**given, "environ": environ})  # type: ignore[arg-type]
    assert found.user == f"system:serviceaccount:{home.name}:default-editor"
    assert of_key(found, "workspace").mark is Mark.OK


@pytest.mark.parametrize(
    ("limit", "hard"),
    [
        ("persistentvolumeclaims", "1"),
        ("requests.storage", "3Gi"),
        ("count/volumesnapshots.snapshot.storage.k8s.io", "0"),
        ("CLASS.storageclass.storage.k8s.io/requests.storage", "3Gi"),
        ("CLASS.storageclass.storage.k8s.io/persistentvolumeclaims", "1"),
    ],
)
def test_a_quota_that_a_run_does_not_fit_into(config: Path, home: Space, driver: Driver, limit: str, hard: str) -> None:
    name = limit.replace("CLASS", driver.storage_class)
    home.quota("tight", **{name: hard})
    found = of_key(look(config, workspace="home"), "quota:tight")
    assert found.mark is Mark.MISSING, found
    assert name in found.found
    assert "`kale clean`" in found.mend


def test_a_quota_that_is_wide_enough_tells_for_how_many_runs(config: Path, home: Space) -> None:
    home.quota("wide", requests_storage="9Gi", persistentvolumeclaims="10", pods="1")
    found = look(config, workspace="home")
    assert of_key(found, "quota:wide:requests.storage").found == (
        "quota wide allows requests.storage of 9Gi, 2Gi are used: a run takes 2Gi, enough for 3 runs"
    )
    assert not_ok(found, "Quota") == {}
    assert not [each for each in found.findings if "pods" in each.key and each.part == "Quota"]


def test_what_a_notebook_asks_for_is_what_is_compared(config: Path, home: Space, driver: Driver, tmp_path: Path) -> None:
    home.quota("q", requests_storage="40Gi", persistentvolumeclaims="3")
    text = CHAIN.replace("%pipeline", "%pipeline --marshal-volume --marshal-volume-size 30Gi --volume scratch:/scratch:6Gi")
    found = look(config, workspace="home", **with_notebook(text, tmp_path))
    assert "a run takes 38Gi" in of_key(found, "quota:q:requests.storage").found
    assert of_key(found, "quota:q:persistentvolumeclaims").mark is Mark.MISSING
    assert f"class {driver.storage_class}" in of_key(found, "volume:create-marshal-volume").found, "the workspace's class"
    other = look(config, workspace="home", storage_class="no-such", **with_notebook(text, tmp_path))
    assert "no-such, which does not exist" in of_key(other, "volume:create-marshal-volume").found


def test_parallel_steps_on_a_volume_for_one_node_are_a_warning(config: Path, home: Space, driver: Driver, tmp_path: Path) -> None:
    home.claim("shared", storage_class=driver.storage_class, modes=["ReadWriteMany"])
    home.bound("shared")
    found = look(config, workspace="home", **with_notebook(WIDE, tmp_path))
    assert of_key(found, "volume:home:access").mark is Mark.WARNING
    assert "volume:shared:access" not in not_ok(look(config, workspace="shared", **with_notebook(WIDE, tmp_path)))
    assert "volume:home:access" not in not_ok(look(config, workspace="home", **with_notebook(CHAIN, tmp_path)))


def test_claims_and_snapshots_that_the_notebook_names_are_looked_at(config: Path, home: Space, tmp_path: Path) -> None:
    home.snapshot("old", "home")
    home.ready("old")
    volumes = "--volume name=home,mount=/models,type=pvc --volume name=old,mount=/old,type=snap,size=2Gi"
    text = CHAIN.replace("%pipeline", f"%pipeline {volumes} --volume name=lost,mount=/lost,type=clone")
    found = look(config, workspace="home", **with_notebook(text, tmp_path))
    assert of_key(found, "snapshot:old").mark is Mark.OK
    assert "there is no claim" in of_key(found, "volume:lost").found


def test_without_clones_and_volumes_the_cluster_is_not_asked(
    proxy: Proxy, cluster: Cluster, space: Space, tmp_path: Path
) -> None:
    config = cluster.kubeconfig(tmp_path / "config", namespace=space.name, url=proxy.url)
    look(config, **with_notebook(CHAIN, tmp_path, snapshot=False))
    assert proxy.asked == []


# -- faults


def through(proxy: Proxy, cluster: Cluster, space: Space, tmp_path: Path, **more: Any) -> Diagnosis:
    return look(cluster.kubeconfig(tmp_path / "config", namespace=space.name, url=proxy.url), workspace="home", **more)


@pytest.mark.parametrize(
    "fault", [faults.status(429, retry_after=1), faults.status(500), faults.dropped()], ids=["429", "500", "dropped"]
)
def test_what_passes_is_waited_for(proxy: Proxy, cluster: Cluster, home: Space, tmp_path: Path, fault: faults.Fault) -> None:
    proxy.fail("", "/(storageclasses|selfsubjectaccessreviews|version)$", fault, times=3)
    found = through(proxy, cluster, home, tmp_path, patience=20.0)
    assert not_ok(found, "Volumes") == not_ok(found, "Kubernetes") == {}


def test_what_does_not_pass_is_a_finding_and_stops_nothing(proxy: Proxy, cluster: Cluster, home: Space, tmp_path: Path) -> None:
    proxy.fail("GET", "/(storageclasses|volumesnapshotclasses|resourcequotas)$", faults.status(500), times=math.inf)
    proxy.fail("POST", "/selfsubjectaccessreviews$", faults.dropped(), times=math.inf)
    found = through(proxy, cluster, home, tmp_path)
    assert of_key(found, "volume:home:snapshot-class").mark is Mark.WARNING
    assert of_key(found, "quota").mark is Mark.WARNING
    assert of_key(found, "volume:home").mark is Mark.OK
    rights = [each for each in found.findings if each.key.startswith("right:") and "run:" not in each.key]
    assert {each.mark for each in rights} == {Mark.WARNING}
    assert found.asks == "", "what is not known to be missing is not asked for"


def test_a_server_that_cannot_be_reached_or_does_not_know_us_is_one_finding(
    cluster: Cluster, space: Space, tmp_path: Path
) -> None:
    nobody = cluster.kubeconfig(tmp_path / "nobody", "nonsense", namespace=space.name)
    found = look(nobody, workspace="home")
    assert "does not know who asks" in of_key(found, "kubernetes").found
    nowhere = cluster.kubeconfig(tmp_path / "nowhere", namespace=space.name, url="https://127.0.0.1:9")
    found = look(nowhere, workspace="home")
    assert "nothing answers at https://127.0.0.1:9" in of_key(found, "kubernetes").found
    assert {each.key for each in found.findings} == {"kfp-server", "kubernetes"}


def test_a_newer_server_tells_itself_who_we_are(proxy: Proxy, cluster: Cluster, space: Space, tmp_path: Path) -> None:
    told = {"kind": "SelfSubjectReview", "status": {"userInfo": {"username": "ada@example.org"}}}
    proxy.fail("POST", "/selfsubjectreviews$", faults.Fault(answer=(201, told)))
    account = space.account("ada")
    config = cluster.kubeconfig(tmp_path / "config", account.token, namespace=space.name, url=proxy.url)
    found = look(config, workspace="home")
    assert found.user == "ada@example.org"
    assert "{kind: User, name: ada@example.org" in found.asks
