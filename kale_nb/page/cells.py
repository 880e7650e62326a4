"""Cells as HTML: code with its number in the notebook, markdown as it reads, and what was shown below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kale_nb.annotations.marks import MarkedCell, Role
from kale_nb.page.code import LONGEST_CODE, code_html
from kale_nb.page.markup import LONGEST_MARKUP, markdown
from kale_nb.page.outputs import PICTURES, Budget, outputs_html
from kale_nb.report.style import plain
from kale_nb.sizes import size
from kale_nb.source.cells import Cell, CellKind

_SAID = {
    Role.PARAMETERS: "parameters",
    Role.IMPORTS: "imports",
    Role.FUNCTIONS: "functions",
    Role.METRICS: "metrics",
}


class Cells:
    """Writes the cells of one page, whose outputs share a budget."""

    def __init__(self, outputs: Mapping[int, Sequence[Mapping[str, Any]]], attachments: Mapping[int, Mapping[str, Any]]) -> None:
        self._outputs = outputs
        self._attachments = attachments
        self._budget = Budget()

    def html(self, cells: Sequence[MarkedCell]) -> str:
        """Return cells one below the other, without those that hold nothing."""
        return "".join(self._cell(cell) for cell in cells if cell.cell.source.strip())

    def _cell(self, marked: MarkedCell) -> str:
        cell = marked.cell
        role = _SAID.get(marked.role)
        gutter = f"<span>cell {cell.index}</span>" + (f"<span>{role}</span>" if role else "")
        body = self._body(cell)
        return f'<div class="cell" id="cell-{cell.index}"><div class="gutter">{gutter}</div><div>{body}</div></div>\n'

    def _body(self, cell: Cell) -> str:
        match cell.kind:
            case CellKind.CODE:
                return _code(cell.source) + outputs_html(self._outputs.get(cell.index, ()), self._budget)
            case CellKind.MARKDOWN:
                return self._prose(cell)
            case CellKind.RAW:
                return _code(cell.source, colours=False)

    def _prose(self, cell: Cell) -> str:
        if len(cell.source) > LONGEST_MARKUP:
            return _code(cell.source, colours=False)
        pictures: dict[str, str] = {}
        for name, data in self._attachments.get(cell.index, {}).items():
            kind = next((kind for kind in PICTURES if isinstance(data, Mapping) and kind in data), None)
            if kind is not None:
                pictures[name] = f"data:{kind};base64,{''.join(str(data[kind]).split())}"
        made = markdown(plain(cell.source), pictures)
        return f'<div class="prose">{self._budget.take(made)}</div>'


def _code(source: str, *, colours: bool = True) -> str:
    kept = plain(source[:LONGEST_CODE].strip("\n"))
    html = code_html(kept) if colours else escape(kept, quote=False)
    more = (
        f'<p class="note-line">{size(len(source) - LONGEST_CODE)} more in the notebook</p>' if len(source) > LONGEST_CODE else ""
    )
    return f'<pre class="code" tabindex="0"><code>{html}</code></pre>{more}'
