"""How a check speaks: from a rule and a place in a cell to a `Diagnostic` with the user's line."""

from __future__ import annotations

from collections.abc import Mapping

from kale_nb.annotations.marks import Marked
from kale_nb.dataflow.facts import Place
from kale_nb.diagnostics import Diagnostic, Rule, Severity
from kale_nb.location import Location
from kale_nb.names import StepName


class Speaker:
    """Makes diagnostics for one source."""

    def __init__(self, marked: Marked) -> None:
        self.path = marked.source.path
        self.lines: Mapping[int, list[str]] = {c.cell.index: c.cell.source.split("\n") for c in marked.cells}

    def say(self, rule: Rule, place: Place, message: str, hint: str | None, *, severity: Severity | None = None) -> Diagnostic:
        """Make a diagnostic at a place of a cell."""
        lines = self.lines.get(place.cell, [])
        line = lines[place.line - 1] if 0 < place.line <= len(lines) else None
        return Diagnostic(
            rule=rule,
            message=message,
            location=self.location(place),
            source_line=line,
            end_column=place.end_column,
            hint=hint,
            severity=severity,
        )

    def location(self, place: Place) -> Location:
        """Spell a place as a location of the source."""
        return Location(path=self.path, cell=place.cell, line=place.line, column=place.column)


def spoken(place: Place | None) -> str:
    """Say where something stands, in brackets after its mention: ` (cell 2, line 3)`; nothing when there is no place.

    >>> spoken(Place(2, 3, 1))
    ' (cell 2, line 3)'
    """
    return f" (cell {place.cell}, line {place.line})" if place is not None else ""


def quoted(names: tuple[StepName, ...] | list[StepName]) -> str:
    """Join step names for a message: `a`, `a and b`, `a, b and c`.

    >>> quoted(["a", "b", "c"])
    '`a`, `b` and `c`'
    """
    marked = [f"`{n}`" for n in names]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} and {marked[-1]}"
