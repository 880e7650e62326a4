"""The order that the marks ask for: every `prev` exists, none is doubled or its own, nothing waits in a circle."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from kale_nb.annotations.marks import Marked, StepMarks
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.location import Location
from kale_nb.names import StepName
from kale_nb.pipeline.order import find_cycles

UNKNOWN = rule(
    "KN201",
    "unknown-prev",
    Severity.ERROR,
    what="A `prev:` or `--after` names a step that does not exist.",
    why="The order that you asked for cannot be kept, so the step could run too early.",
    example="%%step load\nx = 1\n\n%%step train --after laod\nprint(x)",
    mend="Correct the name; the message lists the nearest ones.",
)
SELF = rule(
    "KN202",
    "self-prev",
    Severity.ERROR,
    what="A step names itself as its predecessor.",
    why="It would wait for itself for ever.",
    example="%%step train --after train\nx = 1",
    mend="Name the step that must run before it, or drop the mark.",
)
DOUBLE = rule(
    "KN203",
    "duplicate-prev",
    Severity.WARNING,
    what="One predecessor is named twice for a step.",
    why="It changes nothing, but often another name was meant.",
    example="%%step a\nx = 1\n\n%%step b --after a,a\nprint(x)",
    mend="Drop one of the two, or correct it.",
)
CYCLE = rule(
    "KN204",
    "step-cycle",
    Severity.ERROR,
    what="Steps wait for each other in a circle.",
    why="None of them could ever start.",
    example="%%step a --after b\nx = 1\n\n%%step b --after a\ny = 2",
    mend="Drop one of the marks of the circle; the message names its members in order.",
)
CHAIN = rule(
    "KN205",
    "implicit-chain",
    Severity.NOTE,
    what="No step has a `prev:` or `--after`, so the steps run one after another in notebook order.",
    why="That is the safe reading, but nothing runs in parallel.",
    example="%%step a\nx = 1\n\n%%step b\nprint(x)",
    mend="Mark which step follows which (`prev:NAME` or `--after NAME`); steps that do not wait for each other run side by side.",
)


def resolve_order(marked: Marked) -> tuple[dict[StepName, tuple[StepName, ...]], bool, tuple[Diagnostic, ...]]:
    """Return each step's predecessors in source order, whether the order was marked at all, and what is wrong with it.

    Unknown and self references are left out of the result; the steps of a cycle are kept (callers stop at errors).
    """
    names = [s.name for s in marked.steps]
    explicit = any(s.after for s in marked.steps)
    findings: list[Diagnostic] = []
    if not explicit:
        if len(names) > 2:
            first = marked.steps[0].location
            where = Location(path=first.path, cell=first.cell)
            hint = "mark which step follows which (`prev:NAME` or `--after NAME`); steps that do not wait for each other run in parallel"
            findings.append(
                Diagnostic(rule=CHAIN, message="no order is marked: the steps run in notebook order", location=where, hint=hint)
            )
        return {n: (names[i - 1],) if i else () for i, n in enumerate(names)}, False, tuple(findings)
    after: dict[StepName, tuple[StepName, ...]] = {}
    for step in marked.steps:
        good, bad = _one_step(step, names)
        findings += bad
        after[step.name] = tuple(sorted(good, key=names.index))
    findings += _cycles(marked, after)
    return after, True, tuple(findings)


def _one_step(step: StepMarks, names: Sequence[StepName]) -> tuple[list[StepName], list[Diagnostic]]:
    good: list[StepName] = []
    findings: list[Diagnostic] = []
    seen: set[tuple[StepName, int | None]] = set()
    for mark in step.after:
        if mark.name == step.name:
            hint = "name the step that must run before it, or drop the mark"
            findings.append(
                Diagnostic(rule=SELF, message=f"step `{step.name}` waits for itself", location=mark.location, hint=hint)
            )
        elif mark.name not in names:
            message = f"step `{step.name}` waits for `{mark.name}`, which no cell marks as a step"
            findings.append(Diagnostic(rule=UNKNOWN, message=message, location=mark.location, hint=_nearest(mark.name, names)))
        else:
            if (mark.name, mark.location.cell) in seen:
                message = f"step `{step.name}` waits for `{mark.name}` twice"
                findings.append(Diagnostic(rule=DOUBLE, message=message, location=mark.location, hint="drop one of the two"))
            seen.add((mark.name, mark.location.cell))
            if mark.name not in good:
                good.append(mark.name)
    return good, findings


def _nearest(name: str, names: Sequence[str]) -> str:
    folded = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"`{folded[n]}`" for n in near) + "?"
    shown = ", ".join(f"`{n}`" for n in names[:12]) + (", ..." if len(names) > 12 else "")
    return f"the steps are {shown}"


def _cycles(marked: Marked, after: dict[StepName, tuple[StepName, ...]]) -> Iterator[Diagnostic]:
    by_name = {s.name: s for s in marked.steps}
    for cycle in find_cycles(after):
        circle = " -> ".join(f"`{n}`" for n in (*cycle, cycle[0]))
        step = by_name[cycle[-1]]
        mark = next((a for a in step.after if a.name in cycle), None)
        yield Diagnostic(
            rule=CYCLE,
            message=f"the steps wait for each other in a circle: {circle}",
            location=mark.location if mark else step.location,
            hint="drop one of these marks",
        )
