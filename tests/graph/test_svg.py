"""The SVG: whole XML, everything on it, nothing on top of anything else."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_nb.graph.svg import draw_svg, shown_edges
from kale_nb.names import StepName, VarName
from kale_nb.pipeline.model import Need, Pipeline, Step
from kale_nb.runs.events import State

SVG = "{http://www.w3.org/2000/svg}"


def pipeline(after: dict[str, list[str]], needs: dict[str, dict[str, list[str]]] | None = None, name: str = "demo") -> Pipeline:
    steps = tuple(
        Step(
            name=StepName(step),
            index=i,
            after=tuple(StepName(a) for a in before),
            cells=(i + 1,),
            needs=tuple(
                Need(name=VarName(n), producers=tuple(StepName(p) for p in ps)) for n, ps in (needs or {}).get(step, {}).items()
            ),
        )
        for i, (step, before) in enumerate(after.items())
    )
    return Pipeline(name=name, source="nb.ipynb", source_sha256="0" * 64, steps=steps)


def boxes(root: ET.Element) -> list[tuple[float, float, float, float]]:
    found = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "box"]
    return [(float(r.get("x", 0)), float(r.get("y", 0)), float(r.get("width", 0)), float(r.get("height", 0))) for r in found]


def texts(root: ET.Element, kind: str) -> list[str]:
    return ["".join(t.itertext()) for t in root.iter(f"{SVG}text") if t.get("class") == kind]


def test_steps_variables_and_states_are_on_it() -> None:
    graph = pipeline({"load": [], "fit": ["load"]}, {"fit": {"df": ["load"]}})
    root = ET.fromstring(draw_svg(graph, {StepName("fit"): State.FAILED}, {StepName("fit"): "1.2 s"}))
    assert texts(root, "name") == ["load", "fit"]
    assert texts(root, "note") == ["cell 1", "1.2 s"]
    assert any(label.endswith("df") for label in texts(root, "label"))
    assert "step failed" in [g.get("class") for g in root.iter(f"{SVG}g")]


@pytest.mark.parametrize("odd", ["<&>\"'", "训练", "größe", "\x00\x1b[31m", "\ud800"])
def test_any_text_makes_whole_xml(odd: str) -> None:
    text = draw_svg(pipeline({odd: [], "b": [odd]}, {"b": {odd: [odd]}}, name=odd))
    ET.fromstring(text.encode("utf-8"))


def test_on_a_page_boxes_lead_where_they_are_told() -> None:
    graph = pipeline({"a": [], "b": ["a"]})
    root = ET.fromstring(draw_svg(graph, links={StepName("b"): '#x"<&'}))
    [link] = root.iter(f"{SVG}a")
    assert (link.get("href"), next(text.text for text in link.iter(f"{SVG}text"))) == ('#x"<&', "b")
    assert root.get("role") == "group"
    assert ET.fromstring(draw_svg(graph)).get("role") == "img"


def test_it_needs_nothing_from_elsewhere() -> None:
    text = draw_svg(pipeline({"a": []}))
    assert text.count("http") == 1  # the namespace
    assert "prefers-color-scheme: dark" in text


def test_no_steps_draw_an_empty_picture() -> None:
    ET.fromstring(draw_svg(pipeline({})))


def test_many_variables_are_counted_and_listed_in_the_tooltip() -> None:
    graph = pipeline({"a": [], "b": ["a"]}, {"b": {f"v{i}": ["a"] for i in range(9)}})
    text = draw_svg(graph)
    assert "v0, v1, v2 +6" in text
    assert "<title>" + ", ".join(f"v{i}" for i in range(9)) + "</title>" in text


def test_an_edge_without_variables_that_a_path_implies_is_not_drawn() -> None:
    graph = pipeline({"a": [], "b": ["a"], "c": ["a", "b"]})
    assert [(e.source, e.target) for e in shown_edges(graph)] == [("a", "b"), ("b", "c")]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 20), max_size=4), min_size=1, max_size=16))
def test_no_box_lies_on_another_and_all_lie_inside(choices: list[list[int]]) -> None:
    after = {
        f"step-{i}": [f"step-{p}" for p in dict.fromkeys(c % i for c in chosen)] if i else [] for i, chosen in enumerate(choices)
    }
    root = ET.fromstring(draw_svg(pipeline(after, {s: {f"from_{p}": [p] for p in ps} for s, ps in after.items()})))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    found = boxes(root)
    assert len(found) == len(after)
    for x, y, w, h in found:
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
    for (x1, y1, w1, h1), (x2, y2, w2, h2) in combinations(found, 2):
        assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1


def test_a_hundred_steps_are_drawn_in_a_moment() -> None:
    after = {f"s{i}": [f"s{j}" for j in range(max(0, i - 3), i)] for i in range(100)}
    ET.fromstring(draw_svg(pipeline(after, {s: {f"v_{p}": [p] for p in ps} for s, ps in after.items()})))
