"""What the server says of a run, as events: one look after the other, each event told once.

The tasks of a run come as the workflow engine's nodes, by their display names: our own tasks among drivers and executors. A node that was
never reached has no state. Times that are not known are the epoch.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kale_nb.engines.kfp.plan import Claim, Origin
from kale_nb.names import StepName, kubernetes_name
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.order import topological
from kale_nb.pipeline.volumes import WORKSPACE
from kale_nb.runs.events import Event, Failure, RunWarning, State, StepFinished, StepRetrying, StepStarted, VolumeCreated

Body = Mapping[str, Any]

FINAL = {
    "SUCCEEDED": State.SUCCEEDED,
    "SKIPPED": State.SKIPPED,
    "FAILED": State.FAILED,
    "CANCELED": State.CANCELLED,
}
GOING = ("", "RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "CANCELING", "PAUSED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a task that makes a volume is told to make.

    Attributes:
        size: bytes; 0 when not known.
        snapshot: its name; empty when there is none.
    """

    claim: Claim
    mount: str | None
    size: int
    snapshot: str


class Follower:
    """Turns looks at a run into events.

    Args:
        pipeline: what was submitted.
        folder: the run's folder on this machine.
        made: the volumes that the run makes.
        known: states of steps that were told before, with their attempts.
        volumes: names of the tasks whose volumes were told before.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        folder: Path,
        made: Sequence[Made],
        known: Mapping[StepName, tuple[State, int]] | None = None,
        volumes: Sequence[str] = (),
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._made = {each.claim.task: each for each in made if each.claim.task not in volumes}
        self._states = {step.name: State.PENDING for step in pipeline.steps}
        self._attempts = dict.fromkeys(self._states, 0)
        for name, (state, attempt) in (known or {}).items():
            self._states[name] = State.PENDING if state is State.INTERRUPTED else state
            self._attempts[name] = attempt
        self._odd: set[str] = set()

    def look(self, run: Body, now: float) -> Iterator[Event]:
        """Give what is new since the last look, in an order that could have been."""
        tasks: dict[str, Body] = {}
        for task in (run.get("run_details") or {}).get("task_details") or ():
            tasks[str(task.get("display_name") or "")] = task
        state = str(run.get("state") or "")
        if state not in FINAL and state not in GOING:
            yield from self._once(now, f"the server says that the run is {state}, which is not known here")
        if state == "PAUSED":
            yield from self._once(now, "the run is paused on the server: it goes on when it is resumed there")
        for made in list(self._made.values()):
            yield from self._volume(made, tasks.get(made.claim.task, {}), now)
        for step in topological(self._pipeline):
            yield from self._step(step, tasks.get(kubernetes_name(step), {}), now, state)

    @property
    def has_ended_step(self) -> bool:
        """Whether any step has come to its end."""
        return any(state not in (State.PENDING, State.RUNNING) for state in self._states.values())

    def ended(self, run: Body) -> State | None:
        """Return how the run ended; None while it goes on."""
        return FINAL.get(str(run.get("state") or ""))

    def _once(self, now: float, message: str) -> Iterator[Event]:
        if message not in self._odd:
            self._odd.add(message)
            yield RunWarning(time=now, message=message)

    def _volume(self, made: Made, task: Body, now: float) -> Iterator[Event]:
        claim = made.claim
        match task.get("state"):
            case "SUCCEEDED" | "SKIPPED":
                del self._made[claim.task]
                name = WORKSPACE if claim.use == "workspace" else claim.name or claim.use
                yield VolumeCreated(
                    time=moment(task.get("end_time")) or now,
                    step=claim.task,
                    volume=name,
                    path=self._folder / "volumes" / name,
                    files=0,
                    size=made.size,
                    seconds=_seconds(task),
                    mount_point=None if made.mount is None else Path(made.mount),
                    mechanism="empty" if claim.origin is Origin.NEW else "claim",
                )
            case "FAILED":
                why = _error(task)
                yield from self._once(
                    now, f"{claim.task} failed{f': {why}' if why else ''}; `kale doctor --engine kfp` checks what volumes need"
                )

    def _step(self, step: StepName, task: Body, now: float, run_state: str) -> Iterator[Event]:
        if self._states[step] not in (State.PENDING, State.RUNNING):
            return
        said = str(task.get("state") or "")
        end = FINAL.get(said)
        if end is None and run_state == "SUCCEEDED":
            end = State.SUCCEEDED  # a run cannot succeed without its steps; details may lag
        if end is State.SKIPPED and not self._hopeless(step):
            end = State.SUCCEEDED
        began = moment(task.get("start_time")) or now
        if end is not State.SKIPPED and (said in ("RUNNING", "CANCELING") or end in (State.SUCCEEDED, State.FAILED)):
            yield from self._attempt(step, task, began, now)
        if end is None:
            return
        self._states[step] = end
        cached = said == "SKIPPED" and end is State.SUCCEEDED
        yield StepFinished(
            time=moment(task.get("end_time")) or now,
            step=step,
            state=end,
            seconds=_seconds(task),
            attempt=self._attempts[step],
            failure=_failure(step, task) if end is State.FAILED else None,
            warnings=("not run: its outcome was taken from the cache of Kubeflow Pipelines",) if cached else (),
        )

    def _attempt(self, step: StepName, task: Body, began: float, now: float) -> Iterator[Event]:
        """Tell the attempts that have begun since the last look."""
        failed = _failed_attempts(task)
        while self._attempts[step] < len(failed) + 1:
            number = self._attempts[step]
            if number:
                yield StepRetrying(time=now, step=step, attempt=number, wait=0.0, failure=failed[number - 1])
            self._attempts[step] = number + 1
            self._states[step] = State.RUNNING
            yield StepStarted(time=began if not number else now, step=step, attempt=number + 1)

    def _hopeless(self, step: StepName) -> bool:
        """Tell whether a step before this one did not succeed."""
        return any(
            self._states[before] in (State.FAILED, State.SKIPPED, State.CANCELLED) for before in self._pipeline.step(step).after
        )


def _failed_attempts(task: Body) -> list[Failure]:
    """Return the attempts of a task that failed and were followed by another, where the server tells."""
    history = [str(each.get("state") or "") for each in task.get("state_history") or ()]
    errors = [_said(each) for each in task.get("state_history") or () if each.get("state") == "FAILED"]
    count = sum(
        state == "FAILED" and any(s in ("RUNNING", "PENDING") for s in history[i + 1 :]) for i, state in enumerate(history)
    )
    jobs = (task.get("executor_detail") or {}).get("failed_main_jobs") or ()
    count = max(count, len(jobs) - (task.get("state") == "FAILED"))
    return [
        Failure(kind="exception", message=(errors[i] if i < len(errors) else "") or "it failed; the pod's log says why")
        for i in range(count)
    ]


def _failure(step: StepName, task: Body) -> Failure:
    return Failure(kind="exception", message=_error(task) or f"step {step} failed on the cluster")


def _error(task: Body) -> str:
    return _said(task)


def _said(body: Body) -> str:
    return " ".join(str((body.get("error") or {}).get("message") or "").split())


def _seconds(task: Body) -> float:
    start, end = moment(task.get("start_time")), moment(task.get("end_time"))
    return max(0.0, end - start) if start is not None and end is not None else 0.0


def moment(text: object) -> float | None:
    """Return seconds since the epoch; None for the epoch itself, which stands for not known."""
    try:
        value = datetime.datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
    return value if value > 0 else None
