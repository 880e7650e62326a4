"""`kale run --dry-run`: what a run would do, and what it would be refused for. Nothing is left on the disk, no server is asked."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from kale_nb.cli import messages
from kale_nb.cli.submission import engine_of
from kale_nb.diagnostics import CompileError
from kale_nb.errors import VolumeError
from kale_nb.report.style import Style
from kale_nb.submitting import submission_of

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled
    from kale_nb.planning import Plan, RunOptions


def dry_run(args: argparse.Namespace, compiled: Compiled, options: RunOptions, style: Style) -> int:
    """Show what would run and return the exit code. Raises what a run would raise before it begins."""
    from kale_nb.cli.plan import plan_lines, volume_lines
    from kale_nb.engines import engine
    from kale_nb.planning import plan

    planned = plan(compiled.pipeline, options)
    if args.engine == "kfp":
        return _on_cluster(args, compiled, planned, options, style)
    engine_of(args, compiled.pipeline)
    refused: tuple[VolumeError, ...] = ()
    if args.engine == "local":
        places, refused = _local_places(compiled, planned, options)
    else:
        engine(args.engine)  # there is such an engine
        places = volume_lines(compiled.pipeline, planned)
    print("\n".join(plan_lines(compiled.pipeline, planned, style, places)))
    _warn(planned, options)
    for error in refused:
        messages.error(error)
    return 1 if refused else 0


def _on_cluster(args: argparse.Namespace, compiled: Compiled, planned: Plan, options: RunOptions, style: Style) -> int:
    """Compile for the cluster and show what would be there; then raise what the run would be refused for."""
    from kale_nb.cli.plan import cluster_lines, plan_lines
    from kale_nb.engines.kfp.submission.rehearsing import refuse_unplaced, rehearse

    submission = submission_of(args, compiled.pipeline)
    pipeline = replace(compiled.pipeline, volumes=planned.volumes)
    try:
        package = rehearse(pipeline, compiled.stepbooks, planned.steps, submission, os.environ, options.snapshots)
    except CompileError as error:
        messages.error(error)
        return 1
    messages.diagnostics(package.diagnostics)
    places = cluster_lines(package.plan, submission.cloning.workspace_claim)
    print("\n".join(plan_lines(compiled.pipeline, planned, style, places, where=" on Kubeflow Pipelines")))
    _warn(planned, options)
    refuse_unplaced(package, submission, os.environ)
    return 0


def _warn(planned: Plan, options: RunOptions) -> None:
    for notice in (*planned.notices, *options.notices):
        messages.warning(notice)


def _local_places(compiled: Compiled, planned: Plan, options: RunOptions) -> tuple[list[str], tuple[VolumeError, ...]]:
    """Return the volumes of a run on this machine, what making them costs and where steps would find them; and why some cannot be made."""
    from kale_nb.cli.costs import clone_costs
    from kale_nb.cli.plan import volume_lines
    from kale_nb.engines.local.preflight import why_no_view
    from kale_nb.engines.local.seeing import no_view
    from kale_nb.engines.local.views import mount_points

    pipeline = compiled.pipeline
    places = set(mount_points(planned.volumes, pipeline.marshal_volume).values())
    reason = ""
    if places or options.isolation == "mount":  # only then it makes a difference that people can see
        reason = why_no_view(planned.workspace, places, isolation=options.isolation, live=options.live)
    if reason and options.isolation == "mount":
        raise no_view(reason)
    costs, refused = clone_costs(pipeline, planned, options)
    return volume_lines(pipeline, planned, costs, mounted=not reason), refused
