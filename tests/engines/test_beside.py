"""Changes in place that a parallel step should have seen, and names explained: no kernel here."""

from __future__ import annotations

from pathlib import Path

import pytest

from kale_nb.engines.local.beside import Beside, Touched
from kale_nb.engines.local.nameerrors import why_undefined
from kale_nb.names import StepName, VarName
from kale_nb.pipeline.model import Offer, Pipeline, Step
from tests.engines.making import make_job

A, B, C, D = (StepName(name) for name in "abcd")


def diamond(folder: Path) -> Pipeline:
    return make_job(folder, {"a": "1", "b": "1", "c": "1", "d": "1"}, {"b": ["a"], "c": ["a"], "d": ["b", "c"]}).pipeline


def touched(changed: str = "", used: str = "", **origins: str) -> Touched:
    return Touched(changed=frozenset(changed.split()), used=frozenset(used.split()), origins=origins)


@pytest.mark.parametrize("order", [(B, C), (C, B)])
def test_a_change_above_a_parallel_reader_fails_whichever_ends_later(tmp_path: Path, order: tuple[StepName, StepName]) -> None:
    beside = Beside(diamond(tmp_path))
    did = {B: touched("rows", "rows", rows="a"), C: touched(used="rows", rows="a")}
    assert beside.finished(A, touched()) is None
    assert beside.finished(order[0], did[order[0]]) is None
    failure = beside.finished(order[1], did[order[1]])
    assert failure is not None
    assert failure.kind == "conflict"
    assert failure.message.startswith("step `b` changed `rows` in place while step `c`")
    assert "`prev:b`" in (failure.hint or "")


def test_a_change_below_a_parallel_reader_is_as_in_the_notebook(tmp_path: Path) -> None:
    beside = Beside(diamond(tmp_path))
    assert beside.finished(B, touched(used="rows", rows="a")) is None
    assert beside.finished(C, touched("rows", "rows", rows="a")) is None


def test_descendants_and_ancestors_are_not_beside(tmp_path: Path) -> None:
    beside = Beside(diamond(tmp_path))
    assert beside.finished(A, touched("x", "x")) is None
    assert beside.finished(B, touched("rows", "rows", rows="a")) is None
    assert beside.finished(D, touched(used="rows", rows="b")) is None


def test_values_of_different_origin_are_different_values(tmp_path: Path) -> None:
    beside = Beside(diamond(tmp_path))
    assert beside.finished(B, touched("rows", "rows", rows="a")) is None
    assert beside.finished(C, touched(used="rows", rows="other")) is None


def test_both_changing_is_told_and_all_names_are_named(tmp_path: Path) -> None:
    beside = Beside(diamond(tmp_path))
    assert beside.finished(B, touched("x y", "x y", x="a", y="a")) is None
    failure = beside.finished(C, touched("x y", "x y", x="a", y="a"))
    assert failure is not None
    assert "`x` and `y`" in failure.message


def steps(*made: tuple[str, str, str, str]) -> Pipeline:
    """Steps of `(name, after, rebinds, offers)`."""
    return Pipeline(
        name="p",
        source="nb.ipynb",
        source_sha256="0",
        steps=tuple(
            Step(
                name=StepName(name),
                index=index,
                after=tuple(StepName(n) for n in after.split()),
                rebinds=tuple(VarName(n) for n in rebinds.split()),
                offers=tuple(Offer(name=VarName(n)) for n in offers.split()),
            )
            for index, (name, after, rebinds, offers) in enumerate(made)
        ),
    )


def test_a_name_of_a_step_beside_hints_at_the_missing_mark() -> None:
    hint = why_undefined(steps(("a", "", "", ""), ("b", "a", "x", ""), ("c", "a", "", "")), C, "x", [])
    assert hint == "`x` is assigned in step `b`, which `c` does not wait for: add the tag `prev:b` (or `--after`) to `c`"


def test_a_name_of_a_later_step_says_so() -> None:
    hint = why_undefined(steps(("a", "", "", ""), ("b", "a", "x", "")), A, "x", [])
    assert hint == "`x` is assigned in step `b` only, which runs after `a`"


def test_a_name_of_an_ancestor_that_took_another_path_says_so() -> None:
    hint = why_undefined(steps(("a", "", "x", "x"), ("b", "a", "", "")), B, "x", [])
    assert hint == "step `a` assigns `x` on some path only, and had not when it ended"


def test_a_name_that_the_text_does_not_show_is_to_be_written_down() -> None:
    hint = why_undefined(steps(("a", "", "x", ""), ("b", "a", "", "")), B, "x", [])
    assert "write the name in one of its cells" in (hint or "")


@pytest.mark.parametrize(
    ("fate", "told"),
    [
        (
            {"step": "a", "origin": "a", "kind": "failed", "reason": "x is a socket"},
            "step `a` made `x`, but it could not travel: x is a socket",
        ),
        ({"step": "a", "origin": "a", "kind": "deleted"}, "step `a` deleted `x`"),
    ],
)
def test_what_became_of_a_name_comes_first(fate: dict[str, str], told: str) -> None:
    assert why_undefined(steps(("a", "", "x", "x"), ("b", "a", "", "")), B, "x", [fate]) == told


def test_a_name_that_no_step_binds_has_no_hint() -> None:
    assert why_undefined(steps(("a", "", "y", "")), A, "x", []) is None


def test_a_change_of_what_every_step_defines_for_itself_is_seen_by_those_who_read_it() -> None:
    pipeline = Pipeline(
        name="p",
        source="nb.ipynb",
        source_sha256="0",
        steps=(
            Step(name=A, index=0, prelude_reads=(VarName("settings"),)),
            Step(name=B, index=1, prelude_reads=(VarName("settings"),)),
            Step(name=C, index=2),
        ),
    )
    beside = Beside(pipeline)
    assert beside.finished(A, touched("settings")) is None
    assert beside.finished(C, touched()) is None
    assert beside.finished(B, touched()) is not None


def test_counters_on_classes_are_left_alone() -> None:
    steps = (Step(name=A, index=0), Step(name=B, index=1, prelude_reads=(VarName("Model"),)))
    beside = Beside(Pipeline(name="p", source="nb.ipynb", source_sha256="0", steps=steps))
    assert beside.finished(A, Touched(changed=frozenset({"Model"}), definitions=frozenset({"Model"}))) is None
    assert beside.finished(B, touched()) is None
