"""`kale runs`: list runs, newest last."""

from __future__ import annotations

import argparse
import json
import sys

from kale_nb.cli.options import add_places
from kale_nb.report.style import Style, date, duration, number, table
from kale_nb.runs.record import RunRecord


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("-n", "--last", metavar="N", type=int, default=20, help="how many, newest last (default 20; 0: all)")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="text for people (the default) or JSON for tools"
    )
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.cli.kept_runs import run_store
    from kale_nb.runs.codec import record_to_json

    store = run_store(args.workspace, args.runs_dir)
    records = store.records()
    shown = records[-args.last :] if args.last > 0 else records
    if args.format == "json":
        print(json.dumps([record_to_json(record) for record in shown], ensure_ascii=False, indent=2))
        return 0
    if not shown:
        print(f"no runs in {store.root}")
        return 0
    style = Style(sys.stdout)
    print("\n".join(table([_row(record, style) for record in shown], right=(3,), indent="")))
    if len(shown) < len(records):
        print(f"and {len(records) - len(shown)} older (--last 0 lists all)")
    return 0


def _row(record: RunRecord, style: Style) -> tuple[str, ...]:
    said = [f"{step.name} failed" for step in record.failed] or [
        f"{name} {number(value)}" for metrics in record.metrics.values() for name, value in metrics.items()
    ]
    words = ", ".join(said[:3]) + (", ..." if len(said) > 3 else "")
    return record.id, date(record.started), style.state(record.state), duration(record.seconds), words
