"""`kale check`: all that the compiler finds, and the plan."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from kale_nb.cli import messages
from kale_nb.cli.options import add_pipeline_option
from kale_nb.diagnostics import Severity, has_errors
from kale_nb.errors import KaleError
from kale_nb.report.findings import counted, painted
from kale_nb.report.style import Style

if TYPE_CHECKING:
    from kale_nb.compiler import Checked


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("notebooks", metavar="NOTEBOOK", nargs="+", help="notebooks or scripts to check")
    add_pipeline_option(parser)
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="text for people (the default) or JSON for tools"
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")


def run(args: argparse.Namespace) -> int:
    """Run the command: 0 all well, 1 something found, 2 a file cannot be read at all."""
    from kale_nb.compiler import check

    code = 0
    reports: list[dict[str, Any]] = []
    for position, path in enumerate(args.notebooks):
        try:
            checked = check(path, pipeline=args.pipeline)
        except KaleError as error:
            code = 2
            if args.format == "json":
                reports.append(
                    {"path": path, "ok": False, "error": str(error), "hint": error.hint, "diagnostics": [], "plan": None}
                )
            else:
                messages.error(error)
            continue
        bad = _is_bad(checked, args.strict)
        code = max(code, int(bad))
        if args.format == "json":
            reports.append(_report(path, checked, bad))
        else:
            print("\n".join(["", *_lines(path, checked)] if position else _lines(path, checked)))
    if args.format == "json":
        print(json.dumps({"format": 1, "notebooks": reports}, ensure_ascii=False, indent=2))
    return code


def _is_bad(checked: Checked, strict: bool) -> bool:
    warned = any(d.level is Severity.WARNING for d in checked.diagnostics)
    return checked.pipeline is None or has_errors(checked.diagnostics) or (strict and warned)


def _lines(path: str, checked: Checked) -> list[str]:
    from kale_nb.cli.plan import graph_lines

    style = Style(sys.stdout)
    lines = [painted(d, style) for d in checked.diagnostics]
    pipeline = checked.pipeline
    if pipeline is not None:
        count = len(pipeline.steps)
        lines.append(f"{path}: pipeline {style.paint(pipeline.name, 'bold')}, {count} step{'s' if count != 1 else ''}")
        lines.extend(graph_lines(pipeline, style))
    lines.append(f"{path}: {counted(checked.diagnostics)}")
    return lines


def _report(path: str, checked: Checked, bad: bool) -> dict[str, Any]:
    from kale_nb.cli.findings import diagnostic_to_json, plan_to_json

    return {
        "path": path,
        "ok": not bad,
        "diagnostics": [diagnostic_to_json(d) for d in checked.diagnostics],
        "plan": None if checked.pipeline is None else plan_to_json(checked.pipeline),
    }
