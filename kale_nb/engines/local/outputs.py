"""What a cell prints: kept in the notebook up to a limit, all of it in the step's log up to a larger one, the last line told on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CELL_LIMIT = 10_000_000
"""Characters of text that a cell may print into its notebook."""
DISPLAY_LIMIT = 64_000_000
"""Bytes of displayed data that a cell may put into its notebook."""
LOG_LIMIT = 200_000_000
"""Bytes of a step's log."""
_TELL_EVERY = 0.25
_TOLD = 500

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def without_ansi(text: str) -> str:
    """Remove terminal escape sequences.

    >>> without_ansi("\\x1b[31mred\\x1b[0m")
    'red'
    """
    return _ANSI.sub("", text)


class Printed:
    """Where the output of a step goes besides its notebook: the log, and at most a few times a second the last lines to `tell`."""

    def __init__(self, log: Path | None, tell: Callable[[str, str], None] | None = None) -> None:
        self._path = log
        self._log = open(log, "ab", buffering=0) if log is not None else None  # noqa: SIM115 - closed in close()
        self._room = LOG_LIMIT
        self._tell = tell
        self._told = 0.0
        self._waiting: tuple[str, str] | None = None

    def take(self, stream: str, text: str) -> None:
        """Take text that was printed."""
        self.write(text)
        if self._tell is not None and text.strip():
            self._waiting = (stream, text[-_TOLD:])
            self.tell_if_due()

    def write(self, text: str) -> None:
        """Append text to the log. OSError, naming the log, when it cannot be written."""
        if self._log is None or self._room <= 0:
            return
        data = text.encode("utf-8", "replace")
        if len(data) >= self._room:
            data = data[: self._room] + f"\n[the log ends here: it holds {LOG_LIMIT:,} bytes]\n".encode()
        self._room -= len(data)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._log.write(rest) or 0 :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    @property
    def full(self) -> bool:
        """Nothing more goes into the log."""
        return self._log is None or self._room <= 0

    def log_error(self, content: dict[str, Any]) -> None:
        """Append an error's traceback to the log."""
        self.write(without_ansi("\n".join(content.get("traceback", ()))) + "\n")

    def due(self) -> float | None:
        """Return when text that waits is to be told; None when none waits."""
        return None if self._waiting is None else self._told + _TELL_EVERY

    def tell_if_due(self, *, now: bool = False) -> None:
        """Tell the last text if it is time."""
        if self._waiting is not None and self._tell is not None and (now or time.monotonic() >= self._told + _TELL_EVERY):
            stream, text = self._waiting
            self._waiting = None
            self._told = time.monotonic()
            self._tell(stream, text)

    def close(self) -> None:
        """Tell what waits and close the log."""
        self.tell_if_due(now=True)
        if self._log is not None:
            self._log.close()
            self._log = None


class CellOutputs:
    """The outputs of one cell: texts of one stream that follow each other become one output; beyond a limit they are left out."""

    def __init__(self, outputs: list[Any], printed: Printed) -> None:
        outputs.clear()
        self._outputs = outputs
        self._printed = printed
        self._parts: list[str] = []
        self._open: Any = None
        self._text = 0
        self._data = 0
        self._left_out = 0

    def stream(self, name: str, text: str) -> None:
        """Take text printed to `stdout` or `stderr`."""
        self._printed.take(name, text)
        room = CELL_LIMIT - self._text
        if room <= 0:
            self._left_out += len(text)
            return
        if self._open is None or self._open["name"] != name:
            self.finish()
            self._open = _node({"output_type": "stream", "name": name, "text": ""})
            self._outputs.append(self._open)
        self._parts.append(text[:room])
        self._text += len(text)
        if len(text) > room:
            self._left_out += len(text) - room

    def drops(self, size: int) -> bool:
        """Tell whether a message of printed text need not even be decoded, being left out of notebook and log alike."""
        if self._text < CELL_LIMIT or not self._printed.full:
            return False
        self._left_out += size
        return True

    def admits(self, message: dict[str, Any]) -> bool:
        """Tell whether displayed data still fits; when not, a note takes its place."""
        content = message["content"]
        if message["msg_type"] == "error":
            return True
        data = content.get("data") or {}
        size = sum(len(value) if isinstance(value, str | bytes) else 1000 for value in data.values())
        plain = data.get("text/plain")
        if isinstance(plain, str) and len(plain) > CELL_LIMIT:
            data["text/plain"] = plain[:CELL_LIMIT] + _note(len(plain) - CELL_LIMIT)
            size -= len(plain) - CELL_LIMIT
        if self._data + size > DISPLAY_LIMIT:
            self._outputs.append(_remark(f"[an output of {size:,} bytes was left out]\n"))
            return False
        self._data += size
        return True

    def clear(self) -> None:
        """Forget all outputs so far."""
        self._open = None
        self._parts = []
        self._outputs.clear()

    def finish(self) -> None:
        """Bring the outputs into the form that the notebook keeps."""
        if self._open is not None:
            self._open["text"] += "".join(self._parts)
            self._parts = []
            self._open = None
        if self._left_out:
            self._outputs.append(_remark(_note(self._left_out)))
            self._left_out = 0


def _note(left_out: int) -> str:
    return f"\n[{left_out:,} more characters were left out here; the step's log has more]\n"


def _node(output: dict[str, Any]) -> Any:
    from nbformat import NotebookNode

    return NotebookNode(output)


def _remark(text: str) -> Any:
    return _node({"output_type": "stream", "name": "stderr", "text": text})
