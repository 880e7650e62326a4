"""The runner: a compiled pipeline and an engine become a run record.

`plan` decides everything that can be decided before anything happens: the workspace, the steps, the values of the parameters. `run` makes
the run's folder, writes down what will run, calls the engine and keeps the record while events arrive.
"""

from __future__ import annotations

import difflib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.engines import engine as engine_named
from kale_nb.engines.protocol import Engine, Job
from kale_nb.errors import KaleError, UsageError
from kale_nb.names import RunId, StepName
from kale_nb.pipeline import codec, order
from kale_nb.pipeline.model import Pipeline, Volume
from kale_nb.pipeline.params import check_value, parse_value, to_source
from kale_nb.pipeline.volumes import merged, with_volumes
from kale_nb.process import this_process
from kale_nb.results.reuse import Reuse, bring
from kale_nb.results.tidying import VARIABLE, read_budget, tidy
from kale_nb.runs.environment import Environment, noted, this_environment
from kale_nb.runs.events import Event, Observer, OldClonesRemoved, RunStarted, RunWarning, State
from kale_nb.runs.record import ENDED, RunRecord, StepRecord
from kale_nb.runs.recorder import Recorder
from kale_nb.runs.store import open_store, run_id
from kale_nb.scripts.modules import package_root
from kale_nb.volumes.ignore import user_rules

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a pipeline is to be run.

    Attributes:
        params: values by name; each is checked against its parameter.
        until: run only these steps and what they need; empty runs all.
        jobs: steps at once; 0 lets the engine choose.
        fail_fast: stop running steps when one fails; otherwise let independent branches finish.
        output_dir: where executed stepbooks are put as well.
        workspace: the folder that the run gets a clone of; None takes the folder of the notebook.
        runs_dir: where the run's folder is made; None takes `.kale/runs` of the workspace.
        snapshots: the snapshot that a volume is cloned from, by volume (`workspace` is one); of the others a new one is taken.
        origins: the snapshots that it all began with, by volume, where those of `snapshots` were taken in the middle of a run.
        repeats: the run of which this one is a repetition.
        reuse: steps that do not run because an earlier run's outcome of them is taken; `until` is then of no account.
        cwd: the notebook's folder relative to the workspace; None finds out.
        notices: warnings that belong into the record of the run.
        volumes: data volumes to add, or to put in the place of those of the same name, their sources absolute or relative to the notebook.
        folders: folder of this machine for a data volume, by the volume's name.
        live: run in the workspace itself instead of a clone.
        isolation: whether steps see volumes at their own paths: `auto` where the machine allows it, `mount` or not at all, `none` never.
        conflicts: what it is when two steps that may run at the same time write one file: `warning` or `error`.
        empty: run in an empty folder instead of a clone; for stepbooks that carry their code.
        max_bytes: refuse to clone a workspace larger than this.
    """

    params: Mapping[str, object] = field(default_factory=dict)
    until: tuple[str, ...] = ()
    jobs: int = 0
    fail_fast: bool = False
    output_dir: Path | None = None
    workspace: Path | None = None
    runs_dir: Path | None = None
    snapshots: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    repeats: RunId | None = None
    reuse: Reuse | None = None
    cwd: Path | None = None
    notices: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)
    live: bool = False
    isolation: str = "auto"
    conflicts: str = "warning"
    empty: bool = False
    max_bytes: int = 4 * 1024**3
    engine: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will do, decided and not begun.

    Attributes:
        workspace: absolute.
        cwd: the notebook's folder relative to the workspace.
        steps: the steps to run, closed under predecessors, in source order.
        volumes: the data volumes, their sources absolute.
        live: the run works in the workspace itself.
    """

    workspace: Path
    cwd: Path
    steps: tuple[StepName, ...]
    params: Mapping[str, object]
    volumes: tuple[Volume, ...] = ()
    live: bool = False


