"""Runs done again: a run as it was, one of its steps and what follows it, or a notebook as a snapshot holds it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.errors import EngineError, SourceError, UsageError, VolumeError
from kale_nb.names import RunId, StepName
from kale_nb.pipeline import codec, order
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.params import check_value, from_json, to_source
from kale_nb.pipeline.volumes import MARSHAL
from kale_nb.results.files import StepReport, step_reports
from kale_nb.results.gone import CLONE, how_it_went
from kale_nb.results.kept import KeptVolume, described, kept_volumes, snapshot_of, store_of, workspace_of
from kale_nb.results.reading import Reads, reads_of
from kale_nb.results.reuse import Reuse
from kale_nb.runs.environment import Environment, drift, read_surroundings, this_environment
from kale_nb.runs.events import State
from kale_nb.runs.record import WORKSPACE, RunRecord, StepRecord
from kale_nb.stepbooks.model import Stepbook
from kale_nb.volumes import Entry, SnapshotStore, glance
from kale_nb.volumes.scan import printable
from kale_nb.volumes.trees import remove_tree

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What is needed to do a run again.

    Attributes:
        workspace: absolute.
        cwd: the notebook's folder relative to it.
        params: the values of the run.
        until: the steps that the run was asked for.
        snapshots: by volume, what to run on.
        origins: by volume, what the run had begun with, when what to run on was taken later.
        warnings: what is not as it was, a sentence each.
    """

    compiled: Compiled
    workspace: Path
    cwd: Path
    params: Mapping[str, object]
    until: tuple[str, ...]
    snapshots: Mapping[str, str]
    repeats: RunId
    origins: Mapping[str, str] = field(default_factory=dict)
    reuse: Reuse | None = None
    warnings: tuple[str, ...] = ()


