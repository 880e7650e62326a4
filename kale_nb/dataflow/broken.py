"""A stand-in for a cell that is not Python, so that the rest of the notebook can still be judged.

Of such a cell only its words are known: each may be a name that it reads or binds. Findings about these names are held back, those about
all other names stand.
"""

from __future__ import annotations

import ast
import keyword
import re

from kale_nb.dataflow.text import opaque, soft_read

_WORD = re.compile(r"[^\W\d]\w*")
_HIDES_NAMES = re.compile(r"import\s*\*|\bexec\b|\bglobals\b|__main__|^\s*%(run|load|pylab|store|rerun|macro)\b", re.MULTILINE)


def words_of(code: str) -> frozenset[str]:
    """Return every word that could be a name.

    >>> sorted(words_of("x = (1, limit"))
    ['limit', 'x']
    """
    return frozenset(word for word in _WORD.findall(code) if not keyword.iskeyword(word))


def stand_in(code: str) -> ast.Module:
    """Return a tree that perhaps reads and perhaps binds every word of `code`; any name at all where it may run code from elsewhere."""
    words = sorted(words_of(code))
    body: list[ast.stmt] = [soft_read(words, 1)] if words else []
    targets: list[ast.expr] = [ast.Name(id=word, ctx=ast.Store()) for word in words]
    never: ast.stmt = ast.For(
        target=ast.Tuple(elts=targets, ctx=ast.Store()),
        iter=ast.Tuple(elts=[], ctx=ast.Load()),
        body=[ast.Pass()],
        orelse=[],
    )
    for node in ast.walk(never):
        if "lineno" in node._attributes:
            node.lineno = node.end_lineno = 1  # type: ignore[attr-defined]
            node.col_offset = node.end_col_offset = 0  # type: ignore[attr-defined]
    body.append(never)
    if _HIDES_NAMES.search(code):
        body.append(opaque(1))
    return ast.Module(body=body, type_ignores=[])
