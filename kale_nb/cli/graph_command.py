"""`kale graph`: draw the steps of a notebook, or of a run with its states."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kale_nb.cli.options import add_pipeline_option, add_places
from kale_nb.errors import UsageError
from kale_nb.names import StepName
from kale_nb.pipeline.volumes import creations, with_creations
from kale_nb.report.style import Style, columns, duration
from kale_nb.runs.events import State
from kale_nb.runs.record import RunRecord

_SUFFIXES = {".svg": "svg", ".txt": "text", "": "text"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "notebook", metavar="NOTEBOOK", nargs="?", help="a notebook, a script, or a folder that `kale compile` wrote"
    )
    add_pipeline_option(parser)
    parser.add_argument(
        "--run", metavar="RUN", help="draw this run (an id, its beginning, or latest) with the states of its steps"
    )
    parser.add_argument(
        "--volumes",
        action="store_true",
        help="draw the making of the volumes too (as it is when the pipeline has others than its workspace)",
    )
    parser.add_argument("--format", choices=("text", "svg"), help="text (the default) or svg (when -o ends in .svg)")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="the file to write, .svg or .txt; standard output without it"
    )
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    svg = _format(args) == "svg"
    record: RunRecord | None = None
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
    if args.volumes or pipeline.volumes or pipeline.marshal_volume.enabled:
        made = creations(pipeline.volumes, pipeline.marshal_volume)
        pipeline = with_creations(pipeline, made)
        for volume in record.volumes if record is not None else ():
            states[StepName(volume.step)] = State.SUCCEEDED
            notes[StepName(volume.step)] = duration(volume.seconds)
    from kale_nb.report.drawing import text_lines

    if svg:
        from kale_nb.graph.svg import draw_svg

        text = draw_svg(pipeline, states, notes)
    elif args.output is None:
        text = "\n".join(text_lines(pipeline, Style(sys.stdout), columns(sys.stdout), states, notes)) + "\n"
    else:
        text = "\n".join(text_lines(pipeline, Style(None), 0, states, notes)) + "\n"
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{args.output} cannot be written: {error.strerror}") from error
    return 0


def _format(args: argparse.Namespace) -> str:
    """Return what is to be written. UsageError for a file whose name promises something else."""
    if args.format is not None or args.output is None:
        return str(args.format or "text")
    suffix = args.output.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(
            f"{args.output} cannot be drawn: {suffix} is no format that there is",
            hint="name a file that ends in .svg or .txt, or say --format svg or --format text",
        )
    return _SUFFIXES[suffix]
