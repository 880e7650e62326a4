"""`kale stop`: stop a run that goes on on a cluster."""

from __future__ import annotations

import argparse
import os
import sys

from kale_nb.cli.options import add_places
from kale_nb.report.style import Style


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default="latest", help="an id, its beginning or end, or latest (the default)"
    )
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.cli.kept_runs import find_run
    from kale_nb.engines.kfp.submission.refreshing import stop
    from kale_nb.report.summary import summary_lines
    from kale_nb.runs.record import ENDED

    record = stop(find_run(args.run, args.workspace, args.runs_dir), os.environ)
    print("\n".join(summary_lines(record, Style(sys.stdout))))
    if record.state not in ENDED:
        print(f"it was told to stop and has not ended yet: `kale show {record.id}` asks again")
    return 0
