"""Who needs which name from whom (`kale_nb.dataflow.flow`, `kale_nb.dataflow.reaching`)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kale_nb.dataflow.flow import Flow
from kale_nb.dataflow.reaching import FEW, Reaching
from kale_nb.names import StepName
from kale_nb.pipeline.model import Certainty
from kale_nb.pipeline.order import ancestors_of
from tests.dataflow.blocks import flow_of

REQUIRED, LIKELY, POSSIBLE = Certainty.REQUIRED, Certainty.LIKELY, Certainty.POSSIBLE


def wants(flow: Flow, step: str) -> dict[str, tuple[Certainty, tuple[str, ...]]]:
    return {w.name: (w.certainty, w.producers) for w in flow.wants[StepName(step)]}


def offers(flow: Flow, step: str) -> dict[str, Certainty]:
    return dict(flow.offers[StepName(step)])


def test_a_name_comes_from_the_step_that_bound_it_last() -> None:
    flow = flow_of(a="x = 1", b="# after a\nx = 2", c="# after b\nprint(x)")
    assert wants(flow, "c") == {"x": (REQUIRED, ("b",))}
    assert (offers(flow, "a"), offers(flow, "b")) == ({}, {"x": REQUIRED})


def test_a_name_passes_through_steps_that_do_not_touch_it() -> None:
    flow = flow_of(a="x = 1", b="# after a\ny = 2", c="# after b\nprint(x)")
    assert wants(flow, "b") == {}
    assert wants(flow, "c") == {"x": (REQUIRED, ("a",))}
    assert offers(flow, "b") == {}


def test_a_step_that_reads_a_name_may_change_it_and_offers_it_too() -> None:
    flow = flow_of(a="x = [1]", b="# after a\nf(x)\ndef f(x): pass", c="# after b\nprint(x)")
    assert offers(flow, "b")["x"] is REQUIRED


def test_a_name_bound_on_some_path_has_two_producers() -> None:
    flow = flow_of(a="x = 1\nq = 0", b="# after a\nif q: x = 2", c="# after b\nprint(x)")
    assert wants(flow, "c")["x"] == (REQUIRED, ("b",))
    assert offers(flow, "a")["x"] is REQUIRED
    assert offers(flow, "b")["x"] is REQUIRED


def test_a_name_nobody_reads_is_not_offered() -> None:
    assert offers(flow_of(a="x = 1\ny = 2", b="# after a\nprint(y)"), "a") == {"y": REQUIRED}


def test_a_name_bound_again_before_it_is_read_is_not_offered() -> None:
    assert offers(flow_of(a="x = 1", b="# after a\nx = 2\nprint(x)"), "a") == {}


def test_a_name_that_a_function_reads_is_likely_wanted() -> None:
    flow = flow_of("def f(): return x", a="x = 1", b="# after a\nprint(f())")
    assert wants(flow, "b")["x"] == (LIKELY, ("a",))
    assert offers(flow, "a")["x"] is LIKELY


def test_functions_are_followed_through_each_other_and_through_ancestors() -> None:
    flow = flow_of("def f(): return g()", a="x = 1\ndef g(): return x", b="# after a\nprint(f())")
    assert {"g", "x"} <= wants(flow, "b").keys()


def test_a_function_of_a_step_beside_is_not_followed() -> None:
    flow = flow_of(a="x = 1", b="# after a\ndef g(): return x", c="# after a\ng = 1\nprint(g)")
    assert "x" not in wants(flow, "c")


def test_code_that_cannot_be_seen_may_want_everything() -> None:
    flow = flow_of(a="x = 1\ny = 2", b="# after a\nexec(open('f').read())")
    assert wants(flow, "b") == {"x": (POSSIBLE, ("a",)), "y": (POSSIBLE, ("a",))}


def test_a_read_that_nothing_satisfies_is_missing() -> None:
    flow = flow_of(a="x = 1", b="# after a\nprint(z)")
    assert [(m.step, m.read.name, m.deleted_by) for m in flow.missing] == [("b", "z", None)]


def test_a_read_of_a_deleted_name_is_missing_with_the_one_who_deleted_it() -> None:
    flow = flow_of(a="x = 1", b="# after a\ndel x", c="# after b\nprint(x)")
    assert [(m.step, m.read.name, m.deleted_by) for m in flow.missing] == [("c", "x", "b")]


def test_a_read_is_not_missing_where_an_ancestor_may_bind_anything() -> None:
    assert not flow_of(a="from numpy import *", b="# after a\nprint(z)").missing
    assert not flow_of("from numpy import *", a="x = 1", b="# after a\nprint(z)").missing


def test_a_prelude_name_is_wanted_only_where_a_step_may_have_changed_it() -> None:
    flow = flow_of("seen = []\nlimit = 1", a="seen.append(1)", b="# after a\nprint(seen, limit)", c="print(seen)")
    assert wants(flow, "b") == {"seen": (LIKELY, ("a",))}
    assert wants(flow, "c") == {}
    assert flow.traced[StepName("a")] == ("seen",)


def test_imports_and_functions_of_the_prelude_are_not_data() -> None:
    flow = flow_of("import os\ndef f(): return 1", a="print(os.sep)", b="# after a\nprint(os.sep)")
    assert wants(flow, "b") == {}


def test_a_join_of_two_writers_is_a_conflict_only_if_both_surely_write() -> None:
    fork = {"a": "x = 0\nq = 1", "c": "# after a\nx = 2"}
    assert [
        (c.step, c.read.name, c.writers) for c in flow_of(**fork, b="# after a\nx = 1", d="# after b, c\nprint(x)").conflicts
    ] == [("d", "x", ("c", "b"))]
    assert not flow_of(**fork, b="# after a\nif q: x = 1", d="# after b, c\nprint(x)").conflicts


def test_the_version_of_the_later_of_two_ordered_writers_wins_a_join() -> None:
    flow = flow_of(a="x = 0", b="# after a\nx = 1", c="# after a, b\nprint(x)")
    assert wants(flow, "c") == {"x": (REQUIRED, ("b",))}
    assert not flow.conflicts


def test_a_race_is_a_writer_above_the_reader_and_beside_it() -> None:
    races = flow_of(a="x = [0]", b="# after a\nx.append(1)", c="# after a\nprint(x)").races
    assert [(r.reader, r.read.name, r.writer, r.mutation is not None) for r in races] == [("c", "x", "b", True)]
    assert not flow_of(a="x = [0]", c="# after a\nprint(x)", b="# after a\nx.append(1)").races
    assert not flow_of(a="x = [0]", b="# after a\nx.append(1)", c="# after b\nprint(x)").races


def test_a_number_that_is_added_to_is_bound_again() -> None:
    races = flow_of(a="x = 0", b="# after a\nx += 1", c="# after a\nprint(x)").races
    assert [r.mutation for r in races] == [None]
    races = flow_of(a="x = make()\ndef make(): return []", b="# after a\nx += [1]", c="# after a\nprint(x)").races
    assert [r.mutation is not None for r in races] == [True]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[StepName, tuple[StepName, ...]], dict[StepName, set[str]], dict[StepName, set[str]]]:
    count = draw(st.integers(1, 14))
    names = [StepName(f"s{i}") for i in range(count)]
    after = {n: tuple(sorted(draw(st.sets(st.sampled_from(names[:i]), max_size=3)))) if i else () for i, n in enumerate(names)}
    writes = {n: {"x"} if draw(st.booleans()) else set[str]() for n in names}
    kills = {n: {"x"} if draw(st.integers(0, 9)) == 0 else set[str]() for n in names}
    return after, writes, kills


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_last_writers_are_those_of_a_plain_walk_over_the_whole_graph(
    drawn: tuple[dict[StepName, tuple[StepName, ...]], dict[StepName, set[str]], dict[StepName, set[str]]],
) -> None:
    after, writes, kills = drawn
    ancestors = ancestors_of(after)
    reaching = Reaching(after, ancestors, writes, kills)
    left: dict[StepName, frozenset[StepName]] = {}
    for step, before in after.items():
        met = frozenset().union(*(left[p] for p in before))
        met = frozenset(w for w in met if not any(w in ancestors[o] for o in met))
        assert reaching.before("x", step).writers == met
        left[step] = frozenset() if kills[step] else frozenset({step}) if writes[step] else met


def test_many_writers_in_a_long_chain_are_settled_without_recursion() -> None:
    names = [StepName(f"s{i}") for i in range(3000)]
    after = {n: (names[i - 1],) if i else () for i, n in enumerate(names)}
    writes = {n: {"x"} if i < FEW + 2 else set[str]() for i, n in enumerate(names)}
    reaching = Reaching(after, ancestors_of(after), writes, {n: set[str]() for n in names})
    assert reaching.before("x", names[-1]).writers == {names[FEW + 1]}