def again(record: RunRecord, step: str | None = None) -> Again:
    """Return what is needed to do a run again, or with `step` that step of it and all that follow.

    Raises:
        VolumeError: a snapshot that it needs is gone; the message says how it went.
        SourceError: the run's own pipeline or stepbooks cannot be read.
        UsageError: no such step, or what came before it was not kept.
    """
    compiled = _compiled_of(record)
    workspace = workspace_of(record)
    cwd = _cwd_of(record)
    store = store_of(record)
    source = workspace / cwd / Path(record.source or compiled.pipeline.source).name
    compiled = replace(compiled, pipeline=replace(compiled.pipeline, source=str(source)))
    warnings = [*_drift(record), *_drifted_environments(record, store), *_changed_inputs(record, compiled.pipeline)]
    reuse, origins = None, {}
    if step is None:
        snapshots = {v.name: snapshot_of(record, v, store).id for v in kept_volumes(record) if v.snapshot or v.name == WORKSPACE}
    else:
        reuse = _reuse(record, compiled.pipeline, step)
        origins = {v.name: v.snapshot for v in kept_volumes(record) if v.snapshot}
        snapshots, more = _snapshots_before(record, reuse, compiled.pipeline, store)
        warnings.extend(more)
    return Again(
        compiled=compiled,
        workspace=workspace,
        cwd=cwd,
        params=_params_of(record, compiled.pipeline),
        until=() if step is not None else tuple(record.until),
        snapshots=snapshots,
        repeats=record.id,
        origins={name: id for name, id in origins.items() if snapshots.get(name) != id},
        reuse=reuse,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """A notebook or script as a snapshot holds it. `cwd`: its folder relative to the workspace; `snapshot`: the whole id."""

    compiled: Compiled
    workspace: Path
    cwd: Path
    snapshot: str


def compile_at(notebook: Path, id: str, store: SnapshotStore, pipeline: str | None = None) -> At:
    """Compile a notebook or script as the snapshot whose id begins with `id` holds it.

    Raises:
        VolumeError: there is no such snapshot.
        SourceError, CompileError: the snapshot does not hold the file, or it is no pipeline.
    """
    from kale_nb.compiler import compile_path, compile_source, is_script
    from kale_nb.source.notebook import read_notebook

    snapshot = store.find(id.removeprefix("sha256:"))
    path = Path(os.path.abspath(notebook))
    try:
        name = path.relative_to(snapshot.source).as_posix()
    except ValueError:
        raise UsageError(
            f"the snapshot {snapshot.id[:12]} is of {snapshot.source}, and {notebook} is not in it",
            hint="`kale snapshots` lists them",
        ) from None
    found = next((entry for entry in store.entries(snapshot) if entry.path == name), None)
    if found is None or found.kind != "file":
        raise SourceError(
            f"the snapshot {snapshot.id[:12]} holds no file {name}",
            hint=f"`kale snapshots show {snapshot.id[:12]}` lists its files",
        )
    place = store.directory / f".at-{secrets.token_hex(6)}"
    try:
        if is_script(path):
            store.clone(snapshot, place)
            compiled = compile_path(place / name, pipeline=pipeline)
        else:
            place.mkdir()
            shutil.copyfile(store.open_object(found.sha256), place / path.name)
            compiled = compile_source(replace(read_notebook(place / path.name), path=str(notebook)))
    finally:
        remove_tree(place)
    compiled = replace(compiled, pipeline=replace(compiled.pipeline, source=str(notebook)))
    return At(compiled=compiled, workspace=snapshot.source, cwd=Path(name).parent, snapshot=snapshot.id)


def check_overrides(made: Again, params: Mapping[str, object]) -> None:
    """Refuse values of parameters that a step may have read whose outcome is taken from the earlier run. UsageError names both."""
    if made.reuse is None:
        return
    known = {param.name: param.default for param in made.compiled.pipeline.params} | dict(made.params)
    other = [name for name, value in params.items() if to_source(value) != to_source(known[name])]
    if not other or not made.reuse.steps:
        return
    why = _readers(made.compiled)
    for step in made.reuse.steps:
        for name in other:
            reason = why(step.name, name)
            if reason:
                begin = "do all of it again" if reason == _BY_PRELUDE else "begin there"
                place = "" if reason == _BY_PRELUDE else f" --step {step.name}"
                raise UsageError(
                    f"step {step.name}, whose outcome would be taken from run {made.reuse.run}, {reason} parameter {name}, "
                    "which is changed",
                    hint=f"{begin}: kale run --from {made.reuse.run}{place} -p {name}=...",
                )


_BY_PRELUDE = "runs imports, functions or parameters cells that read"


def _readers(compiled: Compiled) -> Callable[[StepName, str], str]:
    """Return what tells why a step counts as having read a parameter, as a verb; empty where it has not."""
    calls = {book.step: _calls(book) for book in compiled.stepbooks}
    script = any(calls.values())
    prelude, steps = (Reads(), {}) if script else reads_of(compiled.pipeline, compiled.stepbooks)

    def why(step: StepName, name: str) -> str:
        mine = steps.get(step, Reads())
        word = rf"\b{re.escape(name)}\b"
        if name in compiled.pipeline.step(step).prelude_reads or name in mine.names or re.search(word, calls[step]):
            return "reads"
        if name in prelude.names:
            return _BY_PRELUDE
        if mine.anything or prelude.anything:
            return "has code that looks names up as it runs and so may read"
        return ""

    return why


def _calls(book: Stepbook) -> str:
    """Return the code of a script's step, which is its call; nothing of a notebook's."""
    cells = (cell["source"] for cell in book.notebook["cells"] if "path" in cell.get("metadata", {}).get("kale", {}))
    return "\n".join("".join(source) for source in cells)


def _compiled_of(record: RunRecord) -> Compiled:
    from kale_nb.compiler import Compiled

    try:
        told = json.loads((record.directory / "pipeline.json").read_text(encoding="utf-8"))
        pipeline = codec.from_json(told)
        books = tuple(
            Stepbook(
                step=step.name,
                notebook=json.loads((record.directory / "stepbooks" / f"{step.name}.ipynb").read_text(encoding="utf-8")),
            )
            for step in pipeline.steps
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"the run {record.id} cannot be done again: its pipeline or a stepbook cannot be read: {error}"
        ) from error
    return Compiled(pipeline=pipeline, stepbooks=books)


def _cwd_of(record: RunRecord) -> Path:
    if record.workspace is not None and record.source:
        with contextlib.suppress(ValueError):
            return Path(record.source).parent.relative_to(record.workspace)
        with contextlib.suppress(ValueError, OSError):
            return Path(record.source).parent.resolve().relative_to(record.workspace.resolve())
    return Path()


def _params_of(record: RunRecord, pipeline: Pipeline) -> dict[str, object]:
    params = {param.name: param for param in pipeline.params}
    try:
        return {name: check_value(params[name], from_json(text)) for name, text in record.params.items()}
    except (KeyError, ValueError, UsageError) as error:
        raise SourceError(f"the parameters of run {record.id} cannot be read: {error}") from error


def _drift(record: RunRecord) -> list[str]:
    known = read_surroundings(record.directory)
    if known is None:
        return (
            [f"the run {record.id} did not note its environment: whether it is the same now is not known"]
            if record.environment
            else []
        )
    found = drift(known.environment, _environment_now(record, known.environment))
    return [f"the environment is not that of run {record.id}: {'; '.join(found.sentences())}"] if found else []


def _environment_now(record: RunRecord, then: Environment) -> Environment:
    """Return the environment that steps of a run would have now: that of its kernel, which most often is that of this process."""
    import sys

    here = this_environment()
    if then.executable == sys.executable:
        return here
    from kale_nb.engines.local.kernelspecs import find_kernel, kernel_environment

    with contextlib.suppress(EngineError, OSError, ValueError, KeyError):
        told = json.loads((record.directory / "pipeline.json").read_text(encoding="utf-8"))
        return kernel_environment(find_kernel(str(told.get("kernel", "python3")))) or here
    return here


def _drifted_environments(record: RunRecord, store: SnapshotStore) -> list[str]:
    """Tell of virtual environments in the volumes, which are in no snapshot, that are not what they were."""
    found: list[str] = []
    for volume in kept_volumes(record):
        if volume.snapshot:
            with contextlib.suppress(VolumeError):  # that it is gone is told elsewhere
                found.extend(
                    f"the virtual environment {path} in the {described(volume.name)} is not what it was when run {record.id} began"
                    for path in store.drifted(volume.snapshot)
                )
    return found


def _changed_inputs(record: RunRecord, pipeline: Pipeline) -> list[str]:
    """Tell of data volumes that are only read, of which there is no snapshot, that are not what they were."""
    home = str(Path(pipeline.source).parent)
    found: list[str] = []
    for volume in pipeline.volumes:
        if not volume.read_only or volume.source is None or volume.name not in record.inputs:
            continue
        folder = Path(os.path.normpath(os.path.join(home, os.path.expanduser(volume.source))), volume.sub_path or "")
        then, now = record.inputs[volume.name], glance(folder)
        if then and now and then != now:
            found.append(
                f"the folder {folder} of volume {volume.name}, which is only read and of which there is no snapshot, is not what it was "
                f"when run {record.id} began: files have other names, sizes or times"
            )
        elif not then or not now:
            found.append(f"whether the folder {folder} of volume {volume.name}, which is only read, is what it was is not known")
    return found


def _reuse(record: RunRecord, pipeline: Pipeline, step: str) -> Reuse:
    """Return the steps that need not run for `step` and what follows it. UsageError when `step` is none, or their values are gone."""
    names = [s.name for s in pipeline.steps]
    if step not in names:
        raise UsageError(f"the run {record.id} has no step {step!r}", hint=f"its steps are {', '.join(names)}")
    before = order.ancestors_of(order.predecessors(pipeline))
    after = {name for name in names if name == step or StepName(step) in before[name]}
    needed = {b for name in after for b in before[name]} - after
    missing = [n for n in names if n in needed and record.step(n).state is not State.SUCCEEDED]
    if missing:
        raise UsageError(
            f"{step} of run {record.id} cannot run by itself: {', '.join(missing)}, which come before, did not succeed",
            hint=f"begin earlier: kale run --from {record.id} --step {missing[0]}",
        )
    gone = [n for n in names if n in needed and not _has_values(record.directory / "data" / n)]
    if gone:
        raise VolumeError(
            f"the values that {', '.join(gone)} of run {record.id} left are gone: {how_it_went(record.directory, CLONE)}",
            hint=f"do all of it again: kale run --from {record.id}",
        )
    return Reuse(
        run=record.id,
        directory=record.directory,
        steps=tuple(s for s in record.steps if s.name in needed),
        rerun=tuple(s.name for s in pipeline.steps if s.name in after),
    )


def _has_values(folder: Path) -> bool:
    """Tell whether all that a step left for later ones is still there; a step may have left no values at all."""
    bundle = folder / "values"
    return (folder / "step.json").is_file() and (not bundle.is_dir() or (bundle / "values.bin").is_file())


def _marshal_volume(record: RunRecord, pipeline: Pipeline) -> tuple[KeptVolume, ...]:
    """Return the marshal volume as one of those of the run, in which steps may have left files of their own; it begins empty."""
    there = pipeline.marshal_volume.enabled
    return (KeptVolume(name=MARSHAL, snapshot="", clone=record.directory / "marshal"),) if there else ()


def _snapshots_before(
    record: RunRecord, reuse: Reuse, pipeline: Pipeline, store: SnapshotStore
) -> tuple[dict[str, str], list[str]]:
    """Return for each volume the snapshot that holds what the reused steps left in it, and what is uncertain about that."""
    found: dict[str, str] = {}
    warnings: list[str] = []
    for volume in (*kept_volumes(record), *_marshal_volume(record, pipeline)):
        known = {r.step: r for r in step_reports(record) if r.volume == volume.name}
        wrote = [s for s in reuse.steps if s.name not in known or known[s.name].wrote]
        if not wrote and not volume.snapshot and volume.name != WORKSPACE:
            continue  # it began empty, and is so still
        if not wrote:
            found[volume.name] = snapshot_of(record, volume, store).id
            continue
        last = max(wrote, key=_end)
        taken = last.snapshots.get(volume.name)
        if taken is None:
            raise UsageError(
                f"step {last.name} of run {record.id} wrote files or made folders in the {described(volume.name)}, "
                "and no snapshot was taken after it",
                hint=f"a run with --autosnapshot can begin again at any step; or do all of it again: kale run --from {record.id}",
            )
        found[volume.name] = snapshot_of(record, replace(volume, snapshot=taken), store).id
        _check_left(record, last.name, known.values(), {s.name for s in wrote}, store.entries(found[volume.name]))
        reused = {s.name for s in reuse.steps}
        early = [s.name for s in record.steps if s.name not in reused and s.started is not None and s.started < _end(last)]
        if early:
            warnings.append(
                f"{', '.join(early)} of run {record.id} ran beside {last.name}: the snapshot taken after it may hold files of theirs"
            )
    return found, warnings


def _check_left(
    record: RunRecord, last: str, reports: Iterable[StepReport], wrote: Container[str], held: Iterable[Entry]
) -> None:
    """Refuse a snapshot taken after the step `last` that lacks what steps left: one of an earlier version, or of what no snapshot holds."""
    left: dict[str, str] = {}
    for report in reports:
        if report.step in wrote:
            left |= {path: report.step for path, what in report.changes.items() if what != "deleted"}
            for path in (*report.uncertain, *(p for p, what in report.changes.items() if what == "deleted")):
                left.pop(path, None)
    for entry in held:
        left.pop(entry.path, None)
    if left:
        path, step = min(left.items())
        raise UsageError(
            f"the snapshot taken after step {last} of run {record.id} lacks {printable(path)}, which step {step} left",
            hint=f"do all of it again: kale run --from {record.id}",
        )


def _end(step: StepRecord) -> float:
    return (step.started or 0.0) + (step.seconds or 0.0)
