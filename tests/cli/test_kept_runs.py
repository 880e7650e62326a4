"""`kale runs` and `kale show`: looking at what runs left."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from pathlib import Path

import pytest

from kale_nb.cli import main
from kale_nb.report.summary import show_command
from kale_nb.runs.events import State
from kale_nb.runs.recorder import write_record
from kale_nb.runs.store import open_store
from tests.cli.driving import ended
from tests.cli.kept import keep_run


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def test_runs_lists_newest_last_with_what_matters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = keep_run(tmp_path)
    second = keep_run(tmp_path, state=State.SUCCEEDED, started=2e9, steps=first.steps[:1])
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [first.id, second.id]
    assert "failed" in lines[0]
    assert "fit failed" in lines[0]
    assert "rows 3" in lines[1]


def test_runs_of_an_empty_folder_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "no runs" in capsys.readouterr().out
    assert main(["runs", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_runs_are_found_from_a_folder_below_and_by_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = keep_run(tmp_path)
    below = tmp_path / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    main(["runs"])
    assert record.id in capsys.readouterr().out
    main(["runs", "--workspace", "../.."])
    assert record.id in capsys.readouterr().out


def test_show_tells_steps_metrics_results_warnings_failure_and_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = keep_run(tmp_path)
    assert main(["show"]) == 0
    text = capsys.readouterr().out
    for part in (
        record.id, "lr", "0.1", "load", "succeeded", "1.5 s", "2 attempts", "rows", "df", "changed in place", "odd thing",
        "step fit failed: ZeroDivisionError: division by zero", "nb.ipynb[cell 4]:2", "1 / 0", "hint: look at the divisor", "work",
    ):  # fmt: skip
        assert part in text, part


def test_show_step_prints_its_outputs_by_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep_run(tmp_path)
    assert main(["show", "latest", "load"]) == 0
    text = capsys.readouterr().out
    assert "── cell 2\nrows 3\ncols 2\n<Figure>\n(image/png)" in text
    assert "attempt 1 failed" in text
    assert "OSError: not yet" in text


def test_show_step_prints_the_log_when_there_is_no_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = keep_run(tmp_path)
    (record.directory / "logs").mkdir()
    (record.directory / "logs" / "fit.log").write_bytes(b"from the \xff log\n")
    assert main(["show", record.id, "fit"]) == 0
    text = capsys.readouterr().out
    assert "from the � log" in text
    assert "ZeroDivisionError" in text


def test_show_as_json_is_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = keep_run(tmp_path)
    assert main(["show", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == record.id
    assert main(["show", "latest", "fit", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["failure"]["cell"] == 4


@pytest.mark.parametrize("words", [["nothing"], ["latest", "stray"], ["../up"]])
def test_show_of_what_is_not_there_says_so(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep_run(tmp_path)
    assert main(["show", *words]) == 2
    assert "error:" in capsys.readouterr().err


def test_show_of_a_damaged_record_is_an_error_without_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = keep_run(tmp_path)
    (record.directory / "run.json").write_text("{")
    assert main(["show", record.id]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_damaged_executed_notebook_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = keep_run(tmp_path)
    (record.directory / "executed" / "load.ipynb").write_text("{")
    assert main(["show", record.id, "load"]) == 0
    assert "cannot be read" in capsys.readouterr().out


def test_the_command_to_look_closer_works_from_wherever_it_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "my work"
    workspace.mkdir()
    record = keep_run(workspace)
    for place in (workspace, tmp_path):
        monkeypatch.chdir(place)
        command = shlex.split(show_command(record, record.step("fit")))
        assert main(command[1:]) == 0
        assert "ZeroDivisionError" in capsys.readouterr().out


def test_the_command_to_look_closer_names_a_runs_folder_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = keep_run(tmp_path, workspace=tmp_path / "elsewhere")
    assert "--runs-dir" in show_command(record)
    assert main(shlex.split(show_command(record))[1:]) == 0
    capsys.readouterr()


def test_hundreds_of_runs_are_listed_in_a_moment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(tmp_path)
    text = (keep_run(tmp_path).directory / "run.json").read_text()
    for _ in range(300):
        (store.create("demo") / "run.json").write_text(text)
    assert main(["runs"]) == 0
    assert "281 older" in capsys.readouterr().out


def test_a_run_in_a_folder_whose_name_is_no_text_is_shown_with_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"w\xff")
    folder.mkdir()
    made = keep_run(folder)
    write_record(dataclasses.replace(made, clone=made.directory / "work"))
    said = ended("show", made.id, cwd=folder)
    assert said.code == 0, said.err
    assert "files it wrote" in said.out
    assert "not there any more" not in said.out
    assert "rows 3" in ended("show", made.id, "load", cwd=folder).out
