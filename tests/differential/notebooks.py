"""Notebooks written small: the text form of the cases, what it means, and the `.ipynb` files made of it.

Lines at the margin that start with one of these marks begin a new cell; all else is source:

    %%imports  %%functions  %%parameters  %%metrics  %%skip  %%markdown
    %%step NAME [--after A,B]      a cell of a step
    %%cell                         a cell with no mark of its own
    %%tags TAG TAG ...             a cell with exactly these tags
    %%workspace FILE               not a cell: a file that lies beside the notebook

A notebook is written to disk with cell tags or, `style="magics"`, with our cell magics as the first line of each cell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MARK = re.compile(r"^%%(imports|functions|parameters|metrics|skip|markdown|step|cell|tags|workspace)\b[ \t]*(.*)$")
_TAG_OF = {
    "imports": "imports",
    "functions": "functions",
    "parameters": "pipeline-parameters",
    "metrics": "pipeline-metrics",
    "skip": "skip",
}
PRELUDE = ("parameters", "imports", "functions")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCell:
    """A cell of the text form.

    Attributes:
        index: 1-based position in the notebook.
        role: parameters, imports, functions, step, metrics, skip or markdown.
        step: the step it belongs to, None in the prelude and for skip and markdown cells.
        mark: the mark line, empty for `%%cell`.
        tags: what the tags style writes.
    """

    index: int
    role: str
    source: str
    step: str | None
    mark: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A notebook with the meaning of its marks already spelled out, independently of the product.

    Attributes:
        after: for each step its direct predecessors; a chain in order of first mark when no cell asks for any.
        files: the files beside the notebook.
    """

    cells: tuple[TextCell, ...]
    after: dict[str, tuple[str, ...]]
    files: dict[str, str]

    @property
    def steps(self) -> tuple[str, ...]:
        """Step names in order of their first mark."""
        return tuple(self.after)

    def ancestors(self, step: str) -> frozenset[str]:
        """All steps that must have run before `step`."""
        found: set[str] = set()
        todo = list(self.after.get(step, ()))
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(self.after.get(name, ()))
        return frozenset(found)

    def topological(self) -> tuple[str, ...]:
        """Steps in an order that respects `after`, ties in notebook order. Unknown predecessors and cycles are left to the product."""
        order: list[str] = []
        waiting = list(self.steps)
        while waiting:
            ready = next((s for s in waiting if all(p in order or p not in self.after for p in self.after[s])), waiting[0])
            order.append(ready)
            waiting.remove(ready)
        return tuple(order)

    def running_cells(self) -> tuple[TextCell, ...]:
        """The cells that a plain run executes, in notebook order: all but markdown and skip cells."""
        return tuple(c for c in self.cells if c.role not in ("markdown", "skip"))

    def restricted_to(self, step: str) -> tuple[TextCell, ...]:
        """What the marks say that `step` sees: the prelude, its ancestors one after the other, itself."""
        order = [s for s in self.topological() if s in self.ancestors(step)] + [step]
        cells = [c for c in self.cells if c.role in PRELUDE]
        for name in order:
            cells.extend(c for c in self.cells if c.step == name and c.role != "metrics")
            cells.extend(c for c in self.cells if c.step == name and c.role == "metrics")
        return tuple(cells)


def parse_notebook(text: str) -> Notebook:
    """Read the text form."""
    chunks: list[tuple[str, str, list[str]]] = []
    for line in text.strip("\n").split("\n"):
        found = _MARK.match(line)
        if found:
            chunks.append((found[1], found[2].strip(), []))
        elif chunks:
            chunks[-1][2].append(line)
        elif line.strip():
            chunks.append(("cell", "", [line]))
    cells: list[TextCell] = []
    after: dict[str, list[str]] = {}
    files: dict[str, str] = {}
    asked = False
    role, step = "cell", None
    for kind, rest, lines in chunks:
        source = "\n".join(lines).rstrip("\n")
        if kind == "workspace":
            files[rest] = source + "\n"
            continue
        mark, tags = f"%%{kind} {rest}".rstrip(), tuple(rest.split())
        if kind == "tags":
            mark = ""
            kind, rest = _meaning_of(tags)
        elif kind in _TAG_OF:
            tags = (_TAG_OF[kind],)
        names: list[str] = []
        if kind == "step":
            words = rest.split()
            step, role = words[0], "step"
            if "--after" in words:
                names = [n for w in words[words.index("--after") + 1 :] for n in w.split(",") if n]
                asked = True
            after.setdefault(step, [])
            after[step] += [n for n in names if n not in after[step]]
            if mark:
                tags = (f"step:{step}", *(f"prev:{n}" for n in names))
        elif kind == "cell":
            mark, tags = "", ()
        elif kind in PRELUDE or kind == "metrics":
            role = kind
        owner = step if (kind in ("step", "metrics") or (kind == "cell" and role in ("step", "metrics"))) else None
        shown = role if kind == "cell" else kind
        cells.append(TextCell(index=len(cells) + 1, role=shown, source=source, step=owner, mark=mark, tags=tags))
    chain = list(after)
    if not asked:
        after = {name: chain[max(0, i - 1) : i] for i, name in enumerate(chain)}
    return Notebook(cells=tuple(cells), after={k: tuple(v) for k, v in after.items()}, files=files)


def _meaning_of(tags: Iterable[str]) -> tuple[str, str]:
    """Return what explicit tags say, as a mark's kind and the rest of its line."""
    plain = {v: k for k, v in _TAG_OF.items()} | {"parameters": "parameters"}
    name, before = "", []
    for tag in tags:
        if tag in plain:
            return plain[tag], ""
        if tag.startswith(("step:", "block:")):
            name = tag.split(":", 1)[1]
        elif tag.startswith("prev:"):
            before.append(tag.split(":", 1)[1])
    if not name:
        return "cell", ""
    return "step", name + (" --after " + ",".join(before) if before else "")


def write_notebook(notebook: Notebook, path: Path, *, style: str = "tags") -> Path:
    """Write the notebook and the files beside it; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells: list[dict[str, Any]] = []
    for cell in notebook.cells:
        markdown = cell.role == "markdown"
        source, metadata = cell.source, dict[str, Any]()
        if style == "magics" and cell.mark and not markdown:
            source = f"{cell.mark}\n{cell.source}"
        elif cell.tags:
            metadata = {"tags": list(cell.tags)}
        made: dict[str, Any] = {
            "cell_type": "markdown" if markdown else "code",
            "id": f"c{cell.index}",
            "metadata": metadata,
            "source": source,
        }
        if not markdown:
            made |= {"execution_count": None, "outputs": []}
        cells.append(made)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    lay_files(notebook, path.parent)
    return path


def lay_files(notebook: Notebook, folder: Path) -> Path:
    """Write the files that lie beside the notebook into `folder`; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in notebook.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder
