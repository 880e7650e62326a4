"""`kale gc`: remove old runs, and the snapshots that no run needs."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING

from kale_nb.cli.options import add_places, byte_count
from kale_nb.report.style import Style, date, table
from kale_nb.sizes import size

if TYPE_CHECKING:
    from kale_nb.results.keeping import Collected, Fate, Level

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = (
        "Remove runs that are over a limit, oldest first, and the snapshots that no run needs then; without a limit only the latter. "
        "Runs that are not over or are pinned stay."
    )
    parser.add_argument("--keep", metavar="N", type=count, help="keep so many runs, the newest")
    parser.add_argument("--max-size", metavar="SIZE", type=byte_count, help="keep at most so much, the newest run in any case")
    parser.add_argument("--older-than", metavar="AGE", type=age, help="remove runs older than this, such as 30d, 12h or 2w")
    parser.add_argument(
        "--clones",
        action="store_true",
        help="of such runs remove only the copies of the workspace and the values between steps; all else of them stays",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only tell what would go, and what each run takes")
    parser.add_argument("--json", action="store_true", help="JSON for tools")
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.cli.kept_runs import run_store
    from kale_nb.results.keeping import Limits, collect

    store = run_store(args.workspace, args.runs_dir)
    limits = Limits(keep=args.keep, max_size=args.max_size, older_than=args.older_than)
    level: Level = "clones" if args.clones else "runs"
    done = collect(store, limits, level=level, why=_command(args), dry_run=args.dry_run)
    if args.json:
        print(json.dumps(_to_json(done, level), indent=2))
    else:
        print("\n".join(_lines(done, level, Style(sys.stdout), dry_run=args.dry_run)))
    return 1 if any(fate.why.startswith("cannot be removed") for fate in done.fates) else 0


def age(text: str) -> float:
    """Read an age such as `30d`, `12h` or `90m`, in seconds; a bare number is of days.

    >>> age("2d"), age("1w"), age("1.5h")
    (172800.0, 604800.0, 5400.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age; write for example 30d or 12h")
    return float(match[1]) * _UNITS[match[2].lower() or "d"]


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs")
    return int(text)


def _command(args: argparse.Namespace) -> str:
    words = ["kale gc"]
    words += [f"--keep {args.keep}"] if args.keep is not None else []
    words += [f"--max-size {size(args.max_size)}"] if args.max_size is not None else []
    words += [f"--older-than {args.older_than / 86400:g}d"] if args.older_than is not None else []
    return " ".join([*words, *(["--clones"] if args.clones else [])])


def _lines(done: Collected, level: Level, style: Style, *, dry_run: bool) -> list[str]:
    shown = done.fates if dry_run else [f for f in done.fates if f.goes or f.why]
    rows = [_row(fate, level, style, dry_run=dry_run) for fate in shown]
    if rows and dry_run:
        heads = ("run", "began", "clones", "values", "rest", "snapshots", "")
        lines = table([heads, *rows], right=(2, 3, 4, 5), indent="")
    else:
        lines = table(rows, indent="")
    parts = [_counted(len(done.removed), "run" if level == "runs" else "clone")]
    parts.append(_counted(len(done.freed.snapshots), "snapshot"))
    verb = "would remove" if dry_run else "removed"
    lines.append(f"{verb} {' and '.join(parts)}: {size(done.bytes(level))}")
    return lines


def _row(fate: Fate, level: Level, style: Style, *, dry_run: bool) -> tuple[str, ...]:
    weight = fate.weight
    said = ""
    if fate.goes:
        what = "" if level == "runs" else "its clones "
        said = style.paint(f"{what}{'would go' if dry_run else 'went'}: {fate.why}", "red")
    elif fate.why:
        said = f"stays: {fate.why}"
    if not dry_run:
        return weight.record.id, date(weight.record.started), said
    sizes = [size(b) for b in (weight.clones, weight.values, weight.rest, weight.snapshots)]
    return (weight.record.id, date(weight.record.started), *sizes, said)


def _to_json(done: Collected, level: Level) -> dict[str, object]:
    return {
        "runs": [
            {
                "run": f.weight.record.id,
                "clones": f.weight.clones,
                "values": f.weight.values,
                "rest": f.weight.rest,
                "snapshots": f.weight.snapshots,
                "removed": f.goes,
                "why": f.why,
            }
            for f in done.fates
        ],
        "snapshots": list(done.freed.snapshots),
        "bytes": done.bytes(level),
    }


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
