"""The order that the marks ask for: every `prev` exists, none is doubled or its own, nothing waits in a circle."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kale_nb.annotations.marks import After, Marked, StepMarks
from kale_nb.dataflow.facts import Place
from kale_nb.diagnostics import Diagnostic, Rule, Severity, rule
from kale_nb.location import Location
from kale_nb.lowering.findings import Speaker
from kale_nb.names import StepName
from kale_nb.pipeline.order import find_cycles, sort_steps

UNKNOWN = rule(
    "KN201",
    "unknown-prev",
    Severity.ERROR,
    what="A `prev:` or `--after` names a step that does not exist.",
    why="The order that you asked for cannot be kept, so the step could run too early.",
    example="%%step load\nx = 1\n\n%%step train --after laod\nprint(x)",
    mend="Correct the name; the hint lists the nearest ones.",
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
    example="%%step load\nx = 1\n\n%%step train\nprint(x)",
    mend="Mark which step follows which (`prev:NAME` or `--after NAME`); steps that do not wait for each other run side by side.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The order that the marks ask for.

    Attributes:
        after: each step's predecessors in source order, without unknown ones, and without those that close a circle.
        explicit: some step asks for an order.
        doubtful: steps whose ancestors are not known for sure, since a mark of theirs, or of an ancestor, is wrong.
    """

    after: dict[StepName, tuple[StepName, ...]]
    explicit: bool
    doubtful: frozenset[StepName] = frozenset()


def resolve_order(marked: Marked, speaker: Speaker) -> tuple[Order, tuple[Diagnostic, ...]]:
    """Return the order of the steps and what is wrong with it. The order is one that can be analysed even then."""
    names = [s.name for s in marked.steps]
    if not any(s.after for s in marked.steps):
        chain: dict[StepName, tuple[StepName, ...]] = {n: (names[i - 1],) if i else () for i, n in enumerate(names)}
        return Order(after=chain, explicit=False), _chain_note(marked)
    known = set(names)
    elsewhere = _claimed_elsewhere(marked) - known
    rank = {n: i for i, n in enumerate(names)}
    after: dict[StepName, tuple[StepName, ...]] = {}
    findings: list[Diagnostic] = []
    doubtful: set[StepName] = set()
    for step in marked.steps:
        good: list[StepName] = []
        seen: set[tuple[StepName, int | None]] = set()
        for mark in step.after:
            if mark.name not in known or mark.name == step.name:
                doubtful.add(step.name)
                if mark.name not in elsewhere:
                    findings.append(_wrong(step, mark, names, speaker))
                continue
            if (mark.name, mark.location.cell) in seen:
                message = f"step `{step.name}` waits for `{mark.name}` twice"
                findings.append(_at_mark(DOUBLE, mark, message, "drop one of the two, or name the step that was meant", speaker))
            seen.add((mark.name, mark.location.cell))
            good.append(mark.name)
        after[step.name] = tuple(sorted(set(good), key=rank.__getitem__))
    findings += _cycles(marked, after, speaker)
    ordered = set(sort_steps(after))
    tangled = [n for n in names if n not in ordered]
    doubtful.update(tangled)
    for name in tangled:
        after[name] = tuple(p for p in after[name] if p in ordered or rank[p] < rank[name])
    for name in sort_steps(after):
        if any(p in doubtful for p in after[name]):
            doubtful.add(name)
    return Order(after=after, explicit=True, doubtful=frozenset(doubtful)), tuple(findings)


def _chain_note(marked: Marked) -> tuple[Diagnostic, ...]:
    if len(marked.steps) < 2:
        return ()
    first = marked.steps[0].location
    message = "no `prev:` or `--after` is given, so the steps run one after another, in notebook order"
    hint = "to run steps in parallel, mark which step follows which: tag `prev:NAME`, or `%%step ... --after NAME`"
    return (Diagnostic(rule=CHAIN, message=message, location=Location(path=first.path, cell=first.cell), hint=hint),)


def _claimed_elsewhere(marked: Marked) -> set[str]:
    """Names of steps whose mark is reported as wrong elsewhere: the second one on its cell, or not on its first line."""
    tagged = {t.split(":", 1)[1].strip() for c in marked.cells for t in c.cell.tags if t.startswith(("step:", "block:"))}
    return tagged | {name for c in marked.cells if "%%step" in c.cell.source for name in _MAGIC.findall(c.cell.source)}


_MAGIC = re.compile(r"^\s*%%step\s+(\S+)", re.MULTILINE)


def _at_mark(rule: Rule, mark: After, message: str, hint: str, speaker: Speaker) -> Diagnostic:
    """Make a finding at a `prev:` or a name of `--after`; only the second has a line."""
    at = mark.location
    if at.cell is None or at.line is None or at.column is None:
        return Diagnostic(rule=rule, message=message, location=at, hint=hint)
    return speaker.say(rule, Place(at.cell, at.line, at.column, at.column + len(mark.name)), message, hint)


def _wrong(step: StepMarks, mark: After, names: Sequence[StepName], speaker: Speaker) -> Diagnostic:
    if mark.name == step.name:
        hint = "name the step that must run before it, or drop the mark"
        return _at_mark(SELF, mark, f"step `{step.name}` waits for itself", hint, speaker)
    message = f"step `{step.name}` waits for `{mark.name}`, but no cell is marked as step `{mark.name}`"
    return _at_mark(UNKNOWN, mark, message, _nearest(mark.name, names), speaker)


def _nearest(name: str, names: Sequence[str]) -> str:
    folded = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"`{folded[n]}`" for n in near) + "?"
    shown = ", ".join(f"`{n}`" for n in names[:12]) + (", ..." if len(names) > 12 else "")
    return f"the steps are {shown}"


def _cycles(marked: Marked, after: dict[StepName, tuple[StepName, ...]], speaker: Speaker) -> Iterator[Diagnostic]:
    by_name = {s.name: s for s in marked.steps}
    rank = {s.name: i for i, s in enumerate(marked.steps)}
    for cycle in find_cycles(after):
        waiting = tuple(reversed(cycle))
        first = min(range(len(waiting)), key=lambda i: rank[waiting[i]])
        members = waiting[first:] + waiting[:first]
        shown = [f"`{n}`" for n in (*members[1:], members[0])]
        circle = ", which waits for ".join(shown)
        message = f"step `{members[0]}` waits for {circle}: none of them could ever start"
        mark = next(a for a in by_name[members[0]].after if a.name == members[1])
        yield _at_mark(CYCLE, mark, message, f"drop one of these {len(members)} marks", speaker)
