"""`kale_step`: one step of a notebook or script, run with inputs of the test's own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from kale_nb.compiler import Compiled
from kale_nb.engines.local.explaining import explain
from kale_nb.engines.local.provision import provide
from kale_nb.engines.local.reports import read_report
from kale_nb.engines.local.tasks import Task
from kale_nb.engines.protocol import Job
from kale_nb.errors import KaleError, StepFailed
from kale_nb.location import Location
from kale_nb.names import RunId, StepName
from kale_nb.pipeline.model import Step
from kale_nb.pipeline.params import to_source
from kale_nb.planning import Plan, RunOptions, plan
from kale_nb.runs.events import Event, Failure, RunWarning
from kale_nb.stepbooks.cells import DATA_NAME
from kale_nb.testing.bench import Bench, bench
from kale_nb.testing.doubles import as_notebooks
from kale_nb.testing.functions import functions_at_home, namespace_among, namespace_of
from kale_nb.testing.inputs import check_inputs, leave_inputs
from kale_nb.testing.reading import read, told
from kale_nb.testing.result import StepResult, Variables, owner_of, spoken
from kale_nb.volumes import SnapshotStore


class KaleStep(Protocol):
    """The type of `kale_step`, as function and as fixture."""

    def __call__(
        self,
        notebook: str | os.PathLike[str],
        step: str,
        *,
        inputs: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        workspace: str | os.PathLike[str] | None = None,
        pipeline: str | None = None,
    ) -> StepResult:
        """See `kale_step`."""
        ...


def kale_step(
    notebook: str | os.PathLike[str],
    step: str,
    *,
    inputs: Mapping[str, object] | None = None,
    params: Mapping[str, object] | None = None,
    timeout: float | None = None,
    workspace: str | os.PathLike[str] | None = None,
    pipeline: str | None = None,
) -> StepResult:
    """Run one step, as a run of the pipeline would, but for its variables: those of earlier steps are the inputs.

    The step's notebook is executed by papermill in a kernel of its own, in a clone of the notebook's folder: imports, parameters and
    functions cells, then the step's own. No other step runs, and none is tried again when it fails.

    Args:
        notebook: a notebook or script, relative to the working folder; as a fixture, to the folder of the test.
        inputs: values by name, for what the step reads of earlier steps; also for names of imports and functions cells that it reads.
        params: values of the pipeline's parameters; the others have their defaults.
        timeout: seconds; None takes what the step's marks say.
        workspace: the folder to clone, when it is not that of the notebook.
        pipeline: which of a script's pipelines is meant.

    Raises:
        StepFailed: the step raised, ran out of time or died; so it can be expected: `pytest.raises(StepFailed, match="ValueError")`.
        UsageError: no such step or parameter, an input that is missing or that the step does not read.
        CompileError: the notebook has errors.
        MarshalError: an input cannot be passed between steps.
    """
    __tracebackhide__ = True
    return run_step(
        Path(notebook).absolute(),
        step,
        None,
        inputs=inputs or {},
        params=params or {},
        timeout=timeout,
        workspace=None if workspace is None else Path(workspace),
        pipeline=pipeline,
    )


def run_step(
    path: Path,
    name: str,
    place: Callable[[], Path] | None,
    *,
    inputs: Mapping[str, object],
    params: Mapping[str, object],
    timeout: float | None,
    workspace: Path | None,
    pipeline: str | None,
    tell: Callable[[str, str], None] | None = None,
) -> StepResult:
    """Run a step of the notebook at an absolute path.

    Args:
        place: makes the folder for clone and variables.
        tell: told what the step printed, by stream, however it ends.
    """
    __tracebackhide__ = True
    try:
        compiled = read(path, pipeline)
        planned = plan(compiled.pipeline, RunOptions(params=params, until=(name,), workspace=workspace))
        step = compiled.pipeline.step(StepName(name))
        check_inputs(compiled.pipeline, step, inputs)
        stand = bench()
        folder = stand.folder() if place is None else place()
        if inputs and not step.after:  # of imports and functions cells, in a first step
            step = replace(step, after=(StepName("kale-test"),))
        given = namespace_among(compiled, path, inputs.values())
        if step.after:
            made = given or namespace_of(compiled, path, params)
            _leave(folder / "data", step, inputs, path, made)

        def functions(home: dict[str, object]) -> Mapping[str, object]:
            if compiled.script is not None:
                return {"__name__": "__main__"}
            return functions_at_home(compiled, path, params, given, home)

        return _execute(compiled, planned, step, stand, folder, functions, timeout, tell)
    except StepFailed:
        raise
    except KaleError as error:
        raise told(error).with_traceback(None) from error.__cause__


def _execute(
    compiled: Compiled,
    planned: Plan,
    step: Step,
    stand: Bench,
    folder: Path,
    functions: Callable[[dict[str, object]], Mapping[str, object]],
    timeout: float | None,
    tell: Callable[[str, str], None] | None,
) -> StepResult:
    __tracebackhide__ = True
    warnings: list[str] = []
    job = Job(
        run=RunId(folder.name),
        pipeline=compiled.pipeline,
        stepbooks=compiled.stepbooks,
        steps=(step.name,),
        directory=folder,
        workspace=planned.workspace,
        cwd=planned.cwd,
        params=planned.params,
        volumes=planned.volumes,
    )
    data = folder / "data"
    (data / step.name).mkdir(parents=True, exist_ok=True)

    def observe(event: Event) -> None:
        if isinstance(event, RunWarning):
            warnings.append(event.message)

    provided, seen = stand.sight(
        job, lambda mounted: provide(job, lambda _, policy: SnapshotStore(stand.store, policy), observe, seen=mounted)
    )
    [book] = (book.notebook for book in compiled.stepbooks if book.step == step.name)
    task = Task(
        notebook=_for_a_test(book, step, compiled.pipeline.step(step.name)),
        params={name: to_source(value) for name, value in {**planned.params, DATA_NAME: str(seen.data)}.items()},
        kernel=compiled.pipeline.kernel,
        source=compiled.pipeline.source,
        clone=seen.workspace,
        output=folder / f"{step.name}.ipynb",
        log=folder / f"{step.name}.log",
        timeout=timeout if timeout is not None else step.settings.timeout,
    )
    outcome = stand.run(task, cwd=seen.workspace / planned.cwd, env={**seen.environment, **step.settings.env}, view=seen.view)
    said = spoken(_read(task.output))
    for stream, text in (("stdout", said.stdout), ("stderr", said.stderr)):
        if tell is not None and text:
            tell(stream, text)
    if outcome.failure is not None:
        raise _failed(compiled, step, explain(job, step.name, outcome.failure), outcome.error, said.stdout, task.output)

    report = read_report(data / step.name)
    return StepResult(
        step=step.name,
        variables=Variables(data, step.name, functions),
        stdout=said.stdout,
        stderr=said.stderr,
        displayed=said.displayed,
        metrics=report.metrics,
        folder=provided.workspace / planned.cwd,
        notebook=task.output,
        warnings=(*warnings, *report.warnings),
        seconds=outcome.seconds,
    )


def _leave(data: Path, step: Step, inputs: Mapping[str, object], path: Path, made: dict[str, object] | None) -> None:
    owner = owner_of(inputs.values())
    if owner is not None:
        if made is not None:
            owner.know_functions()
        namespace, prelude = owner.namespace, owner.prelude
    else:
        namespace = made or {"__name__": "__main__"}
        prelude = dict(namespace)
    given = {name: as_notebooks(name, value, namespace, path.parent) for name, value in inputs.items()}
    leave_inputs(data, step, given, namespace, prelude)


def _for_a_test(notebook: Mapping[str, Any], step: Step, compiled: Step) -> dict[str, Any]:
    """Let a stepbook save all its variables, not only those that later steps read, and look at what stands before it."""
    cells = [dict(cell) for cell in notebook["cells"]]
    load = next(cell for cell in cells if "kale-load" in cell["metadata"].get("tags", ()))
    if step.after != compiled.after:
        spelled = f"step={json.dumps(step.name, ensure_ascii=False)}"
        load["source"] = load["source"].replace(spelled, f"{spelled}, after={json.dumps(list(step.after))}", 1)
    load["source"] += "\n_kale.keep_everything()"
    return {**notebook, "cells": cells}


def _failed(compiled: Compiled, step: Step, failure: Failure, error: str | None, stdout: str, notebook: Path) -> StepFailed:
    source = compiled.pipeline.source
    line = failure.line if failure.cell is not None or compiled.script is not None else None
    hint = failure.hint
    if failure.kind == "timeout":
        hint = "raise it: kale_step(..., timeout=SECONDS), or the step's own `timeout`"
    if error == "NameError":
        unread = [n.name for n in step.needs if f"'{n.name}'" in failure.message]
        hint = f"step `{step.name}` takes it from step `{step.after[0]}`: inputs={{{unread[0]!r}: ...}}" if unread else hint
    made = StepFailed(
        f"step `{step.name}` failed: {failure.message}",
        step=step.name,
        kind=failure.kind,
        error=error,
        traceback=failure.traceback,
        stdout=stdout,
        notebook=notebook,
        location=Location(path=source, cell=failure.cell, line=line),
        hint=hint,
    )
    if failure.traceback:
        made.add_note(f"\n{failure.traceback}")
    told(made)
    return made


def _read(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
