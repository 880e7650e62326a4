"""`nbconvert --to kale`, run as its users run it: every way of writing, every way to fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kale_nb.compiler import compile_notebook, read_compiled, write_compiled
from tests.exporters.converting import BAD, EXAMPLES, GOLDENS, GOOD, as_compiled, convert, files_of, save


def compiled_by_kale(path: Path, where: Path) -> dict[str, str]:
    write_compiled(compile_notebook(path), where)
    return files_of(where)


def test_the_examples_come_out_as_their_goldens(tmp_path: Path) -> None:
    for example in EXAMPLES:
        shutil.copy(example, tmp_path)
    done = convert(tmp_path, *(p.name for p in EXAMPLES), "--output-dir", "out")
    assert done.returncode == 0, done.stderr
    written = files_of(tmp_path / "out")
    for example in EXAMPLES:
        assert as_compiled(written, example.stem) == files_of(GOLDENS / example.stem)
    assert {name.partition(".")[0].partition("_files")[0] for name in written} == {p.stem for p in EXAMPLES}


def test_a_folder_before_the_name_goes_into_the_pipeline_as_kale_compile_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "deep" / "größe.ipynb", *GOOD)
    assert convert(tmp_path, "deep/größe.ipynb").returncode == 0
    monkeypatch.chdir(tmp_path)
    expected = compiled_by_kale(Path("deep/größe.ipynb"), tmp_path / "expected")
    assert as_compiled(files_of(tmp_path / "deep"), "größe") == expected


@pytest.mark.parametrize(
    ("words", "pipeline_file", "steps"),
    [
        (["nb.ipynb"], "nb.kale.json", "nb_files/steps"),
        (["nb"], "nb.kale.json", "nb_files/steps"),
        (["nb.ipynb", "--output", "flow"], "flow.kale.json", "flow_files/steps"),
        (["nb.ipynb", "--output", "{notebook_name}-flow"], "nb-flow.kale.json", "nb-flow_files/steps"),
        (["nb.ipynb", "--output", "flow.kale.json"], "flow.kale.json", "flow.kale.json_files/steps"),
        (["nb.ipynb", "--output", "flow.json"], "flow.json", "flow.json_files/steps"),
        (["nb.ipynb", "--output-dir", "a/b"], "a/b/nb.kale.json", "a/b/nb_files/steps"),
        (["nb.ipynb", "--output-dir", "a", "--output", "b"], "a/b.kale.json", "a/b_files/steps"),
        (["nb.ipynb", "--output", "a/b"], "a/b.kale.json", "a/b_files/steps"),
        (["nb.ipynb", "--output", "{notebook_name}/b"], "nb/b.kale.json", "nb/b_files/steps"),
        (["nb.ipynb", "--output", "a/b", "--output-dir", "c"], "c/a/b.kale.json", "c/a/b_files/steps"),
        (["nb.ipynb", "--output", "a/b", "--NbConvertApp.output_files_dir", "shared"], "a/b.kale.json", "a/shared/b/steps"),
        (["nb.ipynb", "--output", "a/b", "--NbConvertApp.output_files_dir", "x/{notebook_name}"], "a/b.kale.json", "a/x/b/steps"),
        (["nb.ipynb", "--output", "a/b", "--NbConvertApp.output_files_dir", ""], "a/b.kale.json", "a/b/steps"),
        (["nb.ipynb", "--NbConvertApp.output_files_dir", "shared"], "nb.kale.json", "shared/nb/steps"),
        (["nb.ipynb", "--NbConvertApp.output_files_dir", "x/{notebook_name}"], "nb.kale.json", "x/nb/steps"),
        (["nb.ipynb", "--NbConvertApp.output_files_dir", ""], "nb.kale.json", "nb/steps"),
    ],
    ids=" ".join,
)
def test_what_is_written_is_read_back_whole(words: list[str], pipeline_file: str, steps: str, tmp_path: Path) -> None:
    nb = save(tmp_path / "nb.ipynb", *GOOD)
    done = convert(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    written = files_of(tmp_path)
    assert set(written) == {"nb.ipynb", pipeline_file, f"{steps}/load.ipynb", f"{steps}/total.ipynb"}
    made = read_compiled(tmp_path / pipeline_file)
    assert [book.step for book in made.stepbooks] == ["load", "total"]
    assert made.pipeline.source_sha256 == compile_notebook(nb).pipeline.source_sha256


@pytest.mark.parametrize("absolute", [False, True])
def test_an_output_in_a_folder_elsewhere_is_read_back_whole(absolute: bool, tmp_path: Path) -> None:
    save(tmp_path / "from" / "nb.ipynb", *GOOD)
    (tmp_path / "to").mkdir()
    output = str(tmp_path / "to" / "flow") if absolute else "../to/flow"
    done = convert(tmp_path / "from", "nb.ipynb", "--output", output)
    assert done.returncode == 0, done.stderr
    assert set(files_of(tmp_path / "to")) == {"flow.kale.json", "flow_files/steps/load.ipynb", "flow_files/steps/total.ipynb"}
    assert set(files_of(tmp_path / "from")) == {"nb.ipynb"}
    assert [book.step for book in read_compiled(tmp_path / "to" / "flow.kale.json").stepbooks] == ["load", "total"]


def test_notebooks_with_steps_of_the_same_names_do_not_meet_in_one_folder(tmp_path: Path) -> None:
    save(tmp_path / "a.ipynb", *GOOD)
    save(tmp_path / "e.ipynb", "%%step load\nrows = [3]", "%%step total --after load\nprint(max(rows))")
    done = convert(tmp_path, "*.ipynb", "--output-dir", "out", "--NbConvertApp.output_files_dir", "shared")
    assert done.returncode == 0, done.stderr
    for name in "ae":
        expected = compiled_by_kale(tmp_path / f"{name}.ipynb", tmp_path / name)
        [total] = [b.notebook for b in read_compiled(tmp_path / "out" / f"{name}.kale.json").stepbooks if b.step == "total"]
        sources = [cell["source"] for cell in json.loads(expected["steps/total.ipynb"])["cells"]]
        assert [cell["source"] for cell in total["cells"]] == sources


def test_standard_output_gets_the_pipeline_file_and_nothing_else(tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", *GOOD)
    done = convert(tmp_path, "nb.ipynb", "--stdout")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "nb"
    assert "without its 2 stepbooks it cannot run" in done.stderr
    assert set(files_of(tmp_path)) == {"nb.ipynb"}


def test_a_notebook_on_standard_input_is_called_notebook(tmp_path: Path) -> None:
    nb = save(tmp_path / "notebook.ipynb", *GOOD)
    text = nb.read_text(encoding="utf-8")
    expected = compiled_by_kale(nb, tmp_path / "expected")
    shutil.rmtree(tmp_path / "expected")
    nb.unlink()
    done = convert(tmp_path, "--stdin", stdin=text)
    assert done.returncode == 0, done.stderr
    same = {name: t.replace(str(tmp_path) + "/", "") for name, t in expected.items()}
    assert as_compiled(files_of(tmp_path), "notebook") == same


def test_the_name_of_the_pipeline_can_be_given(tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", "%pipeline --name inside", *GOOD)
    done = convert(tmp_path, "nb.ipynb", "--KaleExporter.name=out side")
    assert done.returncode == 0, done.stderr
    compiled = read_compiled(tmp_path / "nb.kale.json")
    assert compiled.pipeline.name == "out side"
    assert {b.notebook["metadata"]["kale"]["pipeline"] for b in compiled.stepbooks} == {"out side"}


def test_preprocessors_before_it_have_effect(tmp_path: Path) -> None:
    nb = save(tmp_path / "nb.ipynb", *GOOD, "%%step extra --after total\nprint(undefined)")
    value = json.loads(nb.read_text(encoding="utf-8"))
    value["cells"][2]["metadata"]["tags"] = ["draft"]
    nb.write_text(json.dumps(value), encoding="utf-8")
    assert convert(tmp_path, "nb.ipynb").returncode == 1
    done = convert(tmp_path, "nb.ipynb", "--TagRemovePreprocessor.enabled=True", "--TagRemovePreprocessor.remove_cell_tags=draft")
    assert done.returncode == 0, done.stderr
    assert [s.name for s in read_compiled(tmp_path / "nb.kale.json").pipeline.steps] == ["load", "total"]


def test_a_mistake_is_told_with_its_cell_and_line_and_nothing_is_written(tmp_path: Path) -> None:
    save(tmp_path / "bad.ipynb", *BAD)
    done = convert(tmp_path, "bad.ipynb")
    assert done.returncode == 1
    assert "bad.ipynb[cell 2]:2:11: error KN301 undefined-name: " in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert set(files_of(tmp_path)) == {"bad.ipynb"}


def test_of_several_notebooks_those_before_the_mistake_are_whole_and_the_others_not_there(tmp_path: Path) -> None:
    for name, cells in {"a": GOOD, "b": BAD, "c": GOOD}.items():
        save(tmp_path / f"{name}.ipynb", *cells)
    done = convert(tmp_path, "a.ipynb", "b.ipynb", "c.ipynb", "--output-dir", "out")
    assert done.returncode == 1
    assert "b.ipynb[cell 2]:2:11" in done.stderr
    assert set(files_of(tmp_path / "out")) == {"a.kale.json", "a_files/steps/load.ipynb", "a_files/steps/total.ipynb"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"cells": [', "the file ends in the middle"),
        ("print(1)", "the file is not JSON"),
        ("", "the file is empty"),
        ("[1]", "its top level is a list"),
        (
            '{"cells": [], "metadata": {"kernelspec": {"name": "ir", "language": "R"}}, "nbformat": 4, "nbformat_minor": 5}',
            "is in R",
        ),
        ('{"cells": [], "metadata": {}, "nbformat": 9, "nbformat_minor": 0}', "newer than format 4"),
        ('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "error KN010"),
    ],
)
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_what_is_no_python_notebook_is_told_without_a_traceback(way: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text(content, encoding="utf-8")
    done = convert(tmp_path, "x.ipynb") if way == "file" else convert(tmp_path, "--stdin", stdin=content)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert set(files_of(tmp_path)) == {"x.ipynb"}


def test_warnings_are_told_and_do_not_stop_it(tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", *GOOD, kubeflow_notebook={"pipline_name": "x"})
    done = convert(tmp_path, "nb.ipynb")
    assert done.returncode == 0
    assert "WARNING | nb.ipynb: warning KN503 unknown-setting: " in done.stderr


def test_a_target_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", *GOOD)
    done = convert(tmp_path, "nb.ipynb", "--KaleExporter.target=airflow")
    assert done.returncode == 1
    assert "KaleExporter.target cannot be 'airflow'" in done.stderr
    assert "hint: it can be local or kfp" in done.stderr
    assert "Traceback" not in done.stderr
    assert set(files_of(tmp_path)) == {"nb.ipynb"}


def test_all_help_lists_the_options_with_their_meaning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--help-all"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0
    told = done.stdout.split("KaleExporter(CompilingExporter) options")[1].split("\n\n")[0]
    for option in ("name", "target", "workspace", "snapshot", "image", "mount", "cleanup", "user", "group", "create_volumes"):
        assert f"--KaleExporter.{option}=" in told
    assert "run by `kale run`" in told
    told = done.stdout.split("KaleHtmlExporter(CompilingExporter) options")[1].split("\n\n")[0]
    for option in ("name", "outputs"):
        assert f"--KaleHtmlExporter.{option}=" in told


@pytest.mark.parametrize("gone", ["load.ipynb", "total.ipynb"])
def test_a_pipeline_file_without_a_stepbook_is_not_run(gone: str, tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", *GOOD)
    assert convert(tmp_path, "nb.ipynb").returncode == 0
    (tmp_path / "nb_files" / "steps" / gone).unlink()
    done = subprocess.run(
        [sys.executable, "-m", "kale_nb", "run", "nb.kale.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "the stepbooks of nb.kale.json are not beside it, in nb_files/steps" in done.stderr


@pytest.mark.kernel
def test_what_is_written_runs(tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", *GOOD)
    assert convert(tmp_path, "nb.ipynb", "--output-dir", "out").returncode == 0
    kale = [sys.executable, "-m", "kale_nb"]
    done = subprocess.run(
        [*kale, "run", "out/nb.kale.json", "--output-dir", "executed"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads((tmp_path / "executed" / "total.ipynb").read_text(encoding="utf-8"))["cells"]
    assert ["".join(o["text"]) for cell in cells for o in cell.get("outputs", ()) if o["output_type"] == "stream"] == ["3\n"]


@pytest.mark.kernel
def test_a_notebook_executed_on_the_way_gives_the_same_steps(tmp_path: Path) -> None:
    nb = save(tmp_path / "nb.ipynb", *(source.partition("\n")[2] for source in GOOD))
    value = json.loads(nb.read_text(encoding="utf-8"))
    for cell, tags in zip(value["cells"], (["step:load"], ["step:total", "prev:load"]), strict=True):
        cell["metadata"]["tags"] = tags
    nb.write_text(json.dumps(value), encoding="utf-8")
    done = convert(tmp_path, "nb.ipynb", "--execute")
    assert done.returncode == 0, done.stderr
    made = read_compiled(tmp_path / "nb.kale.json")
    assert all(not cell.get("outputs") for book in made.stepbooks for cell in book.notebook["cells"])
    assert [s.name for s in made.pipeline.steps] == ["load", "total"]
