"""What the marks of one cell claim, before cells are put in relation to each other.

Tags and magics are two spellings; both give a `CellMarks`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kale_nb.annotations.asks import Ask, Place
from kale_nb.annotations.marks import After, Role
from kale_nb.annotations.settings import PipelineAsk
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.names import StepName, is_step_name

BAD_NAME = rule(
    "KN102",
    "bad-step-name",
    Severity.ERROR,
    what="A step's name is missing or holds characters that no step name may have.",
    why="The name becomes a file, a graph node and, on a cluster, a pod.",
    example="%%step train/v2\nx = 1",
    mend="Use letters and digits of any script, `_` and `-`.",
)
NEAR_MISS = rule(
    "KN109",
    "near-miss-mark",
    Severity.WARNING,
    what="A tag or cell magic is no mark but looks like a slip of one.",
    why="It is ignored, so its cell silently belongs to the step above.",
    example="%%step load\nx = 1\n\n%%stp train\nprint(x)",
    mend="Write the mark as the hint shows, or rename a tag of your own.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One mark that says what the cell is.

    Attributes:
        step: the name, for a step; None for the other roles and for v1's empty `block:`.
        spelled: the mark as written.
    """

    role: Role
    step: StepName | None
    spelled: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One predecessor asked for, with what a diagnostic needs to show it."""

    after: After
    spelled: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMarks:
    """All marks of one cell in one spelling.

    Attributes:
        code: the cell's text with mark lines turned into comments.
        problems: what cannot be read.
        live: commands to the live notebook that a step must not hold; they count where the cell is part of the pipeline.
    """

    code: str
    claims: tuple[Claim, ...] = ()
    after: tuple[Wanted, ...] = ()
    asks: tuple[Ask, ...] = ()
    pipeline: tuple[PipelineAsk, ...] = ()
    problems: tuple[Diagnostic, ...] = ()
    live: tuple[Diagnostic, ...] = ()


def check_name(name: str, place: Place, spelled: str) -> Diagnostic | None:
    """Report a name that no step may have."""
    if is_step_name(name):
        return None
    if not name:
        return place.report(BAD_NAME, f"`{spelled}` names no step", "give the step a name, such as `train`")
    suggestion = "".join(c if c.isalnum() or c in "_-" else "_" for c in name).strip("_")
    hint = f"call it `{suggestion}`" if is_step_name(suggestion) else "use letters, digits, `_` and `-`"
    return place.report(BAD_NAME, f"a step cannot be called `{name}`", hint)


def split_names(text: str) -> list[str]:
    """Split `a,b` (and v1's `a;b`) into names.

    >>> split_names("a, b;c,")
    ['a', 'b', 'c']
    """
    return [name for part in text.split(",") for name in (p.strip() for p in part.split(";")) if name]
