"""The local engine: each step in a kernel of its own on this machine, on a clone of the workspace, in parallel where the graph allows."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kale_nb.engines.local.beside import Beside, Touched
from kale_nb.engines.local.execution import Execution, Outcome
from kale_nb.engines.local.kernels import Done, Ended, Kernel, KernelHost, Lost, Message, Printed
from kale_nb.engines.local.kernelspecs import KernelCommand
from kale_nb.engines.local.scheduler import Schedule, Start, final_state, nodes_of
from kale_nb.engines.local.tasks import Task
from kale_nb.engines.protocol import Job
from kale_nb.errors import EngineError
from kale_nb.names import StepName
from kale_nb.pipeline.params import to_source
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
    WorkspaceCloned,
)
from kale_nb.volumes.model import Policy, VolumeStore
from kale_nb.volumes.store import CopyStore, remove_tree

Explain = Callable[[Job, StepName, Failure], Failure]
"""Given a step's failure, returns it as it is or with better words; reads `<run>/data/<ancestor>/step.json` at will."""

_FOLDERS = ("executed", "logs", "data")


class LocalEngine:
    """Runs pipelines on this machine.

    Args:
        explain: may add to a failure what it knows, such as why a name is not defined.
        volumes: makes the store that clones the workspace; by default plain copies.
    """

    name = "local"

    def __init__(self, *, explain: Explain | None = None, volumes: Callable[[Policy], VolumeStore] = CopyStore) -> None:
        self._explain = explain
        self._volumes = volumes

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
                RunStarted(time=time.time(), run=job.run, pipeline=job.pipeline.name, steps=job.steps, directory=job.directory)
            )
            clone = self._clone(job, observer)
            state = State.CANCELLED
            if clone is not None:
                state = _Run(job, observer, host, command, clone, inbox, self._explain).go()
        observer(RunFinished(time=time.time(), state=state, seconds=time.monotonic() - started))
        return state

    def _clone(self, job: Job, observer: Observer) -> Path | None:
        """Clone the workspace; None when the user interrupts."""
        store = self._volumes(Policy(max_bytes=job.max_bytes))
        try:
            with _interruptible():
                snapshot = store.snapshot(job.workspace)
                clone = store.clone(snapshot, job.directory / "work")
        except KeyboardInterrupt:
            return None
        observer(
            WorkspaceCloned(time=time.time(), path=clone.path, files=snapshot.files, size=snapshot.size, seconds=clone.seconds)
        )
        return clone.path


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
        clone: Path,
        inbox: queue.SimpleQueue[Message | int],
        explain: Explain | None,
    ) -> None:
        self._job = job
        self._observe = observer
        self._host = host
        self._command = command
        self._clone = clone
        self._inbox = inbox
        self._explain = explain
        self._jobs = job.jobs or default_jobs()
        pipeline = {step.name: step for step in job.pipeline.steps}
        self._settings = {name: pipeline[name].settings for name in job.steps}
        retries = {name: settings.retry for name, settings in self._settings.items() if settings.retry is not None}
        nodes = nodes_of(job.steps, {step.name: step.after for step in job.pipeline.steps}, retries)
        self._schedule = Schedule(nodes, jobs=self._jobs, fail_fast=job.fail_fast)
        self._beside = Beside(job.pipeline)
        self._books = {book.step: book.notebook for book in job.stepbooks}
        values = {**job.params, "_kale_data": str(job.directory / "data")}
        self._params = {name: to_source(value) for name, value in values.items()}
        self._idle: dict[StepName, Kernel] = {}
        self._running: dict[int, _Attempt] = {}
        self._began: dict[StepName, float] = {}
        self._interrupted = False

    def go(self) -> State:
        schedule = self._schedule
        while not schedule.done:
            for start in schedule.starts(time.monotonic()):
                self._start(start)
            self._start_early()
            wake = schedule.next_start()
            try:
                message = self._inbox.get(timeout=None if wake is None else max(0.0, wake - time.monotonic()))
            except queue.Empty:
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
        self._running[kernel.number] = _Attempt(start=start, execution=Execution(self._host, kernel, self._task(step)))

    def _task(self, step: StepName) -> Task:
        return Task(
            notebook=self._books[step],
            params=self._params,
            kernel=self._command.name,
            source=self._job.pipeline.source,
            clone=self._clone,
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
        return self._host.start(self._command, cwd=self._clone / self._job.cwd, log=self._log(step), env=self._settings[step].env)

    def _finish(self, attempt: _Attempt, outcome: Outcome) -> None:
        step = attempt.start.step
        del self._running[attempt.execution.kernel.number]
        self._copy_out(step, outcome)
        torn = None
        if outcome.failure is None:
            torn = self._beside.finished(step, read_report(self._job.directory / "data" / step).touched)
        if torn is not None:
            self._fail(attempt.start, outcome, torn, final=True)
        elif outcome.failure is None:
            self._schedule.succeeded(step)
            self._tell_end(attempt.start, State.SUCCEEDED, outcome, None)
        elif self._interrupted or (self._schedule.stopping and outcome.failure.kind == "died"):
            self._schedule.cancelled(step)
            self._tell_end(attempt.start, State.CANCELLED, outcome, None)
        else:
            self._fail(attempt.start, outcome, outcome.failure)

    def _fail(self, start: Start, outcome: Outcome, failure: Failure, *, final: bool = False) -> None:
        if self._explain is not None:
            failure = self._explain(self._job, start.step, failure)
        again = self._schedule.failed(start.step, time.monotonic(), final=final or failure.kind == "conflict")
        if again is not None:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a step's `step.json` tells the record."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    result: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()
    touched: Touched = field(default_factory=Touched)


def read_report(folder: Path) -> Report:
    """Read what a step left for the record; an empty report when it left none."""
    try:
        data = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Report()
    if not isinstance(data, dict):
        return Report()
    result = data.get("result")
    return Report(
        metrics={str(name): value for name, value in (data.get("metrics") or {}).items()},
        result=(str(result[0]), str(result[1])) if isinstance(result, list) and len(result) == 2 else None,
        warnings=tuple(str(line) for line in data.get("warnings") or ()),
        touched=Touched(
            changed=frozenset(data.get("changed") or ()),
            used=frozenset(data.get("used") or ()),
            origins=data.get("origins") or {},
            definitions=frozenset(n for n, version in (data.get("names") or {}).items() if version.get("kind") == "state"),
        ),
    )


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
