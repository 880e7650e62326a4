"""Which step runs when: pure, fed with what happened and with the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kale_nb.names import StepName
from kale_nb.pipeline.model import Retry
from kale_nb.runs.events import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A step as the scheduler sees it. `after` names only steps of the same schedule."""

    name: StepName
    after: tuple[StepName, ...] = ()
    retry: Retry = Retry()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A step to be started now; `attempt` counts from 1."""

    step: StepName
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A failed step that will be tried again after `wait` seconds."""

    step: StepName
    attempt: int
    wait: float


class Schedule:
    """The state of all steps of a run.

    Call `starts` to learn what to start now, `succeeded` or `failed` when a step has ended, and `skipped` for the steps that no longer can
    run. With `fail_fast`, nothing starts after the first final failure.

    >>> a, b = StepName("a"), StepName("b")
    >>> s = Schedule([Node(name=a), Node(name=b, after=(a,))], jobs=2)
    >>> [start.step for start in s.starts(0.0)]
    ['a']
    >>> s.succeeded(a); [start.step for start in s.starts(0.0)]
    ['b']
    """

    def __init__(self, nodes: Iterable[Node], *, jobs: int, fail_fast: bool = False) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._jobs = max(1, jobs)
        self._fail_fast = fail_fast
        self.states: dict[StepName, State] = dict.fromkeys(self._nodes, State.PENDING)
        self._attempts: dict[StepName, int] = dict.fromkeys(self._nodes, 0)
        self._not_before: dict[StepName, float] = {}
        self._stopped = False
        self._hopeless: set[StepName] = set()
        self._next: dict[StepName, list[StepName]] = {name: [] for name in self._nodes}
        for node in self._nodes.values():
            for before in node.after:
                self._next[before].append(node.name)

    @property
    def running(self) -> tuple[StepName, ...]:
        """The steps that run now."""
        return tuple(name for name, state in self.states.items() if state is State.RUNNING)

    @property
    def done(self) -> bool:
        """Nothing runs and nothing will."""
        return not self.running and not any(self._may_run(name) for name in self._nodes)

    @property
    def stopping(self) -> bool:
        """A failure ended the run early: what still runs is to be stopped."""
        return self._stopped

    def starts(self, now: float) -> list[Start]:
        """Return the steps to start at the time `now`, in source order, and take them for running."""
        started = []
        free = self._jobs - len(self.running)
        for name in self._nodes:
            if free <= 0:
                break
            if self._may_run(name) and self._is_free(name) and self._not_before.get(name, now) <= now:
                self.states[name] = State.RUNNING
                self._attempts[name] += 1
                started.append(Start(step=name, attempt=self._attempts[name]))
                free -= 1
        return started

    def upcoming(self, count: int) -> list[StepName]:
        """Return up to `count` steps that will probably start next: those that wait only for steps that run or for a free place."""
        if count <= 0:
            return []
        settled = (State.SUCCEEDED, State.RUNNING)
        ready = [
            name
            for name, node in self._nodes.items()
            if self._may_run(name)
            and name not in self._not_before
            and all(self.states[before] in settled for before in node.after)
        ]
        return ready[:count]

    def next_start(self) -> float | None:
        """Return the earliest time at which a step that waits to be tried again may start; None when none waits or no place is free."""
        if len(self.running) >= self._jobs:
            return None
        times = [time for name, time in self._not_before.items() if self._may_run(name)]
        return min(times, default=None)

    def succeeded(self, step: StepName) -> None:
        """Take note that a running step has ended well."""
        self.states[step] = State.SUCCEEDED

    def failed(self, step: StepName, now: float, *, final: bool = False) -> Again | None:
        """Take note that a running step has failed; return when it will be tried again, None when it will not.

        Args:
            final: trying again would change nothing.
        """
        retry, attempt = self._nodes[step].retry, self._attempts[step]
        if attempt <= retry.attempts and not self._stopped and not final:
            wait = min(retry.max_interval, retry.interval * retry.factor ** (attempt - 1))
            self.states[step] = State.PENDING
            self._not_before[step] = now + wait
            return Again(step=step, attempt=attempt, wait=wait)
        self.states[step] = State.FAILED
        self._give_up_after(step)
        self._stopped = self._stopped or self._fail_fast
        return None

    def cancelled(self, step: StepName) -> None:
        """Take note that a running step was stopped."""
        self.states[step] = State.CANCELLED
        self._give_up_after(step)

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped = True

    def skip_hopeless(self) -> list[StepName]:
        """Mark and return the steps that can no longer run, in source order."""
        hopeless = [name for name, state in self.states.items() if state is State.PENDING and not self._may_run(name)]
        for name in hopeless:
            self.states[name] = State.SKIPPED
        return hopeless

    def _is_free(self, name: StepName) -> bool:
        return all(self.states[before] is State.SUCCEEDED for before in self._nodes[name].after)

    def _may_run(self, name: StepName) -> bool:
        return self.states[name] is State.PENDING and not self._stopped and name not in self._hopeless

    def _give_up_after(self, step: StepName) -> None:
        waiting = [step]
        while waiting:
            for name in self._next[waiting.pop()]:
                if name not in self._hopeless:
                    self._hopeless.add(name)
                    waiting.append(name)


def nodes_of(
    steps: Sequence[StepName], after: Mapping[StepName, tuple[StepName, ...]], retries: Mapping[StepName, Retry]
) -> list[Node]:
    """Return the nodes of a schedule of `steps`; predecessors that are not among them count as done."""
    chosen = set(steps)
    return [
        Node(name=name, after=tuple(b for b in after[name] if b in chosen), retry=retries.get(name, Retry())) for name in steps
    ]


def final_state(states: Iterable[State]) -> State:
    """Return how a run ended whose steps ended in `states`.

    >>> final_state([State.SUCCEEDED, State.SKIPPED, State.FAILED]).value
    'failed'
    """
    found = set(states)
    if State.FAILED in found:
        return State.FAILED
    return State.CANCELLED if State.CANCELLED in found else State.SUCCEEDED
