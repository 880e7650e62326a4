"""The worker: the process that talks to kernels, one thread a running notebook, through papermill.

It is a fork of the kernel host, so that the driver imports nothing of Jupyter. It is asked to find kernels by name and to run notebooks on
kernels that others started; it answers with the last lines printed and with how each notebook ended. It decides nothing and starts nothing.
Messages are JSON, one a line.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kale_nb.engines.local import failures
from kale_nb.engines.local.channel import Channel, KernelGone, StepTimeout
from kale_nb.engines.local.outputs import Printed
from kale_nb.engines.local.tasks import Connection, Ending, Task
from kale_nb.errors import EngineError
from kale_nb.quick_imports import leave_out_grammars
from kale_nb.runs.events import Failure


def serve(work_fd: int) -> None:
    """Take work until the other end of the socket is closed."""
    leave_out_grammars()
    _Worker(socket.socket(fileno=work_fd)).loop()


class RemoteKernel:
    """A kernel as the worker sees it: where it listens, and what the driver tells of it; `wake_fd` is readable at each change."""

    def __init__(self, connection: Connection, *, announces: bool) -> None:
        self.connection = connection
        self.ready = not announces
        self.announces = announces
        self.ended = False
        self.status: int | None = None
        self.error: str | None = None
        self.wake_fd, self._notify = os.pipe()
        self._open = threading.Lock()

    def take(self, state: Mapping[str, Any]) -> None:
        """Take what the driver knows."""
        self.status, self.error = state["status"], state["error"]
        self.ready = self.ready or state["ready"]
        self.ended = state["ended"]
        with self._open:
            if self._notify >= 0:
                os.write(self._notify, b"!")

    def close(self) -> None:
        """Give the pipe back."""
        with self._open:
            os.close(self._notify)
            os.close(self.wake_fd)
            self._notify = -1


class _Worker:
    def __init__(self, link: socket.socket) -> None:
        import zmq

        self._link = link
        self._sending = threading.Lock()
        self._sockets = zmq.Context()
        self._kernels: dict[int, RemoteKernel] = {}

    def loop(self) -> None:
        with self._link.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                match message["op"]:
                    case "find":
                        self._find(message["name"])
                    case "run":
                        self._begin(message)
                    case "state":
                        kernel = self._kernels.get(message["kernel"])
                        if kernel is not None:
                            kernel.take(message)

    def _send(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode("ascii") + b"\n"
        with self._sending, contextlib.suppress(OSError):  # nobody is there any more: the loop ends
            self._link.sendall(data)

    def _find(self, name: str) -> None:
        from kale_nb.engines.local.kernelspecs import find_kernel

        try:
            self._send({"event": "found", "command": find_kernel(name).to_json()})
        except EngineError as error:
            self._send({"event": "not found", "message": error.message, "hint": error.hint})
        threading.Thread(target=_import_papermill, daemon=True).start()

    def _begin(self, message: Mapping[str, Any]) -> None:
        number = message["kernel"]
        kernel = RemoteKernel(Connection(**message["connection"]), announces=message["announces"])
        self._kernels[number] = kernel
        task = Task.from_json(message["task"])
        threading.Thread(target=self._work, args=(number, task, kernel), daemon=True).start()

    def _work(self, number: int, task: Task, kernel: RemoteKernel) -> None:
        def tell(stream: str, text: str) -> None:
            self._send({"event": "printed", "kernel": number, "stream": stream, "text": text})

        try:
            ending = _execute(task, kernel, self._sockets, tell)
        except Exception as problem:  # noqa: BLE001 - a bug of ours fails the step, not the run's bookkeeping
            ending = Ending(failure=_cannot_write(task.output, problem))
        self._send({"event": "done", "kernel": number, **ending.to_json()})
        self._kernels.pop(number)
        kernel.close()


def _import_papermill() -> None:
    gc.disable()  # as in the host: imports make little garbage
    with contextlib.suppress(ImportError):  # told when it is needed
        import kale_nb.engines.local.books  # noqa: F401
    gc.enable()


def _execute(task: Task, kernel: RemoteKernel, sockets: Any, tell: Any) -> Ending:
    from kale_nb.engines.local import books

    started = time.monotonic()
    deadline = None if task.timeout is None else started + task.timeout
    nb = books.prepare(task.notebook, task.params, kernel=task.kernel)
    printed = Printed(task.log, tell)
    session = books.Session(Channel(kernel, sockets, deadline=deadline), printed)
    try:
        books.execute(nb, session, kernel=task.kernel, output=task.output)
    except (KernelGone, StepTimeout, OSError) as problem:
        if session.failed is None:
            return Ending(failure=_broken_off(task, nb, kernel, problem))
    finally:
        session.channel.close()
        with contextlib.suppress(OSError):
            printed.close()
    if session.failed is None:
        return Ending()
    index, reply = session.failed
    place = failures.Place(source=task.source, clone=task.clone)
    return Ending(failure=failures.from_reply(nb.cells, index, reply, place), error=str(reply.get("ename")))


def _broken_off(task: Task, nb: Any, kernel: RemoteKernel, problem: Exception) -> Failure:
    """Tell why the execution stopped in the middle; a full disk comes second to what happened before it was noticed."""
    cell = _running_cell(nb)
    for cause in (problem, problem.__context__):
        if isinstance(cause, KernelGone):
            return failures.died(kernel.status, kernel.error, cell)
        if isinstance(cause, StepTimeout):
            return failures.timed_out(task.timeout if cause.of_step else None, cause.message, cell)
    return _cannot_write(task.output, problem)


def _running_cell(nb: Any) -> Mapping[str, Any] | None:
    """Return the cell that was being run when the notebook's execution was broken off."""
    last = None
    for cell in nb.cells:
        if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time"):
            last = cell
    return last


def _cannot_write(path: Path, error: Exception) -> Failure:
    if not isinstance(error, OSError):
        import traceback

        text = "".join(traceback.format_exception(error))
        return Failure(kind="engine", message=f"{type(error).__name__}: {error}", traceback=text)
    path = Path(error.filename or path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"the disk is full: {path.name} could not be written"
        return Failure(kind="engine", message=message, hint="free some space and run again")
    return Failure(kind="engine", message=f"{path} could not be written: {error.strerror or error}")
