"""Findings of the compiler, and what would run, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from kale_nb.jupyter import display
from kale_nb.report.findings import SEVERITY_COLOR, counted

if TYPE_CHECKING:
    from kale_nb.diagnostics import Diagnostic
    from kale_nb.pipeline.model import Pipeline


def findings_html(found: Sequence[Diagnostic]) -> str:
    """Return findings one below the other, each with its place, line and hint."""
    return "".join(_finding(diagnostic) for diagnostic in found)


def _finding(diagnostic: Diagnostic) -> str:
    tone = display.color(SEVERITY_COLOR[diagnostic.level])
    place = diagnostic.location
    where = " ".join(f"{name} {at}" for name, at in (("cell", place.cell), ("line", place.line)) if at is not None) or place.path
    head = (
        f'<span style="color:{tone};font-weight:600">{diagnostic.level.value}</span> {escape(where)} '
        f"{display.dim(f'{diagnostic.rule.code} {diagnostic.rule.slug}')}"
    )
    parts = [head, f"<div>{_ticked(diagnostic.message)}</div>"]
    if diagnostic.source_line is not None and diagnostic.source_line.strip():
        parts.append(_source_line(diagnostic, tone))
    if diagnostic.hint:
        parts.append(f"<div>{display.dim('hint: ')}{_ticked(diagnostic.hint)}</div>")
    return f'<div style="border-left:3px solid {tone};padding:1px 0 1px 10px;margin:8px 0">{"".join(parts)}</div>'


def _source_line(diagnostic: Diagnostic, tone: str) -> str:
    line, column = (diagnostic.source_line or "").rstrip(), diagnostic.location.column
    shown = escape(line)
    if column is not None and column <= len(line):
        start, stop = column - 1, max(column, min(len(line), (diagnostic.end_column or column + 1) - 1))
        underline = f"text-decoration:underline wavy {tone} 1px;text-underline-offset:3px"
        shown = f'{escape(line[:start])}<span style="{underline}">{escape(line[start:stop])}</span>{escape(line[stop:])}'
    return f'<div style="{display.MONO};white-space:pre-wrap;padding:2px 0">{shown}</div>'


def _ticked(text: str) -> str:
    """Return text with what stands between backticks as code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return "".join(f'<span style="{display.MONO}">{part}</span>' if i % 2 else part for i, part in enumerate(parts))


def plan_html(pipeline: Pipeline) -> str:
    """Return the steps in order of running, with the variables that each takes and from whom."""
    from kale_nb.pipeline import order

    into: dict[str, list[str]] = {}
    for edge in order.edges(pipeline):
        names = display.code(", ".join(edge.names)) if edge.names else display.dim("order only")
        into.setdefault(edge.target, []).append(f"{names} {display.dim('←')} {escape(edge.source)}")
    rows = []
    for number, name in enumerate(order.topological(pipeline), 1):
        cells = pipeline.step(name).cells
        where = f"cell {cells[0]}" if len(cells) == 1 else f"cells {', '.join(map(str, cells))}" if cells else ""
        rows.append((display.dim(f"{number}"), f"<b>{escape(name)}</b>", display.dim(where), "<br>".join(into.get(name, []))))
    return display.table(rows, right=(0,))


def check_html(title: str, pipeline: Pipeline | None, found: Sequence[Diagnostic]) -> str:
    """Return the outcome of a check."""
    count = "" if pipeline is None else f", {len(pipeline.steps)} step{'s' if len(pipeline.steps) != 1 else ''}"
    name = "" if pipeline is None else f": pipeline {escape(pipeline.name)}"
    head = display.heading(f"{escape(title)}{name}{count} {display.dim('· ' + counted(found))}")
    return head + findings_html(found) + ("" if pipeline is None else plan_html(pipeline))
