"""`kale graph`: draw the steps of a notebook, or of a run with its states."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.cli.options import add_pipeline_option, add_places
from kale_nb.cli.style import Style, clip, columns, duration, width
from kale_nb.errors import UsageError

if TYPE_CHECKING:
    from kale_nb.names import StepName
    from kale_nb.pipeline.model import Pipeline
    from kale_nb.runs.events import State


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "notebook", metavar="NOTEBOOK", nargs="?", help="a notebook, a script, or a folder that `kale compile` wrote"
    )
    add_pipeline_option(parser)
    parser.add_argument(
        "--run", metavar="RUN", help="draw this run (an id, its beginning, or latest) with the states of its steps"
    )
    parser.add_argument("--format", choices=("text", "svg"), help="text (the default) or SVG (when -o ends in .svg)")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="the file to write; standard output without it")
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""

    states: dict[StepName, State] = {}
    notes: dict[StepName, str] = {}
    if args.run is not None and args.notebook is None:
        from kale_nb.cli.kept_runs import load_run

        record, pipeline = load_run(args.run, args.workspace, args.runs_dir)
        states = {step.name: step.state for step in record.steps}
        notes = {step.name: duration(step.seconds) for step in record.steps if step.seconds is not None}
    elif args.run is None and args.notebook is not None:
        from kale_nb.cli.loading import load

        pipeline = load(args.notebook, pipeline=args.pipeline).pipeline
    else:
        raise UsageError("name either a notebook or a run", hint="`kale graph nb.ipynb`, or `kale graph --run latest`")
    svg = args.format == "svg" or (args.format is None and args.output is not None and args.output.suffix == ".svg")
    if svg:
        from kale_nb.graph.svg import draw_svg

        text = draw_svg(pipeline, states, notes)
    elif args.output is None:
        text = "\n".join(text_lines(pipeline, Style(sys.stdout), columns(sys.stdout), states, notes)) + "\n"
    else:
        with open(os.devnull, encoding="utf-8") as unpainted:
            text = "\n".join(text_lines(pipeline, Style(unpainted), 0, states, notes)) + "\n"
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{args.output} cannot be written: {error.strerror}") from error
    return 0


def text_lines(
    pipeline: Pipeline, style: Style, most: int, states: Mapping[StepName, State], notes: Mapping[StepName, str]
) -> list[str]:
    """Return the drawing for a terminal: rails, step, state, and the variables that the step takes; at most `most` columns (0: any)."""
    from kale_nb.graph.rails import ASCII, rows
    from kale_nb.pipeline import order

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
