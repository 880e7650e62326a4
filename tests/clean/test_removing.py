"""Removing from a real API server: finalizers, conflicts, rights, faults, many objects."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kale_nb.engines.kfp.cluster.api import Cluster as Api
from kale_nb.engines.kfp.cluster.connection import ClusterAsked, find_cluster
from kale_nb.engines.kfp.cluster.inventory import owner_here, read_inventory
from kale_nb.engines.kfp.cluster.problems import ClusterError
from kale_nb.engines.kfp.cluster.removing import Selection, choose, remove
from kale_nb.engines.kfp.cluster.resources import CLAIMS, PODS, SNAPSHOT_CONTENTS, SNAPSHOTS, STORAGE_CLASSES
from kale_nb.engines.kfp.cluster.rights import cleaning_rights
from tests.clean.making import belongs, names, put_claim, put_snapshot
from tests.doctor.looking import account_with
from tests.k8s import proxy as faults
from tests.k8s.cluster import Cluster
from tests.k8s.driver import Driver
from tests.k8s.proxy import Proxy
from tests.k8s.rest import until
from tests.k8s.space import Space

RUN = belongs()
NAMED = Selection(runs=(RUN.run,))


def api(
    cluster: Cluster, space: Space, tmp_path: Path, *, url: str | None = None, token: str | None = None, patience: float = 5.0
) -> Api:
    path = cluster.kubeconfig(tmp_path / "config", token, namespace=space.name, url=url)
    return find_cluster(ClusterAsked(kubeconfig=path), {}, patience=patience)


def there(space: Space) -> set[str]:
    found = [*space.rest.items(space.claims_path), *space.rest.items(space.snapshots_path)]
    return {each["metadata"]["name"] for each in found}


@pytest.fixture
def run(space: Space, driver: Driver) -> Space:
    """A claim of a user, a snapshot of it and a clone of that, both of one run, and things of others."""
    space.claim("home", storage_class=driver.storage_class)
    space.bound("home")
    put_snapshot(space, "snap", "home", RUN)
    space.ready("snap")
    put_claim(space, "clone", RUN, snapshot="snap", storage_class=driver.storage_class)
    space.bound("clone")
    space.snapshot("theirs", "home", labels={"app.kubernetes.io/managed-by": "velero"})
    return space


def test_what_kale_made_goes_and_nothing_else(cluster: Cluster, run: Space, driver: Driver, tmp_path: Path) -> None:
    reached = api(cluster, run, tmp_path)
    seen = read_inventory(reached)
    assert names(seen.objects) == ["clone", "snap"]
    clone, snap = seen.objects
    assert (clone.size, clone.source, clone.of_class, clone.policy, clone.state) == (
        1024**3,
        "snap",
        driver.storage_class,
        "Delete",
        "bound",
    )
    assert (snap.source, snap.policy, snap.state, snap.taken is not None) == ("home", "Delete", "ready", True)
    outcome = remove(reached, choose(seen, NAMED))
    assert (names(outcome.gone), outcome.terminating, outcome.failed) == (["clone", "snap"], (), ())
    assert there(run) == {"home", "theirs"}
    until(lambda: len(driver.volumes()) == 1, "the storage of the clone is freed")


def test_claims_go_before_snapshots(proxy: Proxy, cluster: Cluster, run: Space, tmp_path: Path) -> None:
    reached = api(cluster, run, tmp_path, url=proxy.url)
    remove(reached, choose(read_inventory(reached), NAMED))
    deleted = [asked.path.rsplit("/", 1)[-1] for asked in proxy.asked if asked.method == "DELETE"]
    assert deleted == ["clone", "snap"]


def test_a_class_that_retains_is_seen_and_its_storage_stays(
    cluster: Cluster, space: Space, driver: Driver, tmp_path: Path
) -> None:
    kept = space.snapshot_class(driver.name, "kept", policy="Retain")
    space.claim("home", storage_class=driver.storage_class)
    space.bound("home")
    put_snapshot(space, "snap", "home", RUN, snapshot_class=kept)
    space.ready("snap")
    reached = api(cluster, space, tmp_path)
    seen = read_inventory(reached)
    assert seen.objects[0].policy == "Retain"
    remove(reached, choose(seen, NAMED))
    assert len(driver.contents()) == 1


def test_another_object_of_that_name_is_not_deleted(cluster: Cluster, run: Space, driver: Driver, tmp_path: Path) -> None:
    reached = api(cluster, run, tmp_path)
    fates = choose(read_inventory(reached), NAMED)
    run.rest.delete(f"{run.snapshots_path}/snap")
    until(lambda: "snap" not in there(run), "the snapshot is gone")
    run.snapshot("snap", "home")
    outcome = remove(reached, fates)
    assert [(kept.name, why) for kept, why in outcome.failed] == [("snap", "another object has its name by now")]
    assert names(outcome.gone) == ["clone"]
    assert "snap" in there(run)


def test_what_somebody_else_deleted_meanwhile_is_gone(cluster: Cluster, run: Space, tmp_path: Path) -> None:
    reached = api(cluster, run, tmp_path)
    fates = choose(read_inventory(reached), NAMED)
    run.rest.delete(f"{run.snapshots_path}/snap")
    until(lambda: "snap" not in there(run), "the snapshot is gone")
    assert names(remove(reached, fates).gone) == ["clone", "snap"]


def test_a_finalizer_that_hangs_is_told_and_the_rest_goes_on(cluster: Cluster, run: Space, tmp_path: Path) -> None:
    run.rest.patch(f"{run.claims_path}/clone", {"metadata": {"finalizers": ["example.org/held"]}})
    reached = api(cluster, run, tmp_path)
    outcome = remove(reached, choose(read_inventory(reached), NAMED), patience=1.5)
    [(kept, held)] = outcome.terminating
    assert kept.name == "clone"
    assert "example.org/held" in held
    assert names(outcome.gone) == ["snap"]
    again = choose(read_inventory(reached), NAMED)
    assert [(fate.kept.name, fate.goes, fate.why) for fate in again] == [("clone", False, "is being deleted already")]
    run.rest.patch(f"{run.claims_path}/clone", {"metadata": {"finalizers": None}})


def test_a_finalizer_that_lets_go_in_time_is_waited_for(cluster: Cluster, run: Space, tmp_path: Path) -> None:
    run.rest.patch(f"{run.claims_path}/clone", {"metadata": {"finalizers": ["example.org/held"]}})
    free = threading.Timer(1.0, lambda: run.rest.patch(f"{run.claims_path}/clone", {"metadata": {"finalizers": None}}))
    free.start()
    reached = api(cluster, run, tmp_path)
    said: list[str] = []
    outcome = remove(reached, choose(read_inventory(reached), NAMED), patience=20.0, said=said.append)
    free.join()
    assert outcome.terminating == ()
    assert said[:2] == ["deleting 1 claim", "waiting for 1 to be gone, 20 s at most"]


def test_a_claim_that_a_notebook_mounts_stays(cluster: Cluster, run: Space, tmp_path: Path) -> None:
    run.notebook("look", claims={"clone": "/clone"})
    reached = api(cluster, run, tmp_path)
    fates = choose(read_inventory(reached), NAMED)
    assert [(fate.kept.name, fate.goes) for fate in fates] == [("clone", False), ("snap", True)]
    remove(reached, fates)
    assert there(run) == {"home", "theirs", "clone"}


def test_one_that_cannot_be_deleted_is_told_and_the_others_go(
    proxy: Proxy, cluster: Cluster, run: Space, driver: Driver, tmp_path: Path
) -> None:
    put_claim(run, "more", RUN, storage_class=driver.storage_class)
    reached = api(cluster, run, tmp_path, url=proxy.url, patience=0.0)
    fates = choose(read_inventory(reached), NAMED)
    proxy.fail("DELETE", "/persistentvolumeclaims/clone$", faults.status(500, "etcd is out of space"), times=math.inf)
    outcome = remove(reached, fates)
    [(kept, why)] = outcome.failed
    assert kept.name == "clone"
    assert "etcd is out of space" in why
    assert set(names(outcome.gone)) == {"more", "snap"}


@pytest.mark.parametrize("fault", [faults.status(429, retry_after=1), faults.status(503), faults.dropped(), faults.answer_lost()],
                         ids=["429", "503", "dropped", "lost"])  # fmt: skip
def test_what_passes_is_tried_again(proxy: Proxy, cluster: Cluster, run: Space, tmp_path: Path, fault: faults.Fault) -> None:
    reached = api(cluster, run, tmp_path, url=proxy.url, patience=20.0)
    proxy.fail("GET", "/(volumesnapshots|persistentvolumeclaims|pods)$", fault, times=2)
    proxy.fail("DELETE", "", fault, times=2)
    outcome = remove(reached, choose(read_inventory(reached), NAMED))
    assert (set(names(outcome.gone)), outcome.failed) == ({"clone", "snap"}, ())


def test_a_look_that_fails_while_waiting_is_not_taken_for_gone(
    proxy: Proxy, cluster: Cluster, run: Space, tmp_path: Path
) -> None:
    reached = api(cluster, run, tmp_path, url=proxy.url, patience=0.0)
    fates = choose(read_inventory(reached), NAMED)
    proxy.fail("GET", "/volumesnapshots$", faults.status(500), times=math.inf)
    outcome = remove(reached, fates, patience=0.5)
    assert names(outcome.gone) == ["clone"]
    assert "cannot be seen" in outcome.terminating[0][1]


def test_the_rights_for_cleaning_are_enough(cluster: Cluster, run: Space, tmp_path: Path) -> None:
    account = account_with(run, "cleaner", cleaning_rights())
    reached = api(cluster, run, tmp_path, token=account.token)
    seen = read_inventory(reached)
    assert seen.unseen == ()
    assert names(remove(reached, choose(seen, NAMED)).gone) == ["clone", "snap"]


@pytest.mark.parametrize(
    ("without", "left", "said"),
    [
        ((PODS, "list"), {"snap"}, "not known which claims are in use"),
        ((SNAPSHOT_CONTENTS, "list"), {"clone", "snap"}, "whether deleting snapshots frees"),
        ((STORAGE_CLASSES, "list"), {"clone", "snap"}, "whether deleting claims frees"),
        ((SNAPSHOTS, "list"), {"clone"}, "snapshots are not listed"),
        ((CLAIMS, "list"), {"snap"}, "claims are not listed"),
    ],
    ids=["pods", "contents", "classes", "snapshots", "claims"],
)  # fmt: skip
def test_a_right_to_look_that_is_missing_is_told_and_nothing_is_touched_that_is_not_known(
    cluster: Cluster, run: Space, tmp_path: Path, without: tuple[object, str], left: set[str], said: str
) -> None:
    rights = [right for right in cleaning_rights() if (right.resource, right.verb) != without]
    reached = api(cluster, run, tmp_path, token=account_with(run, "cleaner", rights).token)
    seen = read_inventory(reached)
    assert any(said in text for text in seen.unseen), seen.unseen
    assert {fate.kept.name for fate in choose(seen, NAMED) if fate.goes} == left


def test_a_missing_right_to_delete_is_told_for_each(cluster: Cluster, run: Space, tmp_path: Path) -> None:
    rights = [right for right in cleaning_rights() if right.verb != "delete"]
    reached = api(cluster, run, tmp_path, token=account_with(run, "cleaner", rights).token)
    outcome = remove(reached, choose(read_inventory(reached), NAMED))
    assert {kept.name for kept, _ in outcome.failed} == {"clone", "snap"}
    assert all("not allowed to delete" in why for _, why in outcome.failed)
    assert {"clone", "snap"} <= there(run)


def test_neither_may_be_listed(cluster: Cluster, space: Space, tmp_path: Path) -> None:
    reached = api(cluster, space, tmp_path, token=space.account("nobody").token)
    with pytest.raises(ClusterError, match="neither snapshots nor claims"):
        read_inventory(reached)


def test_a_cluster_without_the_kinds_of_snapshots_has_claims_to_clean(
    bare_cluster: Cluster, bare_space: Space, tmp_path: Path
) -> None:
    put_claim(bare_space, "marshal", RUN)
    reached = api(bare_cluster, bare_space, tmp_path)
    seen = read_inventory(reached)
    assert names(seen.objects) == ["marshal"]
    assert names(remove(reached, choose(seen, NAMED)).gone) == ["marshal"]


def test_ages_are_by_the_clusters_clock(
    proxy: Proxy, cluster: Cluster, run: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setattr(time, "time", lambda: 4e9)  # a clock here that is decades ahead
    seen = read_inventory(api(cluster, run, tmp_path, url=proxy.url))
    assert all((seen.now - kept.made).total_seconds() < 3600 for kept in seen.objects)
    assert [fate for fate in choose(seen, Selection(older_than=86400.0)) if fate.goes] == []


def test_whose_things_are_that_are_made_from_here(cluster: Cluster, space: Space, tmp_path: Path) -> None:
    import getpass

    reached = api(cluster, space, tmp_path)
    assert owner_here(reached, {"KALE_OWNER": "ada"}, "h", "/") == "ada"
    assert owner_here(reached, {}, "h", "/") == getpass.getuser()
    space.notebook()
    assert owner_here(reached, {"KUBERNETES_SERVICE_HOST": "x"}, "notebook-0", "/home/jovyan") == "notebook"


def test_what_an_object_takes_in_etcd_is_what_the_guide_says(run: Space) -> None:
    import json

    sizes = {
        kind: len(json.dumps(body)) for kind, body in (("claim", run.claim_now("clone")), ("snapshot", run.snapshot_now("snap")))
    }
    assert max(sizes.values()) < 4096, sizes
    print(sizes)


@pytest.mark.slow
def test_five_thousand_objects_are_read_page_by_page_and_removed(
    proxy: Proxy, cluster: Cluster, space: Space, tmp_path: Path
) -> None:
    count = 5000
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: put_snapshot(space, f"s{n:04}", "nothing", RUN), range(count)))
    put_snapshot(space, "theirs", "nothing")
    reached = api(cluster, space, tmp_path, url=proxy.url, patience=60.0)
    seen = read_inventory(reached)
    assert len(seen.objects) == count
    pages = [asked for asked in proxy.asked if asked.path.endswith("/volumesnapshots")]
    assert len(pages) in (10, 11), "500 a page; the last may hold nothing of ours"
    outcome = remove(reached, choose(seen, NAMED), patience=120.0)
    assert len(outcome.gone) == count
    assert there(space) == {"theirs"}


def test_a_list_that_is_too_old_to_go_on_with_begins_again(proxy: Proxy, cluster: Cluster, space: Space, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: put_snapshot(space, f"s{n:04}", "nothing", RUN), range(501)))
    reached = api(cluster, space, tmp_path, url=proxy.url)
    first = proxy.count("GET", "/volumesnapshots$")
    proxy.fail("GET", "/volumesnapshots$", faults.Fault(), times=1)
    proxy.fail(
        "GET", "/volumesnapshots$", faults.status(410, "The provided continue parameter is too old", reason="Expired"), times=1
    )
    assert len(read_inventory(reached).objects) == 501
    assert proxy.count("GET", "/volumesnapshots$") - first == 4
