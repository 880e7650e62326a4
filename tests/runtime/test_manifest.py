"""Which version of a name is the newest where branches meet (`kale_nb.runtime.manifest`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kale_nb.errors import MarshalError
from kale_nb.runtime.manifest import Manifest, Version, join, read_manifest, write_manifest

AFTER = {"a": (), "b": ("a",), "c": ("a",), "d": ("b",)}


def _left(step: str, **origins: str) -> Manifest:
    names = {n: Version(step=o.split("/")[0], origin=o.split("/")[-1]) for n, o in origins.items()}
    known = {step}
    for _ in AFTER:
        known |= {p for s in known for p in AFTER[s]}
    return Manifest(step=step, after={s: AFTER[s] for s in known}, names=names)


def test_one_predecessor_hands_on_what_it_left() -> None:
    left = _left("b", x="a")
    met = join("e", [left])
    assert (dict(met.names), met.conflicts) == (dict(left.names), {})
    assert met.after["e"] == ("b",)


def test_a_step_without_predecessors_gets_nothing() -> None:
    assert not join("a", []).names


def test_the_version_of_the_later_maker_wins() -> None:
    met = join("e", [_left("c", x="a"), _left("b", x="b")])
    assert met.names["x"].origin == "b"
    assert not met.conflicts
    assert [v.origin for v in met.outdated["x"]] == ["a"]


def test_the_order_of_the_predecessors_does_not_matter() -> None:
    branches = [_left("c", x="a"), _left("d", x="d"), _left("b", x="b")]
    assert {
        join("e", order).names["x"].origin for order in (branches, branches[::-1], [branches[1], branches[0], branches[2]])
    } == {"d"}


def test_versions_of_makers_that_do_not_know_of_each_other_are_a_conflict() -> None:
    met = join("e", [_left("b", x="b"), _left("c", x="c")])
    assert {v.origin for v in met.conflicts["x"]} == {"b", "c"}


def test_one_version_that_came_both_ways_is_none() -> None:
    met = join("e", [_left("b", x="a"), _left("c", x="a")])
    assert met.names["x"].origin == "a"
    assert not met.conflicts


def test_one_content_written_twice_is_none() -> None:
    met = join("e", [_left("b", x="b/a"), _left("c", x="c/a")])
    assert not met.conflicts
    assert met.names["x"].origin == "a"


def test_names_that_only_one_branch_has_are_kept() -> None:
    assert set(join("e", [_left("b", x="b"), _left("c", y="c")]).names) == {"x", "y"}


def test_ancestors_are_those_that_the_manifests_tell_of() -> None:
    met = join("e", [_left("d"), _left("c")])
    assert met.ancestors("e") == {"a", "b", "c", "d"}
    assert met.ancestors("b") == {"a"}
    assert met.ancestors("unknown") == frozenset()


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    versions = {
        "x": Version(step="b", origin="a", group=2, globals=("f", "größe")),
        "y": Version(step="b", origin="b", kind="deleted"),
        "z": Version(step="b", origin="b", kind="failed", reason="a generator"),
    }
    (tmp_path / "b").mkdir()
    left = Manifest(step="b", after={"a": (), "b": ("a",)}, names=versions)
    write_manifest(tmp_path, left, {"metrics": {"m": 1.5}, "result": None})
    found = read_manifest(tmp_path, "b")
    assert (dict(found.names), found.after) == (versions, left.after)


def test_a_manifest_that_cannot_be_written_leaves_nothing_half(tmp_path: Path) -> None:
    with pytest.raises(MarshalError, match=r"step\.json cannot be written"):
        write_manifest(tmp_path, Manifest(step="gone", after={}), {})
    assert not list(tmp_path.iterdir())


def test_a_missing_manifest_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(MarshalError, match="no output of step `a`") as caught:
        read_manifest(tmp_path, "a")
    assert "papermill" in (caught.value.hint or "")
