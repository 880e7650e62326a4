"""What a cell showed when the notebook was saved, as HTML: text, tables, pictures. Nothing of it runs, and all of it has bounds."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kale_nb.page.markup import LONGEST_MARKUP, harmless, markdown
from kale_nb.report.style import plain
from kale_nb.sizes import size

MOST_LINES, LONGEST_TEXT = 200, 20_000
"""Of one output's text."""
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_LARGEST_PICTURE = 4 * 1024 * 1024
_SVG = "image/svg+xml"


class Budget:
    """How much the outputs of a whole page may take; what comes after it is spent stays in the notebook."""

    def __init__(self, characters: int = 16 * 1024 * 1024) -> None:
        self._left = characters

    def take(self, made: str) -> str:
        """Return what was made, or where it can be found."""
        if len(made) > self._left:
            return _note(f"an output of {size(len(made))} is left out: the page has {size(self._left)} left for outputs")
        self._left -= len(made)
        return made


def outputs_html(outputs: Sequence[Mapping[str, Any]], budget: Budget) -> str:
    """Return the outputs of a cell one below the other; empty when there are none to see."""
    parts = [budget.take(part) for output in _joined(outputs) for part in _output(output)]
    return "".join(f'<div class="output">{part}</div>' for part in parts if part)


def _joined(outputs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Join the pieces of one stream, which kernels send as they come."""
    joined: list[Mapping[str, Any]] = []
    for output in outputs if isinstance(outputs, list | tuple) else ():
        if not isinstance(output, dict):
            continue
        last = joined[-1] if joined else {}
        if _stream(output) is not None and _stream(output) == _stream(last):
            joined[-1] = {**last, "text": _text(last.get("text")) + _text(output.get("text"))}
        else:
            joined.append(output)
    return joined


def _stream(output: Mapping[str, Any]) -> str | None:
    return str(output.get("name")) if output.get("output_type") == "stream" else None


def _output(output: Mapping[str, Any]) -> list[str]:
    match output.get("output_type"):
        case "stream":
            return [_said(_text(output.get("text")), "said err" if output.get("name") == "stderr" else "said")]
        case "error":
            trace = output.get("traceback")
            told = "\n".join(map(str, trace)) if isinstance(trace, list) and trace else ""
            return [_said(told or f"{output.get('ename')}: {output.get('evalue')}", "said failed")]
        case "display_data" | "execute_result":
            data = output.get("data")
            return [_richest(data)] if isinstance(data, Mapping) else []
        case _:
            return []


def _richest(data: Mapping[str, Any]) -> str:
    """Return the richest form that needs no script."""
    said = _text(data.get("text/plain"))
    for kind in (_SVG, *PICTURES):
        if kind in data:
            return _picture(kind, _text(data[kind]), said)
    for kind, read in (("text/html", harmless), ("text/markdown", markdown)):
        text = _text(data.get(kind))
        if text and len(text) <= LONGEST_MARKUP:
            made = read(text)
            if _says_something(made):
                return f'<div class="prose">{made}</div>'
    if said:
        return _said(said)
    kinds = ", ".join(sorted(str(kind) for kind in data))
    return _note(f"{kinds}: shown in the notebook only") if kinds else ""


def _says_something(html: str) -> bool:
    return bool(re.sub(r"<(?!img)[^>]*>|\s", "", html))


def _picture(kind: str, content: str, said: str) -> str:
    if kind == _SVG:
        content = base64.b64encode(content.encode("utf-8", "replace")).decode()
    content = "".join(content.split())
    if len(content) > _LARGEST_PICTURE:
        return _note(f"a picture of {size(len(content) * 3 // 4)}: shown in the notebook only")
    try:
        base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return _note(f"{kind} that cannot be read")
    alt = escape(" ".join(said.split())[:200] or "picture")
    return f'<img src="data:{kind};base64,{content}" alt="{alt}">'


def _said(text: str, kind: str = "said") -> str:
    shown = _settled(text).rstrip("\n")
    if not shown.strip():
        return ""
    lines = shown.split("\n")
    kept = "\n".join(lines[:MOST_LINES])[:LONGEST_TEXT]
    more = ""
    if len(kept) < len(shown):
        lost = len(lines) - kept.count("\n") - 1
        more = _note(f"{f'{lost} more lines' if lost else f'{size(len(shown) - len(kept))} more'} in the notebook")
    return f'<pre class="{kind}" tabindex="0">{escape(kept, quote=False)}</pre>{more}'


def _settled(text: str) -> str:
    """Return text as it stood on the screen at its end: a line that was written again over itself counts as it was last."""
    lines = [line.rstrip("\r").rpartition("\r")[2] if "\r" in line else line for line in text.split("\n")]
    return plain("\n".join(lines))


def _note(text: str) -> str:
    return f'<p class="note-line">{escape(text)}</p>'


def _text(value: object) -> str:
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""
