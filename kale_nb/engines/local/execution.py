"""Run one notebook in one kernel and tell how it went: the piece that the engine and `kale verify` share."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kale_nb.engines.local import failures
from kale_nb.engines.local.channel import Channel, KernelGone, StepTimeout
from kale_nb.engines.local.kernels import Kernel, KernelHost
from kale_nb.engines.local.kernelspecs import find_kernel
from kale_nb.engines.local.outputs import Printed
from kale_nb.runs.events import Failure

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the execution of a notebook ended.

    Attributes:
        failure: None when every cell ran.
        error: name of the exception's type, when one was raised.
        notebook: the executed notebook, nbformat 4 as plain dictionaries; what ran until a failure.
        cpu: CPU seconds of the kernel, None when not known.
        executed: the file that holds the executed notebook, None when it could not be written.
    """

    failure: Failure | None
    notebook: Mapping[str, Any]
    seconds: float
    error: str | None = None
    cpu: float | None = None
    executed: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One notebook to be executed.

    Attributes:
        place: the user's notebook and the clone, for telling failures.
        output: where the executed notebook is written.
        log: the file to which stdout and stderr are appended.
        timeout: seconds, None for no limit.
    """

    notebook: Mapping[str, Any]
    params: Mapping[str, object]
    kernel: str
    place: failures.Place
    output: Path
    log: Path
    timeout: float | None = None
    tell: Tell | None = field(default=None, compare=False)


def execute(task: Task, kernel: Kernel, context: Any) -> Outcome:
    """Execute a notebook in a kernel and kill the kernel. Whatever the notebook does, this returns an outcome."""
    started = time.monotonic()
    nb: Any = None
    failure: Failure | None = None
    error: str | None = None
    try:
        from kale_nb.engines.local import books

        nb = books.prepare(task.notebook, task.params, kernel=task.kernel)
        failure, error = _run(task, nb, kernel, context, started)
    except Exception as problem:  # noqa: BLE001 - a bug of ours fails the step, not the run's bookkeeping
        failure = _cannot_write(task.output, problem)
    finally:
        kernel.kill()
        kernel.wait_end(10)
    return Outcome(
        failure=failure,
        notebook=nb if nb is not None else task.notebook,
        seconds=time.monotonic() - started,
        error=error,
        cpu=kernel.cpu,
        executed=task.output if task.output.exists() else None,
    )


def _run(task: Task, nb: Any, kernel: Kernel, context: Any, started: float) -> tuple[Failure | None, str | None]:
    from kale_nb.engines.local import books

    deadline = None if task.timeout is None else started + task.timeout
    printed = Printed(task.log, task.tell)
    session = books.Session(Channel(kernel, context, deadline=deadline), printed)
    try:
        books.execute(nb, session, kernel=task.kernel, output=task.output)
    except (KernelGone, StepTimeout, OSError) as problem:
        if session.failed is None:
            return _broken_off(task, nb, kernel, problem, started), None
    finally:
        session.channel.close()
        with contextlib.suppress(OSError):
            printed.close()
    if session.failed is None:
        return None, None
    index, reply = session.failed
    return failures.from_reply(nb.cells, index, reply, task.place), str(reply.get("ename"))


def _broken_off(task: Task, nb: Any, kernel: Kernel, problem: Exception, started: float) -> Failure:
    """Tell why the execution stopped in the middle; a full disk comes second to what happened before it was noticed."""
    cell = _running_cell(nb)
    for cause in (problem, problem.__context__):
        if isinstance(cause, KernelGone):
            kernel.wait_end(2)
            return failures.died(kernel.status, kernel.error, cell)
        if isinstance(cause, StepTimeout):
            over = task.timeout is not None and time.monotonic() >= started + task.timeout
            return failures.timed_out(task.timeout if over else None, cause.message, cell)
    return _cannot_write(task.output, problem)


def _running_cell(nb: Any) -> Mapping[str, Any] | None:
    """Return the cell that was being run when the notebook's execution was broken off."""
    last = None
    for cell in nb.cells:
        status = cell.metadata.get("papermill", {}).get("status")
        if (
            cell.cell_type == "code"
            and status in ("running", "completed", "failed")
            and cell.metadata.papermill.get("start_time")
        ):
            last = cell
    return last


def _cannot_write(path: Path, error: Exception) -> Failure:
    if not isinstance(error, OSError):
        return _broken(error)
    path = Path(error.filename or path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"the disk is full: {path.name} could not be written"
        return Failure(kind="engine", message=message, hint="free some space and run again")
    return Failure(kind="engine", message=f"{path} could not be written: {error.strerror or error}")


def _broken(problem: Exception) -> Failure:
    import traceback

    text = "".join(traceback.format_exception(problem))
    return Failure(kind="engine", message=f"{type(problem).__name__}: {problem}", traceback=text)


def run_notebook(
    notebook: Mapping[str, Any],
    *,
    kernel: str,
    cwd: Path,
    output: Path,
    log: Path,
    params: Mapping[str, object] | None = None,
    source: str = "notebook.ipynb",
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    tell: Tell | None = None,
) -> Outcome:
    """Run a whole notebook top to bottom in one kernel of its own, with the same machinery as a step.

    Args:
        kernel: name of the kernel.
        cwd: the folder it runs in, which may be written to.
        output: where the executed notebook is written, in any case.
        log: the file to which what it prints is appended.
        source: path of the notebook as the user knows it, for tracebacks; cells need `kale.cell` in their metadata for their number.
        tell: told the last lines printed, a few times a second, from this thread.

    Raises:
        EngineError: no such kernel, or it cannot be started.
    """
    command = find_kernel(kernel)
    place = failures.Place(source=source, clone=cwd)
    task = Task(
        notebook=notebook, params=params or {}, kernel=kernel, place=place, output=output, log=log, timeout=timeout, tell=tell
    )
    with KernelHost() as host, context() as sockets:
        return execute(task, host.start(command, cwd=cwd, log=log, env=env or {}), sockets)


@contextlib.contextmanager
def context() -> Any:
    """Give a messaging context that is shared by the threads of a run and closed at its end."""
    import zmq

    made = zmq.Context()
    try:
        yield made
    finally:
        made.destroy(linger=0)
