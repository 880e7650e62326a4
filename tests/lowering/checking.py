"""Notebooks written small, checked whole: `check_compiles` and `check_rejects` over the text form of `tests.differential.notebooks`,
and the form in which rules give their examples."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from kale_nb.compiler import Checked, check_source
from kale_nb.diagnostics import Diagnostic, Severity
from kale_nb.pipeline.model import Pipeline
from kale_nb.source.cells import Cell, CellKind, Source
from tests.differential.notebooks import parse_notebook


def source_of(text: str) -> Source:
    """Return the text form as a source whose marks are tags."""
    cells = [
        Cell(
            index=c.index,
            kind=CellKind.MARKDOWN if c.role == "markdown" else CellKind.CODE,
            source=c.source,
            tags=c.tags,
            metadata={"tags": list(c.tags)} if c.tags else {},
        )
        for c in parse_notebook(text).cells
    ]
    return Source(path="nb.ipynb", stem="nb", sha256="0", cells=tuple(cells))


def source_of_example(text: str) -> Source:
    """Return a rule's example as a source: cells parted by a blank line, marks as magics, or a first line `# tags: A, B`,
    `# markdown cell, tags: A`, `# notebook metadata: {...}`, `# path: /where/it/is.ipynb` for what a notebook holds beside its text."""
    cells: list[Cell] = []
    metadata: dict[str, Any] = {}
    path = "nb.ipynb"
    for chunk in text.split("\n\n"):
        first, _, rest = chunk.partition("\n")
        tags: tuple[str, ...] = ()
        kind = CellKind.CODE
        if first.startswith("# path: "):
            path = first.removeprefix("# path: ")
            continue
        if first.startswith("# notebook metadata: "):
            metadata.update(json.loads(first.split(": ", 1)[1]))
            continue
        if first.startswith(("# tags: ", "# markdown cell")):
            kind = CellKind.MARKDOWN if first.startswith("# markdown") else CellKind.CODE
            tags = tuple(t.strip() for t in first.partition("tags: ")[2].split(", ") if t.strip())
            chunk = rest
        cells.append(
            Cell(index=len(cells) + 1, kind=kind, source=chunk, tags=tags, metadata={"tags": list(tags)} if tags else {})
        )
    return Source(path=path, stem="nb", sha256="0", cells=tuple(cells), metadata=metadata)


def check_text(text: str) -> Checked:
    """Check a notebook in text form."""
    return check_source(source_of(text))


def rendered(found: Collection[Diagnostic]) -> str:
    """Return findings as `kale check` prints them."""
    return "\n".join(d.render() for d in found)


def check_compiles(text: str, *, notes: Collection[str] = ()) -> Pipeline:
    """Check that a notebook compiles and nothing is said but the codes in `notes`; return its pipeline."""
    checked = check_text(text)
    said = [d for d in checked.diagnostics if d.rule.code not in notes]
    assert not said, rendered(said)
    assert checked.pipeline is not None
    return checked.pipeline


def check_rejects(
    text: str, code: str, at: str, names: Collection[str] = (), *, level: Severity = Severity.ERROR, only: bool = True
) -> Diagnostic:
    """Check that a notebook gives exactly one finding of `code`, at `at` (`[cell 4]:2:7`), whose message holds all `names`; `only`: and
    no other warning or error. Return it."""
    found = check_text(text).diagnostics
    hits = [d for d in found if d.rule.code == code]
    assert [str(d.location) for d in hits] == [f"nb.ipynb{at}"], rendered(found) or "no findings"
    others = [d for d in found if d.rule.code != code and d.level is not Severity.NOTE]
    assert not (only and others), rendered(found)
    hit = hits[0]
    assert hit.level is level
    missing = [n for n in names if n not in hit.message]
    assert not missing, f"{missing} not in: {hit.message}"
    return hit


def underlined(found: Diagnostic) -> str:
    """Return the part of the user's line that the carets stand under."""
    assert found.source_line is not None
    assert found.location.column is not None
    start = found.location.column - 1
    return found.source_line[start : (found.end_column or start + 2) - 1]
