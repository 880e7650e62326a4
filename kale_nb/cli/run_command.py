"""`kale run`: run a notebook, or what `kale compile` wrote, as a pipeline."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.cli import messages
from kale_nb.cli.options import add_places, add_script_options, byte_count
from kale_nb.cli.repeating import add_repeating, at_snapshot, check_repeating, from_run
from kale_nb.cli.signals import signals_stop
from kale_nb.cli.submission import add_submission_options, carries_code, engine_of, folder_of
from kale_nb.cli.volume_options import add_volume_options, with_volume_options
from kale_nb.diagnostics import CompileError, Diagnostic
from kale_nb.errors import KaleError, UsageError
from kale_nb.report.progress import JsonLines, PlainLines, Stream
from kale_nb.report.style import Style

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled
    from kale_nb.engines.protocol import Engine
    from kale_nb.planning import RunOptions
    from kale_nb.runs.events import Observer
    from kale_nb.runs.record import RunRecord


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "notebook", metavar="NOTEBOOK", nargs="?", help="a notebook, a script, or a folder that `kale compile` wrote"
    )
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
    add_repeating(parser)
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--fail-fast", action="store_true", help="stop running steps as soon as one fails")
    ending.add_argument(
        "--keep-going", action="store_true", help="let branches that do not depend on a failed step finish (the default)"
    )
    parser.add_argument("--output-dir", metavar="DIR", type=Path, help="also put the executed notebooks here, as STEP.ipynb")
    parser.add_argument(
        "--pull",
        metavar="PATH",
        action="append",
        default=[],
        help="then copy these files into the workspace, as `kale pull` does",
    )
    add_places(parser)
    add_script_options(parser)
    add_volume_options(parser)
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
    add_submission_options(parser)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    shown.add_argument("--json-events", action="store_true", help="write one JSON object per event to stdout")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb import planning
    from kale_nb.cli.loading import load
    from kale_nb.cli.parameters import describe_params, given_params

    out = Stream(sys.stdout)
    check_repeating(args)
    options = _asked(args)
    try:
        if args.from_run is not None:
            compiled, options = from_run(args, options)
        elif args.at is not None:
            compiled, options = at_snapshot(args, options)
        else:
            compiled = load(args.notebook, pipeline=args.pipeline, carry=carries_code(args, os.environ))
    except CompileError as error:
        if args.json_events:
            _json_diagnostics(out, error.diagnostics)
        raise
    if args.help_params:
        print("\n".join(describe_params(compiled.pipeline)))
        return 0
    if args.autosnapshot:
        compiled = replace(compiled, pipeline=replace(compiled.pipeline, autosnapshot=True))
    if args.engine == "kfp" and options.workspace is None:
        options = replace(options, workspace=folder_of(compiled.pipeline))
    params = {**options.params, **given_params(compiled.pipeline, args.param, args.params_file)}
    options = with_volume_options(replace(options, params=params), args, compiled.pipeline)
    if args.output_dir is not None and args.output_dir.exists() and not args.output_dir.is_dir():
        raise UsageError(f"--output-dir {args.output_dir} is a file")
    if args.dry_run:
        from kale_nb.cli.dry_run import dry_run

        return dry_run(args, compiled, options, out.style)
    planning.plan(compiled.pipeline, options)
    engine = engine_of(args, compiled.pipeline)
    if args.json_events:
        _json_diagnostics(out, compiled.diagnostics)
    elif not args.quiet:
        messages.diagnostics(compiled.diagnostics)
    return _run(args, compiled, options, out, engine)


def _asked(args: argparse.Namespace) -> RunOptions:
    from kale_nb.planning import RunOptions

    return RunOptions(
        until=tuple(args.until),
        jobs=args.jobs,
        fail_fast=args.fail_fast,
        output_dir=args.output_dir,
        workspace=args.workspace,
        runs_dir=args.runs_dir,
        max_bytes=args.max_workspace_size,
        engine=args.engine,
    )


def _run(args: argparse.Namespace, compiled: Compiled, options: RunOptions, out: Stream, engine: Engine | None) -> int:
    from kale_nb import runner
    from kale_nb.report.summary import failure_lines, summary_lines, tidied_line
    from kale_nb.runs.events import Event, OldClonesRemoved, RunStarted, RunSubmitted, State

    tidied: list[str] = []
    submitted: list[tuple[str, str]] = []
    run_id = ""

    def observe(event: Event) -> None:
        nonlocal run_id
        if isinstance(event, OldClonesRemoved):
            tidied.append(tidied_line(event))
        elif isinstance(event, RunStarted):
            run_id = event.run
        elif isinstance(event, RunSubmitted):
            submitted.append((run_id, event.remote.get("run", "")))
            if out.is_terminal and not args.quiet and not args.json_events:
                print(f"run: {submitted[-1][1]}")

    with signals_stop() as caught, _display(args, compiled, out) as observers:
        try:
            record = runner.run(compiled, options, (*observers, observe), engine=engine)
        except KeyboardInterrupt:
            if submitted:
                _say_left(submitted[-1])
            raise
    if not args.quiet and not args.json_events:
        out.write("\n".join([*summary_lines(record, out.style), *tidied]))
    if record.state is State.FAILED or record.failed:
        for line in failure_lines(record, Style(sys.stderr)):
            messages.say(line)
    match record.state:
        case State.RUNNING if record.left:
            if not args.quiet and not args.json_events:
                out.write(f"it goes on: `kale show {record.id}` asks how it goes, `kale stop {record.id}` stops it")
            return 0
        case State.SUCCEEDED:
            return _pull(args, record, out) if args.pull else 0
        case State.CANCELLED:
            return messages.stopped(messages.Stopped(caught.first() or signal.SIGINT))
        case _:
            return 1


def _say_left(submitted: tuple[str, str]) -> None:
    run, link = submitted
    messages.say(f"the run goes on on the cluster: {link}")
    messages.say(f"  hint: `kale show {run}` asks how it goes, `kale stop {run}` stops it")


def _pull(args: argparse.Namespace, record: RunRecord, out: Stream) -> int:
    """Copy what `--pull` names out of the run; what cannot be copied does not undo the run, and is told."""
    from kale_nb.cli.files_command import file_to_json
    from kale_nb.cli.pull_command import pulled_lines
    from kale_nb.results.pull import pull

    try:
        done = pull(record, args.pull)
    except KaleError as error:
        messages.error(error)
        return 1
    missed = [p for p in done if p.action in ("refused", "failed")]
    if args.json_events:
        for p in done:
            told = {**file_to_json(p.file), "action": p.action, "reason": p.reason}
            out.write(json.dumps({"event": "file-pulled", "time": time.time(), **told}))
    elif not args.quiet or missed:
        out.write("\n".join(pulled_lines(missed if args.quiet else done, out.style)))
    return 1 if missed else 0


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
