"""Each notebook of this folder, named for a behaviour, runs three ways that must say the same.

The notebook itself from top to bottom, through papermill; its stepbooks one after the other, through papermill alone, as anybody can
run them; and the pipeline on the local engine.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kale_nb.annotations.marks import Marked, Role
from kale_nb.compiler import Compiled, compile_notebook
from kale_nb.errors import MarshalError
from kale_nb.names import StepName
from kale_nb.pipeline.order import topological
from kale_nb.planning import RunOptions
from kale_nb.runner import run
from kale_nb.runs.events import State
from kale_nb.stepbooks.cells import DATA_NAME
from kale_nb.testing import StepResult, kale_step
from kale_nb.verify.outputs import Said
from kale_nb.verify.verify import plain_notebook, said_by_cell

HERE = Path(__file__).parent
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))

STOPS = {
    "refuses_input": ("ask", "StdinNotImplementedError"),
    "stops_at_an_exception": ("raises", "TooSmall"),
}
"""Notebooks that end in the middle: in which step, with which exception."""

ONLY_ON_AN_ENGINE = {"tries_again"}
"""Notebooks that fail the first time: the engine tries the step again, papermill does not."""

GIVEN: dict[str, dict[str, Any]] = {
    "takes_typed_parameters": {"count": 7, "rate": 0.25, "name": "grace hopper", "flag": False, "items": [9], "limit": None},
}


@dataclass(frozen=True, slots=True)
class Way:
    """What each cell said, and where and with which exception it ended."""

    said: Mapping[int, Said]
    ended: tuple[str, str] | None = None


@pytest.fixture(autouse=True)
def _same_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def by_papermill(
    notebook: Mapping[str, Any], folder: Path, name: str, params: Mapping[str, Any], cwd: Path
) -> tuple[dict[int, Said], str]:
    """Execute a notebook with papermill alone; return what its cells said, and the exception that ended it, if one did."""
    import papermill

    source, target = folder / f"{name}.ipynb", folder / f"{name}-executed.ipynb"
    source.write_text(json.dumps(notebook), encoding="utf-8")
    error = ""
    try:
        papermill.execute_notebook(str(source), str(target), parameters=dict(params), cwd=str(cwd), progress_bar=False)
    except papermill.exceptions.PapermillExecutionError as problem:
        error = problem.ename
    executed = read(target)
    if error and not any(raised(cell) for cell in executed["cells"]):
        error = ""  # papermill runs on after a cell tagged `raises-exception`, and complains at the end
    return said_by_cell(executed, {str(cwd): "<workspace>"}), error


def raised(cell: Mapping[str, Any]) -> bool:
    expected = "raises-exception" in cell["metadata"].get("tags", ())
    return not expected and any(output["output_type"] == "error" for output in cell.get("outputs", ()))


def whole(compiled: Compiled, marked: Marked, folder: Path, params: Mapping[str, Any]) -> Way:
    """The notebook itself, from top to bottom."""
    (folder / "cwd").mkdir(parents=True)
    said, error = by_papermill(plain_notebook(marked), folder, "whole", params, folder / "cwd")
    if not error:
        return Way(said)
    ran = [step.name for step in compiled.pipeline.steps if any(cell in said for cell in step.cells)]
    return Way(said, (ran[-1], error))


def stepbooks(compiled: Compiled, folder: Path, params: Mapping[str, Any]) -> Way:
    """The stepbooks, in order, in one folder that all of them share."""
    cwd = folder / "cwd"
    cwd.mkdir(parents=True)
    books = {book.step: book.notebook for book in compiled.stepbooks}
    said: dict[int, Said] = {}
    for step in topological(compiled.pipeline):
        values = {**params, DATA_NAME: str(folder / "data")}
        found, error = by_papermill(books[step], folder, step, values, cwd)
        said |= found
        if error:
            return Way(said, (step, error))
    return Way(said)


def engine(compiled: Compiled, folder: Path, params: Mapping[str, Any]) -> Way:
    """The pipeline on the local engine."""
    record = run(compiled, RunOptions(params=params, runs_dir=folder))
    said: dict[int, Said] = {}
    ended = None
    for step in record.steps:
        if step.executed is not None:
            executed = read(step.executed)
            said |= said_by_cell(executed, {str(record.clone): "<workspace>", str(record.workspace): "<workspace>"})
            if step.state is State.FAILED:
                ended = (
                    step.name,
                    next(o["ename"] for c in executed["cells"] for o in c["outputs"] if o["output_type"] == "error"),
                )
    return Way(said, ended)


def of_steps(way: Way, marked: Marked) -> dict[int, Said]:
    cells = {c.cell.index for s in marked.steps for c in s.cells if c.role in (Role.STEP, Role.METRICS)}
    return {index: said for index, said in sorted(way.said.items()) if index in cells}


@pytest.mark.kernel
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_stepbooks_and_engine_say_the_same(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user").mkdir()
    shutil.copy(notebook, tmp_path / "user")
    monkeypatch.chdir(tmp_path / "user")
    compiled = compile_notebook(notebook.name)
    marked = compiled.marked
    assert marked is not None
    params = GIVEN.get(notebook.stem, {})
    piped = engine(compiled, tmp_path / "runs", params)
    assert piped.ended == STOPS.get(notebook.stem)
    assert sum(len(s.shown) + len(s.errors) for s in of_steps(piped, marked).values()) > 0, (
        "a notebook that says nothing tests nothing"
    )
    if notebook.stem in ONLY_ON_AN_ENGINE:
        return
    for way in (whole(compiled, marked, tmp_path / "whole", params), stepbooks(compiled, tmp_path / "stepbooks", params)):
        assert of_steps(way, marked) == of_steps(piped, marked)
        assert way.ended == piped.ended
    assert [p.name for p in (tmp_path / "user").iterdir()] == [notebook.name]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_without_outputs_and_compiles_without_warnings(notebook: Path) -> None:
    assert [c for c in read(notebook)["cells"] if c.get("outputs") or c.get("execution_count")] == []
    assert [d.render() for d in compile_notebook(notebook).diagnostics if d.level.value != "note"] == []


@pytest.mark.kernel
def test_a_step_that_fails_the_first_time_is_tried_again(tmp_path: Path) -> None:
    shutil.copy(HERE / "tries_again.ipynb", tmp_path)
    record = run(
        compile_notebook(tmp_path / "tries_again.ipynb"), RunOptions(runs_dir=tmp_path.with_name(f"{tmp_path.name}-runs"))
    )
    assert record.state is State.SUCCEEDED
    assert record.step(StepName("flaky")).attempt == 2
    executed = record.step(StepName("after")).executed
    assert executed is not None
    assert "10\n" in executed.read_text(encoding="utf-8").replace("\\n", "\n"), "what the failed try appended is forgotten"


NOT_BY_HAND = {
    **dict.fromkeys(STOPS, "ends in the middle"),
    **dict.fromkeys(ONLY_ON_AN_ENGINE, "fails the first time"),
    "writes_and_reads_files": "a step under test has a clone of its own, without the files of others",
}


@pytest.mark.kernel
@pytest.mark.parametrize("notebook", [p for p in NOTEBOOKS if p.stem not in NOT_BY_HAND], ids=lambda p: p.stem)
def test_steps_driven_by_a_test_with_what_the_steps_before_returned_say_the_same(notebook: Path, tmp_path: Path) -> None:
    compiled = compile_notebook(notebook)
    marked = compiled.marked
    assert marked is not None
    params = GIVEN.get(notebook.stem, {})
    piped = engine(compiled, tmp_path / "runs", params)
    held: dict[str, Any] = {}
    said: dict[int, Said] = {}
    for name in topological(compiled.pipeline):
        step = compiled.pipeline.step(name)
        inputs = {n.name: held[n.name] for n in step.needs if n.name in held}
        result = kale_step(notebook, name, inputs=inputs, params=params)
        said |= said_by_cell(read(result.notebook), {str(notebook.parent): "<workspace>"})
        held |= {n: result[n] for n in result.variables if not failed(result, n)}
    assert of_steps(Way(said), marked) == of_steps(piped, marked)


def failed(result: StepResult, name: str) -> bool:
    try:
        result[name]
    except MarshalError:
        return True
    return False
