"""From what a cluster answered to findings, without one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kale_nb.engines.kfp.cluster.api import _subject
from kale_nb.engines.kfp.cluster.claims import Source
from kale_nb.engines.kfp.cluster.notebook import ClaimMount, NotebookServer
from kale_nb.engines.kfp.cluster.preflight import cluster_findings
from kale_nb.engines.kfp.cluster.preflight_facts import Facts
from kale_nb.engines.kfp.cluster.preflight_quota import Wanted, needs_of, quota_findings
from kale_nb.engines.kfp.cluster.preflight_volumes import Wish, volume_findings, wanted
from kale_nb.engines.preflight import Finding, Mark
from kale_nb.errors import VolumeError

CSI = {"metadata": {"name": "fast"}, "provisioner": "csi", "volumeBindingMode": "WaitForFirstConsumer"}
TAKES = {"metadata": {"name": "takes"}, "driver": "csi", "deletionPolicy": "Delete"}
KINDS = frozenset({"volumesnapshots", "volumesnapshotclasses", "volumesnapshotcontents"})


def source(**more: Any) -> Source:
    given = {"name": "home", "uid": "1", "size": 5, "storage_class": "fast", "access_modes": ("ReadWriteOnce",), "driver": "csi"}
    return Source(**{**given, **more})


def facts(**more: Any) -> Facts:
    given = {
        "host": "https://k8s", "origin": "context c of file", "namespace": "team", "version": "v1.31.2", "groups": ("v1",), "kinds": KINDS,
        "workspace": ClaimMount(claim="home", path=""), "sources": {"home": source()}, "storage_classes": [CSI], "snapshot_classes": [TAKES],
    }  # fmt: skip
    return Facts(**{**given, **more})


class Parallel(Wish):
    wide = True  # type: ignore[assignment]


def by_key(found: Any) -> dict[str, Finding]:
    return {each.key: each for each in found}


def test_a_class_that_waits_for_a_pod_is_told_and_is_no_problem() -> None:
    found = by_key(volume_findings(facts(), Wish()))
    assert found["volume:home"].found == "claim home: 5, class fast, bound when a step needs it, ReadWriteOnce, driver csi"
    assert {each.mark for each in found.values()} == {Mark.OK}


@pytest.mark.parametrize(
    ("modes", "mark"),
    [
        (("ReadWriteOncePod",), Mark.MISSING),
        (("ReadWriteOnce",), Mark.WARNING),
        (("ReadWriteOnce", "ReadWriteMany"), None),
        (("ReadWriteMany",), None),
    ],
)
def test_who_may_mount_a_volume_that_parallel_steps_share(modes: tuple[str, ...], mark: Mark | None) -> None:
    found = by_key(volume_findings(facts(sources={"home": source(access_modes=modes)}), Parallel()))
    assert (found["volume:home:access"].mark if mark else found.get("volume:home:access")) is mark
    assert "volume:home:access" not in by_key(volume_findings(facts(sources={"home": source(access_modes=modes)}), Wish()))


def test_claims_that_are_cloned_without_snapshots_need_none_of_what_snapshots_need() -> None:
    seen = facts(kinds=frozenset(), groups=(), snapshot_classes=[])
    found = by_key(cluster_findings(seen, Wish(clone_claims=True), inside=False))
    assert not [key for key in found if "snapshot" in key]
    assert "snapshot-kinds" in by_key(cluster_findings(seen, Wish(), inside=False))
    assert wanted(seen, Wish(clone_claims=True))[1] == 0


def test_a_storage_class_that_is_gone_and_a_claim_without_one() -> None:
    gone = by_key(volume_findings(facts(storage_classes=[]), Wish()))["volume:home:class"]
    assert (gone.mark, "does not exist any more" in gone.found) == (Mark.MISSING, True)
    bare = facts(sources={"home": source(storage_class="")})
    assert "volume:home:class" not in by_key(volume_findings(bare, Wish())), "the driver's only class is taken"
    two = facts(sources={"home": source(storage_class="")}, storage_classes=[CSI, {**CSI, "metadata": {"name": "slow"}}])
    found = by_key(volume_findings(two, Wish()))["volume:home:class"]
    assert (found.mark, found.mend) == (Mark.MISSING, "name one with --storage-class; there are fast, slow")
    assert "volume:home:class" not in by_key(volume_findings(two, Wish(storage_class="slow")))


def test_a_claim_that_cannot_be_cloned_says_why_and_the_others_are_looked_at() -> None:
    found = by_key(
        volume_findings(
            facts(sources={"home": VolumeError("it is lost", hint="restore it"), "data": source(name="data")}), Wish()
        )
    )
    assert (found["volume:home"].found, found["volume:home"].mend) == ("it is lost", "restore it")
    assert found["volume:data"].mark is Mark.OK


def test_a_claim_that_a_server_mounts_twice_becomes_two_clones_of_one_snapshot() -> None:
    mounts = (ClaimMount(claim="home", path="/a"), ClaimMount(claim="home", path="/b"), ClaimMount(claim="data", path="/d"))
    server = NotebookServer(
        pod="p", container="c", image="i", user=None, group=None, node="", owner="", mounts=mounts, others={}, home=""
    )
    seen = facts(server=server, sources={"home": source(), "data": source(name="data", size=7)})
    assert wanted(seen, Wish()) == ([Wanted(size=5, storage_class="fast")] * 2 + [Wanted(size=7, storage_class="fast")], 2)


@pytest.mark.parametrize(
    ("version", "mark"), [("v1.19.8", Mark.MISSING), ("v1.20.0", Mark.OK), ("v1.31.2+k3s1", Mark.OK), ("v0.0.0-master", Mark.OK)]
)
def test_the_oldest_kubernetes_that_has_snapshots(version: str, mark: Mark) -> None:
    assert by_key(cluster_findings(facts(version=version), Wish(), inside=False))["kubernetes"].mark is mark


@pytest.mark.parametrize(("ahead", "said"), [(0.0, None), (59.0, None), (3600.0, "ahead of"), (-3600.0, "behind")])
def test_clocks_that_differ(ahead: float, said: str | None) -> None:
    found = by_key(cluster_findings(facts(ahead=ahead), Wish(), inside=False)).get("clock")
    assert (found is None) if said is None else (found is not None and said in found.found and found.mark is Mark.WARNING)


def test_a_run_of_no_claims_concerns_no_quota() -> None:
    assert needs_of([], 0) == {
        "persistentvolumeclaims": 0, "count/persistentvolumeclaims": 0, "requests.storage": 0,
        "count/volumesnapshots.snapshot.storage.k8s.io": 0,
    }  # fmt: skip
    quota = {"metadata": {"name": "q"}, "status": {"hard": {"requests.storage": "0"}, "used": {}}}
    [found] = quota_findings([quota], needs_of([], 0), "team")
    assert found.mark is Mark.OK


@pytest.mark.parametrize(
    ("hard", "mark"), [("5", Mark.OK), ("4", Mark.MISSING), ("4500m", Mark.OK), ("5k", Mark.OK), ("0", Mark.MISSING)]
)
def test_the_last_byte_of_a_quota_counts(hard: str, mark: Mark) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"requests.storage": hard}}}
    [found] = quota_findings([quota], needs_of([Wanted(size=5)], 0), "team")
    assert found.mark is mark


def test_a_token_that_is_none_of_a_service_account_tells_nobody() -> None:
    import base64
    import json

    def token(claims: object) -> str:
        return f"Bearer e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"

    assert _subject(token({"sub": "system:serviceaccount:team:ada"})) == "system:serviceaccount:team:ada"
    for odd in (
        "",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer e30.%%%.x",
        token({"sub": "ada@example.org"}),
        token({}),
        token([1]),
        token("x"),
    ):
        assert _subject(odd) == ""


def test_findings_of_what_is_missing_always_say_why_and_what_to_do() -> None:
    seen = facts(
        kinds=frozenset(), groups=(), sources={"home": VolumeError("no", hint="mend")}, server=VolumeError("no pod", hint="x"), workspace=None,
        quotas=[{"metadata": {"name": "q"}, "spec": {"hard": {"persistentvolumeclaims": "0"}}}],
    )  # fmt: skip
    for each in cluster_findings(seen, Parallel(), inside=True):
        assert each.mark is Mark.OK or (each.why and each.mend), each
    assert dataclasses.is_dataclass(Finding)
