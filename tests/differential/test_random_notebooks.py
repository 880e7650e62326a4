"""Random straight-line notebooks, split into random steps of a random graph, run both ways.

The oracle for a step is a plain run of the prelude, its ancestors one after the other, and the step. Where the steps form a forest
that is exact and the pipeline must print the same, unless it is refused because a step changes in place what a parallel one reads. Below a join it depends on the order in which the branches are put: where two
opposite orders agree the pipeline must agree with them or refuse; where they differ the branches interfere and only that is asked.
More examples: KALE_FUZZ=1000.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.differential.harness import Outcome, run_pipeline, run_plain
from tests.differential.notebooks import PRELUDE, Notebook, parse_notebook

Draw = Any  # hypothesis' draw function has no name of its own
EXAMPLES = int(os.environ.get("KALE_FUZZ", "60"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize="KALE_FUZZ" not in os.environ,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)

PRELUDE_TEXT = """%%imports
import numpy as np
%%functions
class Box:
    def __init__(self, v):
        self.v = v
    def put(self, x):
        self.v.append(x)
        return self
def push(target, x):
    target.append(x)
counter = 0
seen = []
def bump():
    global counter
    counter += 1
    seen.append(counter)
    return counter
"""

INTS, LISTS, DICTS, BOXES, ARRAYS, FUNCTIONS = (
    ("a", "b", "n"), ("xs", "ys", "zs"), ("d", "e"), ("o", "p"), ("u", "w"), ("f", "g"),
)  # fmt: skip
KINDS = {name: kind for kind, names in enumerate((INTS, LISTS, DICTS, BOXES, ARRAYS, FUNCTIONS)) for name in names}
INT, LIST, DICT, BOX, ARRAY, FUNCTION = range(6)

# Templates: <i> <l> <d> <o> <u> <f> are known names of a kind, in capitals names to bind, with a digit a second one; <k> is a number.
MAKERS: dict[int, tuple[str, ...]] = {
    INT: ("<I> = <k>", "<I> = <i> + <k>", "<I> = len(<l>)", "<I> = <d>['n']", "<I> = bump()", "<I> = int(<u>.sum())", "<I> = <f>(<k>)",
          "<I> = sum(<l>)"),
    LIST: ("<L> = [<k>, <k2>]", "<L> = <l>", "<L> = <l>[:]", "<L> = <d>['k']", "<L> = <o>.v", "<L> = [v + <i> for v in <l>]",
           "<L> = <l> + [<k>]", "<L> = sorted(<l>)", "<L>, <I> = <l>, <i>", "<L> = [<i>] * 2"),
    DICT: ("<D> = {'k': [<k>], 'n': <k2>}", "<D> = <d>", "<D> = {'k': <l>, 'n': <i>}", "<D> = dict(<d>)"),
    BOX: ("<O> = Box([<k>])", "<O> = Box(<l>)", "<O> = <o>", "<O> = <o>.put(<k>)", "<O> = Box(<d>['k'])"),
    ARRAY: ("<U> = np.arange(4)", "<U> = <u>", "<U> = <u>[1:]", "<U> = <u> + <k>", "<U> = <u>[::-1]", "<U> = <u>.copy()"),
    FUNCTION: (
        "def <F>(v): return v + <i>",
        "def <F>(v): return v + len(<l>)",
        "def <F>(v):\n    <l>.append(v)\n    return len(<l>)",
        "def <F>(v):\n    global <i>\n    <i> = <i> + v\n    return <i>",
        "def <F>(v, acc=[]):\n    acc.append(v)\n    return len(acc)",
        "<F> = lambda v: v * <i>",
        "<F> = lambda v, keep=<l>: push(keep, v) or len(keep)",
        "def <F>(v): return <f>(v) + 1",
        "def <F>(v): return bump() + v",
        "<F> = <f>",
        "def make(n=0):\n    def inner(v):\n        nonlocal n\n        n += v\n        return n\n    return inner\n<F> = make()",
        "<F> = <o>.v.count",
    ),
}  # fmt: skip
CHANGERS = (
    "<i> += <k>", "<i> = <i> * <k>", "<l>.append(<k>)", "<l> += [<k>]", "<l>.extend([<i>])", "<l>.sort()", "push(<l>, <i>)",
    "<d>['n'] += <k>", "<d>['k'].append(<i>)", "<d>.update(n=<k>)", "<d>['k'] = <l>", "<o>.put(<k>)", "<o>.v = <l>", "<o>.v += [<i>]",
    "<u> += 1", "<u>[0] = <k>", "<u> *= 2", "bump()", "<f>(<k>)", "print(<f>(<k>))", "for <i> in <l>: pass",
    "for item in <l>: <i> += item", "if <i> > 2: <i> = <k>", "if <i> > 2:\n    <l> = [<i>]", "if <l>: <l>[0] = <i>",
    "try:\n    <i>\nexcept NameError:\n    <i> = <k>", "del <i>", "del <l>", "<l>, <d>['k'] = <d>['k'], <l>",
    "globals()['<i>'] = <k>", "exec('<l>.append(<k>)')", "counter = <k>", "seen.append(<i>)", "extra = (<i> := <k>)",
    "<l> = [x for x in <l2>]", "<l>, <l2> = <l2>, <l>", "<u>[:2] = <i>", "Box.put(<o>, <i>)",
)  # fmt: skip
SHOWERS = (
    "print(<i>)", "print(<l>)", "print(<d>)", "print(<o>.v)", "print(<u>)", "print(<f>(<k>))", "print(counter, seen)",
    "print(<l> is <d>['k'])", "print(<o>.v is <l>)", "print(<l> is <l2>)", "<l>", "<i>", "print('<i>' in globals())",
    "print(np.shares_memory(<u>, <u2>))", "print(type(<o>) is Box)", "print([<i> + v for v in <l>])", "print(f'{<i>} {<l>}')",
)  # fmt: skip
KIND_OF = {"i": INT, "l": LIST, "d": DICT, "o": BOX, "u": ARRAY, "f": FUNCTION}
POOLS = (INTS, LISTS, DICTS, BOXES, ARRAYS, FUNCTIONS)
_HOLE = re.compile(r"<([ildoufk]|[ILDOUF])(\d?)>")


def fill(template: str, draw: Draw, known: set[str]) -> str | None:
    """Put names into a template; None when it reads a kind of which no name is known. Names it binds become known, deleted ones not."""
    chosen: dict[str, str] = {}
    for found in _HOLE.finditer(template):
        hole, letter = found[0], found[1]
        if hole in chosen:
            continue
        if letter == "k":
            chosen[hole] = str(draw(st.integers(0, 3)))
            continue
        pool = POOLS[KIND_OF[letter.lower()]]
        names = [n for n in pool if letter.isupper() or n in known]
        if not names:
            return None
        chosen[hole] = draw(st.sampled_from(names))
    known.update(name for hole, name in chosen.items() if hole[1].isupper())
    if template.startswith("del "):
        known.discard(chosen[template[4:]])
    return _HOLE.sub(lambda found: chosen[found[0]], template)


@st.composite
def notebooks(draw: Draw, *, shape: str) -> str:
    """Draw the text form of a notebook: `chain`, `forest` (each step after at most one) or `graph`."""
    known_after: list[set[str]] = []
    text = PRELUDE_TEXT
    for index in range(draw(st.integers(2, 5))):
        if index == 0 or shape == "chain":
            before = [index - 1] if index else []
        elif shape == "forest":
            before = [draw(st.integers(0, index - 1))]
        else:
            before = sorted(draw(st.sets(st.integers(0, index - 1), min_size=1, max_size=3)))
        known = set[str]().union(*(known_after[b] for b in before))
        order = f" --after {','.join(f's{b}' for b in before)}" if before and shape != "chain" else ""
        text += f"%%step s{index}{order}\n" + "\n".join(draw_lines(draw, known)) + "\n"
        known_after.append(known)
    return text


def draw_lines(draw: Draw, known: set[str]) -> list[str]:
    """Draw the lines of a step; `known` grows and shrinks with them."""
    lines: list[str] = []
    if not known:
        lines += ["a = 1", "xs = [1, 2]", "d = {'k': xs, 'n': 0}"]
        known |= {"a", "xs", "d"}
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(("make", "make", "change", "change", "change", "show", "show")))
        templates = {"make": MAKERS[draw(st.integers(0, 5))], "change": CHANGERS, "show": SHOWERS}[kind]
        line = fill(draw(st.sampled_from(templates)), draw, known)
        if line is not None:
            lines.append(line)
    names = sorted(known - set(FUNCTIONS))
    if names:
        shown = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        lines.append("print(" + ", ".join(f"{n}.v" if KINDS[n] == BOX else n for n in shown) + ")")
    return lines


@SETTINGS
@given(notebooks(shape="chain"))
def test_a_random_chain_prints_what_the_notebook_prints(text: str) -> None:
    notebook = parse_notebook(text)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = run_plain(notebook, folder / "plain")
        assume(plain.error is None)
        made = run_pipeline(notebook, folder / "pipeline")
        assert _ended(made) == "", f"{_ended(made)}\n{text}"
        for cell in notebook.cells:
            if cell.step is not None:
                assert made.outputs.get(cell.index, ()) == plain.outputs.get(cell.index, ()), f"step {cell.step}\n{text}"


@SETTINGS
@given(notebooks(shape="forest"))
def test_a_random_forest_prints_what_each_path_prints(text: str) -> None:
    _check_graph(parse_notebook(text), text, may_refuse=False)


@SETTINGS
@given(notebooks(shape="graph"))
def test_a_random_graph_prints_what_its_ancestors_say_or_is_refused(text: str) -> None:
    _check_graph(parse_notebook(text), text, may_refuse=True)


def _ended(outcome: Outcome) -> str:
    if outcome.refusal is not None:
        return f"refused: {outcome.refusal}"
    if outcome.error is not None:
        return f"step {outcome.error.step}: {outcome.error.ename}: {outcome.error.evalue}\n{outcome.error.traceback}"
    return ""


def _check_graph(notebook: Notebook, text: str, *, may_refuse: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forward, fault = _expected(notebook, folder / "forward", backward=False)
        assume(fault is None)
        backward, _ = _expected(notebook, folder / "backward", backward=True) if may_refuse else (forward, None)
        made = run_pipeline(notebook, folder / "pipeline")
        joins = any(len(before) > 1 for before in notebook.after.values())
        if made.refusal is not None and "error KN3" in made.refusal and "changed-in-parallel" in made.refusal:
            return
        if may_refuse and joins and (made.refusal is not None or (made.error is not None and made.error.ours)):
            return
        if may_refuse and made.error is not None and forward != backward:
            return
        assert _ended(made) == "", f"{_ended(made)}\n{text}"
        for cell in notebook.cells:
            if cell.step is not None and forward.get(cell.index) == backward.get(cell.index):
                assert made.outputs.get(cell.index, ()) == forward.get(cell.index, ()), f"step {cell.step}\n{text}"


def _expected(notebook: Notebook, folder: Path, *, backward: bool) -> tuple[dict[int, object], str | None]:
    """Outputs of each step's cells from plain runs of its ancestors and itself, siblings forward or backward; and the first error."""
    prelude = [c for c in notebook.cells if c.role in PRELUDE]
    orders = {step: (*_linear(notebook, notebook.ancestors(step), backward=backward), step) for step in notebook.steps}
    known: dict[tuple[str, ...], dict[int, object]] = {}
    found: dict[int, object] = {}
    for step in sorted(notebook.steps, key=lambda s: -len(orders[s])):
        order = orders[step]
        if order not in known:
            cells = [*prelude, *(c for s in order for c in notebook.cells if c.step == s)]
            plain = run_plain(notebook, folder / step, cells=cells)
            if plain.error is not None:
                return {}, plain.error.evalue
            for end in range(1, len(order) + 1):
                known[order[:end]] = dict(plain.outputs)
        found |= {c.index: known[order].get(c.index, ()) for c in notebook.cells if c.step == step}
    return found, None


def _linear(notebook: Notebook, steps: frozenset[str], *, backward: bool) -> list[str]:
    order: list[str] = []
    waiting = [s for s in notebook.steps if s in steps]
    while waiting:
        ready = [s for s in waiting if all(p in order for p in notebook.after[s])]
        order.append(ready[-1] if backward else ready[0])
        waiting.remove(order[-1])
    return order
