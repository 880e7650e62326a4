"""Source code as HTML with its parts in colour. The classes begin with `c-`; the style sheet of the page knows them."""

from __future__ import annotations

import re
from html import escape

from kale_nb.annotations.magics import MARKS, PYTHON_BODIES

LONGEST_CODE = 100_000
"""Characters of a cell that are shown; what is longer stays in the notebook."""
_MOST_COLOURED = 40_000
_HEAD = re.compile(rf"\s*(?:%%(?:{'|'.join((*MARKS, *PYTHON_BODIES))})|%pipeline)(?=\s|$)")


def code_html(source: str) -> str:
    """Return a cell's code, to stand in a `pre`. Mark lines at its top are a class of their own, so that the rest is read as Python."""
    lines = source.split("\n")
    top = 0
    while top < len(lines) and (_HEAD.match(lines[top]) or not lines[top].strip()):
        top += 1
    while top and not lines[top - 1].strip():
        top -= 1
    head = "".join(f'<span class="c-mark">{escape(line, quote=False)}</span>\n' for line in lines[:top])
    return (head + coloured("\n".join(lines[top:]))).rstrip("\n")


def coloured(source: str) -> str:
    """Return Python code as IPython takes it, in colour; plain where it is too long for that."""
    if len(source) > _MOST_COLOURED:
        return escape(source, quote=False)
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name("ipython3", stripnl=False, ensurenl=False)
    except ClassNotFound:  # an IPython that registers none
        lexer = get_lexer_by_name("python3", stripnl=False, ensurenl=False)
    made: str = highlight(source, lexer, HtmlFormatter(nowrap=True, classprefix="c-"))
    return made
