"""What a run came to, as lines: the summary at its end, and why it failed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from kale_nb.location import Location
from kale_nb.report.progress import volume_text
from kale_nb.report.style import Style, clip, duration, number, plain, table
from kale_nb.results.gone import CLONE, how_it_went
from kale_nb.runs.events import OldClonesRemoved, State
from kale_nb.runs.record import RunRecord, StepRecord
from kale_nb.sizes import size


def summary_lines(record: RunRecord, style: Style) -> list[str]:
    """Return the summary of a run: steps, metrics, results, warnings, places."""
    after = f" after {duration(record.seconds)}" if record.state is not State.SUCCEEDED else f" in {duration(record.seconds)}"
    lines = [f"{style.paint(record.pipeline, 'bold')} {style.state(record.state)}{after if record.seconds is not None else ''}"]
    if record.error:
        lines.append(f"  {plain(record.error)}")
    lines.extend(step_lines(record, style))
    lines.extend(_section("metrics", [(s.name, n, number(v)) for s in record.steps for n, v in s.metrics.items()], right=(2,)))
    results = [(s.name, s.result[0], _one_line(s.result[1])) for s in record.steps if s.result is not None]
    lines.extend(_section("results", results))
    warnings = [("", _one_line(w, 400)) for w in record.warnings]
    warnings.extend((s.name, _one_line(w, 400)) for s in record.steps for w in s.warnings)
    lines.extend(_section(style.paint("warnings", "yellow"), warnings))
    lines.extend(place_lines(record))
    return lines


def step_lines(record: RunRecord, style: Style) -> list[str]:
    """Return the steps as a table."""
    rows = []
    for volume in record.volumes if len(record.volumes) > 1 else ():
        sign, state = style.sign(State.SUCCEEDED), style.state(State.SUCCEEDED)
        rows.append((f"{sign} {volume.step}", state, duration(volume.seconds), "", volume_text(volume)))
    for step in record.steps:
        tries = f"{step.attempt} attempts" if step.attempt > 1 else ""
        cpu = f"{duration(step.cpu)} cpu" if step.cpu is not None else ""
        took = duration(step.seconds) if step.attempt else ""
        if step.reused is not None:
            took, cpu, tries = "", "", f"taken from {step.reused}"
        rows.append((f"{style.sign(step.state)} {step.name}", style.state(step.state), took, cpu, tries))
    return table(rows, right=(2, 3))


def place_lines(record: RunRecord) -> list[str]:
    """Return where a run's things are."""
    rows = [("record", near(record.directory))]
    rows += [(f"{word} on the cluster", plain(record.remote[word])) for word in ("run", "experiment") if word in record.remote]
    reports = record.directory / "reports"
    if record.remote and reports.is_dir():
        rows.append(("reports", near(reports)))
    if any(step.executed is not None for step in record.steps):
        rows.append(("executed notebooks", near(record.output_dir or record.directory / "executed")))
    if record.clone is not None:
        clone = record.directory / record.clone.name  # the record's own path is that of the day it ran, and may be no text
        gone = how_it_went(record.directory, CLONE) if not clone.exists() else ""
        rows.append(("files it wrote", gone or near(clone)))
    return table(rows, indent="")


def tidied_line(event: OldClonesRemoved) -> str:
    """Return what the collection after a run removed, and how to have it otherwise."""
    parts = [
        f"{count} {name}{'s' if count != 1 else ''}"
        for count, name in ((len(event.runs), "clone"), (event.snapshots, "snapshot"))
        if count
    ]
    return f"tidied up: {' and '.join(parts)} of older runs removed, {size(event.bytes)}; their records stay (KALE_GC=0 switches this off)"


def failure_lines(record: RunRecord, style: Style) -> list[str]:
    """Return why a run failed, each failed step in the user's terms, what stays, and the command to look closer."""
    lines: list[str] = []
    for step in record.failed:
        lines.extend(["", *step_failure_lines(record, step, style)])
    kept = [step.name for step in record.steps if step.state is State.SUCCEEDED]
    if kept:
        lines.append(f"what finished stays in {near(record.directory)}: {', '.join(kept)}")
    lines.extend(f"look closer: {style.paint(show_command(record, step), 'bold')}" for step in record.failed)
    if not record.failed and record.error:
        lines.append(f"{style.paint('error:', 'bold', 'red')} {plain(record.error)}")
    return lines


def step_failure_lines(record: RunRecord, step: StepRecord, style: Style) -> list[str]:
    """Return why one step failed: place in the user's notebook, traceback, hint."""
    failure = step.failure
    head = f"{style.paint('step', 'bold', 'red')} {style.paint(step.name, 'bold')} {style.paint('failed', 'bold', 'red')}"
    if failure is None:
        return [head]
    message = plain(failure.message).strip()
    lines = [f"{head}: {message.splitlines()[0] if message else failure.kind}"]
    if failure.cell is not None or failure.line is not None:
        lines.append(f"  at {Location(path=near(Path(record.source)), cell=failure.cell, line=failure.line)}")
    traceback = plain(failure.traceback).rstrip()
    if traceback and traceback.strip() != message:
        lines.extend(f"  {line}".rstrip() for line in traceback.splitlines())
    else:
        lines.extend(f"  {line}" for line in message.splitlines()[1:])
    if step.attempt > 1:
        lines.append(f"  this was attempt {step.attempt}")
    if failure.hint:
        lines.append(f"  hint: {failure.hint}")
    return lines


def show_command(record: RunRecord, step: StepRecord | None = None) -> str:
    """Return the command that shows a run, or a step of it, from the current folder."""
    words = ["kale", "show", record.id]
    if step is not None:
        words.append(step.name)
    kept = record.directory.parent
    if record.workspace is not None and kept == record.workspace / ".kale" / "runs":
        if record.workspace.resolve() != Path.cwd().resolve():
            words.extend(["--workspace", near(record.workspace)])
    else:
        words.extend(["--runs-dir", near(kept)])
    return shlex.join(words)


def near(path: Path) -> str:
    """Return a path as short as it can be written from the current folder: relative when below it, else absolute without `..`."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):
        return str(path)
    return os.path.normpath(path) if relative.startswith("..") else relative


def _section(title: str, rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> list[str]:
    return [title, *table(rows, right=right)] if rows else []


def _one_line(text: str, columns: int = 100) -> str:
    return clip(" ".join(plain(text).split()), columns)
