"""What a cell said, made comparable: one value per cell that is equal for two runs that mean the same.

Left out is what differs from run to run by nature: execution counts, colours, memory addresses, timings of `%%time` and `%timeit`, rates of
progress bars, the place of the run's clone, the names of the kernel's temporary files. Pictures and rich forms count by their kind only;
their `text/plain` is compared. Standard error is compared apart from the rest, for the two streams reach the notebook in no sure order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
_SPAN = r"(?<!\d)\d+(?:\.\d+)?(?:e[+-]?\d+)?\s*(?:ns|[µμu]s|ms|s|min|h|d)\b(?:\s*\d+(?:\.\d+)?\s*(?:ms|s|min|h)\b)*"
# A pattern that begins with a repetition may begin only where one begins: else it is tried at each place of a long line, to its end.
_VARYING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b"), "0x…"),
    (re.compile(rf"(?m)^(CPU times: ).*$|^(Wall time: ){_SPAN}\s*$"), "<timing>"),
    (re.compile(rf"{_SPAN} ± {_SPAN} per loop.*"), "<timing>"),
    (re.compile(r"(?m)^The slowest run took .*$"), "<timing>"),
    (re.compile(r"(?<!\d)\d+:\d\d(?::\d\d)?<(?:\d+:\d\d(?::\d\d)?|\?)"), "<elapsed>"),
    (re.compile(r"(?:(?<!\d)\d+(?:\.\d+)?|\?)\s*(?:[kMG]?(?:it|B)/s|s/it)"), "<rate>"),
    (re.compile(r"(?<!\S)\S*ipykernel_\d+[/\\]\d+\.py"), "<cell>"),
    (re.compile(r"<ipython-input-\d+-[0-9a-f]+>"), "<cell>"),
    (re.compile(r"\b(Cell In|In|Out) ?\[\d+\]"), r"\1[·]"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one cell said, made comparable.

    Attributes:
        shown: standard output and displays, in order, as lines.
        errors: standard error, as lines.
    """

    shown: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def said(outputs: Iterable[Mapping[str, Any]], places: Mapping[str, str] | None = None) -> Said:
    """Return what a cell said.

    Args:
        outputs: its outputs as nbformat 4 keeps them.
        places: text to replace, such as the folder of the clone by a word.

    >>> said([{"output_type": "stream", "name": "stdout", "text": "a\\nb at 0x7f3a2b4c5d6e\\n"}]).shown
    ('a', 'b at 0x…')
    """
    shown: list[str] = []
    errors = ""
    stream = ""
    for output in outputs:
        kind = output.get("output_type")
        if kind == "stream" and output.get("name") == "stderr":
            errors += text_of(output.get("text"))
            continue
        if kind == "stream":
            stream += text_of(output.get("text"))
            continue
        shown.extend(_lines(stream, places))
        stream = ""
        if kind == "error":
            shown.extend(_lines(f"{output.get('ename')}: {output.get('evalue')}", places))
        elif kind in ("display_data", "execute_result"):
            shown.extend(_display(output.get("data") or {}, places))
    shown.extend(_lines(stream, places))
    return Said(shown=tuple(shown), errors=tuple(_lines(errors, places)))


def text_of(value: object) -> str:
    """Return text that nbformat keeps as a string or as a list of lines."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(str(part) for part in value)
    return "" if value is None else str(value)


def steady(text: str, places: Mapping[str, str] | None = None) -> str:
    """Return text without what differs from run to run.

    >>> steady("Wall time: 5.48 µs"), steady("CPU times: user 3 µs, sys: 0 ns, total: 3 µs"), steady("<a.B object at 0x7f0011aabbcc>")
    ('<timing>', '<timing>', '<a.B object at 0x…>')
    >>> steady("1.2 µs ± 3.4 ns per loop (mean ± std. dev. of 7 runs, 1,000,000 loops each)"), steady("price 0x12, 3 s")
    ('<timing>', 'price 0x12, 3 s')
    """
    text = _ANSI.sub("", text)
    for old, new in sorted((places or {}).items(), key=lambda pair: -len(pair[0])):
        text = text.replace(old, new)
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text


def _display(data: Mapping[str, Any], places: Mapping[str, str] | None) -> list[str]:
    lines = _lines(text_of(data.get("text/plain")), places)
    return [*lines, *(f"<{kind}>" for kind in sorted(data) if kind != "text/plain")]


def _lines(text: str, places: Mapping[str, str] | None) -> list[str]:
    """Return text as the lines that a terminal would show: a carriage return writes over its line."""
    lines = [_overwritten(line) for line in steady(text, places).split("\n")]
    if lines and not lines[-1]:
        lines.pop()
    return lines


def _overwritten(line: str) -> str:
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part), "")
