"""What the driver asks of the worker, and what it hears: plain values that both sides share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kale_nb.runs.events import Failure


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One notebook to be executed.

    Attributes:
        params: Python source by name.
        kernel: name of the kernel.
        source: path of the user's notebook, as the user spelled it, for telling failures.
        clone: the folder that stands for the user's own.
        output: where the executed notebook is written.
        log: the file to which stdout and stderr are appended.
        timeout: seconds, None for no limit.
    """

    notebook: Mapping[str, Any]
    params: Mapping[str, str]
    kernel: str
    source: str
    clone: Path
    output: Path
    log: Path
    timeout: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the task as JSON values."""
        values = {name: getattr(self, name) for name in ("notebook", "params", "kernel", "source", "timeout")}
        return {**values, "clone": str(self.clone), "output": str(self.output), "log": str(self.log)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """Return the task that `to_json` wrote."""
        paths = {name: Path(values[name]) for name in ("clone", "output", "log")}
        return cls(**{**values, **paths})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the execution of a notebook ended, as the worker tells it.

    Attributes:
        failure: None when every cell ran.
        error: name of the exception's type, when one was raised.
    """

    failure: Failure | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the ending as JSON values."""
        return {"failure": None if self.failure is None else asdict(self.failure), "error": self.error}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Ending:
        """Return the ending that `to_json` wrote."""
        failure = values["failure"]
        return cls(failure=None if failure is None else Failure(**failure), error=values["error"])
