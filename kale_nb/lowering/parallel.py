"""What steps beside each other do to one name."""

from __future__ import annotations

from collections.abc import Iterator

from kale_nb.dataflow.flow import Flow
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.lowering.findings import Speaker, spoken
from kale_nb.lowering.naming import Names
from kale_nb.names import StepName

JOIN = rule(
    "KN304",
    "join-conflict",
    Severity.ERROR,
    what="A step joins branches that each bind, or change, a name that it reads.",
    why="There is no telling which branch's value is meant: in the notebook it is that of the lower cell, in the pipeline the branches "
    "run side by side.",
    example="%%step a\nx = 0\n\n%%step b --after a\nx = 1\n\n%%step c --after a\nx = 2\n\n%%step d --after b,c\nprint(x)",
    mend="Give the branches names of their own (`x_b`, `x_c`) and read those, or put the branches one after the other.",
)
MUTATED = rule(
    "KN305",
    "changed-in-parallel",
    Severity.ERROR,
    what="A step changes a value in place that a lower step, which runs in parallel with it, reads.",
    why="In the notebook the lower cell sees the change; in the pipeline each branch has its own copy, so it would not.",
    example="%%step a\nrows = [1]\n\n%%step b --after a\nrows.append(2)\n\n%%step c --after a\nprint(rows)",
    mend="Let the reader follow the changer (`prev:`), or change a copy under another name.",
)
SIBLING = rule(
    "KN310",
    "sibling-rebinds",
    Severity.WARNING,
    what="A step binds a name again that a lower step, which runs in parallel with it, reads from their common ancestor.",
    why="In the notebook the lower cell sees the new value; in the pipeline the graph rules, and it sees the ancestor's.",
    example="%%step a\nx = 1\n\n%%step b --after a\nx = 2\n\n%%step c --after a\nprint(x)",
    mend="If the new value is meant, add the `prev:` mark; if not, use another name.",
)


def check_joins(flow: Flow, names: Names, speaker: Speaker) -> Iterator[Diagnostic]:
    """Refuse joins that cannot know which version is meant."""
    for conflict in flow.conflicts:
        name = conflict.read.name
        shown = [f"`{w}`{spoken(names.writing_place(w, name))}" for w in conflict.writers]
        steps = f"{', '.join(shown[:-1])} and {shown[-1]}"
        message = (
            f"step `{conflict.step}` reads `{name}`, and steps {steps}, which run in parallel, each leave another `{name}`: "
            "there is no telling which one is meant"
        )
        own = " and ".join(f"`{name}_{_as_variable(w)}`" for w in conflict.writers[:2])
        first, second = conflict.writers[:2]
        hint = f"give each branch a name of its own, such as {own}, or run one after the other: `prev:{first}` on step `{second}`"
        yield speaker.say(JOIN, conflict.read.place, message, hint)


def _as_variable(step: StepName) -> str:
    return "".join(c if c.isalnum() else "_" for c in step)


def check_races(flow: Flow, names: Names, speaker: Speaker) -> Iterator[Diagnostic]:
    """Tell where notebook order and graph order give a reader different values."""
    conflicts = {(c.step, c.read.name) for c in flow.conflicts}
    for race in flow.races:
        if (race.reader, race.read.name) in conflicts or any(
            c.read.name == race.read.name and {race.reader, race.writer} <= set(c.writers) for c in flow.conflicts
        ):
            continue
        uses = f"uses `{race.via}`, which reads" if race.via else "reads"
        if race.mutation is not None:
            message = (
                f"step `{race.reader}` {uses} `{race.read.name}`, which step `{race.writer}`, running in parallel, changes in place: "
                f"`{race.mutation.how}`{spoken(race.mutation.place)}; the notebook sees that change here, the pipeline would not"
            )
            hint = f"add `prev:{race.writer}` to step `{race.reader}`, or change a copy of another name in step `{race.writer}`"
            yield speaker.say(MUTATED, race.read.place, message, hint, severity=Severity.WARNING if race.via else None)
            continue
        where = spoken(names.binding_place(race.writer, race.read.name))
        message = (
            f"step `{race.reader}` {uses} `{race.read.name}` as the steps that it comes after leave it; in the notebook it is that of "
            f"step `{race.writer}`{where}, which runs in parallel"
        )
        hint = f"if that of `{race.writer}` is meant, add `prev:{race.writer}` to step `{race.reader}`; if not, use another name"
        yield speaker.say(SIBLING, race.read.place, message, hint)
