"""An executed notebook as lines for a terminal: the cells that said something, and what they said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kale_nb.report.style import Style, plain

_MOST_LINES = 200
"""Lines of one output that are shown; the notebook has all."""


def executed_lines(path: Path, style: Style) -> list[str]:
    """Return the outputs of an executed stepbook, each under the cell of the user's notebook that it came from."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = notebook["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"({path} cannot be read: {error})"]
    lines: list[str] = []
    for cell in cells:
        shown = [line for output in cell.get("outputs", ()) for line in _output(output)]
        if shown:
            number = cell.get("metadata", {}).get("kale", {}).get("cell")
            tags = ", ".join(cell.get("metadata", {}).get("tags", ()))
            lines.extend(["", style.paint(f"── cell {number}" if number is not None else f"── {tags or 'cell'}", "dim"), *shown])
    return lines


def _output(output: dict[str, Any]) -> list[str]:
    match output.get("output_type"):
        case "stream":
            return _cut(output.get("text", ""))
        case "display_data" | "execute_result":
            data = output.get("data", {})
            pictures = [f"({kind})" for kind in data if kind.startswith(("image/", "application/"))]
            return [*_cut(data.get("text/plain", "")), *pictures]
        case "error":
            return _cut("\n".join(output.get("traceback", ())) or f"{output.get('ename')}: {output.get('evalue')}")
        case _:
            return []


def _cut(text: str | list[str]) -> list[str]:
    lines = plain("".join(text)).rstrip("\n").split("\n")
    left = len(lines) - _MOST_LINES
    return lines if left <= 0 else [*lines[:_MOST_LINES], f"... {left} more lines in the executed notebook"]
