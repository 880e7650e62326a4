"""Doing a run again: on what it ran on, with what it ran with, or a plain word on why not."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from kale_nb.compiler import compile_path
from kale_nb.errors import SourceError, UsageError, VolumeError
from kale_nb.results.again import again, check_overrides, compile_at
from kale_nb.results.files import run_files
from kale_nb.results.keeping import drop_clones
from kale_nb.results.reuse import bring
from kale_nb.runner import write_plan
from kale_nb.runs.environment import Surroundings, this_environment, write_surroundings
from kale_nb.runs.events import State
from kale_nb.runs.record import RunRecord
from kale_nb.runs.store import known_store, snapshot_folder
from kale_nb.volumes import SnapshotStore
from tests.cli.driving import write_cells
from tests.results.making import finished_run, tree, write


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    write(folder, {"nb.ipynb": "{}", "in.csv": "1\n"})
    return folder


def store(workspace: Path) -> SnapshotStore:
    return SnapshotStore(snapshot_folder(known_store(workspace).root))


def test_a_run_is_done_again_on_its_snapshot_whatever_became_of_the_workspace(workspace: Path) -> None:
    record = finished_run(workspace)
    write(workspace, {"in.csv": "2\n"})
    (workspace / "nb.ipynb").unlink()
    made = again(record)
    assert dict(made.snapshots) == dict(record.snapshots)
    assert (made.workspace, made.cwd, made.repeats) == (workspace, Path(), record.id)
    assert [book.step for book in made.compiled.stepbooks] == ["a", "b"]


def test_the_notebooks_folder_in_the_workspace_is_remembered(workspace: Path) -> None:
    record = finished_run(workspace, source=str(workspace / "deep" / "nb.ipynb"))
    assert again(record).cwd == Path("deep")


def test_a_moved_workspace_is_found_by_its_run(workspace: Path, tmp_path: Path) -> None:
    record = finished_run(workspace)
    workspace.rename(tmp_path / "moved")
    found = known_store(tmp_path / "moved").find(record.id)
    assert again(found).workspace == tmp_path / "moved"


def test_a_workspace_whose_name_is_no_text_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\n")
    write(folder, {"nb.ipynb": "{}", "in.csv": "1\n"})
    made = again(finished_run(folder))
    (tmp_path / "made").mkdir()
    write_plan(made.compiled, tmp_path / "made")
    told = json.loads((tmp_path / "made/pipeline.json").read_bytes())
    assert told["source"] == str(folder / "nb.ipynb")


def test_drift_of_the_environment_is_told_by_name(workspace: Path) -> None:
    record = finished_run(workspace)
    assert again(record).warnings == ()
    then = dataclasses.replace(
        this_environment(), python="2.7.18", distributions={**this_environment().distributions, "numpy": "0.1"}
    )
    write_surroundings(record.directory, Surroundings(environment=then))
    (warning,) = again(record).warnings
    assert "python: 2.7.18 -> " in warning
    assert "numpy 0.1 -> " in warning


def test_a_snapshot_that_is_gone_and_a_damaged_run_say_so(workspace: Path) -> None:
    record = finished_run(workspace)
    (record.directory / "stepbooks" / "b.ipynb").write_text("{")
    with pytest.raises(SourceError, match="stepbook"):
        again(record)
    record = finished_run(workspace)
    store(workspace).gc()
    with pytest.raises(VolumeError, match="is gone"):
        again(record)


def with_reports(workspace: Path, **reports: dict[str, object]) -> RunRecord:
    return finished_run(workspace, reports=reports)


def test_from_a_step_on_needs_nothing_when_the_steps_before_wrote_no_files(workspace: Path) -> None:
    record = with_reports(workspace, a={"created": [], "changed": [], "deleted": []})
    made = again(record, "b")
    assert made.reuse is not None
    assert ([s.name for s in made.reuse.steps], made.reuse.rerun) == (["a"], ("b",))
    assert dict(made.snapshots) == dict(record.snapshots)


def test_from_a_step_on_folders_that_the_steps_before_made_count_as_written(workspace: Path) -> None:
    with pytest.raises(UsageError, match="made folders in the workspace"):
        again(with_reports(workspace, a={"created": [], "folders": ["out/"]}), "b")


def test_from_a_step_on_takes_the_snapshot_after_the_step_that_wrote(workspace: Path) -> None:
    record = with_reports(workspace, a={"created": ["x"], "changed": [], "deleted": []})
    with pytest.raises(UsageError, match="wrote files"):
        again(record, "b")
    write(workspace, {"x": "made by a"})
    after = store(workspace).snapshot(workspace)
    first, second = record.steps
    record = dataclasses.replace(record, steps=(dataclasses.replace(first, snapshots={"workspace": after.id}), second))
    assert again(record, "b").snapshots == {"workspace": after.id}


def test_a_snapshot_that_lacks_what_the_steps_before_left_is_refused(workspace: Path) -> None:
    after = store(workspace).snapshot(workspace)
    for report, lacks in (({"created": ["cache/x"]}, True), ({"deleted": ["cache/x"]}, False), ({"changed": ["in.csv"]}, False)):
        record = with_reports(workspace, a=report)
        first, second = record.steps
        record = dataclasses.replace(record, steps=(dataclasses.replace(first, snapshots={"workspace": after.id}), second))
        if lacks:
            with pytest.raises(UsageError, match="lacks cache/x, which step a left"):
                again(record, "b")
        else:
            assert again(record, "b").snapshots == {"workspace": after.id}


def test_a_step_that_did_not_report_its_files_may_have_written_some(workspace: Path) -> None:
    with pytest.raises(UsageError, match="wrote files"):
        again(finished_run(workspace), "b")


def test_from_a_step_on_needs_the_values_of_the_steps_before(workspace: Path) -> None:
    record = with_reports(workspace, a={"created": []})
    failed = dataclasses.replace(record.steps[0], state=State.FAILED)
    with pytest.raises(UsageError, match="did not succeed"):
        again(dataclasses.replace(record, steps=(failed, record.steps[1])), "b")
    with pytest.raises(UsageError, match="no step 'c'"):
        again(record, "c")
    drop_clones(record, "kale gc --clones")
    with pytest.raises(VolumeError, match="kale gc --clones"):
        again(record, "b")


def test_what_reused_steps_left_is_copied_whole_and_apart(workspace: Path, tmp_path: Path) -> None:
    record = with_reports(workspace, a={"created": []})
    made = again(record, "b")
    assert made.reuse is not None
    new = tmp_path / "new"
    (new / "data").mkdir(parents=True)
    bring(made.reuse, new)
    assert tree(new / "data" / "a") == tree(record.directory / "data" / "a")
    assert not (new / "data" / "b").exists()
    with open(new / "data" / "a" / "values" / "values.bin", "r+b") as file:
        file.write(b"changed")
    assert tree(new / "data" / "a") != tree(record.directory / "data" / "a")
    shutil.rmtree(record.directory)
    with pytest.raises(UsageError, match="being removed"):
        bring(made.reuse, tmp_path / "other")


def test_a_notebook_is_compiled_as_the_snapshot_holds_it(workspace: Path) -> None:
    path = write_cells(workspace / "nb.ipynb", "### step:old\nx = 1\n")
    taken = store(workspace).snapshot(workspace)
    write_cells(path, "### step:new\nx = 1\n")
    found = compile_at(path, taken.id[:9], store(workspace))
    assert [step.name for step in found.compiled.pipeline.steps] == ["old"]
    assert (found.snapshot, found.workspace, found.cwd) == (taken.id, workspace, Path())
    assert found.compiled.pipeline.source == str(path)
    path.unlink()
    assert [step.name for step in compile_at(path, taken.id, store(workspace)).compiled.pipeline.steps] == ["old"]
    assert not list(store(workspace).directory.glob(".at-*"))


def test_a_script_is_compiled_with_its_modules_of_then(workspace: Path) -> None:
    script = "from kale.sdk import pipeline, step\nfrom helper import NAME\n\n@step(name=NAME)\ndef one():\n    pass\n\n@pipeline\ndef p():\n    one()\n"
    write(workspace, {"run.py": script, "helper.py": "NAME = 'then'\n"})
    taken = store(workspace).snapshot(workspace)
    write(workspace, {"helper.py": "NAME = 'now'\n"})
    found = compile_at(workspace / "run.py", taken.id, store(workspace))
    assert [step.name for step in found.compiled.pipeline.steps] == ["then"]


def test_a_notebook_that_the_snapshot_does_not_hold_is_told(workspace: Path, tmp_path: Path) -> None:
    taken = store(workspace).snapshot(workspace)
    with pytest.raises(SourceError, match="holds no file other.ipynb"):
        compile_at(workspace / "other.ipynb", taken.id, store(workspace))
    with pytest.raises(UsageError, match="is not in it"):
        compile_at(tmp_path / "nb.ipynb", taken.id, store(workspace))
    with pytest.raises(VolumeError):
        compile_at(workspace / "nb.ipynb", "f" * 12, store(workspace))


def test_a_parameter_that_a_reused_step_has_read_cannot_be_another(workspace: Path) -> None:
    record = with_reports(workspace, a={"created": []})
    told = json.loads((record.directory / "pipeline.json").read_text())
    told["params"] = [{"name": n, "type": "float", "default": "0.5"} for n in ("rate", "free")]
    told["steps"][0]["prelude_reads"] = ["rate"]
    (record.directory / "pipeline.json").write_text(json.dumps(told))
    made = again(record, "b")
    check_overrides(made, {"free": 2.0, "rate": 0.5})
    with pytest.raises(UsageError, match="step a, .* reads parameter rate"):
        check_overrides(made, {"rate": 2.0})
    check_overrides(again(record), {"rate": 2.0})


@pytest.mark.parametrize(
    ("prelude", "step", "why"),
    [
        ("m = rates[0]", "x = m", "runs imports, functions or parameters cells that read parameter rates, .* all of it again: "),
        ("", "x = eval(input())", "step a, .* may read parameter rates, .* begin there: .* --step a"),
        ("", "x = rates", "step a, .* reads parameter rates, .* begin there: .* --step a"),
        ("", "x = 1", ""),
    ],
)
def test_a_parameter_that_a_reused_step_may_have_read_cannot_be_another(
    workspace: Path, prelude: str, step: str, why: str
) -> None:
    cells = f"### parameters\nrates = [1]\n### imports\n{prelude}\n### step:a\n{step}\n### step:b prev:a\nprint(rates)\n"
    compiled = compile_path(write_cells(workspace / "nb.ipynb", cells))
    record = finished_run(workspace, reports={"a": {"created": []}})
    made = dataclasses.replace(again(record, "b"), compiled=compiled)
    check_overrides(made, {"rates": [1]})
    if not why:
        check_overrides(made, {"rates": [True]})
        return
    with pytest.raises(UsageError) as refused:
        check_overrides(made, {"rates": [True]})
    assert re.search(why, f"{refused.value.message}, {refused.value.hint}")


def test_what_it_all_began_with_is_what_files_are_compared_with(workspace: Path) -> None:
    begun = store(workspace).snapshot(workspace)
    write(workspace, {"x": "made by a"})
    record = finished_run(workspace, origins={"workspace": begun.id})
    assert [f.name for f in run_files(record)] == ["x"]
    assert dict(again(record).snapshots) == {"workspace": begun.id}


def test_params_come_back_as_values(workspace: Path) -> None:
    record = finished_run(workspace)
    told = json.loads((record.directory / "pipeline.json").read_text())
    told["params"] = [{"name": "rate", "type": "float", "default": "0.5"}]
    (record.directory / "pipeline.json").write_text(json.dumps(told))
    assert again(dataclasses.replace(record, params={"rate": "0.25"})).params == {"rate": 0.25}
    with pytest.raises(SourceError, match="parameters"):
        again(dataclasses.replace(record, params={"gone": "1"}))


def test_a_virtual_environment_in_the_workspace_that_changed_is_told(workspace: Path) -> None:
    write(
        workspace, {"env/pyvenv.cfg": "version = 3.11.2\n", "env/lib/python3.11/site-packages/numpy-1.0.dist-info/METADATA": ""}
    )
    record = finished_run(workspace)
    assert again(record).warnings == ()
    write(workspace, {"env/lib/python3.11/site-packages/scipy-1.0.dist-info/METADATA": ""})
    (warning,) = again(record).warnings
    assert "virtual environment env" in warning
    shutil.rmtree(workspace / "env")
    assert len(again(record).warnings) == 1
