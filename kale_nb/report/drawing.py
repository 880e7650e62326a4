"""The graph of a pipeline as lines of text: rails, steps, states and the variables that steps take."""

from __future__ import annotations

from collections.abc import Mapping

from kale_nb.graph.rails import ASCII, rows
from kale_nb.names import StepName
from kale_nb.pipeline import order
from kale_nb.pipeline.model import Pipeline
from kale_nb.report.style import Style, clip, width
from kale_nb.runs.events import State


def text_lines(
    pipeline: Pipeline, style: Style, most: int, states: Mapping[StepName, State], notes: Mapping[StepName, str]
) -> list[str]:
    """Return the drawing: rails, step, state, and the variables that the step takes; at most `most` columns (0: any)."""
    drawing = rows(pipeline)
    taken: dict[StepName, list[str]] = {}
    arrow = "←" if style.unicode else "<-"
    for edge in order.edges(pipeline):
        if edge.names:
            taken.setdefault(edge.target, []).append(f"{', '.join(edge.names)} {arrow} {edge.source}")
    rail_columns = max((len(row.rails) for row in drawing), default=0) + 2
    name_columns = min(36, max((width(row.step) for row in drawing if row.step), default=0)) + 2
    lines: list[str] = []
    for row in drawing:
        rails = row.rails if style.unicode else row.rails.translate(ASCII)
        if row.step is None:
            lines.append(style.paint(rails, "dim"))
            continue
        state = states.get(row.step)
        at = row.rails.index("●")
        dot = style.paint(rails[at], "bold", "blue") if state is None else style.sign(state)
        left = f"{style.paint(rails[:at], 'dim')}{dot}{style.paint(rails[at + 1 :], 'dim')}{' ' * (rail_columns - len(rails))}"
        facts = [] if state is None else [" ".join(filter(None, (state.value, notes.get(row.step))))]
        extra = "  ".join([*facts, "; ".join(taken.get(row.step, []))]).strip()
        gap = " " * max(2, name_columns - width(row.step)) if extra else ""
        if most:
            extra = clip(extra, max(12, most - rail_columns - width(row.step) - len(gap)))
        lines.append(f"{left}{style.paint(row.step, 'bold')}{gap}{style.paint(extra, 'dim')}")
    return lines
