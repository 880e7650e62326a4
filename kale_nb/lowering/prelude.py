"""The cells that run in every step before its own: they may not lean on steps, nor overwrite what steps made before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kale_nb.dataflow.facts import BlockFacts, ReadKind
from kale_nb.dataflow.flow import AMBIENT, StepBlock
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.lowering.findings import Speaker, quoted, spoken
from kale_nb.lowering.naming import Names, spelling_hint

READS_STEP = rule(
    "KN307",
    "prelude-reads-step",
    Severity.ERROR,
    what="An imports, functions or parameters cell reads, as it runs, a name that only a step defines.",
    why="These cells run first in every step, when no step has made anything yet.",
    example="%%step a\nn = 3\n\n%%functions\ntable = [0] * n",
    mend="Mark the cell as part of a step, or move what it reads into an imports or parameters cell.",
)
PRELUDE_UNDEFINED = rule(
    "KN314",
    "prelude-undefined-name",
    Severity.ERROR,
    what="An imports, functions or parameters cell reads a name that nothing defines before it.",
    why="Every step would fail with a NameError before its own code.",
    example="%%functions\nlimit = lmit + 1\n\n%%step a\nprint(limit)",
    mend="Correct the spelling, or define the name in a cell above.",
)
OVERWRITES = rule(
    "KN308",
    "prelude-overwrites-step",
    Severity.ERROR,
    what="An imports, functions or parameters cell binds a name that a step above it binds too, and a lower step reads it.",
    why="In the notebook the lower step sees what that cell bound; in the pipeline it runs first and the step's value wins.",
    example="%%step a\nscale = 2\n\n%%functions\nscale = 5\n\n%%step b --after a\nprint(scale)",
    mend="Use another name in one of the two, or mark the cell as part of a step.",
)


def check_prelude(prelude: BlockFacts, blocks: Sequence[StepBlock], names: Names, speaker: Speaker) -> Iterator[Diagnostic]:
    """Refuse prelude cells that need steps, and those that a step's value would wrongly overrule."""
    for read in prelude.reads:
        if read.name in AMBIENT or prelude.opaque_binds or read.kind is not ReadKind.HARD:
            continue
        binders = names.binders.get(read.name, [])
        if binders:
            message = (
                f"cell {read.place.cell} runs before every step and reads `{read.name}`, which only "
                f"{'step' if len(binders) == 1 else 'steps'} {quoted(binders)} define{'s' if len(binders) == 1 else ''}"
            )
            hint = (
                f"mark cell {read.place.cell} as part of a step, or define `{read.name}` in an imports or parameters cell above"
            )
            yield speaker.say(READS_STEP, read.place, message, hint)
        else:
            where = prelude.binds_at.get(read.name)
            later = f" before it is defined{spoken(where)}" if where is not None else ", which nothing defines"
            message = f"cell {read.place.cell} runs before every step and reads `{read.name}`{later}"
            hint = "define it above" if where is not None else spelling_hint(read.name, names)
            yield speaker.say(PRELUDE_UNDEFINED, read.place, message, hint)


def check_overwrites(
    last_bind: Mapping[str, int], prelude: BlockFacts, blocks: Sequence[StepBlock], speaker: Speaker
) -> Iterator[Diagnostic]:
    """`last_bind`: name to the last prelude cell that binds it."""
    for name in sorted(prelude.may_bind):
        cell = last_bind.get(name, 0)
        above = [b for b in blocks if name in b.facts.may_bind and b.facts.binds_at[name].cell < cell]
        readers = [
            b
            for b in blocks
            if any(r.name == name and r.place.cell > cell for r in b.facts.reads) and any(a.name != b.name for a in above)
        ]
        if above and readers and name not in prelude.imports:
            place = prelude.binds_at[name]
            message = (
                f"cell {cell} assigns `{name}`, and so does step `{above[0].name}` above it{spoken(above[0].facts.binds_at[name])}: "
                f"step `{readers[0].name}` would get the value of step `{above[0].name}`, not that of cell {cell} as in the notebook"
            )
            hint = f"use another name in cell {cell}, or mark the cell as part of a step"
            yield speaker.say(OVERWRITES, place, message, hint)
