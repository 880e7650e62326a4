"""The bench: the process that starts kernels, kept for as many steps as the tests run.

A kernel is forked from it in a few milliseconds; it is started by the first step and ended by `close`, which pytest's plugin calls and
otherwise the end of the process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kale_nb.engines.local.execution import Execution, Outcome
from kale_nb.engines.local.kernels import Ended, Kernel, KernelHost, Lost, Message, Printed
from kale_nb.engines.local.kernelspecs import KernelCommand
from kale_nb.engines.local.provision import Provided
from kale_nb.engines.local.seeing import Sight, may_mount, sight
from kale_nb.engines.local.tasks import Task
from kale_nb.engines.protocol import Job
from kale_nb.errors import EngineError


class Bench:
    """Runs notebooks, each in a kernel of its own, all of one kernel host. Threads may share it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lost = False
        self._lock = threading.Lock()
        self._inboxes: dict[int, queue.SimpleQueue[Message]] = {}
        self._commands: dict[str, KernelCommand] = {}
        self._folders: list[Path] = []
        self._mounts: dict[object, bool] = {}
        self._environ = dict(os.environ)
        self._host = KernelHost(self._deliver)

    def find(self, kernel: str) -> KernelCommand:
        """Return the command of a kernel. EngineError when there is none of that name."""
        with self._lock:
            if kernel not in self._commands:
                self._commands[kernel] = self._host.find(kernel)
            return self._commands[kernel]

    def sight(self, job: Job, provided: Callable[[bool], Provided]) -> tuple[Provided, Sight]:
        """Have the volumes of a job made and return what its steps see of them.

        Args:
            provided: makes them, told whether steps will see them at their own paths.
        """
        key = (job.workspace, tuple((volume.name, volume.mount_point) for volume in job.volumes), job.pipeline.marshal_volume)
        with self._lock:
            if key not in self._mounts:
                self._mounts[key] = may_mount(job, self._host, lambda event: None)
            mounted = self._mounts[key]
        made = provided(mounted)
        return made, sight(job, self._host, made, mounted=mounted)

    def run(self, task: Task, *, cwd: Path, env: Mapping[str, str], view: Mapping[str, Any] | None = None) -> Outcome:
        """Run a notebook from top to bottom in a kernel of its own.

        The kernel has the environment of this process as it is now, and `env`. EngineError when the host is gone.
        """
        command = self.find(task.kernel)
        changed = {**self._changed_environ(), **env}
        kernel = self._host.start(command, cwd=cwd, log=task.log, env=changed, view=view)  # type: ignore[arg-type]
        inbox = self._inbox(kernel)
        execution = Execution(self._host, kernel, task)
        try:
            while True:
                message = inbox.get()
                if isinstance(message, Lost):
                    raise EngineError(message.reason)
                if isinstance(message, Printed):
                    continue
                outcome = execution.take(message)
                if outcome is not None:
                    return outcome
        finally:
            self._host.kill(kernel)
            with self._lock:
                self._inboxes.pop(kernel.number, None)

    @functools.cached_property
    def store(self) -> Path:
        """The folder of the snapshots that steps get clones of: what did not change between two steps is read once."""
        return self.folder()

    def folder(self) -> Path:
        """Make a folder that lives as long as the bench."""
        made = Path(tempfile.mkdtemp(prefix="kale-step-"))
        with self._lock:
            self._folders.append(made)
        return made

    def close(self) -> None:
        """End the host and what runs, and remove the folders."""
        self._host.close()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _changed_environ(self) -> dict[str, str | None]:
        """What tests have set or removed since the host took its environment over; None removes."""
        now, then = dict(os.environ), self._environ
        changed: dict[str, str | None] = {n: v for n, v in now.items() if then.get(n) != v}
        return changed | {n: None for n in then if n not in now}

    def _inbox(self, kernel: Kernel) -> queue.SimpleQueue[Message]:
        with self._lock:
            return self._inboxes.setdefault(kernel.number, queue.SimpleQueue())

    def _deliver(self, message: Message) -> None:
        if not isinstance(message, Lost):
            if not isinstance(message, Ended) or message.kernel.number in self._inboxes or message.kernel.busy:
                self._inbox(message.kernel).put(message)
            return
        self.lost = True
        with self._lock:
            inboxes = list(self._inboxes.values())
        for inbox in inboxes:
            inbox.put(message)


_bench: Bench | None = None
_making = threading.Lock()


def bench() -> Bench:
    """Return the bench of this process; starts one when there is none, or the last one was lost."""
    global _bench
    with _making:
        if _bench is not None and _bench.process == os.getpid() and not _bench.lost:
            return _bench
        if _bench is not None and _bench.process == os.getpid():
            _bench.close()
        if _bench is None:
            atexit.register(close)
        _bench = Bench()
        return _bench


def close() -> None:
    """End the bench of this process, if there is one."""
    global _bench
    with _making:
        if _bench is not None and _bench.process == os.getpid():
            with contextlib.suppress(EngineError):
                _bench.close()
        _bench = None
