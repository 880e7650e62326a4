"""The local engine: each step in a kernel of its own on this machine, on a clone of the workspace, in parallel where the graph allows."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kale_nb.engines.local.beside import Beside
from kale_nb.engines.local.execution import Execution, Outcome
from kale_nb.engines.local.kernels import Done, Ended, Kernel, KernelHost, Lost, Message, Printed
from kale_nb.engines.local.kernelspecs import KernelCommand, note_kernel
from kale_nb.engines.local.provision import Provided, Stores, provide
from kale_nb.engines.local.reports import Report, read_report
from kale_nb.engines.local.scheduler import Schedule, Start, final_state, nodes_of
from kale_nb.engines.local.seeing import Sight, may_mount, sight
from kale_nb.engines.local.tasks import Task
from kale_nb.engines.local.watching import Watch
from kale_nb.engines.protocol import Job
from kale_nb.errors import EngineError
from kale_nb.names import StepName
from kale_nb.pipeline.params import to_source
from kale_nb.pipeline.volumes import creations
from kale_nb.runs.events import (
    Failure,
    Observer,
    RunFinished,
    RunStarted,
    RunWarning,
    State,
    StepFinished,
    StepOutput,
    StepRetrying,
    StepStarted,
)
from kale_nb.volumes.snapshots import SnapshotStore
from kale_nb.volumes.trees import remove_tree

Explain = Callable[[Job, StepName, Failure], Failure]
"""Given a step's failure, returns it as it is or with better words; reads `<run>/data/<ancestor>/step.json` at will."""

_FOLDERS = ("executed", "logs", "data")
_LOOK_EVERY = 0.5
"""Seconds between two looks at the size of a marshal volume."""


