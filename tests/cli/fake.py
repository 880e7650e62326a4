"""An engine that implements the Protocol and runs nothing: steps end as their script says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kale_nb.engines.protocol import Job
from kale_nb.errors import KaleError
from kale_nb.names import StepName
from kale_nb.runs.events import (
    Event,
    Failure,
    Observer,
    RunFinished,
    RunStarted,
    State,
    StepFinished,
    StepOutput,
    StepRetrying,
    StepStarted,
    VolumeCreated,
)

FAILURE = Failure(
    kind="exception",
    message="ZeroDivisionError: division by zero",
    cell=2,
    line=3,
    traceback="Traceback (most recent call last)\nnb.ipynb[cell 2]:3\n    1 / 0\nZeroDivisionError: division by zero",
    hint="look at the divisor",
)


@dataclass
class FakeEngine:
    """Ends each step as `script` says: `ok`, `fail`, `retry` (once, then ok); raises `error` before anything.

    A step that the script does not name ends as its own name begins.

    Attributes:
        hook: called with each event before it is told; may raise, as a signal would.
        jobs: the jobs it was given.
    """

    script: Mapping[str, str] = field(default_factory=dict)
    error: KaleError | None = None
    hook: Callable[[Event], None] | None = None
    jobs: list[Job] = field(default_factory=list)
    name: str = "fake"

    def run(self, job: Job, observer: Observer) -> State:
        self.jobs.append(job)
        if self.error is not None:
            raise self.error
        if any(name.startswith("defect") for name in job.steps):
            raise ZeroDivisionError("a defect of the engine")
        started = time.time()

        def tell(event: Event) -> None:
            if self.hook is not None:
                self.hook(event)
            observer(event)

        tell(RunStarted(time=started, run=job.run, pipeline=job.pipeline.name, steps=job.steps, directory=job.directory))
        tell(
            VolumeCreated(
                time=time.time(),
                step="create-volume-1",
                volume="workspace",
                path=job.directory / "work",
                files=2,
                size=2048,
                seconds=0.01,
            )
        )
        broken: set[StepName] = set()
        for name in job.steps:
            if broken.intersection(job.pipeline.step(name).after):
                broken.add(name)
                tell(StepFinished(time=time.time(), step=name, state=State.SKIPPED, seconds=0.0, attempt=0))
            elif self._step(job, name, tell) is State.FAILED:
                broken.add(name)
        state = State.FAILED if broken else State.SUCCEEDED
        tell(RunFinished(time=time.time(), state=state, seconds=time.time() - started))
        return state

    def _step(self, job: Job, name: StepName, tell: Observer) -> State:
        how = self.script.get(name) or next((how for how in ("fail", "retry") if name.startswith(how)), "ok")
        attempt = 1
        tell(StepStarted(time=time.time(), step=name, attempt=1))
        if how == "retry":
            tell(StepRetrying(time=time.time(), step=name, attempt=1, wait=0.5, failure=FAILURE))
            attempt = 2
            tell(StepStarted(time=time.time(), step=name, attempt=2))
        tell(StepOutput(time=time.time(), step=name, stream="stdout", text=f"hello from {name}\n"))
        executed = job.directory / "executed" / f"{name}.ipynb"
        executed.parent.mkdir(exist_ok=True)
        output = {"output_type": "stream", "name": "stdout", "text": f"hello from {name}\n"}
        cell = {"cell_type": "code", "source": "", "metadata": {"kale": {"cell": 2}}, "outputs": [output]}
        executed.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        state = State.FAILED if how == "fail" else State.SUCCEEDED
        tell(
            StepFinished(
                time=time.time(),
                step=name,
                state=state,
                seconds=0.25,
                attempt=attempt,
                failure=FAILURE if how == "fail" else None,
                metrics={} if how == "fail" else {"score": 0.75},
                result=("answer", "42") if how == "ok" else None,
                warnings=("`df` was changed in place",) if how == "retry" else (),
                cpu=0.1,
                executed=executed,
            )
        )
        return state
