"""`kale show`: a run, or one step of it: outputs, log, failure."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from kale_nb.cli.options import add_places
from kale_nb.errors import UsageError
from kale_nb.report.style import Style, date, duration, number, plain, short, table
from kale_nb.runs.record import RunRecord, StepRecord


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default="latest", help="an id, its beginning or end, or latest (the default)"
    )
    parser.add_argument("step", metavar="STEP", nargs="?", help="show this step with its outputs")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="text for people (the default) or JSON for tools"
    )
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.cli.kept_runs import find_run
    from kale_nb.runs.codec import record_to_json

    record = refreshed(find_run(args.run, args.workspace, args.runs_dir))
    style = Style(sys.stdout)
    if args.format == "json":
        value = record_to_json(record)
        if args.step is not None:
            value = next(step for step in value["steps"] if step["name"] == _step(record, args.step).name)
        print(json.dumps(value, ensure_ascii=False, indent=2))
    elif args.step is None:
        print("\n".join(run_lines(record, style)))
    else:
        print("\n".join(step_lines(record, _step(record, args.step), style)))
    return 0


def refreshed(record: RunRecord) -> RunRecord:
    """Return the record of a run that goes on elsewhere as it is now; when nobody says, as it was, with a warning."""
    if not record.remote:
        return record
    import os

    from kale_nb.cli import messages
    from kale_nb.engines.kfp.submission.refreshing import may_go_on, refresh
    from kale_nb.errors import KaleError

    if not may_go_on(record):
        return record
    try:
        return refresh(record, os.environ)
    except KaleError as error:
        messages.warning(f"this is what was known last, for the server does not say more: {error.message}")
        return record


def run_lines(record: RunRecord, style: Style) -> list[str]:
    """Return a run as lines."""
    from kale_nb.report.summary import failure_lines, summary_lines

    facts = [("run", record.id), ("started", date(record.started))]
    if record.source:
        facts.append(("notebook", record.source))
    facts.extend((f"parameter {name}", plain(value)) for name, value in record.params.items())
    if record.until:
        facts.append(("until", ", ".join(record.until)))
    facts.extend(_origin(record))
    lines = [*table(facts, indent=""), *summary_lines(record, style)]
    if record.failed:
        lines.extend(failure_lines(record, style))
    return lines


def _origin(record: RunRecord) -> list[tuple[str, str]]:
    """Return what the run came from: the run that it repeats, snapshots, git state, environment."""
    from kale_nb.results.weighing import PINNED
    from kale_nb.runs.environment import read_surroundings

    facts: list[tuple[str, str]] = [("repeats", record.repeats)] if record.repeats is not None else []
    facts.extend(("snapshot", f"{short(snapshot)}  {volume}") for volume, snapshot in record.snapshots.items())
    taken = [(key.partition(" ")[2], name) for key, name in record.remote.items() if key.startswith("snapshot ")]
    facts.extend(("snapshot", f"{plain(name)}  {plain(volume)}") for volume, name in taken)
    facts.extend(("reads", f"{short(told) or '-':12}  {volume}") for volume, told in record.inputs.items())
    facts.extend([("pinned", "yes")] if (record.directory / PINNED).exists() else [])
    known = read_surroundings(record.directory)
    if known is not None:
        if known.git is not None:
            facts.append(("git", plain(known.git.describe())))
        here = known.environment
        count = len(here.distributions)
        facts.append(
            (
                "python",
                f"{here.python} ({here.implementation}, {here.system} {here.machine}), {count} distributions, {record.environment[:12]}",
            )
        )
    return facts


def step_lines(record: RunRecord, step: StepRecord, style: Style) -> list[str]:
    """Return one step as lines: facts, outputs in the order of its cells, log, failure."""
    from kale_nb.cli.outputs import executed_lines
    from kale_nb.report.summary import near, step_failure_lines

    facts = [("step", f"{step.name} of {record.id}"), ("state", style.state(step.state))]
    if step.started is not None:
        facts.append(("started", date(step.started)))
    if step.seconds is not None:
        facts.append(("took", duration(step.seconds) + (f" ({duration(step.cpu)} cpu)" if step.cpu is not None else "")))
    facts.extend((f"attempt {i} failed", plain(why)) for i, why in enumerate(step.retried, 1))
    facts.extend((f"metric {name}", number(value)) for name, value in step.metrics.items())
    if step.result is not None:
        facts.append((f"result {step.result[0]}", plain(step.result[1])))
    facts.extend(("warning", plain(text)) for text in step.warnings)
    own = record.directory / "executed" / f"{step.name}.ipynb"  # the record's path is that of the day it ran, and may be no text
    executed = own if own.exists() else step.executed or own
    log = record.directory / "logs" / f"{step.name}.log"
    report = record.directory / "reports" / f"{step.name}.html"
    kept = (("executed", executed), ("report", report), ("log", log))
    facts.extend((name, near(path)) for name, path in kept if path.exists())
    lines = table(facts, indent="")
    if executed.exists():
        lines.extend(executed_lines(executed, style))
    elif log.exists():
        lines.extend(["", *plain(_read(log)).rstrip().splitlines()])
    if step.failure is not None:
        lines.extend(["", *step_failure_lines(record, step, style)])
    return lines


def _step(record: RunRecord, name: str) -> StepRecord:
    try:
        return record.step(name)
    except KeyError:
        names = ", ".join(step.name for step in record.steps)
        raise UsageError(f"the run {record.id} has no step {name!r}", hint=f"its steps are {names}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"({path} cannot be read: {error.strerror})"
