"""Steps whose cells do not stand together: the pipeline runs all of a step before its followers, whatever stands between its cells."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kale_nb.annotations.marks import Marked, Role
from kale_nb.dataflow.facts import BlockFacts, Place, ReadKind
from kale_nb.dataflow.flow import StepBlock
from kale_nb.dataflow.walk import read_block
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.lowering.findings import Speaker
from kale_nb.names import StepName
from kale_nb.pipeline.order import ancestors_of

BELOW = rule(
    "KN315",
    "step-goes-on-below",
    Severity.ERROR,
    what="A step goes on below a step that follows it, and the two cells are not independent: one changes what the other uses.",
    why="In the notebook the upper cell runs first; in the pipeline all of a step runs before the steps that follow it.",
    example="%%step a\nx = 1\n\n%%step b --after a\nprint(x)\n\n%%step a\nx = 2\nprint(x)",
    mend="Move the cell up to its step, or make it a step of its own that follows.",
)


@dataclass(frozen=True, slots=True)
class _Cell:
    index: int
    step: StepName
    facts: BlockFacts

    def reads(self) -> Mapping[str, Place]:
        sure = (ReadKind.HARD, ReadKind.CONDITIONAL)
        return {r.name: r.place for r in reversed(self.facts.reads) if r.kind in sure}

    def writes(self) -> Mapping[str, Place]:
        changed = {m.name: m.place for m in self.facts.mutations}
        return {**changed, **{n: self.facts.binds_at[n] for n in self.facts.may_bind if n in self.facts.binds_at}}


def check_interleaved(
    marked: Marked, blocks: Sequence[StepBlock], trees: Mapping[int, ast.Module], prelude: BlockFacts, speaker: Speaker
) -> Iterator[Diagnostic]:
    """Refuse a cell of a step that stands below a dependent cell of a step that follows it."""
    order = [(c.cell.index, s.name) for s in marked.steps for c in s.cells if c.role in (Role.STEP, Role.METRICS)]
    order.sort()
    runs = [name for n, (_, name) in enumerate(order) if n == 0 or order[n - 1][1] != name]
    split = {name for name, times in Counter(runs).items() if times > 1}
    if not split:
        return
    ancestors = ancestors_of({b.name: b.after for b in blocks})
    cells = [_Cell(i, name, read_block([(i, trees[i])], prelude)) for i, name in order if i in trees]
    known: set[str] = set(prelude.may_bind)
    for number, upper in enumerate(cells):
        for lower in cells[number + 1 :] if split & ancestors[upper.step] else ():
            if lower.step in split and lower.step in ancestors[upper.step]:
                found = _clash(upper, lower, known)
                if found is not None:
                    yield _say(*found, upper, lower, speaker)
        known |= upper.facts.may_bind


def _clash(upper: _Cell, lower: _Cell, known: set[str]) -> tuple[Place, str] | None:
    """Find a name that one of the cells changes and the other uses; `known`: what the cells above both may have bound."""
    for name, place in lower.writes().items():
        if name in upper.reads() and name in known:
            return place, f"changes `{name}`, which the cell above reads"
    for name, place in lower.reads().items():
        if name in upper.writes() and name in known:
            return place, f"reads `{name}`, which the cell above changes"
    return None


def _say(place: Place, what: str, upper: _Cell, lower: _Cell, speaker: Speaker) -> Diagnostic:
    message = (
        f"step `{lower.step}` goes on in cell {lower.index}, below cell {upper.index} of step `{upper.step}`, which follows it: it "
        f"{what}, and the pipeline runs all of `{lower.step}` first"
    )
    hint = f"move cell {lower.index} above cell {upper.index}, or make it a step of its own that follows `{upper.step}`"
    return speaker.say(BELOW, place, message, hint)
