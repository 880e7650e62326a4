"""The driver's side of the kernel host and its worker: start them, ask for kernels and for notebooks to be run, hear how it went."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kale_nb.engines.local.kernelspecs import KernelCommand
from kale_nb.engines.local.tasks import Connection, Ending, Task
from kale_nb.errors import EngineError

_LONGEST_FOLDER = 70
"""A socket's path may have 107 bytes."""
_START_TIMEOUT = 120.0
_SCRIPT = str(Path(__file__).with_name("host_process.py"))


@dataclass(slots=True, kw_only=True, eq=False)
class Kernel:
    """One kernel process, as far as it is known; changes come with the host's messages.

    Attributes:
        announces: it tells when it is ready (forked kernels do).
        ready: it listens (for kernels that announce it).
        status: exit code, negative for the signal that ended it; None while it lives or when nobody knows.
        error: why it could not be started at all.
        cpu: CPU seconds it took, its children that it waited for included; known when it has ended.
        busy: a notebook was given to it.
    """

    number: int
    connection: Connection
    announces: bool
    pid: int | None = None
    ready: bool = False
    ended: bool = False
    status: int | None = None
    error: str | None = None
    cpu: float | None = None
    busy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A kernel ended."""

    kernel: Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """A notebook's last lines of output."""

    kernel: Kernel
    stream: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A notebook has been run, well or not."""

    kernel: Kernel
    ending: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The host or its worker is gone; no kernel is left."""

    reason: str


Message = Ended | Printed | Done | Lost


