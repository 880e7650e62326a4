"""`kale verify`: run a notebook both ways and compare."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kale_nb.cli import messages
from kale_nb.cli.options import add_pipeline_option, add_places, byte_count
from kale_nb.report.progress import PlainLines, Stream
from kale_nb.report.style import Style

if TYPE_CHECKING:
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
    from kale_nb.planning import RunOptions
    from kale_nb.report.verdict import verdict_lines
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
