"""Runs the cells of a notebook in a fresh process in a few milliseconds: a process that has imported what is slow and forks per run.

Started as a script. Each line on standard input is a job: `{"cwd", "cells": [{"key", "source", "may_raise"}], "result", "seconds"}`. The
child runs the cells in an IPython shell whose user module is `__main__`, stops at the first error (unless the cell may raise), and writes
`{"outputs": {key: [event, ...]}, "error": {...} | null}` to the file `result`. One line `done` or `killed N` answers each job.
An event is `["stdout", text]`, `["stderr", text]`, `["result", {mime: data}]`, `["display", {mime: data}]` or `["raised", {mime: data}]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import os
import signal
import sys
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

EVENTS: list[list[Any]] = []
ERRORS: list[dict[str, str]] = []


class Stream(io.TextIOBase):
    """A standard stream of the kernel."""

    encoding = "utf-8"

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text)}")
        if EVENTS and EVENTS[-1][0] == self.name:
            EVENTS[-1][1] += text
        else:
            EVENTS.append([self.name, text])
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


class Hook(DisplayHook):
    """Records the value of a cell's last expression."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        EVENTS.append(["result", _texts(format_dict)])

    def finish_displayhook(self) -> None:
        self._is_active = False


class Publisher(DisplayPublisher):
    """Records what is displayed."""

    def publish(self, data: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        EVENTS.append(["display", _texts(data)])

    def clear_output(self, wait: bool = False) -> None:
        pass


def _texts(data: dict[str, Any]) -> dict[str, str]:
    import base64

    return {k: base64.b64encode(v).decode() if isinstance(v, bytes) else str(v) for k, v in data.items()}


class Shell(InteractiveShell):
    """The kernel's shell without the kernel."""

    displayhook_class = Type(Hook)
    display_pub_class = Type(Publisher)

    def enable_gui(self, gui: Any = None) -> None:
        pass

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        ERRORS.append({"ename": etype.__name__, "evalue": str(evalue), "traceback": "\n".join(stb)})

    system = InteractiveShell.system_piped


def make_shell() -> Shell:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    return Shell.instance(config=config)


async def run_cells(shell: Shell, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Run cells as the kernel does, inside a running event loop; stop after the first error."""
    outputs: dict[str, list[list[Any]]] = {}
    for cell in cells:
        EVENTS.clear()
        source = cell["source"]
        transformed = shell.transform_cell(source) if source.strip() else source
        if shell.should_run_async(source, transformed_cell=transformed):
            result = await shell.run_cell_async(source, store_history=True, transformed_cell=transformed)
            shell.events.trigger("post_execute")
            shell.events.trigger("post_run_cell", result)
        else:
            result = shell.run_cell(source, store_history=not cell.get("silent"), silent=bool(cell.get("silent")))
        outputs.setdefault(cell["key"], []).extend(EVENTS)
        EVENTS.clear()
        if not result.success:
            error = result.error_in_exec or result.error_before_exec
            fault = ERRORS.pop() if ERRORS else {"ename": type(error).__name__, "evalue": str(error), "traceback": ""}
            if cell.get("may_raise"):
                outputs[cell["key"]].append(["raised", {"text/plain": f"{fault['ename']}: {fault['evalue']}"}])
            else:
                return {"outputs": outputs, "error": {**fault, "key": cell["key"]}}
        await asyncio.sleep(0)
    return {"outputs": outputs, "error": None}


def child(shell: Shell, job: dict[str, Any]) -> None:
    """Run one job in the forked process."""
    os.setsid()
    signal.alarm(int(job.get("seconds", 60)))
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.chdir(job["cwd"])
    import random

    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    sys.stdout, sys.stderr = Stream("stdout"), Stream("stderr")
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.argv = ["kernel"]
    result = asyncio.run(run_cells(shell, job["cells"]))
    partial = job["result"] + ".partial"
    with open(partial, "w", encoding="utf-8", errors="surrogatepass") as file:
        json.dump(result, file)
    os.rename(partial, job["result"])


def serve(preload: list[str]) -> None:
    """Import what is slow, then fork one child per job line until the input ends."""
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    shell = make_shell()
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = ["", *(p for p in sys.path if p and os.path.abspath(p) != here)]
    for name in preload:
        with contextlib.suppress(ImportError):
            __import__(name)
    asyncio.run(run_cells(shell, [{"key": "-", "source": "None", "silent": True}]))  # what the first cell would import and fill
    gc.collect()
    gc.freeze()
    answers.write("ready\n")
    answers.flush()
    for line in requests:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child(shell, job)
                code = 0
            except BaseException:
                import traceback

                with open(job["result"] + ".crash", "w", encoding="utf-8") as file:
                    traceback.print_exc(file=file)
            finally:
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        answers.write("done\n" if status == 0 else f"killed {status}\n")
        answers.flush()


if __name__ == "__main__":
    OWN_MAIN = sys.modules["__main__"]
    serve(sys.argv[1:])
