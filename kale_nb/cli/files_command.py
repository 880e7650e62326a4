"""`kale files`: what a run created, changed and deleted."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from kale_nb.cli.options import add_places
from kale_nb.report.style import Style, table
from kale_nb.results.files import RunFile
from kale_nb.runs.record import RunRecord
from kale_nb.sizes import size

SIGN = {"created": "+", "changed": "~", "deleted": "-"}
COLOR = {"created": "green", "changed": "yellow", "deleted": "red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default="latest", help="an id, its beginning or end, or latest (the default)"
    )
    parser.add_argument("--step", metavar="STEP", help="only what this step did")
    parser.add_argument("--json", action="store_true", help="JSON for tools")
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.cli.kept_runs import find_run
    from kale_nb.results.files import run_files, step_files

    record = find_run(args.run, args.workspace, args.runs_dir)
    files = run_files(record) if args.step is None else step_files(record, args.step)
    if args.json:
        print(json.dumps([file_to_json(file) for file in files], indent=2))
    else:
        print("\n".join(files_lines(record, files, Style(sys.stdout))))
    return 0


def file_to_json(file: RunFile) -> dict[str, object]:
    """Return a file as a JSON object; bytes of names that are no text are escaped as JSON escapes lone surrogates."""
    told: dict[str, object] = {"name": file.name, "path": file.path, "volume": file.volume, "what": file.what, "size": file.size}
    return {**told, "steps": list(file.steps), "uncertain": list(file.uncertain)}


def files_lines(record: RunRecord, files: Sequence[RunFile], style: Style) -> list[str]:
    """Return the files as a table with its sums."""
    from kale_nb.volumes.scan import printable

    if not files:
        return [f"the run {record.id} changed no files"]
    rows = []
    for file in files:
        who = ", ".join(file.steps)
        if file.uncertain:
            who = f"{' or '.join(file.uncertain)}, which ran at the same time"
        shown = "" if file.size is None else size(file.size)
        rows.append((style.paint(f"{SIGN[file.what]} {file.what}", COLOR[file.what]), printable(file.name), shown, who))
    counts = [(what, sum(f.what == what for f in files)) for what in SIGN]
    total = sum(file.size or 0 for file in files)
    summed = ", ".join(f"{count} {what}" for what, count in counts if count)
    return [*table(rows, right=(2,), indent=""), f"{summed}: {size(total)}"]