class KernelHost:
    """The host process, its worker and the kernels. Use as a context manager: leaving it kills whatever is left.

    Args:
        deliver: takes each message once, in order, from a thread of the host's own.

    Attributes:
        root: an empty folder on which views with mount points of their own are built.
    """

    def __init__(self, deliver: Callable[[Message], None]) -> None:
        self._deliver = deliver
        try:
            self._folder = _short_folder()
            self.root = os.path.join(self._folder, "root")
            os.mkdir(self.root)
        except OSError as error:
            raise EngineError(f"no temporary folder can be made: {error.strerror or error}") from error
        self._numbers = itertools.count(1)
        self._kernels: dict[int, Kernel] = {}
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._closed = False
        self._control, control = socket.socketpair()
        self._work, work = socket.socketpair()
        root = str(Path(__file__).resolve().parents[3])
        fds = [control.fileno(), work.fileno()]
        with control, work, open(os.path.join(self._folder, "host.log"), "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, _SCRIPT, *map(str, fds), self._folder, root],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name="kale-kernel-host", daemon=True)
        self._reader.start()

    def __enter__(self) -> KernelHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, name: str) -> KernelCommand:
        """Return the command of the kernel called `name`. EngineError, listing the kernels there are, when there is none."""
        self._send(self._work, {"op": "find", "name": name})
        try:
            answer = self._answers.get(timeout=_START_TIMEOUT)
        except queue.Empty:
            raise EngineError("the process that starts kernels does not answer" + self._last_words()) from None
        if "command" in answer:
            return KernelCommand.from_json(answer["command"])
        raise EngineError(answer["message"], hint=answer["hint"])

    @property
    def folder(self) -> str:
        """The folder of the kernels' connection files and sockets, which every kernel must see."""
        return self._folder

    def probe(self, view: Mapping[str, Any]) -> str:
        """Return why kernels cannot be given a view of their own of the file system; empty when they can."""
        self._send(self._control, {"op": "probe", "view": view})
        try:
            answer = self._answers.get(timeout=_START_TIMEOUT)
        except queue.Empty:
            raise EngineError("the process that starts kernels does not answer" + self._last_words()) from None
        if "reason" not in answer:
            raise EngineError(answer["message"])
        return str(answer["reason"])

    def start(
        self,
        command: KernelCommand,
        *,
        cwd: Path,
        log: Path,
        env: Mapping[str, str],
        view: Mapping[str, Any] | None = None,
        notes: Path | None = None,
    ) -> Kernel:
        """Start a kernel; returns at once. EngineError when the host is gone.

        Args:
            notes: the file to which a kernel that is forked writes the paths that it writes to (see `writes`).
            view: what it sees of the file system (see `namespace.enter`), None for what everybody sees; `cwd` is a place in it.
        """
        number = next(self._numbers)
        forked = command.forkable and not _needs_interpreter(env)
        connection = self._connection(number, ipc=command.ipc)
        file = os.path.join(self._folder, f"{number}.json")
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
            json.dump(connection.to_json(), stream)
        kernel = Kernel(number=number, connection=connection, announces=forked)
        with self._lock:
            self._kernels[number] = kernel
        request = {
            "op": "start",
            "kernel": number,
            "argv": None if forked else command.argv(file),
            "connection_file": file,
            "cwd": os.fspath(cwd),
            "log": os.fspath(log),
            "view": view,
            "notes": None if notes is None or not forked else os.fspath(notes),
            "env": dict(env) if forked else {**command.env, "JPY_PARENT_PID": str(self._process.pid), **env},
        }
        self._send(self._control, request)
        return kernel

    def run(self, kernel: Kernel, task: Task) -> None:
        """Have a notebook run on a kernel as soon as that is ready; `Done` tells how it went."""
        request = {
            "op": "run",
            "kernel": kernel.number,
            "connection": asdict(kernel.connection),
            "announces": kernel.announces,
            "task": task.to_json(),
        }
        with self._lock:
            kernel.busy = True
            self._send(self._work, request)
            self._tell_state(kernel)

    def kill(self, kernel: Kernel) -> None:
        """Kill a kernel and its process group now."""
        if not kernel.ended:
            with contextlib.suppress(EngineError):  # a host that is gone has taken its kernels along
                self._send(self._control, {"op": "kill", "kernel": kernel.number})

    def close(self) -> None:
        """Kill what is left and end the host."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._control.close()
        self._work.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _send(self, link: socket.socket, request: Mapping[str, object]) -> None:
        data = json.dumps(request).encode("ascii") + b"\n"
        try:
            link.sendall(data)
        except OSError as error:
            raise EngineError("the process that starts kernels is gone" + self._last_words()) from error

    def _connection(self, number: int, *, ipc: bool) -> Connection:
        channels = ("shell", "iopub", "stdin", "control", "hb")
        key = secrets.token_hex(16)
        if ipc:
            ports = {channel: place for place, channel in enumerate(channels, 1)}
            return Connection(transport="ipc", ip=os.path.join(self._folder, str(number)), key=key, ports=ports)
        return Connection(
            transport="tcp", ip="127.0.0.1", key=key, ports=dict(zip(channels, _free_ports(len(channels)), strict=True))
        )

    def _read(self) -> None:
        """In a thread of its own: take what host and worker report, until one of them is gone."""
        buffers = {self._control: b"", self._work: b""}
        with selectors.DefaultSelector() as selector:
            for one in buffers:
                selector.register(one, selectors.EVENT_READ, one)
            while True:
                for key, _ in selector.select():
                    link: socket.socket = key.data
                    try:
                        data = link.recv(1 << 16)
                    except OSError:
                        data = b""
                    if not data:
                        self._lose()
                        return
                    *lines, buffers[link] = (buffers[link] + data).split(b"\n")
                    for line in lines:
                        self._take(json.loads(line))

    def _take(self, report: Mapping[str, Any]) -> None:
        kernel = self._kernels.get(report.get("kernel", 0))
        if kernel is None:
            self._answers.put(report)
            return
        match report["event"]:
            case "started":
                kernel.pid = report["pid"]
            case "ready":
                with self._lock:
                    kernel.ready = True
                    self._tell_state(kernel)
            case "failed":
                kernel.error = report["error"]
            case "printed":
                self._deliver(Printed(kernel=kernel, stream=report["stream"], text=report["text"]))
            case "done":
                self._deliver(Done(kernel=kernel, ending=Ending.from_json(report)))
            case "exit":
                self._take_exit(kernel, report)

    def _take_exit(self, kernel: Kernel, report: Mapping[str, Any]) -> None:
        kernel.status, kernel.cpu = report["status"], report["cpu"]
        kernel.error = kernel.error or report["error"]
        with self._lock:
            kernel.ended = True
            self._tell_state(kernel)
        self._deliver(Ended(kernel=kernel))

    def _tell_state(self, kernel: Kernel) -> None:
        """Tell the worker what is known of a kernel that it works with; to be called with the lock held."""
        if kernel.busy and (kernel.ready or kernel.ended):
            state = {"ready": kernel.ready, "ended": kernel.ended, "status": kernel.status, "error": kernel.error}
            with contextlib.suppress(EngineError):  # a worker that is gone is told of as lost
                self._send(self._work, {"op": "state", "kernel": kernel.number, **state})

    def _lose(self) -> None:
        """The host or the worker is gone: no kernel outlives it, whatever ended it."""
        reason = "the process that runs the kernels is gone" + self._last_words()
        self._answers.put({"message": reason, "hint": None})
        with self._lock:
            kernels = [kernel for kernel in self._kernels.values() if not kernel.ended]
        for kernel in kernels:
            if kernel.pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(kernel.pid, signal.SIGKILL)
        self._deliver(Lost(reason=reason))

    def _last_words(self) -> str:
        try:
            with open(os.path.join(self._folder, "host.log"), encoding="utf-8", errors="replace") as log:
                lines = log.read().strip().splitlines()
        except OSError:
            return ""
        return f": {lines[-1]}" if lines else ""


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        folder = "/tmp"
    return tempfile.mkdtemp(prefix="kale-", dir=folder)


def _needs_interpreter(env: Mapping[str, str]) -> bool:
    """Tell whether an interpreter reads one of these variables when it starts, so that a fork would miss it."""
    return any(name.startswith(("PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_")) or name in ("LANG", "LANGUAGE") for name in env)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
