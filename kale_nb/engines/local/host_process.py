"""The kernel host: a small process that starts kernels and answers for their end.

It has imported what an IPython kernel imports at start and forks a ready kernel in a few milliseconds; other kernels it starts by exec.
It reports when a kernel ends and how. A kernel's whole process group is killed when it ends, and so is every process that it started and
let go of (kernels and host are child subreapers, so such processes come home to the host). When the process that drives the host goes away,
also by kill -9, the host reads the end of its pipe, kills everything and leaves.

Nothing but what IPython kernels import anyway, and what our run time needs, may be imported here before a fork: the user's workspace may
hold modules with the names of ours.

Its first child is the worker, which talks to kernels (see `worker`): it is forked too, so that what kernels and their client both import is
imported once.

This file runs as a script: `python host_process.py CONTROL_FD WORK_FD FOLDER PACKAGE_ROOT`. Requests and reports are JSON, one a line.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

_PRELOADED = (
    "xxhash",
    "dill",
    "kale_nb.marshal",
    "kale_nb.runtime",
    "kale_nb.engines.local.namespace",
    "kale_nb.engines.local.writes",
)
_WARM = (
    "IPython.core.completerlib", "IPython.core.debugger", "IPython.core.debugger_backport", "IPython.core.logger", "IPython.core.oinspect",
    "IPython.extensions.storemagic", "ipykernel.ipkernel", "ipykernel.zmqshell", "pdb", "tornado.platform.asyncio",
)  # fmt: skip
"""What a kernel imports while it starts, before the user's folder is on its path."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def serve(control_fd: int, work_fd: int, folder: str) -> None:
    """Start the worker, then take requests until the other end of the control socket is closed; kill all that is left and return."""
    _preload()
    host = _Host(socket.socket(fileno=control_fd))
    host.start_worker(work_fd)
    try:
        host.loop()
    finally:
        host.finish()
        shutil.rmtree(folder, ignore_errors=True)


class _Host:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._worker = -1
        self._kernels: dict[int, int] = {}  # process id -> the driver's number for the kernel
        self._input = b""
        self._notices, self._notify = os.pipe()
        os.set_blocking(self._notices, False)
        self._notice = b""
        self._wake, self._wakeup = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def start_worker(self, work_fd: int) -> None:
        """Fork the process that talks to kernels."""
        gc.freeze()  # what is shared with the children stays shared: their collections do not touch it
        host = os.getpid()
        self._worker = os.fork()
        if self._worker == 0:
            try:
                _leave_the_host(host, self._close_in_child)
                os.close(self._notify)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                from kale_nb.engines.local import worker

                worker.serve(work_fd)
            finally:
                os._exit(0)
        os.close(work_fd)

    def loop(self) -> None:
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._wake, self._notices):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._control.fileno():
                    if not self._read_requests():
                        return
                elif descriptor == self._wake:
                    os.read(self._wake, 4096)
                    self._reap()
                else:
                    self._forward_notices()

    def _read_requests(self) -> bool:
        try:
            data = self._control.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            return False
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if request["op"] == "start":
                self._start(request)
            elif request["op"] == "probe":
                self._report({"event": "probed", "reason": _try_view(request["view"])})
            else:
                self._kill(request["kernel"])
        return True

    def _start(self, request: dict[str, Any]) -> None:
        host = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._report({"event": "exit", "kernel": request["kernel"], "status": None, "error": str(error), "cpu": 0.0})
            return
        if pid == 0:
            _become_kernel(request, host, self._notify, self._close_in_child)
        self._kernels[pid] = request["kernel"]
        self._report({"event": "started", "kernel": request["kernel"], "pid": pid})

    def _close_in_child(self) -> None:
        self._control.close()
        for descriptor in (self._notices, self._wake, self._wakeup):
            os.close(descriptor)

    def _kill(self, kernel: int) -> None:
        for pid, number in self._kernels.items():
            if number == kernel:
                _kill_group(pid)

    def _forward_notices(self) -> None:
        """Pass on what kernels have said so far."""
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self._notices, 1 << 16):
                *lines, self._notice = (self._notice + said).split(b"\n")
                for line in lines:
                    self._report(json.loads(line))

    def _report(self, report: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # nobody is there any more: the next read tells
            self._control.sendall(json.dumps(report).encode("ascii") + b"\n")

    def _reap(self, flags: int = os.WNOHANG) -> bool:
        """Take every child that has ended; return whether any child is left."""
        ended = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, flags)
            except ChildProcessError:
                return False
            if pid == 0:
                if ended:
                    self._kill_strays()
                return True
            kernel = self._kernels.pop(pid, None)
            ended = True
            if kernel is not None:
                _kill_group(pid)
                self._kill_strays()
                self._forward_notices()  # why it ended, said before it ended, comes before its end
                cpu = usage.ru_utime + usage.ru_stime
                self._report(
                    {"event": "exit", "kernel": kernel, "status": os.waitstatus_to_exitcode(status), "error": None, "cpu": cpu}
                )

    def _kill_strays(self) -> None:
        for pid in _children():
            if pid not in self._kernels and pid != self._worker:
                _kill_group(pid, alone=True)

    def finish(self) -> None:
        """Kill everything and wait until it is gone, a few seconds at most."""
        for pid in (*self._kernels, self._worker):
            _kill_group(pid)
        self._worker = -1
        deadline = time.monotonic() + 5
        while self._reap() and time.monotonic() < deadline:
            self._kill_strays()
            select.select([self._wake], [], [], 0.02)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)


