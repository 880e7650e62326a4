"""`kale run --from RUN` and `--at SNAPSHOT`: what to run and on what, from what was kept."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.errors import UsageError

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled
    from kale_nb.planning import RunOptions
    from kale_nb.runs.store import Store


def add_repeating(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--from",
        dest="from_run",
        metavar="RUN",
        help="do a run again: on its snapshot, as it was compiled, with its parameters but for those of -p",
    )
    what.add_argument("--at", metavar="SNAPSHOT", help="take the notebook and the workspace as they are in this snapshot")
    parser.add_argument(
        "--autosnapshot",
        action="store_true",
        help="take a snapshot after each step, so that --from can begin again at any of them",
    )
    parser.add_argument("--step", metavar="STEP", help="with --from: run only this step and those that follow it")


def check_repeating(args: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if args.step is not None and args.from_run is None:
        raise UsageError("--step goes with --from RUN", hint="--until STEP runs a part of a notebook")
    if (args.notebook is None) != (args.from_run is not None):
        if args.notebook is None:
            raise UsageError(
                "there is no notebook to run", hint="`kale run NOTEBOOK`, or `kale run --from RUN` to do a run again"
            )
        raise UsageError(
            f"--from runs what the run {args.from_run} was compiled from, and {args.notebook} was given too",
            hint=f"leave the notebook out; or run it on the run's snapshot: kale run {args.notebook} --at SNAPSHOT",
        )
    for option, given in (("--pipeline", args.pipeline is not None), ("--no-snapshot", args.no_snapshot)):
        if given and args.from_run is not None:
            raise UsageError(f"{option} does not go with --from: the run is done again as it was")
    if args.at is not None and args.no_snapshot:
        raise UsageError("--no-snapshot does not go with --at")


def from_run(args: argparse.Namespace, options: RunOptions) -> tuple[Compiled, RunOptions]:
    """Return what `--from` runs; the parameters of the run are in the options, and those of -p in their place."""
    from kale_nb.cli.kept_runs import find_run
    from kale_nb.cli.parameters import given_params
    from kale_nb.results.again import again, check_overrides

    record = find_run(args.from_run, args.workspace, args.runs_dir)
    prepared = again(record, args.step)
    given = given_params(prepared.compiled.pipeline, args.param, args.params_file)
    check_overrides(prepared, given)
    return prepared.compiled, replace(
        options,
        params={**prepared.params, **given},
        until=options.until or prepared.until,
        workspace=prepared.workspace,
        runs_dir=record.directory.parent,
        cwd=prepared.cwd,
        snapshots=prepared.snapshots,
        origins=prepared.origins,
        repeats=prepared.repeats,
        reuse=prepared.reuse,
        notices=prepared.warnings,
    )


def at_snapshot(args: argparse.Namespace, options: RunOptions) -> tuple[Compiled, RunOptions]:
    """Return what `--at` runs."""
    from kale_nb.results.again import compile_at
    from kale_nb.runs.record import WORKSPACE
    from kale_nb.runs.store import snapshot_folder
    from kale_nb.volumes import SnapshotStore

    runs = _store_near(Path(args.notebook), args)
    snapshots = SnapshotStore(snapshot_folder(runs.root))
    found = compile_at(Path(args.notebook), args.at, snapshots, args.pipeline)
    return found.compiled, replace(
        options,
        workspace=found.workspace,
        runs_dir=runs.root,
        cwd=found.cwd,
        snapshots={WORKSPACE: found.snapshot},
    )


def _store_near(notebook: Path, args: argparse.Namespace) -> Store:
    """Return the runs of the workspace that a notebook is in, which need not exist any more."""
    from kale_nb.runs.store import known_store

    if args.workspace is not None or args.runs_dir is not None:
        return known_store((args.workspace or notebook.absolute().parent).expanduser().absolute(), args.runs_dir)
    for place in notebook.absolute().parents:
        store = known_store(place)
        if store.root.is_dir():
            return store
    return known_store(notebook.absolute().parent)
