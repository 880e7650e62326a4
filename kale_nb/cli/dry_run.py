"""`kale run --dry-run`: what a run would do, and what it would be refused for. Nothing is left on the disk, no server is asked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kale_nb.cli import messages
from kale_nb.cli.submission import engine_of
from kale_nb.report.style import Style

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled
    from kale_nb.planning import Plan, RunOptions


def dry_run(args: argparse.Namespace, compiled: Compiled, options: RunOptions, style: Style) -> int:
    """Show what would run and return the exit code. Raises what a run would raise before it begins."""
    from kale_nb.cli.plan import plan_lines, volume_lines
    from kale_nb.engines import engine
    from kale_nb.planning import plan

    planned = plan(compiled.pipeline, options)
    engine_of(args, compiled.pipeline)
    if args.engine == "local":
        places = _local_places(compiled, planned, options)
    else:
        engine(args.engine)  # there is such an engine
        places = volume_lines(compiled.pipeline, planned)
    print("\n".join(plan_lines(compiled.pipeline, planned, style, places)))
    for notice in options.notices:
        messages.warning(notice)
    return 0


def _local_places(compiled: Compiled, planned: Plan, options: RunOptions) -> list[str]:
    """Return the volumes of a run on this machine, with what making them costs and where steps would find them."""
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
    return volume_lines(pipeline, planned, clone_costs(pipeline, planned, options), mounted=not reason)
