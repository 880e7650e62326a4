"""The graph as lines of text: one line a step, with rails on the left that show who waits for whom.

    ● load
    ├─╮
    │ ● train-a
    ● train-b
    ├─╯
    ● compare

A rail is the output of a step; it ends at the last step that waits for it. A rail that a horizontal line meets without touching is drawn
whole (`─│─`). Only edges that no longer path implies are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kale_nb.graph.layers import reduced
from kale_nb.names import StepName
from kale_nb.pipeline import order
from kale_nb.pipeline.model import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a drawing.

    Attributes:
        rails: the characters left of the text; a step's own place is `●`.
        step: the step of this line; None on a line that only joins and parts.
    """

    rails: str
    step: StepName | None = None


ASCII = str.maketrans("●│─├┤┴┬┼╭╮╰╯", "*|-+++++++++")


def rows(pipeline: Pipeline) -> tuple[Row, ...]:
    """Return the drawing of a pipeline, line by line."""
    names = order.topological(pipeline)
    edges = reduced(names, [(source, step.name) for step in pipeline.steps for source in dict.fromkeys(step.after)])
    into: dict[StepName, list[StepName]] = {name: [] for name in names}
    left: dict[StepName, int] = dict.fromkeys(names, 0)
    for source, target in edges:
        into[target].append(source)
        left[source] += 1
    drawing: list[Row] = []
    rails: list[StepName | None] = []
    ended: set[int] = set()
    for name in names:
        for source in into[name]:
            left[source] -= 1
        held = {rails.index(source): left[source] > 0 for source in into[name]}
        place = _place(rails, held)
        if held and (len(held) > 1 or place not in held):
            drawing.append(Row(rails=_join(rails, held, place)))
        elif not held and place in ended:
            drawing.append(Row(rails=_pass(rails)))
        for column, stays in held.items():
            if not stays:
                rails[column] = None
        if place == len(rails):
            rails.append(None)
        rails[place] = name
        drawing.append(Row(rails=_pass(rails, place), step=name))
        ended = set()
        if not left[name]:
            rails[place] = None
            ended = {place}
        while rails and rails[-1] is None:
            rails.pop()
    return tuple(drawing)


def _place(rails: Sequence[StepName | None], held: dict[int, bool]) -> int:
    """Return the column of a step: that of a rail that ends in it, else the first free one."""
    ending = [column for column, stays in held.items() if not stays]
    if ending:
        return min(ending)
    beyond = min(held, default=-1)
    return next((i for i, rail in enumerate(rails) if rail is None and i > beyond), len(rails))


def _pass(rails: Sequence[StepName | None], place: int | None = None) -> str:
    return " ".join("●" if i == place else " " if rail is None else "│" for i, rail in enumerate(rails)).rstrip()


def _join(rails: Sequence[StepName | None], held: dict[int, bool], place: int) -> str:
    """Draw the line on which the rails in `held` reach the column of the step."""
    first, last = min(*held, place), max(*held, place)
    text = ""
    for i in range(max(len(rails), place + 1)):
        rail = rails[i] if i < len(rails) else None
        up = i in held or (rail is not None)
        down = i == place or held.get(i, rail is not None)
        if i in held or i == place:
            text += _CORNERS[up and (i in held or i != place), down, i > first, i < last]
        else:
            text += "│" if up else "─" if first < i < last else " "
        text += "─" if first <= i < last else " "
    return text.rstrip()


_CORNERS = {
    (True, True, False, False): "│",
    (True, True, False, True): "├",
    (True, True, True, False): "┤",
    (True, True, True, True): "┼",
    (True, False, False, True): "╰",
    (True, False, True, False): "╯",
    (True, False, True, True): "┴",
    (False, True, False, True): "╭",
    (False, True, True, False): "╮",
    (False, True, True, True): "┬",
}
