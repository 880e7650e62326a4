"""Every example compiles to its golden, runs as a pipeline, and prints what it prints as a notebook."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kale_nb.compiler import compile_notebook, compile_path, write_compiled
from kale_nb.diagnostics import CompileError

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*/*.ipynb"))
REFUSED = {"mistakes"}
GOLDENS = Path(__file__).parent / "goldens"

good = pytest.mark.parametrize("example", [p for p in EXAMPLES if p.stem not in REFUSED], ids=lambda p: p.stem)


def files_of(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*")) if p.is_file()}


@good
def test_an_example_compiles_to_its_golden(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update_goldens: bool
) -> None:
    monkeypatch.chdir(example.parent)
    write_compiled(compile_notebook(example.name), tmp_path / example.stem)
    golden = GOLDENS / example.stem
    if update_goldens:
        shutil.rmtree(golden, ignore_errors=True)
        shutil.copytree(tmp_path / example.stem, golden)
    assert files_of(tmp_path / example.stem) == files_of(golden), "if the change is meant: pytest tests/examples --update-goldens"


@good
def test_an_example_is_stored_without_outputs(example: Path) -> None:
    cells = json.loads(example.read_text(encoding="utf-8"))["cells"]
    assert [c for c in cells if c.get("outputs") or c.get("execution_count")] == []


@good
def test_an_example_has_nothing_to_warn_of(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example.parent)
    assert [d.render() for d in compile_notebook(example.name).diagnostics] == []


def test_the_example_of_mistakes_is_refused_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "examples" / "mistakes")
    with pytest.raises(CompileError) as caught:
        compile_notebook("mistakes.ipynb")
    text = str(caught.value)
    assert "gross" in text
    assert "net" in text
    assert "average" in text


SCRIPT = ROOT / "examples" / "script" / "forecast.py"


def test_the_script_compiles_to_its_golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update_goldens: bool) -> None:
    monkeypatch.chdir(SCRIPT.parent)
    compiled = compile_path(SCRIPT.name)
    assert compiled.diagnostics == ()
    write_compiled(compiled, tmp_path / "script")
    if update_goldens:
        shutil.rmtree(GOLDENS / "script", ignore_errors=True)
        shutil.copytree(tmp_path / "script", GOLDENS / "script")
    assert files_of(tmp_path / "script") == files_of(GOLDENS / "script"), (
        "if the change is meant: pytest tests/examples --update-goldens"
    )


@pytest.mark.kernel
@pytest.mark.parametrize("command", [["-m", "kale"], ["-m", "kale", "run"], ["-m", "kale", "verify"]], ids=" ".join)
def test_the_script_runs_from_a_clean_folder(command: list[str], tmp_path: Path) -> None:
    shutil.copy(SCRIPT, tmp_path)
    words = [sys.executable, *command, SCRIPT.name, "-p", "weeks=104"]
    done = subprocess.run(words, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {SCRIPT.name, ".kale"}


def run(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("kale")), *words]
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)


def only_run(workspace: Path) -> tuple[Path, dict[str, Any]]:
    [directory] = (p for p in (workspace / ".kale" / "runs").iterdir() if p.is_dir())
    return directory, json.loads((directory / "run.json").read_text(encoding="utf-8"))


def errors_in(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [o["ename"] for c in cells for o in c.get("outputs", ()) if o["output_type"] == "error"]


@pytest.mark.kernel
@good
def test_an_example_runs_and_leaves_the_folder_as_it_was(example: Path, tmp_path: Path) -> None:
    shutil.copy(example, tmp_path)
    done = run(["run", example.name, "--output-dir", str(tmp_path / "out")], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    _, record = only_run(tmp_path)
    assert record["state"] == "succeeded"
    names = {step["name"] for step in record["steps"]}
    assert {p.stem for p in (tmp_path / "out").iterdir()} == names
    assert [errors_in(p) for p in (tmp_path / "out").iterdir()] == [[]] * len(names)
    assert {p.name for p in tmp_path.iterdir()} == {example.name, "out", ".kale"}
    assert (tmp_path / example.name).read_bytes() == example.read_bytes()


@pytest.mark.kernel
@good
def test_an_example_prints_the_same_both_ways(example: Path, tmp_path: Path) -> None:
    shutil.copy(example, tmp_path)
    done = run(["verify", example.name], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.kernel
def test_the_model_comparison_has_its_plot_and_its_metrics(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "compare_models" / "compare_models.ipynb", tmp_path)
    done = run(["run", "compare_models.ipynb", "-p", "trees=20", "--quiet"], tmp_path)
    assert done.returncode == 0, done.stderr
    directory, record = only_run(tmp_path)
    [compare] = [step for step in record["steps"] if step["name"] == "compare"]
    assert set(compare["metrics"]) == {"logistic_auc", "forest_auc", "auc_gain"}
    assert compare["metrics"]["auc_gain"] == pytest.approx(compare["metrics"]["forest_auc"] - compare["metrics"]["logistic_auc"])
    assert all(0.9 < compare["metrics"][name] <= 1 for name in ("logistic_auc", "forest_auc"))
    [plot] = directory.rglob("roc.png")
    assert plot.read_bytes().startswith(b"\x89PNG")
    cells = json.loads((directory / "executed" / "compare.ipynb").read_text(encoding="utf-8"))["cells"]
    assert any("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", ()))


@pytest.mark.kernel
def test_the_tagged_example_runs_from_top_to_bottom_as_a_plain_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(ROOT / "examples" / "compare_models" / "compare_models.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120).execute()
    assert (tmp_path / "roc.png").exists()


@pytest.mark.kernel
def test_the_tested_example_passes_its_own_tests(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "tested", tmp_path / "tested", ignore=shutil.ignore_patterns("__pycache__", ".kale"))
    words = ["-q", "-p", "no:cacheprovider", "--kale-verify", "orders.ipynb", "."]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", *words],
        cwd=tmp_path / "tested",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout
    assert {p.name for p in (tmp_path / "tested").iterdir()} == {"orders.ipynb", "test_orders.py"}
