"""The files that a run created, changed and deleted, and which step did.

What counts is the clone, compared with the snapshot that it was made from. Which step a change is from, the steps' own reports tell
(`files/<step>.json` in the run's folder). When the clone is gone, the last list that was made of it is still there (`files.json`).

Files of the workspace go by their path in it; those of a data volume are called `VOLUME:path`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kale_nb.errors import UsageError, VolumeError
from kale_nb.results.gone import CLONE, how_it_went
from kale_nb.results.kept import KeptVolume, kept_volumes, snapshot_of, store_of, untouched_before
from kale_nb.runs.record import WORKSPACE, RunRecord
from kale_nb.volumes import Changes

FILE = "files.json"
What = Literal["created", "changed", "deleted"]
_KINDS: tuple[What, ...] = ("created", "changed", "deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """A file that a run created, changed or deleted.

    Attributes:
        path: relative to the volume; bytes that are no UTF-8 are surrogate escapes.
        size: bytes; None when the file is gone.
        steps: who did it, in the order in which they ended; empty when no report tells.
        uncertain: it was one of these, which ran at the same time.
    """

    path: str
    what: What
    volume: str = WORKSPACE
    size: int | None = None
    steps: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the file is called in commands."""
        return self.path if self.volume == WORKSPACE else f"{self.volume}:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What a step says it did to a volume's files.

    Attributes:
        uncertain: names for a path the steps that may have done it instead.
        folders: those that were made, removed or given other permissions while it ran.
    """

    step: str
    volume: str
    changes: Mapping[str, What] = field(default_factory=dict)
    uncertain: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    @property
    def wrote(self) -> bool:
        """Whether the volume may be other than it was before the step."""
        return bool(self.changes or self.uncertain or self.folders)


def run_files(record: RunRecord) -> tuple[RunFile, ...]:
    """Return the files in which a run's volumes differ from their snapshots, by volume and path.

    VolumeError when neither clone nor an earlier list is there.
    """
    found: list[RunFile] = []
    reports = step_reports(record)
    volumes = kept_volumes(record)
    store = store_of(record)
    if not volumes[0].is_there:
        if not volumes[0].snapshot:
            snapshot_of(record, volumes[0], store)  # says that there never was a clone
        return _listed_before(record)
    for volume in volumes:
        if not volume.is_there:
            continue
        if not volume.snapshot and volume.name != WORKSPACE:
            changes = Changes(created=all_files(volume.clone))
        else:
            since = untouched_before(record, volume)
            changes = store.compare(snapshot_of(record, volume, store), volume.clone, since=since)
        mine = [report for report in reports if report.volume == volume.name]
        for what, paths in zip(_KINDS, (changes.created, changes.changed, changes.deleted), strict=True):
            found.extend(_run_file(volume, path, what, mine) for path in paths)
    return tuple(sorted(found, key=lambda f: (f.volume != WORKSPACE, f.volume, os.fsencode(f.path))))


def step_files(record: RunRecord, step: str) -> tuple[RunFile, ...]:
    """Return what one step did, as it reported; sizes are those at the end of the run. UsageError when there is no such step or report."""
    try:
        state = record.step(step).state.value
    except KeyError:
        names = ", ".join(s.name for s in record.steps)
        raise UsageError(f"the run {record.id} has no step {step!r}", hint=f"its steps are {names}") from None
    reports = [report for report in step_reports(record) if report.step == step]
    if not reports:
        raise UsageError(
            f"step {step} ({state}) of run {record.id} left no report of its files", hint="`kale files` without --step lists all"
        )
    clones = {volume.name: volume for volume in kept_volumes(record)}
    found = []
    for report in reports:
        volume = clones.get(report.volume)
        unsure: dict[str, What] = dict.fromkeys(report.uncertain, "changed")  # what became of them in the end, `run_files` tells
        for path, what in sorted({**unsure, **report.changes}.items()):
            size = None if volume is None or what == "deleted" else _size(volume.clone, path)
            who = (step,) if path in report.changes else ()
            others = report.uncertain.get(path, ())
            found.append(RunFile(path=path, what=what, volume=report.volume, size=size, steps=who, uncertain=others))
    return tuple(found)


def step_reports(record: RunRecord) -> tuple[StepReport, ...]:
    """Return the reports of a run's steps, in the order in which the steps ended; damaged ones are left out."""
    ended = sorted(record.steps, key=lambda s: (s.started or 0.0) + (s.seconds or 0.0))
    return tuple(report for step in ended for report in _read_report(record.directory / "files" / f"{step.name}.json", step.name))


def keep_list(record: RunRecord) -> None:
    """Write the list of a run's files into its folder, so that it stays when the clone goes. OSError or VolumeError when it cannot."""
    told = [asdict(f) for f in run_files(record)]
    part = record.directory / f".{FILE}.{os.getpid()}"
    part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")  # ASCII: names may hold bytes that are no text
    os.replace(part, record.directory / FILE)


def _listed_before(record: RunRecord) -> tuple[RunFile, ...]:
    try:
        told = json.loads((record.directory / FILE).read_text(encoding="utf-8"))
        return tuple(RunFile(**{**t, "steps": tuple(t["steps"]), "uncertain": tuple(t["uncertain"])}) for t in told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VolumeError(
            f"the files of run {record.id} are gone: {how_it_went(record.directory, CLONE)}",
            hint="run it again: kale run --from " + record.id,
        ) from error


def all_files(folder: Path) -> tuple[str, ...]:
    """Return the files and links below a folder."""
    root = os.fspath(folder)
    found: list[str] = []
    for here, folders, files in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(here, name))]
        found.extend(os.path.relpath(os.path.join(here, name), root) for name in (*files, *links))
    return tuple(sorted(found))


def _run_file(volume: KeptVolume, path: str, what: What, reports: Iterable[StepReport]) -> RunFile:
    touched = [*reports]
    unsure = dict.fromkeys(step for report in touched for step in report.uncertain.get(path, ()))
    return RunFile(
        path=path,
        what=what,
        volume=volume.name,
        size=None if what == "deleted" else _size(volume.clone, path),
        steps=tuple(dict.fromkeys(report.step for report in touched if path in report.changes)),
        uncertain=tuple(unsure),
    )


def _size(clone: Path, path: str) -> int | None:
    try:
        status = os.lstat(clone / path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _read_report(path: Path, step: str) -> list[StepReport]:
    try:
        told = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        parts = {WORKSPACE: told, **told.get("volumes", {})}
        return [_report(step, volume, part) for volume, part in parts.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _report(step: str, volume: str, told: Mapping[str, Any]) -> StepReport:
    changes: dict[str, What] = {str(path): what for what in _KINDS for path in told.get(what, ())}
    unsure = {str(path): tuple(str(s) for s in steps) for path, steps in told.get("uncertain", {}).items()}
    folders = tuple(str(path) for path in told.get("folders", ()))
    return StepReport(step=step, volume=volume, changes=changes, uncertain=unsure, folders=folders)
