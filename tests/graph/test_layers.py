"""The layered layout: layers respect the order, crossings go, every edge finds its way."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kale_nb.graph.layers import Node, crossings, lay_out, reduced
from kale_nb.names import StepName

Edges = list[tuple[StepName, StepName]]


def names(*texts: str) -> list[StepName]:
    return [StepName(text) for text in texts]


def edges(text: str) -> Edges:
    return [(StepName(a), StepName(b)) for a, b in (pair.split(">") for pair in text.split())]


def steps_of(layout_layers: tuple[tuple[Node, ...], ...]) -> list[list[str]]:
    return [[node.step for node in layer if node.is_step] for layer in layout_layers]


def test_a_step_stands_below_its_longest_path() -> None:
    layout = lay_out(names("a", "b", "c", "d"), edges("a>b b>c a>c c>d"))
    assert steps_of(layout.layers) == [["a"], ["b"], ["c"], ["d"]]


def test_a_source_stands_just_above_the_step_that_waits_for_it() -> None:
    layout = lay_out(names("a", "b", "late", "c"), edges("a>b b>c late>c"))
    assert [set(layer) for layer in steps_of(layout.layers)] == [{"a"}, {"b", "late"}, {"c"}]


def test_crossings_that_can_be_avoided_are() -> None:
    layout = lay_out(names("a", "b", "x", "y"), edges("a>y b>x"))
    links = [link for route in layout.routes.values() for link in pairwise(route)]
    assert crossings(layout.layers, links) == 0


def test_a_tie_does_not_keep_a_crossing() -> None:
    layout = lay_out(names("clean", "holidays", "split", "explore"), edges("clean>split clean>explore holidays>split"), stride=2)
    links = [link for route in layout.routes.values() for link in pairwise(route)]
    assert crossings(layout.layers, links) == 0


def test_no_steps_and_one_step_are_graphs_too() -> None:
    assert lay_out([], []).layers == ()
    assert steps_of(lay_out(names("a"), []).layers) == [["a"]]


def test_edges_that_a_longer_path_implies_are_left_out() -> None:
    assert reduced(names("a", "b", "c"), edges("a>b b>c a>c")) == tuple(edges("a>b b>c"))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[StepName], Edges]:
    count = draw(st.integers(1, 14))
    steps = [StepName(f"s{i}") for i in range(count)]
    pairs = [(steps[i], steps[j]) for j in range(count) for i in range(j)]
    return steps, draw(st.lists(st.sampled_from(pairs), unique=True, max_size=30)) if pairs else []


@given(graphs(), st.integers(1, 2))
def test_every_step_has_one_place_and_every_edge_goes_down_a_layer_at_a_time(
    graph: tuple[list[StepName], Edges], stride: int
) -> None:
    steps, pairs = graph
    layout = lay_out(steps, pairs, stride=stride)
    level = {node: i for i, layer in enumerate(layout.layers) for node in layer}
    assert sorted(node.step for node in level if node.is_step) == sorted(steps)
    assert len(level) == sum(len(layer) for layer in layout.layers)
    for (source, target), route in layout.routes.items():
        assert (route[0], route[-1]) == (Node(source), Node(target))
        assert [level[node] for node in route] == list(range(level[route[0]], level[route[-1]] + 1))


@given(graphs())
def test_the_reduced_graph_orders_the_same(graph: tuple[list[StepName], Edges]) -> None:
    steps, pairs = graph
    assert closure(steps, pairs) == closure(steps, list(reduced(steps, pairs)))


def closure(steps: list[StepName], pairs: Edges) -> dict[StepName, set[StepName]]:
    before: dict[StepName, set[StepName]] = {}
    for step in steps:
        direct = [source for source, target in pairs if target == step]
        before[step] = set(direct).union(*(before[source] for source in direct))
    return before
