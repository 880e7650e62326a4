"""Which parameters the steps of a run may have read, as far as the text of their stepbooks tells; in doubt they have.

Every step runs the imports, functions and parameters cells for itself, with the parameters of the run. What these cells make of a
parameter when they run, such as another name, a default or an attribute of a module, may be in the outcome of each step. What only the
body of a function reads counts for the steps that can reach the function. Where code looks names up as it runs, it counts as reading all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kale_nb.dataflow.facts import BlockFacts
from kale_nb.dataflow.flow import StepBlock, infer
from kale_nb.dataflow.scopes import scope_of
from kale_nb.dataflow.strings import UNPICKLED
from kale_nb.dataflow.text import parse_cell
from kale_nb.dataflow.walk import read_block
from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline
from kale_nb.stepbooks.model import Stepbook

_PRELUDE = frozenset({"parameters", "imports", "functions"})
_PRELUDE_STEP = StepName("<prelude>")
_OURS = frozenset({"kale-load", "kale-save"})
_LOOKUPS = frozenset({"eval", "exec", "globals"})
"""Functions that find any name, under whatever name they are called."""
_BY_TEXT = frozenset(
    "eval query evaluate from_formula dmatrix dmatrices ols wls gls glm logit probit poisson mixedlm substitute format_map".split()
)
"""Functions of common libraries that look up the names in a text in the code that calls them."""
_FRAMES = re.compile(
    r"""__main__|\bmodules\s*(?:\[|\.get)|\b(?:_getframe|currentframe|f_globals|f_locals|f_back|__globals__|getclosurevars
    |dump_session|dump_module|load_session|load_module|get_ipython|user_ns|user_global_ns|user_module)\b|\binspect\.(?:stack|trace)\b""",
    re.VERBOSE,
)
"""What stands in code that comes to the namespace by another way."""
_INNOCENT = re.compile(
    r"""__name__\s*==\s*["']__main__["']|get_ipython\(\)\.(?:run_line_magic|magic)\(\s*["'](?:matplotlib|load_ext|autoreload|config)\b"""
)
_MAGIC = re.compile(r"^\s*(?:[\w.,\[\] ]+=\s*)?(%%?|!!?)\s*(.*)$", re.MULTILINE)
_HARMLESS = frozenset(
    "matplotlib load_ext reload_ext autoreload config time timeit prun capture memit cd pwd ls mkdir cat pip conda env set_env precision "
    "bash sh script perl ruby python python3 pypy html HTML javascript js latex markdown svg SVG writefile file".split()
)
"""Magics that read no other names than those on their line, and in the code that they run."""
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What code may read. `anything`: names that no text shows."""

    names: frozenset[str] = frozenset()
    anything: bool = False


def reads_of(pipeline: Pipeline, books: Iterable[Stepbook]) -> tuple[Reads, Mapping[StepName, Reads]]:
    """Return what the imports, functions and parameters cells of a notebook may read when they run, and what each step may read."""
    cells = {book.step: list(_cells(book.notebook)) for book in books}
    before = _parse(source for tags, source in next(iter(cells.values()), []) if tags & _PRELUDE)
    mine = {step: _parse(source for tags, source in all_ if not tags & _PRELUDE) for step, all_ in cells.items()}
    prelude = read_block(before.trees)
    own = _reads((StepBlock(_PRELUDE_STEP, (), prelude),), {_PRELUDE_STEP: before}, prelude)[_PRELUDE_STEP]
    blocks = [StepBlock(step.name, step.after, read_block(mine[step.name].trees, prelude)) for step in pipeline.steps]
    return own, _reads(blocks, mine, prelude)


def _reads(blocks: Sequence[StepBlock], codes: Mapping[StepName, _Code], prelude: BlockFacts) -> dict[StepName, Reads]:
    """Join what is read in the open, by functions that can be reached, and by text."""
    flow = infer(blocks, prelude)
    found = {}
    for block in blocks:
        code = codes[block.name]
        names = block.facts.mentions | flow.reach[block.name] | code.names
        anything = code.anything or block.name in flow.opaque or not names.isdisjoint(_LOOKUPS)
        if UNPICKLED in names:  # what comes out may run any method that imports and functions cells define
            names = names.union(*(scope.reads for scope in prelude.scopes.values()))
            anything = anything or any(scope.opaque for scope in prelude.scopes.values())
        found[block.name] = Reads(names=names, anything=anything)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """Cells, parsed.

    Attributes:
        names: what is read by text, on the lines of magics, and by functions that a decorator may call.
        anything: some of it looks names up as it runs, or cannot be parsed.
    """

    trees: Sequence[tuple[int, ast.Module]]
    names: frozenset[str]
    anything: bool


def _cells(notebook: Mapping[str, Any]) -> Iterator[tuple[frozenset[str], str]]:
    """Yield the tags and the text of the user's cells of code."""
    for cell in notebook.get("cells", ()):
        tags = frozenset(cell.get("metadata", {}).get("tags", ()))
        if cell.get("cell_type", "code") == "code" and not tags & _OURS:
            yield tags, "".join(cell["source"])


def _parse(sources: Iterable[str]) -> _Code:
    trees: list[tuple[int, ast.Module]] = []
    names: set[str] = set()
    anything = False
    for number, source in enumerate(sources):
        tree = parse_cell(source)
        if not isinstance(tree, ast.Module):
            anything = True
            continue
        trees.append((number, tree))
        lines = [] if _is_plain(source) else _MAGIC.findall(source)
        names.update(word for _, line in lines for word in _WORD.findall(line))
        unknown = any(sign.startswith("%") and (line.split(maxsplit=1) or [""])[0] not in _HARMLESS for sign, line in lines)
        by_text, opaque = _by_text(tree)
        names |= by_text
        anything = anything or unknown or opaque or _FRAMES.search(_INNOCENT.sub("", source)) is not None
    return _Code(trees=trees, names=frozenset(names), anything=anything)


def _is_plain(source: str) -> bool:
    """Tell whether a cell is Python as it stands, so that no line of it is a magic."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def _by_text(tree: ast.Module) -> tuple[set[str], bool]:
    """Return the names that stand in texts given to functions which look them up, and those read by what a decorator may call at once;
    and whether the latter may read anything."""
    names: set[str] = set()
    opaque = False
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.decorator_list:
            scope = scope_of(node)
            names |= scope.reads
            opaque = opaque or scope.opaque
        elif isinstance(node, ast.Call) and _last_name(node.func) in _BY_TEXT:
            texts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))
            names.update(word for text in texts for word in _WORD.findall(text))
    return names, opaque


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
