"""What runs when, without a kernel and without a clock."""

from __future__ import annotations

from kale_nb.engines.local.scheduler import Node, Schedule, final_state, nodes_of
from kale_nb.names import StepName
from kale_nb.pipeline.model import Retry
from kale_nb.runs.events import State

A, B, C, D = (StepName(name) for name in "abcd")


def diamond(**options: object) -> Schedule:
    nodes = [Node(name=A), Node(name=B, after=(A,)), Node(name=C, after=(A,)), Node(name=D, after=(B, C))]
    return Schedule(nodes, **{"jobs": 4, **options})  # type: ignore[arg-type]


def started(schedule: Schedule, now: float = 0.0) -> list[str]:
    return [start.step for start in schedule.starts(now)]


def test_a_step_starts_when_all_before_it_have_succeeded() -> None:
    schedule = diamond()
    assert started(schedule) == ["a"]
    assert started(schedule) == []
    schedule.succeeded(A)
    assert started(schedule) == ["b", "c"]
    schedule.succeeded(C)
    assert started(schedule) == []
    schedule.succeeded(B)
    assert started(schedule) == ["d"]
    schedule.succeeded(D)
    assert schedule.done


def test_no_more_run_at_once_than_jobs() -> None:
    schedule = Schedule([Node(name=name) for name in (A, B, C)], jobs=2)
    assert started(schedule) == ["a", "b"]
    schedule.succeeded(B)
    assert started(schedule) == ["c"]


def test_independent_branches_go_on_after_a_failure_and_descendants_are_skipped() -> None:
    schedule = diamond()
    started(schedule)
    schedule.succeeded(A)
    started(schedule)
    assert schedule.failed(B, 0.0) is None
    assert schedule.skip_hopeless() == ["d"]
    assert not schedule.done
    schedule.succeeded(C)
    assert schedule.done
    assert final_state(schedule.states.values()) is State.FAILED


def test_fail_fast_starts_nothing_after_a_failure() -> None:
    schedule = diamond(jobs=1, fail_fast=True)
    started(schedule)
    schedule.succeeded(A)
    assert started(schedule) == ["b"]
    schedule.failed(B, 0.0)
    assert schedule.stopping
    assert schedule.skip_hopeless() == ["c", "d"]
    assert schedule.done


def test_a_retry_waits_longer_each_time_and_no_longer_than_its_limit() -> None:
    retry = Retry(attempts=3, interval=1.0, factor=10.0, max_interval=50.0)
    schedule = Schedule([Node(name=A, retry=retry), Node(name=B, after=(A,))], jobs=1)
    waits = []
    now = 0.0
    for attempt in (1, 2, 3):
        assert [start.attempt for start in schedule.starts(now)] == [attempt]
        again = schedule.failed(A, now)
        assert again is not None
        waits.append(again.wait)
        assert started(schedule, now + again.wait - 0.01) == []
        assert schedule.next_start() == now + again.wait
        assert not schedule.skip_hopeless()
        now += again.wait
    assert waits == [1.0, 10.0, 50.0]
    started(schedule, now)
    assert schedule.failed(A, now) is None
    assert schedule.skip_hopeless() == ["b"]


def test_a_step_that_waits_to_be_tried_again_does_not_keep_others_from_running() -> None:
    schedule = Schedule([Node(name=A, retry=Retry(attempts=1, interval=5.0)), Node(name=B)], jobs=1)
    assert started(schedule) == ["a"]
    schedule.failed(A, 0.0)
    assert started(schedule, 0.1) == ["b"]
    assert schedule.next_start() is None, "no place is free"
    schedule.succeeded(B)
    assert schedule.next_start() == 5.0


def test_steps_whose_predecessors_run_are_upcoming() -> None:
    schedule = diamond()
    started(schedule)
    assert schedule.upcoming(4) == ["b", "c"]
    assert schedule.upcoming(1) == ["b"]
    assert schedule.upcoming(0) == []


def test_predecessors_outside_of_the_run_count_as_done() -> None:
    nodes = nodes_of([B], {A: (), B: (A,)}, {})
    assert started(Schedule(nodes, jobs=1)) == ["b"]


def test_nothing_to_run_is_done_at_once() -> None:
    assert Schedule([], jobs=1).done


def test_a_chain_of_thousands_of_steps_does_not_overflow_the_stack() -> None:
    names = [StepName(str(number)) for number in range(3000)]
    schedule = Schedule([Node(name=n, after=(names[i - 1],) if i else ()) for i, n in enumerate(names)], jobs=1)
    started(schedule)
    schedule.failed(names[0], 0.0)
    assert len(schedule.skip_hopeless()) == 2999
