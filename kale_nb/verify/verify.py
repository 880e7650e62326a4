"""Run a notebook both ways and compare: the facade of this package.

The notebook runs from top to bottom in one kernel on a clone of its own, with its marks turned into comments and its skip cells left out;
then the pipeline runs as `kale run` runs it. Both kernels hash strings the same way, so that the order of sets is no difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kale_nb.annotations.marks import Marked, Role
from kale_nb.compiler import Compiled
from kale_nb.engines.local.execution import run_notebook
from kale_nb.engines.local.kernels import KernelHost
from kale_nb.engines.local.provision import provide
from kale_nb.engines.local.seeing import Sight, may_mount, sight
from kale_nb.engines.protocol import Job
from kale_nb.errors import UsageError
from kale_nb.names import RunId, StepName
from kale_nb.planning import Plan, RunOptions, plan
from kale_nb.runner import run
from kale_nb.runs.events import Failure, Observer, State
from kale_nb.runs.record import RunRecord
from kale_nb.runs.store import snapshot_folder
from kale_nb.scripts.plain import run_plainly
from kale_nb.scripts.traced import Script
from kale_nb.verify.compare import Answer, StepVerdict, compare_step
from kale_nb.verify.outputs import Said, said
from kale_nb.volumes import Policy, SnapshotStore

_RUN = (Role.PARAMETERS, Role.IMPORTS, Role.FUNCTIONS, Role.STEP, Role.METRICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a comparison found.

    Attributes:
        record: the run of the pipeline.
        notebook: the executed notebook of the other way.
        failure: why the notebook itself failed, run from top to bottom.
    """

    steps: tuple[StepVerdict, ...]
    record: RunRecord
    notebook: Path
    failure: Failure | None = None

    @property
    def same(self) -> bool:
        """Whether both ways ran to their end and said the same."""
        ended = self.failure is None and self.record.state is State.SUCCEEDED
        return ended and all(step.answer is Answer.SAME for step in self.steps)


def verify(compiled: Compiled, options: RunOptions | None = None, observers: Sequence[Observer] = ()) -> Verdict:
    """Run a notebook as a pipeline and from top to bottom, and compare.

    The executed notebook, its clone and its log are kept in the run's folder, under `verify/`. UsageError when the pipeline was read from
    a compiled folder, which does not hold the notebook; otherwise raises what `runner.run` raises.
    """
    options = options or RunOptions()
    if compiled.script is not None:
        return _verify_script(compiled, compiled.script, options, observers)
    marked = compiled.marked
    if marked is None:
        raise UsageError("only a notebook can be verified, not what was compiled from it", hint="name the notebook")
    planned = plan(compiled.pipeline, options)
    with _same_hashes():
        record = run(compiled, options, observers)
        folder = record.directory / "verify"
        folder.mkdir()
        job = _job_alone(compiled, planned, options, record, folder)
        outcome = run_notebook(
            plain_notebook(marked),
            kernel=compiled.pipeline.kernel,
            cwd=planned.cwd,
            output=folder / "notebook.ipynb",
            log=folder / "notebook.log",
            params=planned.params,
            source=compiled.pipeline.source,
            sight=lambda host: _sight_alone(job, host, record),
        )
    steps = compare(marked, record, outcome.notebook, clone=folder / "work", only=planned.steps)
    return Verdict(steps=steps, record=record, notebook=folder / "notebook.ipynb", failure=outcome.failure)


def _job_alone(compiled: Compiled, planned: Plan, options: RunOptions, record: RunRecord, folder: Path) -> Job:
    """Return the notebook as a job of one piece: on the snapshots and with the volumes of the pipeline's run."""
    (folder / "data").mkdir()
    return Job(
        run=RunId(f"{record.id}-verify"),
        pipeline=compiled.pipeline,
        stepbooks=(),
        steps=(),
        directory=folder,
        workspace=planned.workspace,
        cwd=planned.cwd,
        max_bytes=options.max_bytes,
        snapshots=record.snapshots,
        volumes=planned.volumes,
        isolation=options.isolation,
    )


def _sight_alone(job: Job, host: KernelHost, record: RunRecord) -> Sight:
    def store(_: Path, policy: Policy) -> SnapshotStore:
        return SnapshotStore(snapshot_folder(record.directory.parent), policy)

    mounted = may_mount(job, host, lambda event: None)
    provided = provide(job, store, lambda event: None, seen=mounted)
    (provided.workspace / ".kale").mkdir(exist_ok=True)  # as in the workspace of every step
    return sight(job, host, provided, mounted=mounted)


def _places(record: RunRecord) -> dict[str, str]:
    """Return what to replace in what steps said: the paths at which they may have seen the workspace, longest first."""
    seen = [path for path in (record.clone, record.workspace if record.isolation == "mount" else None) if path is not None]
    return {str(path): "<workspace>" for path in (*seen, *(path.resolve() for path in seen))}


