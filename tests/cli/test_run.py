"""`kale run` on an engine that runs nothing: what is said, where, and with which exit code."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kale_nb.cli import main
from tests.cli.conftest import WriteNotebook, child_environment

pytestmark = pytest.mark.usefixtures("fake_engine")

PARAMS = ("parameters", "lr = 0.1  # learning rate\nnames = ('a', 'b')\ncount: int | None = None")
LOAD = ("step:load", "data = [1, 2]")
FIT = ("step:fit prev:load", "model = sum(data)")
FAIL = ("step:fail-here prev:load", "broken = data[0]")
END = ("step:end prev:fail-here", "print(broken)")
RUN = ["run", "nb.ipynb", "--engine", "fake"]


def run_of(folder: Path) -> Path:
    (found,) = (folder / ".kale" / "runs").iterdir()
    return found


def test_a_good_run_tells_each_step_and_ends_with_a_summary(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD, FIT)
    assert main(RUN) == 0
    text = capsys.readouterr().out
    for part in (
        "2 steps",
        "load  running",
        "fit   succeeded in 0.25 s",
        "nb succeeded in",
        "metrics",
        "score",
        "0.75",
        "answer",
        "42",
    ):
        assert part in text, part
    assert str(run_of(folder).relative_to(folder)) in text


def test_a_run_writes_into_dot_kale_only(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(LOAD, FIT)
    main(RUN)
    assert sorted(os.listdir(folder)) == [".kale", "nb.ipynb"]
    assert {"run.json", "pipeline.json", "stepbooks", "executed"} <= set(os.listdir(run_of(folder)))
    assert sorted(os.listdir(run_of(folder) / "stepbooks")) == ["fit.ipynb", "load.ipynb"]


def test_a_failed_run_tells_step_cell_traceback_what_stays_and_a_command_that_works(
    write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD, FAIL, END)
    assert main(RUN) == 1
    seen = capsys.readouterr()
    for part in (
        "step fail-here failed: ZeroDivisionError: division by zero",
        "nb.ipynb[cell 2]:3",
        "1 / 0",
        "hint: look at the divisor",
    ):
        assert part in seen.err, part
    assert "what finished stays in" in seen.err
    assert "end" in seen.out
    assert "skipped" in seen.out
    command = next(line for line in seen.err.splitlines() if line.startswith("look closer: "))
    words = shlex.split(command.removeprefix("look closer: "))
    assert words[0] == "kale"
    assert main(words[1:]) == 0
    assert "hello from fail-here" in capsys.readouterr().out


def test_quiet_says_nothing_of_a_good_run_and_the_failure_of_a_bad_one(
    write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD, FIT)
    assert main([*RUN, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    write_notebook(LOAD, FAIL)
    assert main([*RUN, "--quiet"]) == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "fail-here" in seen.err


def test_json_events_are_all_that_is_on_stdout(write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]) -> None:
    write_notebook(LOAD, FAIL, END)
    assert main([*RUN, "--json-events"]) == 1
    seen = capsys.readouterr()
    words = [json.loads(line)["event"] for line in seen.out.splitlines()]
    words = [word for word in words if word != "diagnostic"]
    assert words[0] == "run-started"
    assert words[-1] == "run-finished"
    assert "ZeroDivisionError" in seen.err


def test_json_events_of_a_notebook_with_errors_are_diagnostics(
    write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(("step:a", "print(nowhere)"))
    assert main([*RUN, "--json-events"]) == 2
    (found,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found["event"] == "diagnostic"
    assert (found["severity"], found["cell"]) == ("error", 1)


def test_parameters_come_from_file_and_command_line_which_wins(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(PARAMS, LOAD)
    (folder / "p.yaml").write_text("lr: 0.5\nnames: [x, y]\n")
    assert main([*RUN, "--params-file", "p.yaml", "-p", "lr=0.9", "-p", "count=3", "-q"]) == 0
    record = json.loads((run_of(folder) / "run.json").read_text())
    assert record["params"] == {"lr": "0.9", "names": "('x', 'y')", "count": "3"}


def test_help_params_lists_name_type_default_and_comment(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(PARAMS, LOAD)
    assert main([*RUN, "--help-params"]) == 0
    text = capsys.readouterr().out
    for part in ("lr", "float", "0.1", "learning rate", "('a', 'b')", "int or None"):
        assert part in text, part
    assert os.listdir(folder) == ["nb.ipynb"]


def test_dry_run_tells_the_plan_and_makes_nothing(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(PARAMS, LOAD, FIT, ("step:other", "print(1)"))
    assert main([*RUN, "--dry-run", "--until", "fit", "-p", "lr=2"]) == 0
    text = capsys.readouterr().out
    for part in ("2 of 3 steps", "load: data", str(folder), "lr = 2.0"):
        assert part in text, part
    assert "other" not in text
    assert os.listdir(folder) == ["nb.ipynb"]


def test_until_runs_the_step_and_what_it_needs(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(LOAD, FIT, ("step:other", "print(1)"))
    assert main([*RUN, "--until", "fit", "-q"]) == 0
    record = json.loads((run_of(folder) / "run.json").read_text())
    assert [step["state"] for step in record["steps"]] == ["succeeded", "succeeded", "skipped"]
    assert record["until"] == ["fit"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "lr=high"], "lr"),
        (["-p", "lr"], "no value"),
        (["-p", "lrr=1"], "did you mean lr"),
        (["--params-file", "missing.yaml"], "missing.yaml"),
        (["--params-file", "nb.ipynb/x"], "cannot be read"),
        (["--until", "lod"], "did you mean load"),
        (["--until", "zzz"], "its steps are load"),
        (["--jobs", "-1"], "negative"),
        (["--jobs", "many"], "invalid int"),
        (["--engine", "warp"], "warp"),
        (["--workspace", "missing"], "not a folder"),
        (["--workspace", "/"], "whole machine"),
        (["--runs-dir", "runs"], ".kaleignore"),
        (["--output-dir", "nb.ipynb"], "is a file"),
        (["--max-workspace-size", "big"], "not a size"),
        (["--fail-fast", "--keep-going"], "not allowed with"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_option_is_told_in_one_line_and_nothing_runs(
    words: list[str], said: str, folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(PARAMS, LOAD, FIT)
    assert main([*RUN, *words]) == 2
    seen = capsys.readouterr()
    assert seen.err.startswith("error: ")
    assert said in seen.err
    assert "Traceback" not in seen.err
    assert not (folder / ".kale").exists()


@pytest.mark.parametrize(("name", "begins"), [("a.svg", "<svg"), ("a.SVG", "<svg"), ("a.txt", "●"), ("a", "●")])
def test_a_drawing_is_what_its_file_is_called(name: str, begins: str, folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(LOAD, FIT)
    assert main(["graph", "nb.ipynb", "-o", name]) == 0
    assert (folder / name).read_text().startswith(begins)


def test_a_drawing_of_a_kind_that_there_is_not_is_refused(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD, FIT)
    assert main(["graph", "nb.ipynb", "-o", "a.png"]) == 2
    told = capsys.readouterr().err
    assert "a.png cannot be drawn" in told
    assert ".svg or .txt" in told
    assert os.listdir(folder) == ["nb.ipynb"]
    assert main(["graph", "nb.ipynb", "-o", "a.dat", "--format", "text"]) == 0


def test_paths_outside_of_the_current_folder_are_told_without_detours(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_notebook(LOAD)
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    assert main(["run", "../nb.ipynb", "--engine", "fake"]) == 0
    seen = capsys.readouterr().out
    assert str(folder / ".kale" / "runs") in seen
    assert ".." not in seen
    assert main(["run", "../nb.ipynb", "--engine", "fake", "--dry-run"]) == 0
    assert f"workspace  {folder}\n" in capsys.readouterr().out


def test_a_collection_of_clones_does_not_speak_of_the_runs_as_gone(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD)
    for _ in range(2):
        assert main([*RUN, "-q"]) == 0
    for made in (folder / ".kale" / "runs").iterdir():
        (made / "work").mkdir()
    for dry, said in (("--dry-run", "its clones would go: too many"), ("--clones", "its clones went: too many")):
        assert main(["gc", "--keep", "1", "--clones", dry]) == 0
        assert said in capsys.readouterr().out
    assert len(list((folder / ".kale" / "runs").iterdir())) == 2
    assert main(["gc", "--keep", "1"]) == 0
    assert "  went: too many" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["compile"], ["compile", "--target", "kfp"], ["graph"]])
def test_errors_of_a_command_that_runs_nothing_do_not_speak_of_running(
    words: list[str], folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(("step:a", "print(nowhere)" if len(words) == 1 else "x = 1"))
    assert main([*words, "nb.ipynb"]) == 2
    assert capsys.readouterr().err.endswith("error: 1 error: nothing was written\n")
    assert os.listdir(folder) == ["nb.ipynb"]


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize(("words", "there"), [(["snapshots", "--kfp"], False), (["clean"], False), (["doctor", "--kfp"], True)])
def test_a_hint_names_no_option_that_the_command_lacks(
    words: list[str], there: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) != 0
    seen = capsys.readouterr()
    assert "nothing says where a Kubernetes cluster is" in " ".join((seen.err + seen.out).split())
    assert ("--no-snapshot" in seen.err + seen.out) is there


@pytest.mark.parametrize("content", ["lr: [", "- a\n- b\n", "1: 2\n", "lr: high\n", "zzz: 1\n", "\x00"])
def test_a_wrong_params_file_is_told(
    content: str, folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(PARAMS, LOAD)
    (folder / "p.yaml").write_text(content)
    assert main([*RUN, "--params-file", "p.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_empty_params_file_sets_nothing(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(PARAMS, LOAD)
    (folder / "p.yaml").write_text("# nothing\n")
    assert main([*RUN, "--params-file", "p.yaml", "-q"]) == 0


BAD_FILES = {
    "missing.ipynb": None,
    "empty.ipynb": b"",
    "cut.ipynb": b'{"cells": [{"cell_type": "co',
    "list.ipynb": b"[]",
    "binary.ipynb": bytes(range(256)) * 10,
    "text.txt": b"hello",
    "no-cells.ipynb": b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
}


@pytest.mark.parametrize("command", ["run", "check", "compile", "graph", "verify"])
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_notebook_is_told_with_exit_code_2(
    command: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = BAD_FILES[name]
    if content is not None:
        (folder / name).write_bytes(content)
    code = main([command, name])
    seen = capsys.readouterr()
    assert code == 2 or (command == "check" and code == 1), seen
    assert "error" in seen.err + seen.out
    assert name in seen.err + seen.out
    assert "Traceback" not in seen.err


def test_a_folder_names_the_notebooks_in_it(write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]) -> None:
    write_notebook(LOAD)
    assert main(["run", "."]) == 2
    assert "nb.ipynb" in capsys.readouterr().err


def test_a_forgotten_suffix_is_guessed(write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]) -> None:
    write_notebook(LOAD)
    assert main(["run", "nb"]) == 2
    assert "did you mean nb.ipynb?" in capsys.readouterr().err


def test_errors_of_the_notebook_are_told_all_at_once_and_nothing_runs(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(("step:a", "print(nowhere)"), ("step:b prev:zzz", "print(elsewhere)"))
    assert main(RUN) == 2
    text = capsys.readouterr().err
    assert "nowhere" in text
    assert "zzz" in text
    assert "nothing was run" in text
    assert not (folder / ".kale").exists()


def test_a_compiled_folder_runs_like_its_notebook(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(PARAMS, LOAD, FIT)
    assert main(["compile", "nb.ipynb", "-o", "out", "-q"]) == 0
    for target in ("out", "out/pipeline.json"):
        assert main(["run", target, "--engine", "fake", "-q", "-p", "lr=3"]) == 0
    records = [json.loads((run / "run.json").read_text()) for run in (folder / ".kale" / "runs").iterdir()]
    assert [record["state"] for record in records] == ["succeeded", "succeeded"]


def test_the_home_folder_is_a_workspace_only_when_it_is_meant(
    folder: Path, write_notebook: WriteNotebook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD)
    monkeypatch.setenv("HOME", str(folder))
    assert main([*RUN, "-q"]) == 2
    assert "home folder" in capsys.readouterr().err
    assert main([*RUN, "-q", "--workspace", "."]) == 0


def test_a_workspace_above_the_notebook_starts_steps_in_the_notebooks_folder(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sub").mkdir()
    write_notebook(LOAD, name="sub/nb.ipynb")
    assert main(["run", "sub/nb.ipynb", "--workspace", ".", "--dry-run"]) == 0
    assert "starts in  sub" in capsys.readouterr().out


def test_a_read_only_workspace_says_where_the_run_is(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD)
    (folder / ".kale").write_text("a file in the way, which stops even root")
    assert main(RUN) == 0
    text = capsys.readouterr().out
    assert "cannot be written" in text
    assert main(["show"]) == 0
    assert "cannot be written" in capsys.readouterr().out


def test_retries_and_warnings_are_in_the_summary(write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]) -> None:
    write_notebook(("step:retry-it", "x = 1"))
    assert main(RUN) == 0
    text = capsys.readouterr().out
    assert "next attempt in 0.50 s: ZeroDivisionError" in text
    assert "2 attempts" in text
    assert "changed in place" in text


def test_a_defect_of_ours_shows_no_traceback_unless_asked_and_leaves_a_record(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_notebook(("step:defect", "x = 1"))
    assert main(RUN) == 70
    seen = capsys.readouterr()
    assert "defect of kale: ZeroDivisionError" in seen.err
    assert "Traceback" not in seen.err
    record = json.loads((run_of(folder) / "run.json").read_text())
    assert (record["state"], record["error"]) == ("failed", "ZeroDivisionError: a defect of the engine")
    with pytest.raises(ZeroDivisionError):
        main([*RUN, "--debug"])
    monkeypatch.setenv("KALE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(RUN)


def child(words: list[str], plugins: Path, **options: object) -> subprocess.Popen[bytes]:
    env = child_environment(plugins)
    return subprocess.Popen([sys.executable, "-m", "kale_nb", *words], env=env, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("words", [RUN, [*RUN, "--json-events"], ["check", "nb.ipynb"], ["graph", "nb.ipynb"], ["--help"]])
def test_a_reader_that_leaves_is_no_error(words: list[str], fake_engine: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(LOAD, FIT)
    read, write = os.pipe()
    os.close(read)
    process = child(words, fake_engine, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err
    assert b"BrokenPipe" not in err


def test_output_that_the_terminal_cannot_spell_is_no_error(
    fake_engine: Path, write_notebook: WriteNotebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    write_notebook(("step:größe", "x = 1"), ("step:训练 prev:größe", "print(x)"))
    for words in (RUN, ["check", "nb.ipynb"], ["graph", "nb.ipynb"], ["runs"], ["show"]):
        process = child(words, fake_engine, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b""), words
