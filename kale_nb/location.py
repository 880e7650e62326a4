"""Where something stands in the user's own source.

Every diagnostic and every error that the author can mend carries a `Location`. It prints the way editors and people read it:
`nb.ipynb[cell 4]:2:7` for a notebook, `script.py:12:3` for a script, `nb.ipynb` for a whole file.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Location:
    """A place in a source file.

    Attributes:
        path: the file as the user spelled it.
        cell: 1-based position among all cells of the notebook (markdown cells count); None in a script or for a whole file.
        line: 1-based line inside the cell (or script); None for a whole cell or file.
        column: 1-based column in characters; None for a whole line.

    >>> str(Location(path="nb.ipynb", cell=4, line=2, column=7))
    'nb.ipynb[cell 4]:2:7'
    >>> str(Location(path="script.py", line=12))
    'script.py:12'
    """

    path: str
    cell: int | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        text = self.path
        if self.cell is not None:
            text += f"[cell {self.cell}]"
        if self.line is not None:
            text += f":{self.line}"
            if self.column is not None:
                text += f":{self.column}"
        return text
