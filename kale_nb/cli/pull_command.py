"""`kale pull`: copy what a run made into the workspace."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.cli.options import add_places
from kale_nb.errors import UsageError
from kale_nb.report.style import Style, table
from kale_nb.sizes import size

if TYPE_CHECKING:
    from kale_nb.results.pull import Pulled

SIGN = {"copied": "+", "replaced": "~", "deleted": "-", "same": "=", "refused": "!", "failed": "!"}
COLOR = {"copied": "green", "replaced": "yellow", "deleted": "red", "same": "dim", "refused": "red", "failed": "red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("run", metavar="RUN", help="an id, its beginning or end, or latest")
    parser.add_argument(
        "patterns",
        metavar="PATH",
        nargs="*",
        help="files, folders and shell patterns (quote them), VOLUME:PATH for those of a data volume; default: all of the workspace",
    )
    parser.add_argument("--to", metavar="DIR", type=Path, help="copy into this folder instead of the workspace")
    parser.add_argument(
        "-f", "--force", action="store_true", help="also over what you changed, added or removed since the run began"
    )
    parser.add_argument("--delete", action="store_true", help="remove what the run deleted, too")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only tell what would be done")
    parser.add_argument("--json", action="store_true", help="JSON for tools")
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.cli.files_command import file_to_json
    from kale_nb.cli.kept_runs import find_run
    from kale_nb.results.pull import pull

    try:
        record = find_run(args.run, args.workspace, args.runs_dir)
    except UsageError as error:
        if args.patterns or not re.search(r"[/*?.]", args.run):
            raise
        raise UsageError(error.message, hint=f"name the run first: kale pull latest {shlex.quote(args.run)}") from None
    to = None if args.to is None else args.to.expanduser().absolute()
    done = pull(record, args.patterns, to=to, force=args.force, delete=args.delete, dry_run=args.dry_run)
    if args.json:
        told = [{**file_to_json(p.file), "action": p.action, "reason": p.reason, "forced": p.forced} for p in done]
        print(json.dumps(told, indent=2))
    else:
        print("\n".join(pulled_lines(done, Style(sys.stdout), dry_run=args.dry_run)))
    return 1 if any(p.action in ("refused", "failed") for p in done) else 0


def pulled_lines(done: Sequence[Pulled], style: Style, *, dry_run: bool = False) -> list[str]:
    """Return what became of the files as a table, and what can be done about those that were refused."""
    from kale_nb.volumes.scan import printable

    rows = []
    for p in done:
        why = printable(p.reason) or ("given up what was there" if p.forced and p.action != "deleted" else "")
        shown = "" if p.file.size is None else size(p.file.size)
        rows.append((style.paint(f"{SIGN[p.action]} {p.action}", COLOR[p.action]), printable(p.file.name), shown, why))
    lines = table(rows, right=(2,), indent="")
    moved = [p for p in done if p.action in ("copied", "replaced", "deleted")]
    refused = sum(p.action in ("refused", "failed") for p in done)
    head = "would be pulled" if dry_run else "pulled"
    lines.append(f"{len(moved)} {head}, {size(sum(p.file.size or 0 for p in moved))}{f'; {refused} not' if refused else ''}")
    if any(p.action == "refused" and "since the run began" in p.reason or "was not when the run" in p.reason for p in done):
        lines.append("hint: --force takes the run's version all the same, --to DIR puts it elsewhere")
    return lines
