"""`kale diff`: how two runs differ."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from kale_nb.cli.options import add_places
from kale_nb.report.style import Style, clip, plain, table

if TYPE_CHECKING:
    from kale_nb.results.comparing import CodeChange, Comparison, Pair
    from kale_nb.results.facts import Fact
    from kale_nb.volumes import Changes

_MOST = 20
"""Files, variables and lines of code of one kind that are listed; `--json` and `--all` have all."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("a", metavar="RUN1", help="an id, its beginning or end, or latest")
    parser.add_argument("b", metavar="RUN2", nargs="?", default="latest", help="the other (default: latest)")
    parser.add_argument("--all", action="store_true", help="list all, however much it is")
    parser.add_argument("--json", action="store_true", help="JSON for tools")
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 when nothing differs, 1 when something does."""
    from kale_nb.cli.kept_runs import find_run
    from kale_nb.results.comparing import compare

    found = compare(find_run(args.a, args.workspace, args.runs_dir), find_run(args.b, args.workspace, args.runs_dir))
    if args.json:
        print(json.dumps(comparison_to_json(found), indent=2))
    else:
        print("\n".join(comparison_lines(found, Style(sys.stdout), 10**9 if args.all else _MOST)))
    return 0 if found.same else 1


def comparison_to_json(found: Comparison) -> dict[str, object]:
    """Return a comparison as a JSON object."""
    return {
        "runs": [found.a.id, found.b.id],
        "same": found.same,
        "code": [asdict(change) for change in found.code],
        "params": found.params,
        "environment": None if found.environment is None else asdict(found.environment),
        "git": None if found.git is None else [None if state is None else asdict(state) for state in found.git],
        "snapshots": {name: asdict(changes) for name, changes in found.volumes.items()},
        "inputs": found.inputs,
        "files": {name: asdict(changes) for name, changes in found.files.items()},
        "variables": [asdict(change) for change in found.variables],
        "metrics": found.metrics,
        "states": found.states,
        "unknown": found.unknown,
    }


def comparison_lines(found: Comparison, style: Style, most: int = _MOST) -> list[str]:
    """Return a comparison as lines; a section for each kind of difference that there is."""
    lines = [f"{style.paint('-', 'red')} {found.a.id}", f"{style.paint('+', 'green')} {found.b.id}"]
    if found.code:
        lines += ["", style.paint("code", "bold"), *_cut([line for c in found.code for line in _code(c, style)], most * 3)]
    lines += _section("parameters", found.params, style, most)
    if found.environment:
        lines += ["", style.paint("environment", "bold"), *(f"  {plain(line)}" for line in found.environment.sentences(most))]
    if found.git is not None:
        told = [plain(state.describe()) if state is not None else "no repository" for state in found.git]
        lines += ["", style.paint("git", "bold"), f"  {told[0]} -> {told[1]}"]
    lines += _section("what they only read (by names, sizes and times)", _shortened(found.inputs), style, most)
    for title, volumes in (("what they ran on", found.volumes), ("what they left", found.files)):
        for name, changes in volumes.items():
            lines += ["", style.paint(f"{title}: {name}", "bold"), *_cut(_changes(changes, style), most)]
    if found.variables:
        rows = [
            (
                f"{v.step}.{v.name}",
                _fact(v.before),
                "->",
                _fact(v.after),
                "" if v.content == "unknown" else f"content {v.content}",
            )
            if v.before is not None and v.after is not None
            else (f"{v.step}.{v.name}", _fact(v.before), "->", _fact(v.after), "")
            for v in found.variables
        ]
        lines += ["", style.paint("variables", "bold"), *_cut(table(rows), most)]
    lines += _section("metrics", found.metrics, style, most)
    lines += _section("steps", found.states, style, most)
    if found.same:
        lines += ["", "no difference"]
    if found.unknown:
        lines += ["", style.paint("not compared", "bold"), *(f"  {plain(line)}" for line in found.unknown)]
    return lines


def _shortened(pairs: Mapping[str, Pair]) -> dict[str, Pair]:
    return {name: (old and old[:12], new and new[:12]) for name, (old, new) in pairs.items()}


def _section(title: str, pairs: Mapping[str, Pair], style: Style, most: int) -> list[str]:
    if not pairs:
        return []
    rows = [(plain(name), _short(old), "->", _short(new)) for name, (old, new) in pairs.items()]
    return ["", style.paint(title, "bold"), *_cut(table(rows), most)]


def _code(change: CodeChange, style: Style) -> list[str]:
    old, new = change.cells
    where = f"cell {old}" if old == new else f"cell {old} -> {new}" if old and new else f"cell {old or new}"
    what = "changed" if old is not None and new is not None else "added" if old is None else "removed"
    colors = {"-": "red", "+": "green"}
    head = f"  {change.step or 'every step'}, {where}: {what}" if old or new else f"  {plain(change.step)}"
    return [head, *(f"    {style.paint(plain(line), *filter(None, [colors.get(line[:1])]))}" for line in change.lines)]


def _changes(changes: Changes, style: Style) -> list[str]:
    from kale_nb.volumes.scan import printable

    lines = []
    for sign, color, paths in (("+", "green", changes.created), ("~", "yellow", changes.changed), ("-", "red", changes.deleted)):
        lines += [f"  {style.paint(sign, color)} {printable(path)}" for path in paths]
    return lines


def _fact(fact: Fact | None) -> str:
    return "-" if fact is None else clip(plain(fact.describe()), 50)


def _short(value: str | None) -> str:
    return "-" if value is None else clip(" ".join(plain(value).split()), 60)


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"  ... {len(lines) - most} more (--all)"]
