"""Which lines of a cell begin a statement: only those can be magics.

A line inside a string, inside brackets or after a backslash may start with `%` without being one. IPython's own lines (`%...`, `!...`)
are stepped over: quotes in them mean nothing.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

_IPYTHON_LINE = re.compile(r"\s*(?:[%!?]|[\w.,\s]+=\s*(?:!|%[A-Za-z]))")
_TOKEN = re.compile(
    r"""(?P<triple>\"{3}|'{3})|(?P<single>["'])|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<comment>\#)|(?P<other>[^"'()\[\]{}\#]+)"""
)


def statement_starts(lines: Sequence[str]) -> tuple[bool, ...]:
    """Tell for each line whether a statement (or a comment) may begin on it.

    >>> statement_starts(["x = (a", "  %b)", "%pipeline --name c"])
    (True, False, True)
    """
    starts: list[bool] = []
    closing: str | None = None
    depth = 0
    continued = magic = False
    for line in lines:
        fresh = closing is None and depth == 0 and not continued
        starts.append(fresh)
        magic = (magic and continued) or (fresh and _IPYTHON_LINE.match(line) is not None)
        ends_open = line.endswith("\\")
        if magic:
            continued = ends_open
            continue
        closing, depth, comment = _scan(line, closing, depth)
        continued = ends_open and closing is None and not comment
    return tuple(starts)


def _scan(line: str, closing: str | None, depth: int) -> tuple[str | None, int, bool]:
    """Follow one line: the triple quote still open at its end, the depth of brackets, whether it ends in a comment."""
    at = 0
    while at < len(line):
        if closing is not None:
            end = _string_end(line, at, closing)
            if end is None:
                return (closing if len(closing) == 3 else None), depth, False
            at, closing = end, None
            continue
        match = _TOKEN.match(line, at)
        if match is None:
            at += 1
            continue
        at = match.end()
        match match.lastgroup:
            case "triple" | "single":
                closing = match.group()
            case "open":
                depth += 1
            case "close":
                depth = max(0, depth - 1)
            case "comment":
                return None, depth, True
    if closing is not None and len(closing) == 1 and not line.endswith("\\"):
        closing = None
    return closing, depth, False


def _string_end(line: str, at: int, closing: str) -> int | None:
    while at < len(line):
        if line[at] == "\\":
            at += 2
        elif line.startswith(closing, at):
            return at + len(closing)
        else:
            at += 1
    return None


def is_blank(line: str) -> bool:
    """Tell whether a line holds nothing but space or a comment."""
    stripped = line.strip()
    return not stripped or stripped.startswith("#")


def dedented(code: str) -> str:
    """Return the code of a cell that is indented as a whole as IPython runs it, without that indent; any other as it is.

    >>> dedented("  x = 1\\n  y = 2"), dedented("x = 1")
    ('x = 1\\ny = 2', 'x = 1')
    """
    first = next((line for line in code.split("\n") if line.strip()), "")
    return textwrap.dedent(code) if first[:1].isspace() else code
