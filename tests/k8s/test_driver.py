"""The driver's volumes, snapshots and clones are what a cluster's would be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.k8s.driver import CONTENTS, Driver
from tests.k8s.rest import until
from tests.k8s.space import Space
from tests.kfp.running import content


def written(folder: Path) -> None:
    """Put into a folder what a copy easily loses."""
    (folder / "data.txt").write_text("first")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    (folder / "link").symlink_to("data.txt")
    (folder / "empty").mkdir(mode=0o700)
    os.utime(folder / "data.txt", (1, 1))


def test_a_snapshot_has_the_content_of_the_moment_and_a_clone_is_a_copy_of_it(space: Space, driver: Driver) -> None:
    space.claim("work", storage_class=driver.storage_class)
    home = driver.folder("work")
    written(home)
    then = content(home)
    space.snapshot("then", "work")
    status = space.ready("then")["status"]
    assert status["restoreSize"] == "1Gi"
    assert status["creationTime"]
    (home / "data.txt").write_text("second")
    space.claim("clone", storage_class=driver.storage_class, snapshot="then")
    clone = driver.folder("clone")
    assert content(clone) == then == content(driver.snapshot_folder("then"))
    assert (clone / "data.txt").stat().st_mtime == 1
    (clone / "data.txt").write_text("third")
    assert content(driver.snapshot_folder("then")) == then
    assert (home / "data.txt").read_text() == "second"


def test_volume_and_content_tell_the_driver(space: Space, driver: Driver) -> None:
    space.claim("work", storage_class=driver.storage_class)
    volume = space.bound("work")["spec"]["volumeName"]
    assert space.rest.get(f"/api/v1/persistentvolumes/{volume}")["spec"]["csi"]["driver"] == driver.name
    space.snapshot("now", "work")
    made = space.ready("now")
    assert made["spec"]["volumeSnapshotClassName"] == driver.snapshot_class  # the default one
    found = space.rest.get(f"{CONTENTS}/{made['status']['boundVolumeSnapshotContentName']}")
    assert found["spec"]["volumeSnapshotRef"]["uid"] == made["metadata"]["uid"]
    assert found["spec"]["driver"] == driver.name


def test_a_snapshot_may_be_taken_long_before_it_is_ready(space: Space, driver: Driver) -> None:
    space.claim("work", storage_class=driver.storage_class)
    home = driver.folder("work")
    (home / "a").write_text("1")
    driver.of("work").never_ready = True
    space.snapshot("slow", "work")
    until(lambda: space.snapshot_now("slow").get("status", {}).get("creationTime"), "it is taken")
    (home / "a").write_text("2")
    space.claim("early", storage_class=driver.storage_class, snapshot="slow")
    until(lambda: space.events("early", "ProvisioningFailed"), "it is too early for a clone")
    assert "snapshot slow is not Ready" in space.events("early", "ProvisioningFailed")[0]
    driver.of("work").never_ready = False
    space.ready("slow")
    assert (driver.folder("early") / "a").read_text() == "1"


def test_what_the_driver_says_is_in_the_snapshots_status(space: Space, driver: Driver) -> None:
    driver.of("work").snapshot_error = "the disk is on fire"
    space.claim("work", storage_class=driver.storage_class)
    space.bound("work")
    space.snapshot("bad", "work")
    error = until(lambda: space.snapshot_now("bad").get("status", {}).get("error"), "it fails")
    assert "the disk is on fire" in error["message"]
    assert not space.snapshot_now("bad")["status"]["readyToUse"]
    driver.of("work").snapshot_error = None  # and goes on when it can, as controllers do
    assert "error" not in space.ready("bad")["status"]


def test_a_snapshot_of_nothing_says_so(space: Space, driver: Driver) -> None:
    space.claim("unbound", storage_class="no-such-class")
    for name, claim, said in (("a", "none", "not found"), ("b", "unbound", "not yet bound to a PV")):
        space.snapshot(name, claim, snapshot_class=driver.snapshot_class)
        error = until(lambda name=name: space.snapshot_now(name).get("status", {}).get("error"), "it fails")  # type: ignore[misc]
        assert said in error["message"]


def test_two_default_classes_are_an_error(space: Space, driver: Driver) -> None:
    space.snapshot_class(driver.name, "other", default=True)
    space.claim("work", storage_class=driver.storage_class)
    space.bound("work")
    space.snapshot("now", "work")
    error = until(lambda: space.snapshot_now("now").get("status", {}).get("error"), "it fails")
    assert "2 default snapshot classes were found" in error["message"]


def test_a_class_of_another_driver_is_an_error(space: Space, driver: Driver) -> None:
    other = space.snapshot_class("other.csi.test", "other")
    space.claim("work", storage_class=driver.storage_class)
    space.bound("work")
    space.snapshot("now", "work", snapshot_class=other)
    error = until(lambda: space.snapshot_now("now").get("status", {}).get("error"), "it fails")
    assert "does not match the driver" in error["message"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"size": "512Mi", "snapshot": "then"}, "requested volume size 536870912 is less than the size 1073741824"),
        ({"snapshot": "other"}, 'volumesnapshots.snapshot.storage.k8s.io "other" not found'),
        ({"size": "512Mi", "source": "work"}, "must be greater than or equal in size"),
        ({"storage_class": "second", "source": "work"}, "must be in the same storage class for cloning"),
    ],
)
def test_a_clone_that_cannot_be_stays_pending_and_the_event_says_why(
    space: Space, driver: Driver, what: dict[str, str], said: str
) -> None:
    space.claim("work", storage_class=driver.storage_class)
    space.bound("work")
    space.snapshot("then", "work")
    space.ready("then")
    second = space.storage_class(driver.name, "second")
    chosen = second if what.pop("storage_class", "") else driver.storage_class
    space.claim("clone", storage_class=chosen, **what)
    [event] = until(lambda: space.events("clone", "ProvisioningFailed"), "it fails")
    assert said in event
    assert space.claim_now("clone")["status"]["phase"] == "Pending"


def test_a_claim_is_cloned_directly(space: Space, driver: Driver) -> None:
    space.claim("work", storage_class=driver.storage_class)
    written(driver.folder("work"))
    space.claim("clone", storage_class=driver.storage_class, source="work")
    assert content(driver.folder("clone")) == content(driver.folder("work"))


def test_a_size_may_be_missing_or_larger_than_the_volumes(space: Space, driver: Driver) -> None:
    driver.of("a").tells_size = False
    driver.of("b").restore_size = 2**31
    driver.of("c").round_up = 2**32
    for name in "abc":
        space.claim(name, storage_class=driver.storage_class)
        space.bound(name)
        space.snapshot(f"of-{name}", name)
    assert "restoreSize" not in space.ready("of-a")["status"]
    assert space.ready("of-b")["status"]["restoreSize"] == "2Gi"
    assert space.claim_now("c")["status"]["capacity"]["storage"] == "4Gi"
    assert space.ready("of-c")["status"]["restoreSize"] == "4Gi"


def test_a_class_may_wait_for_the_first_pod(space: Space, driver: Driver) -> None:
    lazy = space.storage_class(driver.name, "lazy", wait_for_consumer=True)
    space.claim("work", storage_class=lazy)
    until(lambda: space.events("work", "WaitForFirstConsumer"), "it waits")
    assert space.claim_now("work")["status"]["phase"] == "Pending"
    space.notebook(claims={"work": "/home/jovyan"}, runs=False)
    space.bound("work")


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_deleted_snapshots_content_stays_when_its_class_says_so(space: Space, driver: Driver, policy: str) -> None:
    chosen = space.snapshot_class(driver.name, "other", policy=policy)
    space.claim("work", storage_class=driver.storage_class)
    space.bound("work")
    space.snapshot("then", "work", snapshot_class=chosen)
    name = space.ready("then")["status"]["boundVolumeSnapshotContentName"]
    folder = driver.snapshot_folder("then")
    space.rest.delete(f"{space.snapshots_path}/then")
    until(lambda: space.rest.find(f"{space.snapshots_path}/then") is None, "it is gone")
    kept = policy == "Retain"
    if not kept:
        until(lambda: space.rest.find(f"{CONTENTS}/{name}") is None, "its content is gone")
    assert folder.exists() is kept
    assert (space.rest.find(f"{CONTENTS}/{name}") is not None) is kept


def test_a_snapshot_is_kept_while_a_claim_waits_to_be_made_from_it(space: Space, driver: Driver) -> None:
    driver.of("clone").provision_error = "no room"
    space.claim("work", storage_class=driver.storage_class)
    space.bound("work")
    space.snapshot("then", "work")
    space.ready("then")
    space.claim("clone", storage_class=driver.storage_class, snapshot="then")
    until(lambda: space.events("clone", "ProvisioningFailed"), "it fails")
    space.rest.delete(f"{space.snapshots_path}/then")
    until(lambda: "deletionTimestamp" in space.snapshot_now("then")["metadata"], "it is to go")
    space.rest.delete(f"{space.claims_path}/clone")
    until(lambda: space.rest.find(f"{space.snapshots_path}/then") is None, "it is gone")


def test_a_deleted_claims_volume_goes_with_it(space: Space, driver: Driver) -> None:
    space.claim("work", storage_class=driver.storage_class)
    folder = driver.folder("work")
    space.rest.delete(f"{space.claims_path}/work")
    until(lambda: not driver.volumes(), "the volume is gone")
    assert not folder.exists()


def test_a_claim_in_use_stays_until_its_pod_is_gone(space: Space, driver: Driver) -> None:
    space.claim("work", storage_class=driver.storage_class)
    space.bound("work")
    space.notebook(claims={"work": "/home/jovyan"})
    space.rest.delete(f"{space.claims_path}/work")
    assert "deletionTimestamp" in space.claim_now("work")["metadata"]
    space.rest.delete(f"{space.path}/pods/notebook-0", gracePeriodSeconds="0")
    until(lambda: space.rest.find(f"{space.claims_path}/work") is None, "the claim is gone")
