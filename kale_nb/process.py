"""Who writes a record or holds a lease, told so that a reader can find out whether the writer still lives.

A process id alone is reused; with the start time and the boot of the machine it is unique. A reader in another process id namespace
(another container) or on another machine cannot look, and then takes the writer's word.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A process, told apart from every other that had or will have its number.

    Attributes:
        started: start of the process as the system tells it, compared for equality only.
        boot: identity of the boot of the machine; empty when the system has none.
        host: name of the machine.
        namespace: the process id namespace; empty when the system has none.
    """

    pid: int
    started: str = ""
    boot: str = ""
    host: str = ""
    namespace: str = ""


def this_process() -> Writer:
    """Return the calling process as a writer."""
    pid = os.getpid()
    return Writer(pid=pid, started=_started(pid) or "", boot=_boot(), host=os.uname().nodename, namespace=_namespace())


def is_gone(writer: Writer) -> bool:
    """Tell whether the writer certainly no longer runs; False when it runs or when this process cannot know.

    >>> is_gone(this_process())
    False
    """
    here = this_process()
    if writer.host != here.host:
        return False
    if writer.boot != here.boot:
        return True
    if writer.namespace != here.namespace:
        return False
    started = _started(writer.pid)
    return started is None or (bool(writer.started) and started != writer.started)


def _started(pid: int) -> str | None:
    """Return when process `pid` started; None when there is no such process, or only a zombie."""
    if os.path.exists("/proc/self/stat"):
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return ""


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
