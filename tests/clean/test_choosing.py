"""Which objects would go, and which stay: without a server."""

from __future__ import annotations

import datetime

import pytest

from kale_nb.engines.kfp.cluster.inventory import Inventory
from kale_nb.engines.kfp.cluster.removing import Selection, choose, cost_of
from tests.clean.making import NOW, ago, belongs, claim, content, inventory, names, pod, snapshot, spelled

ALL = Selection(everything=True)
OLD, NEW = belongs("20260401-000000-train-aaaa"), belongs("20260525-000000-train-bbbb")


def going(seen: Inventory, selection: Selection = ALL, **more: object) -> list[str]:
    return [fate.kept.name for fate in choose(seen, selection, **more) if fate.goes]  # type: ignore[arg-type]


def why(seen: Inventory, name: str, selection: Selection = ALL, **more: object) -> str:
    [fate] = [fate for fate in choose(seen, selection, **more) if fate.kept.name == name]  # type: ignore[arg-type]
    assert not fate.goes
    return fate.why


def test_what_is_not_ours_is_no_part_of_the_inventory() -> None:
    foreign = snapshot("theirs")
    foreign["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "velero", "kale-nb/run": "r"}
    seen = inventory(claim("home"), claim("c", OLD), foreign, snapshot("s", OLD))
    assert names(seen.objects) == ["c", "s"]
    assert going(seen) == ["c", "s"]


def test_claims_are_known_by_annotations_and_by_labels_and_come_first() -> None:
    labelled = claim("labelled")
    labelled["metadata"]["labels"] = OLD.labels
    seen = inventory(snapshot("s", OLD), claim("noted", OLD), labelled)
    assert names(seen.objects) == ["labelled", "noted", "s"]
    assert {kept.belongs.run for kept in seen.objects} == {OLD.run}


def test_a_run_is_told_by_its_id_or_the_beginning_or_the_end_of_it() -> None:
    seen = inventory(claim("a", OLD), snapshot("b", NEW))
    for text in (OLD.run, "20260401", "aaaa"):
        assert going(seen, Selection(runs=(text,))) == ["a"], text
    for text in ("", "2", "train", "0401"):
        assert going(seen, Selection(runs=(text,))) == [], text
    assert going(seen, Selection(runs=("aaaa", "bbbb"))) == ["a", "b"]


def test_what_narrows_holds_together_and_what_limits_each_by_itself() -> None:
    bob = belongs("20260402-000000-train-cccc", owner="bob")
    other = belongs("20260403-000000-score-dddd", pipeline="score")
    seen = inventory(claim("a", OLD), claim("b", bob), claim("c", other))
    assert going(seen, Selection(owner="ada", everything=True)) == ["a", "c"]
    assert going(seen, Selection(owner="ada", pipeline="train", everything=True)) == ["a"]
    assert going(seen, Selection(owner="bob", pipeline="score", everything=True)) == []
    assert going(seen, Selection(owner="ada")) == [], "nothing says what of it goes"


def test_an_owner_that_no_label_can_spell_is_found_all_the_same() -> None:
    body = snapshot("s", belongs(owner="Ada Lovelace <ada@example.org>"))
    assert going(inventory(body), Selection(owner="Ada Lovelace <ada@example.org>", everything=True)) == ["s"]
    body["metadata"]["annotations"] = {}
    assert going(inventory(body), Selection(owner="Ada Lovelace <ada@example.org>", everything=True)) == ["s"]


@pytest.mark.parametrize(("seconds", "goes"), [(-1, False), (0, False), (1, True)])
def test_the_edge_of_an_age(seconds: int, goes: bool) -> None:
    seen = inventory(claim("a", OLD, made=ago(days=30, seconds=seconds)))
    assert bool(going(seen, Selection(older_than=30 * 86400))) is goes


def test_a_run_is_as_old_as_the_last_thing_that_it_made() -> None:
    seen = inventory(snapshot("s", OLD, made=ago(days=31)), claim("a", OLD, made=ago(days=29)))
    assert going(seen, Selection(older_than=30 * 86400)) == []
    assert going(seen, Selection(older_than=28 * 86400)) == ["a", "s"]


def test_a_clock_that_is_ahead_makes_nothing_old() -> None:
    seen = inventory(claim("a", OLD, made=NOW + datetime.timedelta(days=365)))
    assert going(seen, Selection(older_than=0)) == []


def test_the_newest_runs_are_kept() -> None:
    runs = [belongs(f"2026050{n}-000000-train-xxx{n}") for n in range(1, 5)]
    bodies = [claim(f"c{n}", run, made=ago(days=20 - n)) for n, run in enumerate(runs)]
    bodies += [snapshot(f"s{n}", run, made=ago(days=20 - n)) for n, run in enumerate(runs)]
    assert going(inventory(*bodies), Selection(keep=2)) == ["c0", "c1", "s0", "s1"]
    assert going(inventory(*bodies), Selection(keep=0)) == ["c0", "c1", "c2", "c3", "s0", "s1", "s2", "s3"]
    assert going(inventory(*bodies), Selection(keep=9)) == []


@pytest.mark.parametrize(
    ("expires", "goes"),
    [
        (spelled(NOW), True),
        (spelled(NOW + datetime.timedelta(seconds=1)), False),
        ("2026-06-01T13:00:00+02:00", True),
        ("2026-05-31", True),
        ("never", False),
        ("", False),
    ],
)
def test_what_has_expired(expires: str, goes: bool) -> None:
    assert bool(going(inventory(claim("a", OLD, expires=expires)), Selection(expired=True))) is goes


def test_expiry_is_of_each_object_and_not_of_its_run() -> None:
    seen = inventory(claim("a", OLD, expires=spelled(ago(days=1))), snapshot("s", OLD))
    assert going(seen, Selection(expired=True)) == ["a"]


def test_a_claim_that_a_pod_mounts_stays_and_the_rest_of_its_run_goes() -> None:
    seen = inventory(claim("a", OLD), claim("b", OLD), snapshot("s", OLD), pods=[pod("look", ["a", "other"])])
    assert why(seen, "a") == "pod look mounts it"
    assert going(seen) == ["b", "s"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_holds_nothing(phase: str) -> None:
    assert going(inventory(claim("a", OLD), pods=[pod("step", ["a"], phase=phase, labels={"pipeline/runid": "1"})])) == ["a"]


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
@pytest.mark.parametrize("label", ["pipeline/runid", "workflows.argoproj.io/workflow"])
def test_all_of_a_run_stays_while_one_of_its_pods_has_not_ended(phase: str, label: str) -> None:
    seen = inventory(
        claim("a", OLD),
        claim("b", OLD),
        snapshot("s", OLD),
        claim("c", NEW),
        pods=[pod("w", ["b"], labels={label: "1"}, phase=phase)],
    )
    assert going(seen) == ["c"]
    assert why(seen, "s") == "its run goes on: pod w has not ended"


def test_a_run_that_goes_on_stays_even_when_it_is_named() -> None:
    seen = inventory(claim("a", OLD), snapshot("s", OLD))
    alive = {OLD.run: "Kubeflow Pipelines says RUNNING"}
    assert going(seen, Selection(runs=(OLD.run,)), alive=alive) == []
    assert why(seen, "a", alive=alive) == "its run goes on: Kubeflow Pipelines says RUNNING"


def test_a_run_of_which_nothing_is_known_stays_for_an_hour() -> None:
    seen = inventory(snapshot("s", OLD, made=ago(minutes=59)), claim("c", NEW, made=ago(minutes=61)))
    assert going(seen) == ["c"]
    assert "less than an hour old" in why(seen, "s")
    assert going(seen, ended=[OLD.run]) == ["c", "s"]
    assert going(seen, Selection(runs=(OLD.run,))) == ["s"]


def test_without_a_look_at_pods_claims_stay_and_snapshots_may_go() -> None:
    bodies = [claim("a", OLD)], [snapshot("s", OLD)]
    from kale_nb.engines.kfp.cluster.inventory import assemble

    seen = assemble("team", NOW, bodies[1], bodies[0], None, [], [])
    assert going(seen) == ["s"]
    assert "not known whether a pod mounts it" in why(seen, "a")


def test_what_a_claim_is_being_made_from_stays_whosever_that_claim_is() -> None:
    foreign = claim("restored", None, snapshot="s")
    foreign["status"] = {"phase": "Pending"}
    seen = inventory(foreign, snapshot("s", OLD))
    assert why(seen, "s") == "claim restored is being made from it"
    foreign["status"] = {"phase": "Bound"}
    assert going(inventory(foreign, snapshot("s", OLD))) == ["s"]


def test_a_pending_clone_that_goes_itself_holds_nothing() -> None:
    clone = claim("a", OLD, snapshot="s")
    clone["status"] = {"phase": "Pending"}
    assert going(inventory(clone, snapshot("s", OLD))) == ["a", "s"]
    copied = claim("b", OLD, source="a")
    copied["status"] = {"phase": "Pending"}
    assert going(inventory(claim("a", OLD), copied)) == ["a", "b"]


def test_what_is_being_deleted_is_not_deleted_again() -> None:
    body = claim("a", OLD)
    body["metadata"]["deletionTimestamp"] = spelled(NOW)
    seen = inventory(body)
    assert why(seen, "a") == "is being deleted already"
    assert seen.objects[0].state == "terminating"


def test_what_belongs_to_no_run_is_on_its_own() -> None:
    seen = inventory(claim("a", belongs(run="")), claim("b", belongs(run=""), made=ago(minutes=1)))
    assert going(seen, Selection(keep=1)) == ["a"]
    assert going(seen, Selection(runs=("",))) == []


def test_what_belongs_to_no_run_may_be_about_to_be_used() -> None:
    seen = inventory(claim("a", belongs(run=""), made=ago(minutes=10)))
    assert "less than an hour old" in why(seen, "a")


def test_costs_tell_what_is_not_freed() -> None:
    seen = inventory(
        claim("a", OLD), claim("b", OLD, storage_class="kept"), claim("c", OLD, storage_class="unseen"), snapshot("s", OLD), snapshot("t", OLD),
        contents=[content("s", "Retain"), content("t")],
    )  # fmt: skip
    gib = 1024**3
    cost = cost_of(seen.objects)
    assert (cost.claims, cost.snapshots, cost.total, cost.retained, cost.unknown) == (3 * gib, 2 * gib, 5 * gib, 2 * gib, gib)


def test_a_content_of_another_snapshot_of_that_name_says_nothing() -> None:
    other = content("s", "Retain")
    other["spec"]["volumeSnapshotRef"]["uid"] = "of-long-ago"
    elsewhere = content("s", "Retain")
    elsewhere["spec"]["volumeSnapshotRef"]["namespace"] = "other"
    assert inventory(snapshot("s", OLD), contents=[other, elsewhere]).objects[0].policy == ""


def test_states_of_snapshots() -> None:
    waits, fails = snapshot("waits", OLD), snapshot("fails", OLD)
    waits["status"] = {}
    fails["status"] = {"readyToUse": False, "error": {"message": "no\n space"}}
    states = {kept.name: kept.state for kept in inventory(waits, fails, snapshot("s", OLD)).objects}
    assert states == {"waits": "pending", "fails": "failed: no space", "s": "ready"}
