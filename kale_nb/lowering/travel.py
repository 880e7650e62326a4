"""What does not travel from step to step: some values, and process-wide state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kale_nb.dataflow.facts import BlockFacts
from kale_nb.dataflow.flow import Flow, StepBlock
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.lowering.findings import Speaker, quoted
from kale_nb.pipeline.model import Certainty
from kale_nb.pipeline.order import ancestors_of

STUCK = rule(
    "KN401",
    "value-cannot-travel",
    Severity.ERROR,
    what="A step binds a name to a value that cannot be carried to another process, and a later step reads it.",
    why="Generators, open files, locks, threads and connections belong to the process that made them.",
    example="%%step a\nsquares = (i * i for i in range(9))\n\n%%step b --after a\nprint(list(squares))",
    mend="Pass what it stands for: a list instead of a generator, a path instead of an open file, the settings of a connection; "
    "or use it in the step that makes it.",
)
STATE = rule(
    "KN402",
    "state-stays-in-step",
    Severity.WARNING,
    what="A step sets process-wide state: the working folder, environment variables, options of a library.",
    why="Each step runs in a process of its own, so its descendants do not see the setting.",
    example="%%step a\nimport os\nos.environ['MODE'] = 'fast'\n\n%%step b --after a\nimport os\nprint(os.environ.get('MODE'))",
    mend="Set it in an imports cell, which runs in every step.",
)
_INSTEAD = {
    "a generator": "make it a list: `[...]` instead of `(...)`",
    "an open file": "pass the path and open the file where it is read",
    "a lock": "make the lock in the step that uses it",
    "a database connection": "pass the path or address and connect in the step that uses it",
}


def check_stuck(blocks: Sequence[StepBlock], flow: Flow, speaker: Speaker) -> Iterator[Diagnostic]:
    """Refuse values known from the text not to travel, where a later step surely reads them."""
    for block in blocks:
        for stuck in block.facts.stuck:
            if flow.offers[block.name].get(stuck.name) is not Certainty.REQUIRED:
                continue
            readers = [
                b.name
                for b in blocks
                if any(
                    w.name == stuck.name and block.name in w.producers and w.certainty is Certainty.REQUIRED
                    for w in flow.wants.get(b.name, ())
                )
            ]
            if readers:
                message = f"`{stuck.name}` is {stuck.kind}, which cannot travel from step `{block.name}` to {quoted(readers)}"
                yield speaker.say(STUCK, stuck.place, message, _INSTEAD.get(stuck.kind, "use it only in the step that makes it"))


def check_state(blocks: Sequence[StepBlock], flow: Flow, prelude: BlockFacts, speaker: Speaker) -> Iterator[Diagnostic]:
    """Warn of process-wide state set in a step that others follow, where it could make a difference to them."""
    ancestors = ancestors_of({b.name: b.after for b in blocks})
    drawing = {n for facts in (prelude, *(b.facts for b in blocks)) for n, how in facts.imports.items() if _DRAWING.search(how)}
    for block in blocks:
        if not block.facts.state_changes:
            continue
        later = [b for b in blocks if block.name in ancestors[b.name]]
        said: set[str] = set()
        for change in block.facts.state_changes:
            seen_by = [
                b.name for b in later if not _DRAWING.match(change.what) or drawing & (b.facts.mentions | flow.reach[b.name])
            ]
            if not seen_by or change.what in said:
                continue
            said.add(change.what)
            steps = f"step {quoted(seen_by)}" if len(seen_by) == 1 else f"the {len(seen_by)} steps after it"
            message = f"step `{block.name}` sets {change.what} for itself only: {steps} will not have it"
            yield speaker.say(STATE, change.place, message, "set it in an imports cell, which runs in every step")


_DRAWING = re.compile(r"(?:^|\b)(?:matplotlib|seaborn)\b")
