"""The comparison: what the notebook said and what the pipeline said, cell by cell, as a verdict."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kale_nb.names import StepName
from kale_nb.verify.outputs import Said

_MOST = 24
"""Lines of a difference that are shown."""


class Answer(enum.Enum):
    SAME = "same"
    DIFFERENT = "different"
    NOT_RUN = "not run"
    """One of the two did not get to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVerdict:
    """How one step compares.

    Attributes:
        cells: 1-based cells of the notebook that were compared.
        cell: the first that differs.
        diff: the difference there, lines beginning with `-` (notebook), `+` (pipeline) or a blank.
        reason: why it was not run, or that one of both failed.
    """

    step: StepName
    answer: Answer
    cells: tuple[int, ...] = ()
    cell: int | None = None
    diff: tuple[str, ...] = ()
    reason: str | None = None


def compare_step(step: StepName, cells: Sequence[int], notebook: Mapping[int, Said], pipeline: Mapping[int, Said]) -> StepVerdict:
    """Compare the cells of one step; cells that neither way ran count as equal, those that one way ran do not."""
    for cell in cells:
        one, other = notebook.get(cell), pipeline.get(cell)
        if one == other:
            continue
        if one is None or other is None:
            reason = f"cell {cell} ran only in the {'pipeline' if one is None else 'notebook'}"
            return StepVerdict(step=step, answer=Answer.NOT_RUN, cells=tuple(cells), cell=cell, reason=reason)
        return StepVerdict(step=step, answer=Answer.DIFFERENT, cells=tuple(cells), cell=cell, diff=difference(one, other))
    if cells and all(cell not in notebook for cell in cells):
        return StepVerdict(step=step, answer=Answer.NOT_RUN, cells=tuple(cells), reason="neither ran it")
    return StepVerdict(step=step, answer=Answer.SAME, cells=tuple(cells))


def difference(one: Said, other: Said) -> tuple[str, ...]:
    """Return the first difference as a small diff; `-` is the notebook's line, `+` the pipeline's.

    >>> difference(Said(shown=("a", "b")), Said(shown=("a", "c")))
    (' a', '-b', '+c')
    """
    before, after = (one.shown, other.shown) if one.shown != other.shown else (one.errors, other.errors)
    lines = list(difflib.unified_diff(before, after, n=2, lineterm=""))[2:]
    hunk: list[str] = []
    for line in lines[1:]:
        if line.startswith("@@"):
            break
        hunk.append(line)
    if len(hunk) > _MOST:
        hunk = _shortened(hunk)
    return tuple(hunk)


def _shortened(hunk: list[str]) -> list[str]:
    """Keep the first lines of what is gone and of what came."""
    gone = [line for line in hunk if line.startswith("-")]
    come = [line for line in hunk if line.startswith("+")]
    half = _MOST // 2
    kept = [*gone[:half], *([f"-… {len(gone) - half} more lines"] if len(gone) > half else [])]
    return [*kept, *come[:half], *([f"+… {len(come) - half} more lines"] if len(come) > half else [])]
