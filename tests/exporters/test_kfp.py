"""`nbconvert --to kale --KaleExporter.target=kfp` writes what `kale compile --target kfp` writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exporters.converting import EXAMPLES, GOOD, convert, save

KFP = "--KaleExporter.target=kfp"


def compiled(cwd: Path, *words: str) -> str:
    """What the command writes, in a folder that it may write to."""
    done = subprocess.run(
        [sys.executable, "-m", "kale_nb", "compile", "--target", "kfp", *words, "-o", "expected.yaml"],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (cwd / "expected.yaml").read_text(encoding="utf-8")


def staged(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in sorted(folder.glob(".kale/kfp/**/*")) if p.is_file()
    }


@pytest.mark.parametrize("way", ["snapshot", "no snapshot"])
def test_the_examples_are_what_the_command_writes(way: str, tmp_path: Path) -> None:
    for example in EXAMPLES:
        shutil.copy(example, tmp_path)
    words = ["--KaleExporter.image=python:3.11", *([] if way == "snapshot" else ["--KaleExporter.snapshot=False"])]
    done = convert(tmp_path, KFP, *words, *(p.name for p in EXAMPLES))
    assert done.returncode == 0, done.stderr
    found = staged(tmp_path)
    assert bool(found) is (way == "snapshot")
    shutil.rmtree(tmp_path / ".kale", ignore_errors=True)
    for example in EXAMPLES:
        flags = ["--image", "python:3.11", *([] if way == "snapshot" else ["--no-snapshot"])]
        assert (tmp_path / f"{example.stem}.yaml").read_text(encoding="utf-8") == compiled(tmp_path, example.name, *flags)
    assert found == staged(tmp_path)
    assert not list(tmp_path.glob("*_files"))


def test_every_option_is_that_of_the_command(tmp_path: Path) -> None:
    save(tmp_path / "deep" / "nb.ipynb", *GOOD)
    given = {"mount": "/data", "cleanup": "delete", "user": "1000", "group": "100", "create_volumes": "script"}
    traits = [f"--KaleExporter.{name}={value}" for name, value in {**given, "image": "a/b:1", "workspace": "."}.items()]
    done = convert(tmp_path, KFP, *traits, "--KaleExporter.packages=numpy", "--KaleExporter.packages=a b", "deep/nb.ipynb")
    assert done.returncode == 0, done.stderr
    found = staged(tmp_path)
    assert found
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    more = ["--image", "a/b:1", "--volume-root", ".", "--package", "numpy", "--package", "a b"]
    assert (tmp_path / "deep" / "nb.yaml").read_text() == compiled(tmp_path, *options, *more, "deep/nb.ipynb")
    assert found == staged(tmp_path)


def test_the_stepbooks_go_into_the_workspace_wherever_the_file_goes(tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", *GOOD)
    done = convert(tmp_path, KFP, "--KaleExporter.image=i", "nb.ipynb", "--output-dir", "out", "--output", "flow.yaml")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").rglob("*") if p.is_file()} == {"flow.yaml"}
    assert len(staged(tmp_path)) == 3


def test_standard_output_and_input(tmp_path: Path) -> None:
    nb = save(tmp_path / "nb.ipynb", *GOOD)
    done = convert(tmp_path, KFP, "--KaleExporter.image=i", "--stdin", "--stdout", stdin=nb.read_text())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# PIPELINE DEFINITION") or "pipelineInfo" in done.stdout
    assert "its 2 stepbooks, which a snapshot of the workspace has to hold, are not" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} - {".home"} == {"nb.ipynb"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([KFP], "hint: name one with --KaleExporter.image"),
        ([KFP, "--KaleExporter.image=i", "--KaleExporter.mount=data"], "KaleExporter.mount data is no absolute path of a folder"),
        ([KFP, "--KaleExporter.image=i", "--KaleExporter.cleanup=never"], "it can be keep, delete-on-success or delete"),
        ([KFP, "--KaleExporter.image=i", "--KaleExporter.workspace=nowhere"], "nowhere is not a folder"),
        ([KFP, "--KaleExporter.user=me"], "user"),
        (["--KaleExporter.image=i"], "KaleExporter.image is for Kubeflow Pipelines"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_told_without_a_traceback_and_nothing_is_written(words: list[str], said: str, tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", *GOOD)
    done = convert(tmp_path, *words, "nb.ipynb")
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert {p.name for p in tmp_path.iterdir()} - {".home"} == {"nb.ipynb"}


def test_as_a_library_the_files_are_in_the_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat

    from kale_nb.exporters import ExportError, KaleExporter

    monkeypatch.chdir(tmp_path)
    save(tmp_path / "nb.ipynb", *GOOD)
    notebook = nbformat.read("nb.ipynb", as_version=4)
    exporter = KaleExporter(target="kfp", image="i")
    text, resources = exporter.from_notebook_node(notebook)
    assert "pipelineInfo" in text
    assert (resources["output_extension"], exporter.output_mimetype) == (".yaml", "application/yaml")
    assert {os.path.normpath(name).split(os.sep)[0] for name in resources["outputs"]} == {".kale"}
    assert os.listdir(tmp_path) == ["nb.ipynb"]
    with pytest.raises(ExportError, match="cannot be 'x'"):
        KaleExporter(target="x").from_notebook_node(notebook)
    with pytest.raises(ExportError, match="user"):
        KaleExporter(target="kfp", user="me")