def plan(pipeline: Pipeline, options: RunOptions) -> Plan:
    """Decide what a run of `pipeline` will do; touches nothing. UsageError when an option does not fit."""
    if options.jobs < 0:
        raise UsageError(f"--jobs {options.jobs} is negative", hint="0 lets the engine choose")
    workspace, cwd = choose_workspace(pipeline.source, options.workspace)
    _refuse_runs_in_clones(workspace, _absolute(options.runs_dir))
    return Plan(
        workspace=workspace,
        cwd=cwd if options.cwd is None else options.cwd,
        steps=steps_until(pipeline, options.until) if options.reuse is None else options.reuse.rerun,
        params=checked_params(pipeline, options.params),
        volumes=_volumes(pipeline, options),
        live=options.live,
    )


def run(
    compiled: Compiled, options: RunOptions | None = None, observers: Sequence[Observer] = (), *, engine: Engine | None = None
) -> RunRecord:
    """Run a compiled pipeline and return its record.

    Args:
        observers: take every event after it is in the record.
        engine: used instead of the one that the options name.

    UsageError when an option does not fit, StoreError when there is no place for the run, EngineError or VolumeError when nothing could be
    started; after those two a record says so. A failed step is no exception: the record tells.
    """
    options = options or RunOptions()
    planned = plan(compiled.pipeline, options)
    chosen = engine if engine is not None else engine_named(options.engine)
    store = open_store(planned.workspace, _absolute(options.runs_dir))
    directory = store.create(compiled.pipeline.name)
    environment = this_environment()
    recorder = Recorder(_first_record(compiled.pipeline, planned, options, directory, chosen.name, environment))
    try:
        write_plan(_as_asked(compiled, options), directory)
        with noted(environment, planned.workspace, directory):
            if options.empty:
                (directory / "empty").mkdir()
                planned = replace(planned, workspace=directory / "empty", cwd=Path())
            if options.reuse is not None:
                bring(options.reuse, directory)
            notices = (*filter(None, [store.notice]), *options.notices)
            chosen.run(_job(compiled, planned, options, directory), _fan_out(recorder, observers, notices))
    except KeyboardInterrupt:
        if not recorder.record.left:
            recorder.close(State.CANCELLED, time.time())
        raise
    except BaseException as error:
        recorder.close(
            State.FAILED, time.time(), error.message if isinstance(error, KaleError) else f"{type(error).__name__}: {error}"
        )
        raise
    if recorder.record.state not in ENDED and not recorder.record.left:
        recorder.close(State.CANCELLED, time.time(), "the engine stopped without saying how the run ended")
    if not recorder.flush():
        message = f"the run record in {directory} is not complete: {recorder.problem}"
        for observer in observers:
            observer(RunWarning(time=time.time(), message=message))
    _tidy(recorder.record, observers)
    return recorder.record