def _verify_script(compiled: Compiled, script: Script, options: RunOptions, observers: Sequence[Observer]) -> Verdict:
    """Run a script as a pipeline and its pipeline function as plain Python, and compare what each step printed."""
    planned = plan(compiled.pipeline, options)
    with _same_hashes():
        record = run(compiled, options, observers)
        folder = record.directory / "verify"
        folder.mkdir()
        store = SnapshotStore(snapshot_folder(record.directory.parent), Policy(max_bytes=options.max_bytes))
        clone = store.clone(store.snapshot(planned.workspace), folder / "work")
        (clone.path / ".kale").mkdir()  # as in the workspace of every step
        place = clone.path / planned.cwd / Path(script.path).name
        plain = run_plainly(place, script.function, planned.params, folder / "plain.json")
    alone = {1 + i: _streams(*told, {str(clone.path): "<workspace>"}) for i, told in enumerate(plain.said)}
    places = _places(record)
    verdicts = []
    for number, step in enumerate(compiled.pipeline.steps, 1):
        if step.name not in planned.steps:
            continue
        executed = record.step(step.name).executed
        piped = {} if executed is None else {number: _said_in_call(_read(executed), places)}
        verdicts.append(compare_step(step.name, [number], alone, piped))
    failure = None if plain.failure is None else Failure(kind="exception", message=plain.failure)
    return Verdict(steps=tuple(verdicts), record=record, notebook=folder / "plain.json", failure=failure)


def _streams(out: str, errors: str, places: Mapping[str, str]) -> Said:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": out},
        {"output_type": "stream", "name": "stderr", "text": errors},
    ]
    return said(outputs, places)


def _said_in_call(notebook: Mapping[str, Any], places: Mapping[str, str]) -> Said:
    """What the cell that calls the step's function printed; what importing the script prints belongs to no step."""
    cells = [c for c in notebook.get("cells", ()) if c.get("id") == "kale-call"]
    outputs = [o for c in cells for o in c.get("outputs", ()) if o.get("output_type") == "stream"]
    return said(outputs, places)


@contextmanager
def _same_hashes() -> Iterator[None]:
    """Let kernels that start in this block hash strings alike, unless the user already says how."""
    if "PYTHONHASHSEED" in os.environ:
        yield
        return
    os.environ["PYTHONHASHSEED"] = "0"
    try:
        yield
    finally:
        del os.environ["PYTHONHASHSEED"]


def plain_notebook(marked: Marked) -> dict[str, Any]:
    """Return the notebook that runs from top to bottom in one kernel: marks as comments, no skip cells, each cell with its number."""
    last = max((cell.cell.index for cell in marked.cells if cell.role is Role.PARAMETERS), default=None)
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{cell.cell.index}",
            "metadata": {
                "kale": {"cell": cell.cell.index},
                "tags": [
                    *(["parameters"] if cell.cell.index == last else []),
                    *(tag for tag in cell.cell.tags if tag == "raises-exception"),
                ],
            },
            "source": cell.code,
            "outputs": [],
            "execution_count": None,
        }
        for cell in marked.cells
        if cell.role in _RUN
    ]
    metadata = {key: value for key, value in marked.source.metadata.items() if key in ("kernelspec", "language_info")}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def said_by_cell(notebook: Mapping[str, Any], places: Mapping[str, str] | None = None) -> dict[int, Said]:
    """Return what each cell of an executed notebook said, by its number in the user's notebook; cells that did not run are left out."""
    found: dict[int, Said] = {}
    for cell in notebook.get("cells", ()):
        number = (cell.get("metadata") or {}).get("kale", {}).get("cell")
        if cell.get("cell_type") != "code" or number is None:
            continue
        if cell.get("execution_count") is None and not cell.get("outputs") and str(cell.get("source", "")).strip():
            continue
        found[number] = said(cell.get("outputs", ()), places)
    return found


def compare(
    marked: Marked, record: RunRecord, notebook: Mapping[str, Any], *, clone: Path, only: Sequence[StepName] = ()
) -> tuple[StepVerdict, ...]:
    """Compare an executed notebook with the executed stepbooks of a run.

    Args:
        clone: where the notebook ran.
        only: the steps to compare; empty compares all.
    """
    alone = said_by_cell(notebook, {str(clone): "<workspace>", **_places(record)})
    places = _places(record)
    verdicts = []
    for step in marked.steps:
        if only and step.name not in only:
            continue
        cells = [cell.cell.index for cell in step.cells if cell.role in (Role.STEP, Role.METRICS)]
        executed = record.step(step.name).executed
        piped = said_by_cell(_read(executed), places) if executed is not None else {}
        verdicts.append(compare_step(step.name, cells, alone, piped))
    return tuple(verdicts)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
