"""Small blocks of code as facts, for the tests of the data flow."""

from __future__ import annotations

import ast

from kale_nb.dataflow.facts import BlockFacts, ReadKind
from kale_nb.dataflow.flow import Flow, StepBlock, infer
from kale_nb.dataflow.text import TextError, parse_cell
from kale_nb.dataflow.walk import read_block
from kale_nb.names import StepName


def tree_of(code: str) -> ast.Module:
    """Parse a cell that must be right."""
    tree = parse_cell(code)
    assert not isinstance(tree, TextError), tree
    return tree


def facts(*cells: str, prelude: BlockFacts | None = None) -> BlockFacts:
    """Return the facts of a block of cells, numbered from 1."""
    return read_block([(i, tree_of(code)) for i, code in enumerate(cells, 1)], prelude)


def reads(code: str, kind: ReadKind) -> set[str]:
    """Return the names that code reads in this way."""
    return {r.name for r in facts(code).reads if r.kind is kind}


def flow_of(prelude: str = "", /, **steps: str) -> Flow:
    """Infer a flow; each step is its code, with its predecessors in a first line `# after a, b`."""
    before = facts(prelude) if prelude else BlockFacts()
    blocks = []
    for name, code in steps.items():
        first = code.split("\n")[0]
        after = tuple(StepName(n.strip()) for n in first[8:].split(",")) if first.startswith("# after ") else ()
        blocks.append(StepBlock(StepName(name), after, facts(code, prelude=before)))
    return infer(blocks, before)
