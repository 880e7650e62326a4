"""Small sources for the tests of marks, and short views of what was read from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kale_nb.annotations.marks import Marked, Role
from kale_nb.annotations.reading import read_marks
from kale_nb.diagnostics import Diagnostic, Severity
from kale_nb.source.cells import Cell, CellKind, Source

Text = str | tuple[str, ...]


def source(*cells: Text, metadata: Mapping[str, Any] | None = None, settings: Any = None) -> Source:
    """Return a source of code cells: each a text, or a text and its tags. A text that begins with `MD ` is markdown."""
    made = []
    for index, cell in enumerate(cells, start=1):
        text, *tags = (cell,) if isinstance(cell, str) else cell
        kind = CellKind.MARKDOWN if text.startswith("MD ") else CellKind.CODE
        made.append(Cell(index=index, kind=kind, source=text, tags=tuple(tags), metadata={"tags": list(tags)} if tags else {}))
    whole = dict(metadata or {})
    if settings is not None:
        whole["kubeflow_notebook"] = settings
    return Source(path="nb.ipynb", stem="nb", sha256="0", cells=tuple(made), metadata=whole)


def marks(*cells: Text, settings: Any = None) -> tuple[Marked, tuple[Diagnostic, ...]]:
    """Read the marks of a small source."""
    return read_marks(source(*cells, settings=settings))


def clean(*cells: Text, settings: Any = None) -> Marked:
    """Read marks that must give no finding at all."""
    marked, found = marks(*cells, settings=settings)
    assert [d.render() for d in found] == []
    return marked


def roles(marked: Marked) -> list[str]:
    """Return each cell as its step's name or, in brackets, its role."""
    return [
        c.step if c.role is Role.STEP and c.step else f"{c.role.value} {c.step}" if c.step else c.role.value for c in marked.cells
    ]


def rejects(code: str, at: str, *cells: Text, settings: Any = None, level: Severity = Severity.ERROR) -> Diagnostic:
    """Read marks that give exactly one finding of this code, there; return it."""
    _, found = marks(*cells, settings=settings)
    hits = [d for d in found if d.rule.code == code]
    assert [str(d.location) for d in hits] == [f"nb.ipynb{at}"], [d.render() for d in found]
    hit = hits[0]
    assert hit.level is level
    if hit.location.line is not None:
        assert hit.source_line is not None
        assert hit.end_column is not None
        assert hit.location.column is not None
        assert 1 <= hit.location.column < hit.end_column <= len(hit.source_line) + 1
    return hit


def underlined(found: Diagnostic) -> str:
    """Return the part of the user's line that the carets stand under."""
    assert found.source_line is not None
    assert found.location.column is not None
    return found.source_line[found.location.column - 1 : (found.end_column or 0) - 1]
