"""`kale verify`: run a notebook both ways and compare."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kale_nb.cli import messages
from kale_nb.cli.options import add_pipeline_option, add_places, byte_count
from kale_nb.cli.progress import PlainLines, Stream
from kale_nb.cli.style import Style, plain

if TYPE_CHECKING:
    from kale_nb.verify.compare import StepVerdict
    from kale_nb.verify.verify import Verdict


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("notebook", metavar="NOTEBOOK", help="the notebook or script to verify")
    add_pipeline_option(parser)
    parser.add_argument("-p", "--param", metavar="NAME=VALUE", action="append", default=[], help="set a parameter for both ways")
    parser.add_argument("--params-file", metavar="FILE", type=Path, help="set parameters from a YAML or JSON file; -p wins")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=int, default=0, help="steps at once (0, the default: as the machine allows)"
    )
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="text for people (the default) or JSON for tools"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say only whether they differ, and where")
    add_places(parser)
    parser.add_argument(
        "--max-workspace-size",
        metavar="SIZE",
        type=byte_count,
        default=4 * 1024**3,
        help="refuse to copy a larger workspace (default 4G)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command: 0 when both ways say the same, 1 when they differ or one of them fails."""
    from kale_nb.cli.loading import load
    from kale_nb.cli.parameters import given_params
    from kale_nb.cli.signals import signals_stop
    from kale_nb.runner import RunOptions
    from kale_nb.verify.verify import verify

    compiled = load(args.notebook, pipeline=args.pipeline)
    options = RunOptions(
        params=given_params(compiled.pipeline, args.param, args.params_file),
        jobs=args.jobs,
        workspace=args.workspace,
        runs_dir=args.runs_dir,
        max_bytes=args.max_workspace_size,
    )
    talk = args.format == "text" and not args.quiet
    if talk:
        messages.diagnostics(compiled.diagnostics)
    with signals_stop():
        verdict = verify(compiled, options, (PlainLines(Stream(sys.stderr)),) if talk else ())
    if args.format == "json":
        print(json.dumps(verdict_to_json(verdict), ensure_ascii=False, indent=2))
    else:
        print("\n".join(verdict_lines(verdict, Style(sys.stdout))))
    return 0 if verdict.same else 1


def verdict_lines(verdict: Verdict, style: Style) -> list[str]:
    """Return what a comparison found, as lines."""
    from kale_nb.cli.progress import brief
    from kale_nb.cli.summary import near, show_command
    from kale_nb.verify.compare import Answer

    counts = {answer: sum(step.answer is answer for step in verdict.steps) for answer in Answer}
    total = len(verdict.steps)
    lines = [line for step in verdict.steps for line in _step_lines(step, style)]
    script = verdict.record.source.endswith(".py")
    source = "script" if script else "notebook"
    if verdict.failure is not None:
        how = "as plain Python" if script else "run from top to bottom"
        lines.append(f"the {source} itself fails, {how}: {brief(verdict.failure)}")
    lines.extend(
        f"the pipeline fails in step {step.name}{'' if step.failure is None else f': {brief(step.failure)}'}"
        for step in verdict.record.failed
    )
    if verdict.same:
        lines.append(style.paint(f"same: all {total} steps say what the {source} says", "green"))
        return lines
    told = f"{counts[Answer.SAME]} of {total} steps say what the {source} says"
    lines.append(style.paint(f"different: {told}", "red"))
    lines.append(f"the {source}, executed: {near(verdict.notebook)}")
    lines.append(f"the pipeline's run: {show_command(verdict.record)}")
    return lines


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Return what a comparison found, as an object for tools."""
    return {
        "format": 1,
        "same": verdict.same,
        "run": verdict.record.id,
        "state": verdict.record.state.value,
        "directory": str(verdict.record.directory),
        "notebook": str(verdict.notebook),
        "notebook_failure": None
        if verdict.failure is None
        else {"message": verdict.failure.message, "cell": verdict.failure.cell},
        "steps": [
            {
                "name": step.step,
                "answer": step.answer.value,
                "cells": list(step.cells),
                "cell": step.cell,
                "diff": list(step.diff),
                "reason": step.reason,
            }
            for step in verdict.steps
        ],
    }


def _step_lines(step: StepVerdict, style: Style) -> list[str]:
    from kale_nb.verify.compare import Answer

    colors = {Answer.SAME: "green", Answer.DIFFERENT: "red", Answer.NOT_RUN: "yellow"}
    place = "" if step.cell is None or step.answer is Answer.SAME else f" in cell {step.cell}"
    reason = f": {step.reason}" if step.reason else ""
    lines = [f"{style.paint(step.answer.value, colors[step.answer])}  {step.step}{'' if step.reason else place}{reason}"]
    if step.diff:
        lines.append(style.paint("    - notebook, + pipeline", "dim"))
    for line in step.diff:
        color = {"-": "red", "+": "green"}.get(line[:1], "dim")
        lines.append(f"    {style.paint(plain(line), color)}")
    return lines
