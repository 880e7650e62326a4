"""A step from its order to its outputs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from kale_nb.engines.kfp.stepper.orders import Order, TaskInput, read_order, read_task
from kale_nb.errors import KaleError, VolumeError
from kale_nb.names import RunId, StepName
from kale_nb.runs.events import Failure

FAILED, REFUSED = 1, 2


class _Stopped(BaseException):
    """The pod is to end."""


def run_step(words: Sequence[str]) -> int:
    """Run the step that the arguments tell of; return the exit code."""
    _say_lines()
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        task = read_task(words[0] if words else "")
        return _run(read_order(words), task)
    except KaleError as error:
        _say(f"kale: {error}")
        if error.hint:
            _say(f"  hint: {error.hint}")
        return REFUSED
    except _Stopped:
        _say("kale: the step was stopped from outside")
        return 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped


def _say_lines() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _run(order: Order, task: TaskInput) -> int:
    from kale_nb.engines.kfp.stepper import leaving, passing
    from kale_nb.engines.local.execution import run_notebook
    from kale_nb.engines.local.reports import read_report

    params = given(order, task)
    with _places(order) as (data, kept, cwd):
        passing.take(order, task, data)
        _own_folder(data, order.step)
        log = kept / "logs" / f"{order.step}.log"
        with _streamed(log):
            outcome = run_notebook(
                order.book,
                kernel=str(order.about["kernel"]),
                cwd=cwd,
                output=kept / "executed" / f"{order.step}.ipynb",
                log=log,
                params={**params, "_kale_data": str(data)},
                source=str(order.about["source"]),
                timeout=order.about["timeout"],
            )
        report = read_report(data / order.step)
        for warning in report.warnings:
            _say(f"warning: {warning}")
        if outcome.failure is not None:
            failure = _explained(order, outcome.failure)
            _tell_failure(order, failure, outcome.executed, shown=_has_traceback(log))
            return FAILED
        leaving.leave(task, outcome.notebook, report.metrics, order)
        passing.leave(order, task, data)
    return 0


def given(order: Order, task: TaskInput) -> dict[str, object]:
    """Return the parameters whose values are not their defaults, as what they were declared."""
    from kale_nb.engines.kfp.wires import restore
    from kale_nb.pipeline.params import to_source

    found: dict[str, object] = {}
    for name, about in order.about["params"].items():
        if name not in task.values or (task.values[name] is None and not about[1]):
            continue
        value = restore(name, about, task.values[name])
        if to_source(value) != about[2]:
            found[name] = value
    return found


@contextlib.contextmanager
def _places(order: Order) -> Iterator[tuple[Path, Path, Path]]:
    """Give the folder of values, the one for what is kept, and the one to start in."""
    if order.code is not None and order.home is not None:
        data = order.data if order.data is not None else order.code / "data"
        for folder in (data, order.code / "executed", order.code / "logs"):
            _make(folder)
        cwd = order.home / order.folder
        if not cwd.is_dir():
            raise VolumeError(f"the notebook's folder {cwd} is not in the clone", hint="the snapshot is of another volume")
        yield data, order.code, cwd
        return
    kept = Path(tempfile.mkdtemp(prefix="kale-"))
    try:
        data = order.data if order.data is not None else kept / "data"
        for folder in (data, kept / "executed", kept / "logs", kept / "work"):
            _make(folder)
        yield data, kept, kept / "work"
    finally:
        shutil.rmtree(kept, ignore_errors=True)


def _make(folder: Path) -> None:
    """Make a folder that may be written to; VolumeError says whose the volume is when it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        at = folder
        while not at.exists() and at != at.parent:
            at = at.parent
        owner = at.stat()
        who = f"user {os.getuid()}, group {os.getgid()}"
        whose = f"{at} belongs to user {owner.st_uid}, group {owner.st_gid}, mode {owner.st_mode & 0o7777:o}"
        if not isinstance(error, PermissionError):
            raise VolumeError(f"{folder} cannot be made: {error.strerror or error}") from error
        raise VolumeError(
            f"the step runs as {who} and cannot write to {folder}: {whose}",
            hint="Kubeflow Pipelines sets no fsGroup, so a new volume stays root's on many storage classes: compile with --user and --group"
            " of an owner, take a class whose driver sets the group, or pass values through the workspace (no marshal volume)",
        ) from error


def _own_folder(data: Path, step: str) -> None:
    """Empty the step's folder: what an earlier try left there is void."""
    shutil.rmtree(data / step, ignore_errors=True)
    _make(data / step)


@contextlib.contextmanager
def _streamed(log: Path) -> Iterator[None]:
    """Copy what is appended to the log to standard output meanwhile, so that the pod's log shows it."""
    log.unlink(missing_ok=True)
    over = threading.Event()

    def follow() -> None:
        position = 0
        while True:
            last = over.wait(0.2)
            with contextlib.suppress(OSError), open(log, encoding="utf-8", errors="replace") as file:
                file.seek(position)
                while text := file.read(65536):
                    sys.stdout.write(text)
                position = file.tell()
            sys.stdout.flush()
            if last:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _explained(order: Order, failure: Failure) -> Failure:
    """Say more of a failure where the other stepbooks are at hand."""
    if order.pipeline is None or order.code is None:
        return failure
    from kale_nb.engines.local.explaining import explain
    from kale_nb.engines.protocol import Job
    from kale_nb.stepbooks.model import Stepbook

    try:
        books = tuple(
            Stepbook(step=s.name, notebook=_book(order.code / "steps" / f"{s.name}.ipynb")) for s in order.pipeline.steps
        )
        directory = order.code if order.data is None else order.data.parent
        names = tuple(s.name for s in order.pipeline.steps)
        job = Job(
            run=RunId(order.code.name), pipeline=order.pipeline, stepbooks=books, steps=names, directory=directory,
            workspace=order.code, cwd=Path(),
        )  # fmt: skip
        return explain(job, StepName(order.step), failure)
    except (OSError, ValueError):
        return failure


def _book(path: Path) -> Mapping[str, object]:
    import json

    read: Mapping[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return read


def _has_traceback(log: Path) -> bool:
    """Tell whether the exception is in the log, and so was streamed already."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 1_000_000))
            return b"Traceback (most recent call last)" in file.read()
    except OSError:
        return False


def _tell_failure(order: Order, failure: Failure, executed: Path | None, *, shown: bool) -> None:
    """Say why the step failed: traceback unless it was shown, place, message, hint, where to look on."""
    source = order.about["source"]
    place = ""
    if failure.cell is not None:
        place = f"{source}[cell {failure.cell}]" + (f":{failure.line}" if failure.line is not None else "") + ": "
    elif failure.line is not None:
        place = f"{source}:{failure.line}: "
    if failure.traceback and not shown:
        _say(failure.traceback)
    _say(f"kale: step {order.step} failed: {place}{failure.message}")
    if failure.hint:
        _say(f"  hint: {failure.hint}")
    if executed is not None and order.home is not None:
        _say(f"  the executed notebook is on the run's workspace volume: {executed.relative_to(order.home)}")
