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
from typing import Any

from kale_nb.engines.local import failures
from kale_nb.engines.local.execution import Outcome, Task, context, execute
from kale_nb.engines.local.kernels import Kernel, KernelHost
from kale_nb.engines.local.kernelspecs import KernelCommand, find_kernel
from kale_nb.engines.local.scheduler import Schedule, Start, final_state, nodes_of
from kale_nb.engines.protocol import Job
from kale_nb.errors import EngineError
from kale_nb.names import StepName
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
from kale_nb.volumes.store import CopyStore

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
        command = find_kernel(job.pipeline.kernel)
        _prepare_folders(job)
        started = time.monotonic()
        with KernelHost() as host, _signals() as signals:
            observer(
                RunStarted(time=time.time(), run=job.run, pipeline=job.pipeline.name, steps=job.steps, directory=job.directory)
            )
            clone = self._clone(job, observer)
            if clone is None or signals.qsize():
                state = State.CANCELLED
            else:
                with context() as sockets:
                    state = _Run(job, observer, host, command, clone, sockets, signals, self._explain).go()
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
class _Printed:
    step: StepName
    stream: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    step: StepName
    attempt: int
    outcome: Outcome


class _Run:
    """One run: the main thread decides and tells; each running step has a thread that talks to its kernel."""

    def __init__(
        self,
        job: Job,
        observer: Observer,
        host: KernelHost,
        command: KernelCommand,
        clone: Path,
        sockets: Any,
        inbox: queue.SimpleQueue[Any],
        explain: Explain | None,
    ) -> None:
        self._job = job
        self._observe = observer
        self._host = host
        self._command = command
        self._clone = clone
        self._sockets = sockets
        self._inbox = inbox
        self._explain = explain
        self._jobs = job.jobs or default_jobs()
        pipeline = {step.name: step for step in job.pipeline.steps}
        self._settings = {name: pipeline[name].settings for name in job.steps}
        retries = {name: settings.retry for name, settings in self._settings.items() if settings.retry is not None}
        nodes = nodes_of(job.steps, {step.name: step.after for step in job.pipeline.steps}, retries)
        self._schedule = Schedule(nodes, jobs=self._jobs, fail_fast=job.fail_fast)
        self._books = {book.step: book.notebook for book in job.stepbooks}
        self._idle: dict[StepName, Kernel] = {}
        self._kernels: dict[StepName, Kernel] = {}
        self._began: dict[StepName, float] = {}
        self._attempts: dict[StepName, int] = {}
        self._interrupted = False

    def go(self) -> State:
        schedule = self._schedule
        while not schedule.done or schedule.running:
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
        self._tell_skipped()
        return State.CANCELLED if self._interrupted else final_state(schedule.states.values())

    def _take(self, message: object) -> None:
        match message:
            case _Printed():
                self._observe(StepOutput(time=time.time(), step=message.step, stream=message.stream, text=message.text))
            case _Ended():
                self._finish(message)
            case int():  # a signal
                self._interrupted = True
                self._schedule.stop()
                self._stop_running()

    def _start(self, start: Start) -> None:
        step = start.step
        self._began.setdefault(step, time.monotonic())
        self._attempts[step] = start.attempt
        self._observe(StepStarted(time=time.time(), step=step, attempt=start.attempt))
        if start.attempt > 1:
            shutil.rmtree(self._job.directory / "data" / step, ignore_errors=True)
        kernel = self._idle.pop(step, None) or self._launch(step)
        self._kernels[step] = kernel
        threading.Thread(target=self._work, args=(start, kernel), name=f"kale-step-{step}", daemon=True).start()

    def _start_early(self) -> None:
        """Start kernels for the steps that come next, so that they need not wait for one."""
        for step in self._schedule.upcoming(self._jobs):
            if len(self._idle) >= self._jobs:
                break
            if step not in self._idle:
                self._idle[step] = self._launch(step)

    def _launch(self, step: StepName) -> Kernel:
        return self._host.start(self._command, cwd=self._clone / self._job.cwd, log=self._log(step), env=self._settings[step].env)

    def _work(self, start: Start, kernel: Kernel) -> None:
        """In a thread of its own: run a step and say how it went."""
        step = start.step
        task = Task(
            notebook=self._books[step],
            params={**self._job.params, "_kale_data": str(self._job.directory / "data")},
            kernel=self._command.name,
            place=failures.Place(source=self._job.pipeline.source, clone=self._clone),
            output=self._job.directory / "executed" / f"{step}.ipynb",
            log=self._log(step),
            timeout=self._settings[step].timeout,
            tell=lambda stream, text: self._inbox.put(_Printed(step=step, stream=stream, text=text)),
        )
        self._inbox.put(_Ended(step=step, attempt=start.attempt, outcome=execute(task, kernel, self._sockets)))

    def _finish(self, ended: _Ended) -> None:
        step, outcome = ended.step, ended.outcome
        self._kernels.pop(step).close()
        self._copy_out(step, outcome)
        if outcome.failure is None:
            self._schedule.succeeded(step)
            self._tell_end(ended, State.SUCCEEDED, None)
        elif self._interrupted or (self._schedule.stopping and outcome.failure.kind == "died"):
            self._schedule.cancelled(step)
            self._tell_end(ended, State.CANCELLED, None)
        else:
            self._fail(ended, outcome.failure)

    def _fail(self, ended: _Ended, failure: Failure) -> None:
        if self._explain is not None:
            failure = self._explain(self._job, ended.step, failure)
        again = self._schedule.failed(ended.step, time.monotonic())
        if again is not None:
            self._observe(
                StepRetrying(time=time.time(), step=ended.step, attempt=again.attempt, wait=again.wait, failure=failure)
            )
            return
        self._tell_end(ended, State.FAILED, failure)
        if self._schedule.stopping:
            self._stop_running()

    def _tell_end(self, ended: _Ended, state: State, failure: Failure | None) -> None:
        told = read_report(self._job.directory / "data" / ended.step) if state is not State.CANCELLED else Report()
        self._observe(
            StepFinished(
                time=time.time(),
                step=ended.step,
                state=state,
                seconds=time.monotonic() - self._began[ended.step],
                attempt=ended.attempt,
                failure=failure,
                metrics=told.metrics,
                result=told.result,
                warnings=told.warnings,
                cpu=ended.outcome.cpu,
                executed=ended.outcome.executed,
            )
        )

    def _tell_skipped(self) -> None:
        if self._interrupted:
            return
        for step in self._schedule.skip_hopeless():
            idle = self._idle.pop(step, None)
            if idle is not None:
                idle.kill()
            self._observe(StepFinished(time=time.time(), step=step, state=State.SKIPPED, seconds=0.0, attempt=0))

    def _stop_running(self) -> None:
        for kernel in (*self._kernels.values(), *self._idle.values()):
            kernel.kill()

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
def _signals() -> Iterator[queue.SimpleQueue[Any]]:
    """Give the queue of a run, into which SIGINT and SIGTERM are put while this lasts (when this is the main thread)."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    if threading.current_thread() is not threading.main_thread():
        yield inbox
        return
    before = {number: signal.signal(number, lambda got, frame: inbox.put(int(got))) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield inbox
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
