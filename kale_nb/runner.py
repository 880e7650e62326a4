"""The runner: a compiled pipeline, the plan of its run and an engine become a run record.

`run` makes the run's folder, writes down what will run, calls the engine and keeps the record while events arrive.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.engines import engine as engine_named
from kale_nb.engines.protocol import Engine, Job
from kale_nb.errors import KaleError
from kale_nb.names import RunId, StepName
from kale_nb.pipeline import codec
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.params import to_source
from kale_nb.planning import Plan, RunOptions, absolute, as_asked, plan
from kale_nb.process import this_process
from kale_nb.results.reuse import Reuse, bring
from kale_nb.results.tidying import VARIABLE, read_budget, tidy
from kale_nb.runs.environment import Environment, noted, this_environment
from kale_nb.runs.events import Event, Observer, OldClonesRemoved, RunStarted, RunWarning, State
from kale_nb.runs.record import ENDED, RunRecord, StepRecord
from kale_nb.runs.recorder import Recorder
from kale_nb.runs.store import open_store, run_id

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled


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
    store = open_store(planned.workspace, absolute(options.runs_dir))
    directory = store.create(compiled.pipeline.name)
    environment = this_environment()
    recorder = Recorder(_first_record(compiled.pipeline, planned, options, directory, chosen.name, environment))
    try:
        write_plan(replace(compiled, pipeline=as_asked(compiled.pipeline, options)), directory)
        with noted(environment, planned.workspace, directory):
            if options.empty:
                (directory / "empty").mkdir()
                planned = replace(planned, workspace=directory / "empty", cwd=Path())
            if options.reuse is not None:
                bring(options.reuse, directory)
            notices = (*filter(None, [store.notice]), *planned.notices, *options.notices)
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
        output_dir=absolute(options.output_dir),
        snapshots=options.snapshots,
        origins=options.origins,
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
        output_dir=absolute(options.output_dir),
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