def _kill_group(pid: int, *, alone: bool = False) -> None:
    if pid <= 0:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not alone:
            os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    """Return the process ids of this process's children, those it inherited included; empty where the system does not tell."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        pass
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == own:
                found.append(int(name))
    return found


def _prctl(option: int, value: int) -> None:
    """Ask Linux for a property of this process; elsewhere nothing happens."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _preload() -> None:
    import importlib

    # A kernel starts ten times faster without the debugger, and a step has nobody to debug it. The user's own `import debugpy` works.
    gc.disable()  # imports make much and drop little: looking for garbage meanwhile is a tenth of their cost
    absent = "debugpy" not in sys.modules
    if absent:
        sys.modules["debugpy"] = None  # type: ignore[assignment]
    for name in ("kale_nb.engines.local.kernel_app", "ipykernel.debugger", *_WARM, *_PRELOADED):
        try:
            importlib.import_module(name)
        except Exception:  # what is missing or broken is told by the kernel that needs it
            if name == "kale_nb.engines.local.kernel_app":
                raise
    if absent:
        del sys.modules["debugpy"]
    gc.enable()


def _become_kernel(request: dict[str, Any], host: int, notify: int, close_others: Callable[[], None]) -> NoReturn:
    """In a new child: turn into the kernel that was asked for. Never returns."""
    code = 1
    try:
        _leave_the_host(host, close_others)
        _take_streams(request)
        notes = None if request["notes"] is None else os.open(request["notes"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if request["view"] is not None:
            from kale_nb.engines.local.namespace import enter

            enter(request["view"])
        _take_place(request)
        if request["argv"] is not None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execvp(request["argv"][0], request["argv"])
        from kale_nb.engines.local.kernel_app import run_kernel

        if notes is not None:
            from kale_nb.engines.local.writes import note_writes

            note_writes(notes)
        code = run_kernel(request["connection_file"], lambda: _tell_ready(request["kernel"], notify))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - the child must end here, whatever happens
        import traceback

        traceback.print_exc(file=sys.__stderr__)
        report = {"event": "failed", "kernel": request["kernel"], "error": f"{type(error).__name__}: {error}"[:500]}
        # At most six bytes a character in JSON: less than what a pipe takes at once.
        with contextlib.suppress(OSError):  # closed once the kernel was ready
            os.write(notify, json.dumps(report).encode("ascii") + b"\n")
    finally:
        os._exit(code)


def _leave_the_host(host: int, close_others: Callable[[], None]) -> None:
    """In a new child: be the leader of a group of its own, bound to the host's life and holding nothing of the host's."""
    os.setsid()
    gc.enable()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != host:
        os._exit(1)
    close_others()


def _take_place(request: dict[str, Any]) -> None:
    """Take on the environment and working folder of the request."""
    # When memory runs out, a step must end before the processes that tell the user.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("300")
    for name, value in request["env"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if "TZ" in request["env"]:
        time.tzset()
    os.chdir(request["cwd"])


def _take_streams(request: dict[str, Any]) -> None:
    """Read nothing, and write into the step's log."""
    empty = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor, target in ((empty, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    os.close(empty)
    os.close(log)


def _try_view(view: dict[str, Any]) -> str:
    """Return why a child of this process cannot have a view of its own of the file system; empty when it can."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            from kale_nb.engines.local.namespace import enter

            enter(view)
        except Exception as error:  # noqa: BLE001 - whatever it is, steps would meet it
            os.write(write, str(error).encode("utf-8", "replace")[:1000])
        finally:
            os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8", errors="replace") as answer:
        reason = answer.read()
    os.waitpid(pid, 0)
    return reason


def _tell_ready(kernel: int, notify: int) -> None:
    os.write(notify, json.dumps({"event": "ready", "kernel": kernel}).encode("ascii") + b"\n")
    os.close(notify)  # a fork of the kernel by the user must not speak here


if __name__ == "__main__":
    gc.disable()  # here, not in the children: this process makes no garbage worth collecting
    if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]  # modules of ours must not answer for the user's names
    try:
        import kale_nb  # noqa: F401
    except ModuleNotFoundError:
        sys.path.append(sys.argv[4])
    import kale_nb.engines.local.host_process as again  # noqa: PLW0406 - under its own name: `__main__` will be the user's

    again.serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
