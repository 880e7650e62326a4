"""The driver's side of the kernel host: start it, ask it for kernels, hear how they end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kale_nb.engines.local.kernelspecs import KernelCommand
from kale_nb.errors import EngineError

_LONGEST_FOLDER = 70
"""A socket's path may have 107 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a kernel listens, as in Jupyter's connection files."""

    transport: str
    ip: str
    key: str
    ports: Mapping[str, int]

    def url(self, channel: str) -> str:
        """Return the address of `shell`, `iopub`, `stdin`, `control` or `hb`."""
        separator = "-" if self.transport == "ipc" else ":"
        return f"{self.transport}://{self.ip}{separator}{self.ports[channel]}"

    def to_json(self) -> dict[str, object]:
        """Return the content of a connection file."""
        return {
            "transport": self.transport,
            "ip": self.ip,
            "key": self.key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": "",
            **{f"{channel}_port": port for channel, port in self.ports.items()},
        }


class Kernel:
    """One kernel process. Its state changes from the host's reader thread; `wake_fd` becomes readable at each change.

    Attributes:
        status: None while it lives; then its exit code, negative for the signal that ended it.
        error: why it could not be started at all.
        cpu: CPU seconds it took, its children that it waited for included; known when it has ended.
        announces: it tells when it is ready (forked kernels do).
    """

    def __init__(self, host: KernelHost, number: int, connection: Connection, *, announces: bool) -> None:
        self.connection = connection
        self.announces = announces
        self.pid: int | None = None
        self.ready = False
        self.ended = False
        self.status: int | None = None
        self.error: str | None = None
        self.cpu: float | None = None
        self.wake_fd, self._notify = os.pipe()
        os.set_blocking(self._notify, False)
        os.set_blocking(self.wake_fd, False)
        self._host = host
        self._number = number
        self._changed = threading.Condition()

    def kill(self) -> None:
        """Kill the kernel and its process group now."""
        self._host.send({"op": "kill", "kernel": self._number})

    def wait_end(self, timeout: float) -> bool:
        """Wait until the kernel has ended and been reaped; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, timeout)

    def calm(self) -> None:
        """Forget changes told so far: `wake_fd` is readable again at the next one."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_fd, 4096)

    def close(self) -> None:
        """Give back what the driver holds for it."""
        with self._changed:
            if self._notify >= 0:
                os.close(self._notify)
                os.close(self.wake_fd)
                self._notify = self.wake_fd = -1

    def take(self, report: Mapping[str, Any]) -> None:
        """Take a report of the host."""
        with self._changed:
            match report["event"]:
                case "started":
                    self.pid = report["pid"]
                case "ready":
                    self.ready = True
                case "failed":
                    self.error = report["error"]
                case "exit":
                    self.error = self.error or report["error"]
                    self.status = report["status"]
                    self.cpu = report["cpu"]
                    self.ended = True
            if self._notify >= 0:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._notify, b"!")
            self._changed.notify_all()


class KernelHost:
    """The host process and the kernels it runs. Use as a context manager: leaving it kills whatever is left."""

    def __init__(self) -> None:
        self._folder = _short_folder()
        self._numbers = itertools.count(1)
        self._kernels: dict[int, Kernel] = {}
        self._lock = threading.Lock()
        self._closed = False
        ours, theirs = socket.socketpair()
        self._control = ours
        root = str(Path(__file__).resolve().parents[3])
        with theirs, open(os.path.join(self._folder, "host.log"), "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, _SCRIPT, str(theirs.fileno()), self._folder, root],
                pass_fds=[theirs.fileno()],
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

    def start(self, command: KernelCommand, *, cwd: Path, log: Path, env: Mapping[str, str]) -> Kernel:
        """Start a kernel; returns at once. EngineError when the host is gone."""
        number = next(self._numbers)
        forked = command.forkable and not _needs_interpreter(env)
        connection = self._connection(number, ipc=command.ipc)
        file = os.path.join(self._folder, f"{number}.json")
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
            json.dump(connection.to_json(), stream)
        kernel = Kernel(self, number, connection, announces=forked)
        with self._lock:
            self._kernels[number] = kernel
        changes: dict[str, str | None] = dict(env) if forked else {**command.env, "JPY_PARENT_PID": str(self._process.pid), **env}
        self.send(
            {
                "op": "start",
                "kernel": number,
                "argv": None if forked else command.argv(file),
                "connection_file": file,
                "cwd": os.fspath(cwd),
                "log": os.fspath(log),
                "env": changes,
            }
        )
        return kernel

    def kill_all(self) -> None:
        """Kill every kernel now."""
        with self._lock:
            kernels = list(self._kernels.values())
        for kernel in kernels:
            if not kernel.ended:
                kernel.kill()

    def send(self, request: Mapping[str, object]) -> None:
        """Send a request to the host; a host that is gone has told every kernel's end already."""
        try:
            with self._lock:
                self._control.sendall(json.dumps(request).encode("ascii") + b"\n")
        except OSError as error:
            if request["op"] == "start":
                raise EngineError("the process that starts kernels is gone" + self._last_words()) from error

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
        for kernel in self._kernels.values():
            kernel.close()
        shutil.rmtree(self._folder, ignore_errors=True)

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
        buffer = b""
        while True:
            try:
                data = self._control.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                report = json.loads(line)
                with self._lock:
                    kernel = self._kernels[report["kernel"]]
                kernel.take(report)
        self._lose_host()

    def _lose_host(self) -> None:
        """The host is gone: no kernel outlives it, whatever ended it."""
        words = self._last_words()
        with self._lock:
            kernels = list(self._kernels.values())
        for kernel in kernels:
            if not kernel.ended:
                if kernel.pid is not None:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(kernel.pid, signal.SIGKILL)
                error = None if self._closed else f"the process that starts kernels is gone{words}"
                kernel.take({"event": "exit", "status": None, "error": error, "cpu": None})

    def _last_words(self) -> str:
        try:
            with open(os.path.join(self._folder, "host.log"), encoding="utf-8", errors="replace") as log:
                lines = log.read().strip().splitlines()
        except OSError:
            return ""
        return f": {lines[-1]}" if lines else ""


_SCRIPT = str(Path(__file__).with_name("host_process.py"))


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
