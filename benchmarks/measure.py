"""CPU seconds of a command and of every process that it leaves behind."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds of CPU (user and system, whole process tree) and of wall clock."""

    cpu: float
    wall: float


def cost(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command and return what it cost; RuntimeError with its output when it fails.

    The command runs under a process that adopts orphans (Linux), so that a kernel whose parent is gone is counted too.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run_and_report(command, cwd, env, writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        report = json.load(pipe)
    os.waitpid(pid, 0)
    if report["code"] != 0:
        raise RuntimeError(f"{' '.join(command)} exited {report['code']}:\n{report['output']}")
    return Cost(cpu=report["cpu"], wall=report["wall"])


def _with_bytecode(env: Mapping[str, str]) -> dict[str, str]:
    """Let compiled modules be kept, as they are where a package is installed and not run from a checkout."""
    return {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _run_and_report(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None, writer: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started = time.monotonic()
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env=_with_bytecode(os.environ if env is None else env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wall = time.monotonic() - started
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = {"code": done.returncode, "output": done.stdout[-4000:], "cpu": used.ru_utime + used.ru_stime, "wall": wall}
    with os.fdopen(writer, "w", encoding="utf-8") as pipe:
        json.dump(report, pipe)
    os._exit(0)
