"""Which cell is what, and which step is made of which cells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_nb.annotations.marks import Role
from kale_nb.annotations.reading import read_marks
from kale_nb.diagnostics import RULES, Severity
from tests.annotations.marking import clean, marks, rejects, roles, source, underlined


def test_every_tag_gives_its_role() -> None:
    marked = clean(
        ("n = 1", "pipeline-parameters"),
        ("import os", "imports"),
        ("def f(): ...", "functions"),
        ("x", "step:a"),
        ("print(1)", "pipeline-metrics"),
        ("y", "block:b", "prev:a"),
        ("z", "skip"),
    )
    assert roles(marked) == ["parameters", "imports", "functions", "a", "metrics a", "b", "skip"]
    assert [c.cell.index for c in marked.prelude] == [1, 2, 3]
    assert [(s.name, [c.cell.index for c in s.cells]) for s in marked.steps] == [("a", [4, 5]), ("b", [6])]


def test_every_magic_gives_the_role_of_its_tag() -> None:
    marked = clean(
        "%%parameters\nn = 1",
        "%%imports\nimport os",
        "%%functions\ndef f(): ...",
        "%%step a\nx",
        "%%metrics\nprint(1)",
        "%%step b --after a\ny",
        "%%skip\nz",
    )
    assert roles(marked) == ["parameters", "imports", "functions", "a", "metrics a", "b", "skip"]


def test_tags_and_magics_mix_even_on_one_cell_when_they_agree() -> None:
    marked = clean(("%%step a\nx", "step:a", "limit:cpu:2"), ("y", "step:b", "prev:a"), ("%%imports\nimport os", "imports"))
    assert roles(marked) == ["a", "b", "imports"]
    assert marked.steps[0].settings.limits == {"cpu": "2"}


def test_papermills_tags_mark_parameters() -> None:
    assert roles(clean(("n = 1", "parameters"), ("n = 2", "injected-parameters"), ("x", "step:a"))) == [
        "parameters",
        "parameters",
        "a",
    ]


def test_an_injected_cell_does_not_take_the_unmarked_cells_after_it() -> None:
    assert roles(clean(("x", "step:a"), ("n = 2", "injected-parameters"), "y")) == ["a", "parameters", "a"]


@pytest.mark.parametrize("role", ["imports", "functions", "parameters"])
def test_unmarked_code_after_a_prelude_cell_joins_its_role(role: str) -> None:
    assert roles(clean(("a", role), "b", ("x", "step:s"))) == [role, role, "s"]


def test_unmarked_code_joins_the_step_above_it() -> None:
    assert roles(clean(("x", "step:a"), "y", "", "z", ("w", "step:b"), "v")) == ["a", "a", "a", "a", "b", "b"]


def test_unmarked_code_after_imports_in_the_middle_is_imports() -> None:
    assert roles(clean(("x", "step:a"), ("import os", "imports"), "import sys", ("y", "step:b"))) == [
        "a",
        "imports",
        "imports",
        "b",
    ]


def test_unmarked_code_after_metrics_is_metrics() -> None:
    assert roles(clean(("x", "step:a"), ("print(1)", "pipeline-metrics"), "print(2)")) == ["a", "metrics a", "metrics a"]


def test_a_skip_cell_vanishes_from_between_the_cells_of_a_step_and_a_note_says_so() -> None:
    cells = (("x", "step:a"), ("plot()", "skip"), "y", "z", ("w", "step:b"))
    rejects("KN113", "[cell 3]", *cells, level=Severity.NOTE)
    assert roles(marks(*cells)[0]) == ["a", "skip", "a", "a", "b"]


def test_a_skip_cell_vanishes_from_between_imports() -> None:
    assert roles(marks(("import os", "imports"), ("%%skip\nx"), "import sys", ("y", "step:a"))[0]) == [
        "imports",
        "skip",
        "imports",
        "a",
    ]


def test_code_after_a_skip_cell_with_nothing_above_stands_before_the_first_mark() -> None:
    rejects("KN105", "[cell 2]:1:1", ("x", "skip"), "y", ("z", "step:a"))


def test_comments_after_a_skip_cell_are_not_worth_a_word() -> None:
    clean(("x", "step:a"), ("y", "skip"), "# nothing", "")


def test_marks_for_steps_vanish_with_a_skip_cell() -> None:
    assert clean(("x", "step:a"), ("y", "skip", "prev:b", "limit:cpu:1")).steps[0].after == ()


def test_cells_of_one_name_are_one_step_in_cell_order() -> None:
    marked = clean(("1", "step:a"), ("2", "step:b"), ("3", "step:a", "prev:b"), ("4", "step:a", "prev:c"))
    assert [(s.name, [c.cell.index for c in s.cells]) for s in marked.steps] == [("a", [1, 3, 4]), ("b", [2])]
    assert [(a.name, str(a.location)) for a in marked.steps[0].after] == [("b", "nb.ipynb[cell 3]"), ("c", "nb.ipynb[cell 4]")]


def test_metrics_belong_to_the_step_above_even_over_other_cells() -> None:
    marked = clean(("1", "step:a"), ("import os", "imports"), ("print(1)", "pipeline-metrics"))
    assert roles(marked) == ["a", "imports", "metrics a"]


def test_a_step_mark_beside_a_metrics_mark_makes_metrics_of_that_step() -> None:
    marked = clean(("1", "step:a"), ("2", "step:b"), ("print(1)", "step:a", "pipeline-metrics"))
    assert roles(marked) == ["a", "b", "metrics a"]


def test_markdown_belongs_to_the_step_of_the_code_below_it() -> None:
    marked = clean("MD intro", ("import os", "imports"), "MD a", "MD more", ("1", "step:a"), "MD b", ("2", "step:b"), "MD end")
    assert [c.step for c in marked.cells] == [None, None, "a", "a", "a", "b", "b", "b"]
    assert [[c.cell.index for c in s.cells] for s in marked.steps] == [[3, 4, 5], [6, 7, 8]]


def test_markdown_above_a_skip_cell_belongs_to_nobody() -> None:
    assert clean(("1", "step:a"), "MD plots", ("2", "skip")).cells[1].step is None


@pytest.mark.parametrize(
    "text", ["", "# hello", "\n\n", "%pipeline --name a", "%load_ext kale_nb", "  # x\n\n%pipeline --name a"]
)
def test_what_is_no_code_may_stand_before_the_first_mark(text: str) -> None:
    assert roles(clean(text, ("x", "step:a"))) == ["nothing", "a"]


def test_code_before_the_first_mark_is_an_error_at_its_line() -> None:
    found = rejects("KN105", "[cell 1]:3:3", "# note\n\n  x = 1", ("y", "step:a"))
    assert underlined(found) == "x = 1"


def test_every_cell_before_the_first_mark_is_named() -> None:
    _, found = marks("a", "b", ("c", "step:s"))
    assert [str(d.location) for d in found] == ["nb.ipynb[cell 1]:1:1", "nb.ipynb[cell 2]:1:1"]


def test_two_steps_on_one_cell() -> None:
    rejects("KN101", "[cell 1]", ("x", "step:a", "step:b"))
    assert underlined(rejects("KN101", "[cell 1]:2:8", "%%step a\n%%step b\nx")) == "b"
    rejects("KN101", "[cell 1]", ("%%step a\nx", "step:b"))


@pytest.mark.parametrize("other", ["imports", "functions", "skip", "parameters", "pipeline-parameters"])
def test_a_step_mark_with_another_role_on_one_cell(other: str) -> None:
    rejects("KN103", "[cell 1]", ("x", "step:a", other), ("y", "step:b"))


def test_skip_with_imports_on_one_cell() -> None:
    rejects("KN103", "[cell 1]", ("x", "skip", "imports"), ("y", "step:b"))


def test_imports_and_functions_on_one_cell_is_a_warning() -> None:
    rejects("KN103", "[cell 1]", ("import os", "imports", "functions"), ("y", "step:b"), level=Severity.WARNING)


def test_the_same_mark_twice_is_one_mark() -> None:
    clean(("x", "step:a", "block:a", "step:a"), ("n = 1", "parameters", "pipeline-parameters"))


@pytest.mark.parametrize("name", ["two words", "a.b", "a/b", "a:b", "-", "_", "a!", "a b c"])
def test_a_bad_step_name(name: str) -> None:
    rejects("KN102", "[cell 1]", ("x", f"step:{name}"))


@pytest.mark.parametrize("name", ["train", "Train-2", "größe", "训练", "_x", "2nd", "ü-1_b"])
def test_a_good_step_name(name: str) -> None:
    assert clean(("x", f"step:{name}")).steps[0].name == name
    assert clean(f"%%step {name}\nx").steps[0].name == name


def test_a_bad_name_after_prev() -> None:
    rejects("KN102", "[cell 1]", ("x", "step:a", "prev:b c"))
    rejects("KN102", "[cell 1]", ("x", "step:a", "prev:"))
    assert underlined(rejects("KN102", "[cell 1]:1:20", "%%step a --after b,c.d\nx")) == "c.d"


def test_an_empty_block_mark_is_read_as_unmarked() -> None:
    cells = (("x", "step:a"), ("y", "block:"), ("z", "step:b"))
    rejects("KN114", "[cell 2]", *cells, level=Severity.NOTE)
    rejects("KN114", "[cell 2]", ("x", "step:a"), ("y", "step:"), level=Severity.WARNING)
    assert roles(marks(*cells)[0]) == ["a", "a", "b"]


@pytest.mark.parametrize(("one", "other"), [("Train", "train"), ("a_b", "a-b"), ("größe", "grosse"), ("x" * 63, "x" * 64)])
def test_names_that_collide_on_kubernetes(one: str, other: str) -> None:
    found = rejects("KN104", "[cell 2]", ("x", f"step:{one}"), ("y", f"step:{other}"))
    assert one in found.message
    assert other in found.message


def test_metrics_before_any_step() -> None:
    rejects("KN106", "[cell 1]", ("print(1)", "pipeline-metrics"), ("x", "step:a"))
    assert underlined(rejects("KN106", "[cell 1]:1:1", "%%metrics\nprint(1)", ("x", "step:a"))) == "%%metrics"


def test_a_notebook_without_cells_or_code() -> None:
    rejects("KN010", "")
    rejects("KN010", "", "MD only text")


def test_a_notebook_without_steps() -> None:
    rejects("KN107", "", ("import os", "imports"))


@pytest.mark.parametrize("tag", ["prev:a", "limit:cpu:1", "image:x", "retries:3"])
@pytest.mark.parametrize("role", ["imports", "functions", "parameters"])
def test_a_mark_for_steps_on_a_cell_of_no_step(role: str, tag: str) -> None:
    rejects("KN108", "[cell 1]", ("x", role, tag), ("y", "step:a"), level=Severity.WARNING)


def test_prev_on_an_unmarked_cell_counts_for_the_step_above_and_is_said() -> None:
    cells = (("x", "step:a"), ("y", "prev:b"))
    rejects("KN115", "[cell 2]", *cells, level=Severity.WARNING)
    assert [a.name for a in marks(*cells)[0].steps[0].after] == ["b"]


def test_prev_on_a_metrics_cell_counts_for_its_step() -> None:
    assert [a.name for a in clean(("x", "step:a"), ("print(1)", "pipeline-metrics", "prev:b")).steps[0].after] == ["b"]


def test_a_notebook_without_any_mark_is_told_so_once() -> None:
    _, found = marks("x", "y", "z")
    assert [d.rule.code for d in found] == ["KN107"]


def test_a_mark_on_markdown_is_reported() -> None:
    rejects("KN112", "[cell 1]", ("MD title", "step:a"), ("x", "step:b"), level=Severity.WARNING)


def test_foreign_tags_on_markdown_are_not() -> None:
    clean(("MD title", "hide-cell"), ("x", "step:b"))


def test_prev_may_hold_several_names() -> None:
    assert [a.name for a in clean(("x", "step:a", "prev:b;c", "prev:d,e")).steps[0].after] == ["b", "c", "d", "e"]


def test_all_problems_are_reported_at_once_in_order() -> None:
    _, found = marks("x", ("y", "step:a b"), "%%step c --timeout soon\nz", ("w", "limit:cpu"), settings={"katib_run": True})
    assert [d.rule.code for d in found] == ["KN504", "KN105", "KN102", "KN501", "KN501"]


def test_every_rule_of_marks_says_what_why_and_how() -> None:
    for rule in RULES.values():
        assert rule.what.endswith(".")
        assert rule.why.endswith(".")
        assert rule.mend.endswith(".")
        assert rule.example.strip()


_WORDS = st.sampled_from(
    [
        "step",
        "block",
        "prev",
        "skip",
        "imports",
        "limit",
        "image",
        "secret",
        "retries",
        "timeout",
        "env",
        "label",
        "a",
        "",
        "--after",
    ]
)
_TAGS = st.text(max_size=12) | st.lists(_WORDS | st.text(max_size=4), max_size=4).map(":".join)
_LINES = st.sampled_from(
    [
        "x = 1",
        "%%step a",
        "%%time",
        "%%skip",
        "%pipeline --name b",
        "  %pipeline",
        '"""',
        "f(",
        ")",
        "# c",
        "",
        "%%step",
        "!ls 'x",
        "a\\",
    ]
)
_TEXTS = (
    st.lists(_LINES | st.text(max_size=8), max_size=6).map("\n".join)
    | st.text(max_size=20).map(lambda t: f"%%step {t}\nx")
    | st.text(max_size=20).map(lambda t: f"%pipeline {t}\nx")
)


@given(st.lists(st.tuples(_TEXTS, st.lists(_TAGS, max_size=4)), max_size=5))
@settings(max_examples=400, deadline=None)
def test_reading_marks_never_raises_and_keeps_every_line(cells: list[tuple[str, list[str]]]) -> None:
    marked, found = read_marks(source(*((text, *tags) for text, tags in cells)))
    assert len(marked.cells) == len(cells)
    for cell in marked.cells:
        assert len(cell.code.split("\n")) == len(cell.cell.source.split("\n"))
        assert (cell.step is not None) or cell.role not in (Role.STEP, Role.METRICS)
    gathered = sorted(c.cell.index for s in marked.steps for c in s.cells)
    assert gathered == [c.cell.index for c in marked.cells if c.step is not None]
    for one in found:
        assert one.render()


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
_KEYS = st.sampled_from(
    ["pipeline_name", "docker_image", "volumes", "steps_defaults", "experiment", "marshal_volume", "autosnapshot"]
)


@given(st.dictionaries(_KEYS | st.text(max_size=6), _JSON, max_size=4) | _JSON)
@settings(max_examples=300, deadline=None)
def test_any_metadata_is_read_without_raising(raw: Any) -> None:
    marks(("x", "step:a"), settings=raw)