class LocalEngine:
    """Runs pipelines on this machine.

    Args:
        explain: may add to a failure what it knows, such as why a name is not defined.
        stores: makes the store that clones the volumes; by default plain copies.
    """

    name = "local"

    def __init__(self, *, explain: Explain | None = None, stores: Stores = SnapshotStore) -> None:
        self._explain = explain
        self._stores = stores

    def run(self, job: Job, observer: Observer) -> State:
        """Run a job; see `Engine.run`. Ctrl-C and SIGTERM cancel it, also in the middle of copying the workspace."""
        if os.name != "posix":
            raise EngineError("the local engine needs Linux or macOS")
        _prepare_folders(job)
        started = time.monotonic()
        inbox: queue.SimpleQueue[Message | int] = queue.SimpleQueue()
        with KernelHost(inbox.put) as host, _signals_into(inbox):
            command = host.find(job.pipeline.kernel)
            observer(
                RunStarted(
                    time=time.time(),
                    run=job.run,
                    pipeline=job.pipeline.name,
                    steps=job.steps,
                    directory=job.directory,
                    volumes=tuple(c.step for c in creations(job.volumes, job.pipeline.marshal_volume, workspace=not job.live)),
                    environment=note_kernel(command, job.directory),
                )
            )
            mounted = may_mount(job, host, observer)
            provided = self._provide(job, observer, seen=mounted)
            state = State.CANCELLED
            if provided is not None:
                seen = sight(job, host, provided, mounted=mounted)
                jobs = job.jobs or default_jobs()
                watch = Watch(job, observer, self._stores, provided, seen)
                with watch.holding():
                    state = _Run(job, observer, host, command, seen, watch, inbox, self._explain, jobs).go()
                watch.finish()
        observer(RunFinished(time=time.time(), state=state, seconds=time.monotonic() - started))
        return state

    def _provide(self, job: Job, observer: Observer, *, seen: bool) -> Provided | None:
        """Make the volumes; None when the user interrupts."""
        try:
            with _interruptible():
                return provide(job, self._stores, observer, seen=seen)
        except KeyboardInterrupt:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A step that runs."""

    start: Start
    execution: Execution


class _Run:
    """One run: decides what happens next whenever something has happened."""

    def __init__(
        self,
        job: Job,
        observer: Observer,
        host: KernelHost,
        command: KernelCommand,
        seen: Sight,
        watch: Watch,
        inbox: queue.SimpleQueue[Message | int],
        explain: Explain | None,
        jobs: int,
    ) -> None:
        self._job = job
        self._observe = observer
        self._host = host
        self._command = command
        self._seen = seen
        self._watch = watch
        self._inbox = inbox
        self._explain = explain
        self._jobs = jobs
        pipeline = {step.name: step for step in job.pipeline.steps}
        self._settings = {name: pipeline[name].settings for name in job.steps}
        retries = {name: settings.retry for name, settings in self._settings.items() if settings.retry is not None}
        nodes = nodes_of(job.steps, {step.name: step.after for step in job.pipeline.steps}, retries)
        self._schedule = Schedule(nodes, jobs=self._jobs, fail_fast=job.fail_fast)
        self._beside = Beside(job.pipeline)
        self._books = {book.step: book.notebook for book in job.stepbooks}
        values = {**job.params, "_kale_data": str(seen.data)}
        self._params = {name: to_source(value) for name, value in values.items()}
        self._idle: dict[StepName, Kernel] = {}
        self._running: dict[int, _Attempt] = {}
        self._began: dict[StepName, float] = {}
        self._over: dict[StepName, Failure] = {}
        self._interrupted = False

    def go(self) -> State:
        schedule = self._schedule
        while not schedule.done:
            for start in schedule.starts(time.monotonic()):
                self._start(start)
            self._start_early()
            wake = schedule.next_start()
            wait = None if wake is None else max(0.0, wake - time.monotonic())
            if self._watch.limited and self._running:
                wait = _LOOK_EVERY if wait is None else min(wait, _LOOK_EVERY)
            try:
                message = self._inbox.get(timeout=wait)
            except queue.Empty:
                self._stop_overflowing()
                continue
            self._take(message)
            self._tell_skipped()
        return State.CANCELLED if self._interrupted else final_state(schedule.states.values())

    def _take(self, message: Message | int) -> None:
        match message:
            case int():  # a signal
                self._interrupted = True
                self._schedule.stop()
                self._stop_running()
            case Lost(reason=reason):
                self._schedule.stop()
                for lost in list(self._running.values()):
                    self._finish(lost, lost.execution.lose(reason))
            case Printed(kernel=kernel):
                attempt = self._running.get(kernel.number)
                if attempt is not None:
                    step = attempt.start.step
                    self._observe(StepOutput(time=time.time(), step=step, stream=message.stream, text=message.text))
            case Ended(kernel=kernel) | Done(kernel=kernel):
                attempt = self._running.get(kernel.number)
                if attempt is not None:
                    outcome = attempt.execution.take(message)
                    if outcome is not None:
                        self._finish(attempt, outcome)

    def _start(self, start: Start) -> None:
        step = start.step
        self._began.setdefault(step, time.monotonic())
        self._observe(StepStarted(time=time.time(), step=step, attempt=start.attempt))
        if start.attempt > 1:
            remove_tree(self._job.directory / "data" / step)
            (self._job.directory / "data" / step).mkdir()
        kernel = self._idle.pop(step, None)
        if kernel is None or kernel.ended:
            kernel = self._launch(step)
        self._watch.started(step)
        self._running[kernel.number] = _Attempt(start=start, execution=Execution(self._host, kernel, self._task(step)))

    def _task(self, step: StepName) -> Task:
        return Task(
            notebook=self._books[step],
            params=self._params,
            kernel=self._command.name,
            source=self._job.pipeline.source,
            clone=self._seen.workspace,
            output=self._job.directory / "executed" / f"{step}.ipynb",
            log=self._log(step),
            timeout=self._settings[step].timeout,
        )

    def _start_early(self) -> None:
        """Start kernels for the steps that come next, so that they need not wait for one."""
        for step in self._schedule.upcoming(self._jobs):
            if len(self._idle) >= self._jobs:
                break
            if step not in self._idle:
                self._idle[step] = self._launch(step)

    def _launch(self, step: StepName) -> Kernel:
        return self._host.start(
            self._command,
            cwd=self._seen.workspace / self._job.cwd,
            log=self._log(step),
            env={**self._seen.environment, **self._settings[step].env},
            view=self._seen.view,
            notes=self._watch.noting(step),
        )

    def _finish(self, attempt: _Attempt, outcome: Outcome) -> None:
        step = attempt.start.step
        del self._running[attempt.execution.kernel.number]
        self._copy_out(step, outcome)
        torn = self._watch.ended(step, well=outcome.failure is None)
        if outcome.failure is None:
            torn = self._beside.finished(step, read_report(self._job.directory / "data" / step).touched) or torn
            torn = torn or self._watch.overflow(step)
        elif step in self._over and not self._interrupted:
            torn = self._over.pop(step)
        if torn is not None and (outcome.failure is None or torn.kind == "marshal"):
            self._fail(attempt.start, outcome, torn, final=True)
        elif outcome.failure is None:
            self._schedule.succeeded(step)
            self._tell_end(attempt.start, State.SUCCEEDED, outcome, None)
        elif self._interrupted or (self._schedule.stopping and outcome.failure.kind == "died"):
            self._schedule.cancelled(step)
            self._tell_end(attempt.start, State.CANCELLED, outcome, None)
        else:
            self._fail(attempt.start, outcome, outcome.failure)

    def _stop_overflowing(self) -> None:
        """Stop the steps that run when the marshal volume holds more than it may."""
        if not self._watch.limited:
            return
        for attempt in self._running.values():
            step = attempt.start.step
            failure = self._watch.overflow(step) if step not in self._over else None
            if failure is not None:
                self._over[step] = failure
                self._host.kill(attempt.execution.kernel)

    def _fail(self, start: Start, outcome: Outcome, failure: Failure, *, final: bool = False) -> None:
        if self._explain is not None:
            failure = self._explain(self._job, start.step, failure)
        again = self._schedule.failed(start.step, time.monotonic(), final=final or failure.kind == "conflict")
        if again is not None:
            self._watch.again(start.step)
            self._observe(
                StepRetrying(time=time.time(), step=start.step, attempt=again.attempt, wait=again.wait, failure=failure)
            )
            return
        self._tell_end(start, State.FAILED, outcome, failure)
        if self._schedule.stopping:
            self._stop_running()

    def _tell_end(self, start: Start, state: State, outcome: Outcome, failure: Failure | None) -> None:
        told = read_report(self._job.directory / "data" / start.step) if state is not State.CANCELLED else Report()
        self._observe(
            StepFinished(
                time=time.time(),
                step=start.step,
                state=state,
                seconds=time.monotonic() - self._began[start.step],
                attempt=start.attempt,
                failure=failure,
                metrics=told.metrics,
                result=told.result,
                warnings=told.warnings,
                cpu=outcome.cpu,
                executed=outcome.executed,
                snapshots=self._watch.snapshots(start.step) if state is State.SUCCEEDED else {},
            )
        )

    def _tell_skipped(self) -> None:
        if self._interrupted:
            return
        for step in self._schedule.skip_hopeless():
            idle = self._idle.pop(step, None)
            if idle is not None:
                self._host.kill(idle)
            self._observe(StepFinished(time=time.time(), step=step, state=State.SKIPPED, seconds=0.0, attempt=0))

    def _stop_running(self) -> None:
        for attempt in self._running.values():
            self._host.kill(attempt.execution.kernel)

    def _copy_out(self, step: StepName, outcome: Outcome) -> None:
        folder = self._job.output_dir
        if folder is None or outcome.executed is None:
            return
        staging = folder / f".{step}.ipynb.{os.getpid()}.tmp"
        try:
            shutil.copyfile(outcome.executed, staging)
            os.replace(staging, folder / f"{step}.ipynb")
        except OSError as error:
            with contextlib.suppress(OSError):
                staging.unlink()
            message = f"{folder / f'{step}.ipynb'} could not be written: {error.strerror or error}"
            self._observe(RunWarning(time=time.time(), message=message))

    def _log(self, step: StepName) -> Path:
        return self._job.directory / "logs" / f"{step}.log"


def default_jobs() -> int:
    """Return how many steps run at once when nobody says: one a processor that this process may use, 4 at most."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, 4))


def _prepare_folders(job: Job) -> None:
    missing = [name for name in job.steps if name not in {book.step for book in job.stepbooks}]
    if missing:
        raise EngineError(f"there is no stepbook for {', '.join(missing)}")
    try:
        for name in _FOLDERS:
            (job.directory / name).mkdir(parents=True, exist_ok=True)
        for step in job.steps:
            (job.directory / "data" / step).mkdir(exist_ok=True)
    except OSError as error:
        raise EngineError(f"the run's folder {job.directory} cannot be written: {error.strerror or error}") from error
    if job.output_dir is not None:
        try:
            job.output_dir.mkdir(parents=True, exist_ok=True)
            if not os.access(job.output_dir, os.W_OK | os.X_OK):
                raise PermissionError(13, "permission denied")
        except OSError as error:
            raise EngineError(f"executed notebooks cannot be put into {job.output_dir}: {error.strerror or error}") from error


@contextlib.contextmanager
def _signals_into(inbox: queue.SimpleQueue[Message | int]) -> Iterator[None]:
    """Have SIGINT and SIGTERM put into the queue while this lasts (when this is the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda got, frame: inbox.put(int(got))) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt while this lasts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
