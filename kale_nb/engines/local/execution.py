"""One notebook on one kernel, from the kernel's start to its end: the piece that the engine and `kale verify` share."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kale_nb.engines.local.kernels import Done, Ended, Kernel, KernelHost, Lost, Message, Printed
from kale_nb.engines.local.seeing import Sight
from kale_nb.engines.local.tasks import Ending, Task
from kale_nb.errors import EngineError
from kale_nb.pipeline.params import to_source
from kale_nb.quick_imports import without_grammars
from kale_nb.runs.events import Failure

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the execution of a notebook ended.

    Attributes:
        failure: None when every cell ran.
        error: name of the exception's type, when one was raised.
        cpu: CPU seconds of the kernel, None when not known.
        executed: the file that holds the executed notebook, None when it could not be written.
        notebook: the executed notebook, nbformat 4 with sources and texts in one piece; empty unless it was asked for.
    """

    failure: Failure | None
    seconds: float
    error: str | None = None
    cpu: float | None = None
    executed: Path | None = None
    notebook: Mapping[str, Any] = field(default_factory=dict)


class Execution:
    """A notebook that is to run on a kernel. Give it the messages of the host that concern its kernel; one of them brings the outcome."""

    def __init__(self, host: KernelHost, kernel: Kernel, task: Task) -> None:
        self.kernel = kernel
        self._host = host
        self._task = task
        self._started = time.monotonic()
        self._ending: Ending | None = None
        host.run(kernel, task)

    def take(self, message: Ended | Done) -> Outcome | None:
        """Take a message; return the outcome when the notebook has been run and its kernel is gone."""
        if isinstance(message, Done):
            self._ending = message.ending
            self._host.kill(self.kernel)
        return self._outcome(self._ending) if self._ending is not None and self.kernel.ended else None

    def lose(self, reason: str) -> Outcome:
        """Return the outcome when host or worker are gone."""
        return self._outcome(Ending(failure=Failure(kind="engine", message=reason)))

    def _outcome(self, ending: Ending) -> Outcome:
        return Outcome(
            failure=ending.failure,
            error=ending.error,
            seconds=time.monotonic() - self._started,
            cpu=self.kernel.cpu,
            executed=self._task.output if self._task.output.exists() else None,
        )


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
    sight: Callable[[KernelHost], Sight] | None = None,
) -> Outcome:
    """Run a whole notebook top to bottom in one kernel of its own, with the same machinery as a step.

    Args:
        kernel: name of the kernel.
        cwd: the folder it runs in, which may be written to; with `sight` relative to the workspace.
        output: where the executed notebook is written, in any case.
        log: the file to which what it prints is appended.
        source: path of the notebook as the user knows it, for tracebacks; cells need `kale.cell` in their metadata for their number.
        tell: told the last lines printed, a few times a second, from this thread.
        sight: makes the volumes that it sees, and tells how it sees them.

    Raises:
        EngineError: no such kernel, or it cannot be started.
    """
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    with KernelHost(inbox.put) as host:
        command = host.find(kernel)
        seen = Sight(workspace=cwd, data=cwd, environment={}) if sight is None else sight(host)
        place = cwd if sight is None else seen.workspace / cwd
        task = Task(
            notebook=notebook,
            params={name: to_source(value) for name, value in (params or {}).items()},
            kernel=kernel,
            source=source,
            clone=seen.workspace,
            output=output,
            log=log,
            timeout=timeout,
        )
        started = host.start(command, cwd=place, log=log, env={**seen.environment, **(env or {})}, view=seen.view)
        execution = Execution(host, started, task)
        outcome = None
        while outcome is None:
            match inbox.get():
                case Printed(stream=stream, text=text):
                    if tell is not None:
                        tell(stream, text)
                case Lost(reason=reason):
                    raise EngineError(reason)
                case Ended() | Done() as message:
                    outcome = execution.take(message)
    return Outcome(
        failure=outcome.failure,
        seconds=outcome.seconds,
        error=outcome.error,
        cpu=outcome.cpu,
        executed=outcome.executed,
        notebook=notebook if outcome.executed is None else _read(outcome.executed),
    )


def _read(path: Path) -> Mapping[str, Any]:
    with without_grammars():
        import nbformat

    read: Mapping[str, Any] = nbformat.v4.reads(path.read_text(encoding="utf-8"))
    return read