def _tidy(record: RunRecord, observers: Sequence[Observer]) -> None:
    """Remove what older runs left when it is too much, and tell."""
    if record.clone is None:
        return
    told: Event | None = None
    try:
        budget = read_budget(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        told = RunWarning(time=time.time(), message=f"old runs are not tidied up, for {VARIABLE} cannot be read: {error}")
    else:
        done = None if budget is None else tidy(record, budget)
        if done is not None:
            runs = tuple(RunId(run) for run in done.clones)
            told = OldClonesRemoved(time=time.time(), runs=runs, snapshots=done.snapshots, bytes=done.bytes)
    if told is not None:
        for observer in observers:
            observer(told)


def _volumes(pipeline: Pipeline, options: RunOptions) -> tuple[Volume, ...]:
    """Return the pipeline's volumes with those of the options. UsageError for a name that is no volume, a folder that is none, and two
    volumes at one place."""
    notebook = Path(pipeline.source)
    known = notebook.exists() or (notebook.is_absolute() and notebook.parent.is_dir())  # of a run done again it may be gone
    home = notebook.absolute().parent if known else Path.cwd()
    volumes = with_volumes(pipeline.volumes, options.volumes, _folders(options), home)
    for volume in volumes:
        if volume.source is not None and volume.name not in options.snapshots and not Path(volume.source).is_dir():
            raise UsageError(
                f"the volume {volume.name} is to be {volume.source}, which is no folder",
                hint=f"name another with --volume {volume.name}=./folder",
            )
    return volumes


def _folders(options: RunOptions) -> dict[str, str]:
    return {name: str(folder.absolute()) for name, folder in options.folders.items()}


def _as_asked(compiled: Compiled, options: RunOptions) -> Compiled:
    """Return what was compiled with the volumes that it runs with, so that the run can be done again with them."""
    volumes = merged(compiled.pipeline.volumes, options.volumes, _folders(options))
    return replace(compiled, pipeline=replace(compiled.pipeline, volumes=volumes))


def steps_until(pipeline: Pipeline, until: Iterable[str] = ()) -> tuple[StepName, ...]:
    """Return the steps named and all that must come before them, in source order; all steps when none is named.

    UsageError when a name is no step, with the nearest names.
    """
    names = [step.name for step in pipeline.steps]
    wanted: set[str] = set()
    for target in until:
        if target not in names:
            raise UsageError(f"there is no step {target!r} in {pipeline.name}", hint=_nearest(target, names, "its steps are"))
        wanted.add(target)
        wanted.update(order.ancestors(pipeline, StepName(target)))
    return tuple(name for name in names if not wanted or name in wanted)


def checked_params(pipeline: Pipeline, given: Mapping[str, object]) -> dict[str, object]:
    """Return the values given, as their parameters' types; UsageError for a name that is no parameter or a value that does not fit."""
    params = {param.name: param for param in pipeline.params}
    checked: dict[str, object] = {}
    for name, value in given.items():
        if name not in params:
            raise no_such_param(pipeline, name)
        checked[name] = check_value(params[name], value)
    return checked


def read_params(pipeline: Pipeline, texts: Iterable[str]) -> dict[str, object]:
    """Return the values of `NAME=VALUE` texts, as their parameters' types; UsageError for a text that is none of them."""
    params = {param.name: param for param in pipeline.params}
    values: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise UsageError(f"-p {text!r} has no value", hint=f"write -p {name or 'NAME'}=VALUE")
        if name not in params:
            raise no_such_param(pipeline, name)
        values[name] = parse_value(params[name], value)
    return values


def no_such_param(pipeline: Pipeline, name: str) -> UsageError:
    """Return the error for a parameter that the pipeline does not have."""
    names = [param.name for param in pipeline.params]
    if not names:
        return UsageError(f"{pipeline.name} has no parameter {name!r}", hint="tag the cell that assigns it `parameters`")
    return UsageError(f"{pipeline.name} has no parameter {name!r}", hint=_nearest(name, names, "its parameters are"))


def choose_workspace(source: str, asked: Path | None = None) -> tuple[Path, Path]:
    """Return the workspace, absolute, and the notebook's folder relative to it.

    UsageError for a folder that is no folder, for `/`, and for the home folder unless it was asked for by name.
    """
    notebook = Path(source).absolute()
    home = notebook.parent if notebook.exists() else Path.cwd()
    whole = Path(package_root(str(notebook))) if notebook.suffix == ".py" and notebook.exists() else home
    workspace = whole if asked is None else asked.expanduser().absolute()
    if not workspace.is_dir():
        raise UsageError(f"the workspace {workspace} is not a folder")
    real = workspace.resolve()
    if real == real.parent:
        raise UsageError(
            f"{workspace} cannot be the workspace: a run would copy the whole machine", hint="name a folder with --workspace"
        )
    if asked is None and real == Path.home().resolve():
        raise UsageError(
            f"the workspace would be your home folder {workspace}, all of which a run would copy",
            hint="move the notebook into a folder of its own, or say --workspace to mean it",
        )
    try:
        return workspace, home.resolve().relative_to(real)
    except ValueError:
        return workspace, Path()


def _refuse_runs_in_clones(workspace: Path, runs_dir: Path | None) -> None:
    """Refuse a runs folder in the workspace that clones would hold, and with it all earlier runs and their clones."""
    if runs_dir is None or not runs_dir.resolve().is_relative_to(workspace.resolve()):
        return
    inside = runs_dir.resolve().relative_to(workspace.resolve())
    ignored = user_rules(workspace, ())
    if ".kale" in inside.parts or (inside.parts and ignored is not None and ignored(f"{inside.as_posix()}/run/run.json")):
        return
    raise UsageError(
        f"the runs folder {runs_dir} lies in the workspace {workspace}, which every run copies",
        hint="name a folder outside of it, or list it in .kaleignore",
    )


def write_plan(compiled: Compiled, directory: Path) -> None:
    """Write what will run into the run's folder: `pipeline.json` and `stepbooks/<step>.ipynb`."""
    (directory / "pipeline.json").write_bytes(_spell(codec.to_json(compiled.pipeline)))
    folder = directory / "stepbooks"
    folder.mkdir()
    for stepbook in compiled.stepbooks:
        (folder / f"{stepbook.step}.ipynb").write_bytes(_spell(stepbook.notebook))


def _spell(value: object) -> bytes:
    """Return a value as JSON that people can read; with escapes where it holds bytes of a path that are no text."""
    try:
        return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8")
    except UnicodeEncodeError:
        return (json.dumps(value, indent=1) + "\n").encode("ascii")


def _job(compiled: Compiled, planned: Plan, options: RunOptions, directory: Path) -> Job:
    return Job(
        run=run_id(directory),
        pipeline=compiled.pipeline,
        stepbooks=compiled.stepbooks,
        steps=planned.steps,
        directory=directory,
        workspace=planned.workspace,
        cwd=planned.cwd,
        params=planned.params,
        jobs=options.jobs,
        fail_fast=options.fail_fast,
        max_bytes=options.max_bytes,
        volumes=planned.volumes,
        live=options.live,
        isolation=options.isolation,
        conflicts=options.conflicts,
        output_dir=_absolute(options.output_dir),
        snapshots=options.snapshots,
    )


def _first_record(
    pipeline: Pipeline, planned: Plan, options: RunOptions, directory: Path, engine: str, environment: Environment
) -> RunRecord:
    source = Path(pipeline.source).absolute()
    return RunRecord(
        id=run_id(directory),
        pipeline=pipeline.name,
        directory=directory,
        started=time.time(),
        steps=tuple(_first_step(step.name, planned, options.reuse, directory) for step in pipeline.steps),
        source=str(source) if source.exists() else pipeline.source,
        source_sha256=pipeline.source_sha256,
        params={name: to_source(value) for name, value in planned.params.items()},
        until=tuple(StepName(name) for name in options.until),
        workspace=planned.workspace,
        output_dir=_absolute(options.output_dir),
        origins=options.origins,
        repeats=options.repeats,
        environment=environment.fingerprint,
        engine=engine,
        writer=this_process(),
    )


def _first_step(name: StepName, planned: Plan, reuse: Reuse | None, directory: Path) -> StepRecord:
    if reuse is not None:
        for known in reuse.steps:
            if known.name == name:
                executed = directory / "executed" / f"{name}.ipynb" if known.executed is not None else None
                return replace(known, executed=executed, reused=known.reused or reuse.run)
    return StepRecord(name=name, state=State.PENDING if name in planned.steps else State.SKIPPED)


def _fan_out(recorder: Recorder, observers: Sequence[Observer], notices: Sequence[str]) -> Observer:
    def observe(event: Event) -> None:
        recorder(event)
        for observer in observers:
            observer(event)
        if isinstance(event, RunStarted):
            for notice in notices:
                observe(RunWarning(time=event.time, message=notice))

    return observe


def _nearest(name: str, names: Sequence[str], intro: str) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:12])
    return f"{intro} {shown}{', ...' if len(names) > 12 else ''}"


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().absolute()
