"""The drawing for a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kale_nb.graph.rails import rows
from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline, Step


def pipeline(**after: str) -> Pipeline:
    steps = tuple(
        Step(name=StepName(name), index=i, after=tuple(StepName(a) for a in text.split()))
        for i, (name, text) in enumerate(after.items())
    )
    return Pipeline(name="demo", source="nb.ipynb", source_sha256="0" * 64, steps=steps)


def drawn(of: Pipeline) -> str:
    return "\n".join(f"{row.rails} {row.step}" if row.step else row.rails for row in rows(of))


def test_a_chain_is_a_column() -> None:
    assert drawn(pipeline(a="", b="a", c="b")) == "● a\n● b\n● c"


def test_a_diamond_parts_and_joins() -> None:
    assert drawn(pipeline(load="", a="load", b="load", join="a b")) == (
        "●   load\n├─╮\n│ ● a\n● │ b\n├─╯\n●   join".replace("●   ", "● ")
    )


def test_three_branches_join_from_one_side() -> None:
    expected = """\
● load
├─╮
│ ● a
├─│─╮
│ │ ● b
● │ │ c
├─┴─╯
● join"""
    assert drawn(pipeline(load="", a="load", b="load", c="load", join="a b c")) == expected


def test_steps_that_nothing_ties_are_kept_apart() -> None:
    assert drawn(pipeline(a="", b="", c="b")) == "● a\n\n● b\n● c"


def test_an_edge_that_a_longer_path_implies_is_not_drawn() -> None:
    assert drawn(pipeline(a="", b="a", c="a b")) == "● a\n● b\n● c"


def test_no_steps_draw_nothing() -> None:
    assert rows(pipeline()) == ()


@given(st.lists(st.lists(st.integers(0, 20), max_size=4, unique=True), min_size=1, max_size=20))
def test_every_step_has_one_line_and_one_dot_on_it(choices: list[list[int]]) -> None:
    after = {f"s{i}": [f"s{c % i}" for c in chosen if i] for i, chosen in enumerate(choices)}
    graph = pipeline(**{step: " ".join(dict.fromkeys(before)) for step, before in after.items()})
    drawing = rows(graph)
    assert [row.step for row in drawing if row.step] == [step.name for step in graph.steps]
    assert all(row.rails.count("●") == (row.step is not None) for row in drawing)
    assert all(reads_as_drawn(drawing, graph))


def reads_as_drawn(drawing: object, graph: Pipeline) -> list[bool]:
    """Follow the lines: from each dot down, every rail that goes on must lead to a step that waits for it."""
    grid = [list(row.rails) for row in drawing]  # type: ignore[attr-defined]
    joined = {
        "●": "du",
        "│": "du",
        "├": "dur",
        "┤": "dul",
        "┼": "dulr",
        "╰": "ur",
        "╯": "ul",
        "┴": "ulr",
        "╭": "dr",
        "╮": "dl",
        "┬": "dlr",
    }
    found = []
    for y, row in enumerate(drawing):  # type: ignore[call-overload]
        if row.step is None:
            continue
        x = row.rails.index("●")
        above = grid[y - 1][x] if y and x < len(grid[y - 1]) else " "
        waits = bool(graph.step(row.step).after)
        found.append(waits == ("d" in joined.get(above, "") and above != " "))
    return found
