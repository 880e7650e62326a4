"""Findings of the compiler as text for people."""

from __future__ import annotations

from collections.abc import Iterable

from kale_nb.diagnostics import Diagnostic, Severity
from kale_nb.report.style import Style

SEVERITY_COLOR = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}


def painted(diagnostic: Diagnostic, style: Style) -> str:
    """Return a finding as text with its severity and caret in colour."""
    text = diagnostic.render()
    if not style.color:
        return text
    color = SEVERITY_COLOR[diagnostic.level]
    first, *rest = text.split("\n")
    label = f"{diagnostic.level.value} {diagnostic.rule.code}"
    first = first.replace(label, style.paint(label, "bold", color), 1)
    return "\n".join([first, *(style.paint(line, color) if line.strip() and not line.strip(" \t^") else line for line in rest)])


def counted(found: Iterable[Diagnostic]) -> str:
    """Return how many findings there are of each severity, in words.

    >>> counted([])
    'no findings'
    """
    levels = [d.level for d in found]
    parts = [f"{levels.count(s)} {s.value}{'s' if levels.count(s) != 1 else ''}" for s in Severity if s in levels]
    return ", ".join(parts) or "no findings"
