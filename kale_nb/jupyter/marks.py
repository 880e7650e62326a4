"""Marks in a live notebook: the line becomes a comment before the cell is compiled, and the rest is an ordinary cell.

A cell magic would have to run the cell itself and would lose what only IPython's own way gives: top-level await, the display of the last
expression, tracebacks with the lines of the cell, `In`. So the marks are undone by an input transformer, with the very function by which
the compiler reads them; the magics registered under their names serve `%%step?`, completion, and whoever calls `run_cell_magic`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from kale_nb.jupyter import helps
from kale_nb.jupyter.errors import MarkError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kale_nb.diagnostics import Diagnostic

MARK_NAMES = ("step", "imports", "functions", "parameters", "metrics", "skip")
_HINTS_AT_MARK = re.compile(rf"^\s*%%(?:{'|'.join(MARK_NAMES)})(?=\s|$)|^\s*%pipeline(?=\s)", re.MULTILINE)
_OF_ONE_CELL = frozenset(("KN101", "KN102", "KN103", "KN110", "KN111", "KN501", "KN502"))
"""Rules that a cell breaks by itself, whatever the rest of the notebook says."""
_HERE = "this cell"


class MarkLines:
    """An input transformer of IPython: lines in, lines out; raises MarkError for marks that the compiler would refuse.

    It is called more than once for a cell, so it remembers nothing.
    """

    has_side_effects = True  # not while somebody still types: a cell that begins with `%%` ends with a blank line

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the cell with its marks as comments; each line keeps its number."""
        text = "".join(lines)
        if _HINTS_AT_MARK.search(text) is None:
            return lines
        problems = mark_problems(text)
        if problems:
            raise _error(problems)
        return live_code(text).splitlines(keepends=True)


def live_code(text: str) -> str:
    """Return the text of a cell with its marks as comments, and all commands to the live notebook as they are."""
    from kale_nb.annotations.magics import read_magics
    from kale_nb.source.cells import Cell, CellKind

    return read_magics(Cell(index=1, kind=CellKind.CODE, source=text), _HERE, live=True).code


def step_named(text: str) -> str | None:
    """Return the step that a cell names in its mark."""
    if "%%step" not in text:
        return None
    from kale_nb.annotations.magics import read_magics
    from kale_nb.source.cells import Cell, CellKind

    claims = read_magics(Cell(index=1, kind=CellKind.CODE, source=text), _HERE).claims
    return next((claim.step for claim in claims if claim.step is not None), None)


def mark_problems(text: str) -> tuple[Diagnostic, ...]:
    """Return what the compiler finds wrong with the marks of a cell, as far as one cell can tell."""
    from dataclasses import replace

    from kale_nb.annotations.reading import read_marks
    from kale_nb.diagnostics import Severity
    from kale_nb.source.cells import Cell, CellKind, Source

    cell = Cell(index=1, kind=CellKind.CODE, source=text)
    _, found = read_marks(Source(path=_HERE, stem="cell", sha256="", cells=(cell,)))
    errors = [d for d in found if d.rule.code in _OF_ONE_CELL and d.level is Severity.ERROR]
    return tuple(replace(d, location=replace(d.location, cell=None)) for d in errors)


def _error(problems: tuple[Diagnostic, ...]) -> MarkError:
    lines = [line for problem in problems for line in problem.render().split("\n")]
    return MarkError(problems[0].message, [*lines, "the cell did not run"])


def mark_magic(shell: InteractiveShell, name: str) -> Callable[[str, str], None]:
    """Return the cell magic of a mark, for those who call it by name: it runs the cell."""

    def magic(line: str, cell: str) -> None:
        problems = mark_problems(f"%%{name} {line}\n{cell}")
        if problems:
            raise _error(problems)
        error = shell.run_cell(cell).error_in_exec
        if error is not None:
            error._render_traceback_ = list  # it was shown already
            raise error

    magic.__doc__ = helps.MARKS[name]
    return magic
