"""`kale run`: run a notebook, or what `kale compile` wrote, as a pipeline."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.cli import messages
from kale_nb.cli.options import add_places, add_script_options, byte_count
from kale_nb.cli.progress import JsonLines, PlainLines, Stream
from kale_nb.cli.signals import signals_stop
from kale_nb.cli.style import Style
from kale_nb.diagnostics import CompileError, Diagnostic
from kale_nb.errors import UsageError

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled
    from kale_nb.runner import RunOptions
    from kale_nb.runs.events import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("notebook", metavar="NOTEBOOK", help="a notebook, a script, or a folder that `kale compile` wrote")
    parser.add_argument(
        "-p", "--param", metavar="NAME=VALUE", action="append", default=[], help="set a parameter (any number; see --help-params)"
    )
    parser.add_argument("--params-file", metavar="FILE", type=Path, help="set parameters from a YAML or JSON file; -p wins")
    parser.add_argument("--help-params", action="store_true", help="list the notebook's parameters and stop")
    parser.add_argument("--dry-run", action="store_true", help="show what would run and stop")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=int, default=0, help="steps at once (0, the default: as the machine allows)"
    )
    parser.add_argument(
        "--until", metavar="STEP", action="append", default=[], help="run this step and what it needs (any number)"
    )
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--fail-fast", action="store_true", help="stop running steps as soon as one fails")
    ending.add_argument(
        "--keep-going", action="store_true", help="let branches that do not depend on a failed step finish (the default)"
    )
    parser.add_argument("--output-dir", metavar="DIR", type=Path, help="also put the executed notebooks here, as STEP.ipynb")
    add_places(parser)
    add_script_options(parser)
    parser.add_argument(
        "--max-workspace-size",
        metavar="SIZE",
        type=byte_count,
        default=4 * 1024**3,
        help="refuse to copy a larger workspace (default 4G)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--engine", metavar="NAME", default="local", help="what runs the steps (default local)")
    where.add_argument("--kfp", dest="engine", action="store_const", const="kfp", help="run on Kubeflow Pipelines: --engine kfp")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    shown.add_argument("--json-events", action="store_true", help="write one JSON object per event to stdout")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb import runner
    from kale_nb.cli.loading import load
    from kale_nb.cli.parameters import describe_params, given_params

    out = Stream(sys.stdout)
    try:
        compiled = load(args.notebook, pipeline=args.pipeline, carry=args.no_snapshot)
    except CompileError as error:
        if args.json_events:
            _json_diagnostics(out, error.diagnostics)
        raise
    if args.help_params:
        print("\n".join(describe_params(compiled.pipeline)))
        return 0
    options = runner.RunOptions(
        params=given_params(compiled.pipeline, args.param, args.params_file),
        until=tuple(args.until),
        jobs=args.jobs,
        fail_fast=args.fail_fast,
        output_dir=args.output_dir,
        workspace=args.workspace,
        runs_dir=args.runs_dir,
        empty=args.no_snapshot,
        max_bytes=args.max_workspace_size,
        engine=args.engine,
    )
    if args.output_dir is not None and args.output_dir.exists() and not args.output_dir.is_dir():
        raise UsageError(f"--output-dir {args.output_dir} is a file")
    if args.dry_run:
        from kale_nb.cli.plan import plan_lines

        print("\n".join(plan_lines(compiled.pipeline, runner.plan(compiled.pipeline, options), out.style)))
        return 0
    runner.plan(compiled.pipeline, options)
    if args.json_events:
        _json_diagnostics(out, compiled.diagnostics)
    elif not args.quiet:
        messages.diagnostics(compiled.diagnostics)
    return _run(args, compiled, options, out)


def _run(args: argparse.Namespace, compiled: Compiled, options: RunOptions, out: Stream) -> int:
    from kale_nb import runner
    from kale_nb.cli.summary import failure_lines, summary_lines
    from kale_nb.runs.events import State

    with signals_stop() as caught, _display(args, compiled, out) as observers:
        record = runner.run(compiled, options, observers)
    if not args.quiet and not args.json_events:
        out.write("\n".join(summary_lines(record, out.style)))
    if record.state is State.FAILED or record.failed:
        for line in failure_lines(record, Style(sys.stderr)):
            messages.say(line)
    match record.state:
        case State.SUCCEEDED:
            return 0
        case State.CANCELLED:
            return messages.stopped(messages.Stopped(caught.first() or signal.SIGINT))
        case _:
            return 1


@contextmanager
def _display(args: argparse.Namespace, compiled: Compiled, out: Stream) -> Iterator[Sequence[Observer]]:
    if args.json_events:
        yield (JsonLines(out),)
    elif args.quiet:
        yield ()
    elif out.is_terminal:
        from kale_nb.cli.live import live_display

        with live_display(compiled.pipeline, sys.stdout) as observer:
            yield (observer,)
    else:
        yield (PlainLines(out),)


def _json_diagnostics(out: Stream, diagnostics: Sequence[Diagnostic]) -> None:
    from kale_nb.cli.findings import diagnostic_to_json

    for diagnostic in diagnostics:
        out.write(json.dumps({"event": "diagnostic", **diagnostic_to_json(diagnostic)}, ensure_ascii=False))
