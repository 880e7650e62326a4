"""Questions about the graph (`kale_nb.pipeline.order`)."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from kale_nb.names import StepName, VarName
from kale_nb.pipeline import order
from kale_nb.pipeline.model import Need, Pipeline, Step


def _after(**before: str) -> dict[StepName, tuple[StepName, ...]]:
    return {StepName(n): tuple(StepName(p) for p in text.split()) for n, text in before.items()}


def _pipeline(**before: str) -> Pipeline:
    steps = tuple(Step(name=n, index=i, after=p) for i, (n, p) in enumerate(_after(**before).items()))
    return Pipeline(name="p", source="p.ipynb", source_sha256="0", steps=steps)


def test_steps_without_order_stay_in_source_order() -> None:
    assert order.sort_steps(_after(c="", a="", b="")) == ("c", "a", "b")


def test_a_step_stands_after_its_predecessors_and_as_near_to_its_place_as_that_allows() -> None:
    assert order.sort_steps(_after(d="c", a="", c="a", b="a")) == ("a", "c", "d", "b")


def test_a_predecessor_named_twice_counts_once() -> None:
    assert order.sort_steps({StepName("a"): (), StepName("b"): (StepName("a"), StepName("a"))}) == ("a", "b")


def test_steps_on_a_circle_and_behind_it_are_left_out() -> None:
    assert order.sort_steps(_after(a="", b="c", c="b", d="c", e="a")) == ("a", "e")


def test_no_circle_is_found_where_there_is_none() -> None:
    assert order.find_cycles(_after(a="", b="a", c="a b")) == ()


def test_a_circle_is_found_once_whatever_leads_into_it() -> None:
    for circle in (
        order.find_cycles(_after(a="b", b="a")),
        order.find_cycles(_after(x="a", a="b", b="a", y="b")),
        order.find_cycles(_after(a="b root", b="a", root="")),
    ):
        assert [set(c) for c in circle] == [{"a", "b"}]


def test_members_of_a_circle_stand_in_running_order() -> None:
    (circle,) = order.find_cycles(_after(a="c", b="a", c="b"))
    doubled = circle * 2
    assert doubled[doubled.index("a") :][:3] == ("a", "b", "c")


def test_two_circles_are_both_found() -> None:
    assert [set(c) for c in order.find_cycles(_after(a="b", b="a", c="d", d="c"))] == [{"a", "b"}, {"c", "d"}]


def test_a_step_that_waits_for_itself_is_a_circle_of_one() -> None:
    assert order.find_cycles(_after(a="a")) == (("a",),)


def test_ancestors_are_all_that_must_have_run() -> None:
    pipeline = _pipeline(a="", b="a", c="", d="b c")
    assert order.ancestors(pipeline, StepName("d")) == {"a", "b", "c"}
    assert order.ancestors(pipeline, StepName("a")) == frozenset()


def test_what_runs_until_a_step_is_the_step_and_its_ancestors_in_source_order() -> None:
    pipeline = _pipeline(d="b", a="", b="a", c="a")
    assert order.closed_under_predecessors(pipeline, [StepName("d")]) == ("d", "a", "b")


def test_a_chain_of_a_thousand_steps_is_quick() -> None:
    names = [StepName(f"s{i}") for i in range(1000)]
    after = {n: (names[i - 1],) if i else () for i, n in enumerate(names)}
    started = time.process_time()
    assert order.sort_steps(after) == tuple(names)
    assert len(order.ancestors_of(after)[names[-1]]) == 999
    assert time.process_time() - started < 1


def test_a_circle_of_a_thousand_steps_is_found() -> None:
    names = [StepName(f"s{i}") for i in range(1000)]
    (circle,) = order.find_cycles({n: (names[i - 1],) for i, n in enumerate(names)})
    assert set(circle) == set(names)


def test_edges_are_the_orders_asked_for_and_the_names_that_pass() -> None:
    need = Need(name=VarName("x"), producers=(StepName("a"),))
    steps = (
        Step(name=StepName("a"), index=0),
        Step(name=StepName("b"), index=1, after=(StepName("a"),)),
        Step(name=StepName("c"), index=2, after=(StepName("b"),), needs=(need,)),
    )
    pipeline = Pipeline(name="p", source="p.ipynb", source_sha256="0", steps=steps)
    assert [(e.source, e.target, e.names) for e in order.edges(pipeline)] == [("a", "b", ()), ("a", "c", ("x",)), ("b", "c", ())]


@given(st.integers(0, 20).flatmap(lambda n: st.tuples(*(st.sets(st.integers(0, max(0, n - 1)), max_size=4) for _ in range(n)))))
def test_every_step_is_sorted_or_hangs_on_a_circle(drawn: tuple[set[int], ...]) -> None:
    after = {StepName(str(i)): tuple(StepName(str(p)) for p in sorted(before)) for i, before in enumerate(drawn)}
    done = order.sort_steps(after)
    place = {n: i for i, n in enumerate(done)}
    assert all(place[p] < place[n] for n in done for p in after[n])
    cycles = order.find_cycles(after)
    assert bool(cycles) == (len(done) < len(after))
    for cycle in cycles:
        assert all(cycle[i - 1] in after[n] for i, n in enumerate(cycle))
