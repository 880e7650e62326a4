"""How text is put on a terminal: colours, widths, durations, tables. Nothing here prints."""

from __future__ import annotations

import os
import re
import shutil
import time
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from kale_nb.runs.events import State

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36"}
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")

STATE_COLOR = {
    State.PENDING: "dim",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.SKIPPED: "dim",
    State.CANCELLED: "yellow",
    State.INTERRUPTED: "yellow",
}
STATE_SIGN = {
    State.PENDING: "·",
    State.RUNNING: "▸",
    State.SUCCEEDED: "✓",
    State.FAILED: "✗",
    State.SKIPPED: "-",
    State.CANCELLED: "■",
    State.INTERRUPTED: "!",
}


class Style:
    """Paints text for one stream: plain when the stream is no terminal or NO_COLOR is set, painted when FORCE_COLOR is.

    Without a stream the text is plain, for a file or a notebook.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.color = stream is not None and wants_color(stream)
        self.unicode = stream is None or "utf" in (getattr(stream, "encoding", None) or "ascii").lower()

    def paint(self, text: str, *names: str) -> str:
        """Return the text in these colours, or plain."""
        if not self.color or not names or not text:
            return text
        return f"\x1b[{';'.join(_CODES[name] for name in names)}m{text}\x1b[0m"

    def state(self, state: State) -> str:
        """Return the word of a state in its colour."""
        return self.paint(state.value, STATE_COLOR[state])

    def sign(self, state: State) -> str:
        """Return one character for a state in its colour."""
        sign = STATE_SIGN[state] if self.unicode else state.value[0].upper()
        return self.paint(sign, STATE_COLOR[state])


def wants_color(stream: TextIO) -> bool:
    """Tell whether colours belong on this stream."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def is_terminal(stream: TextIO) -> bool:
    """Tell whether the stream is a terminal; False for a closed one."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def plain(text: str) -> str:
    """Return the text without control characters and escape sequences; tabs and newlines stay.

    >>> plain("\\x1b[31mred\\x1b[0m\\r")
    'red'
    """
    return _CONTROL.sub("", text)


def width(text: str) -> int:
    """Return how many columns the text takes, colours not counted.

    >>> width("a\\x1b[31mb\\x1b[0m"), width("训练"), width("e\\u0301")
    (2, 4, 1)
    """
    total = 0
    for char in _CONTROL.sub("", text) if not text.isalnum() else text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn", "Me"):
            continue
        total += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return total


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Return the text filled with blanks to a number of columns."""
    blanks = " " * max(0, columns - width(text))
    return blanks + text if right else text + blanks


def clip(text: str, columns: int) -> str:
    """Return plain text cut to a number of columns, the cut shown.

    >>> clip("abcdef", 4)
    'abc…'
    """
    if width(text) <= columns:
        return text
    out, used = [], 0
    for char in text:
        used += width(char)
        if used > columns - 1:
            break
        out.append(char)
    return "".join(out) + ("…" if columns > 0 else "")


def columns(stream: TextIO) -> int:
    """Return the width to write for: that of the terminal, 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns if is_terminal(stream) else 100


def duration(seconds: float | None) -> str:
    """Return a duration for people.

    >>> [duration(s) for s in (None, 0.04, 3.14159, 61, 3725, 90061)]
    ['', '0.04 s', '3.1 s', '1 min 01 s', '1 h 02 min', '1 d 01 h']
    """
    if seconds is None:
        return ""
    if seconds < 0.995:
        return f"{max(0.0, seconds):.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def number(value: float) -> str:
    """Return a metric for people: short, and no digit lost that matters.

    >>> [number(v) for v in (3.0, 0.8234567, 1e-9, 123456.789, float("nan"))]
    ['3', '0.823457', '1e-09', '123457', 'nan']
    """
    return f"{value:.6g}" if abs(value) < 1e15 and value != int(value) else f"{value:.15g}" if value == value else "nan"


def short(digest: str) -> str:
    """Return enough of a hex digest or of a `sha256:` id for people to tell it apart and to type it.

    >>> short("sha256:0123456789abcdef0123")
    '0123456789ab'
    """
    return digest.removeprefix("sha256:")[:12]


def clock(moment: float) -> str:
    """Return a time of day, local."""
    return time.strftime("%H:%M:%S", time.localtime(moment))


def date(moment: float) -> str:
    """Return date and time, local."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), indent: str = "  ") -> list[str]:
    """Return rows as aligned lines; `right` are the columns to align at their end."""
    if not rows:
        return []
    widths = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [indent + "  ".join(pad(cell, widths[i], right=i in right) for i, cell in enumerate(row)).rstrip() for row in rows]
