"""The step's runner by itself: what an image lacks, whose volumes are, what the arguments are worth."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines.kfp.code import stage_code
from kale_nb.engines.kfp.commands import GUARD
from kale_nb.engines.kfp.compiling import Package
from kale_nb.engines.kfp.stepper.leaving import page
from kale_nb.engines.kfp.stepper.orders import local_path
from kale_nb.engines.kfp.target import Target
from tests.kfp.sources import package_of

TEXT = "%pipeline --image python:3.11\n\n%%parameters\nn = 3\n\n%%step one\nprint(n)"


def words_of(package: Package, home: Path) -> list[str]:
    """Return the command and arguments of the step `one`, with a folder of the test for its home."""
    import yaml

    container = next(iter(yaml.safe_load_all(package.text)))["deploymentSpec"]["executors"]["exec-one"]["container"]
    return [*container["command"], *container["args"]]


def start(
    words: list[str], task: dict[str, Any], *, python: str = sys.executable, **more: Any
) -> subprocess.CompletedProcess[str]:
    told = [python if w == "python3" else json.dumps(task) if w == "{{$}}" else w for w in words]
    return subprocess.run(told, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, **more)


def bare_python(folder: Path) -> str:
    """Make an environment with nothing installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "bare")], check=True)
    return str(folder / "bare" / "bin" / "python3")


def test_an_image_without_kale_says_so_in_one_line(tmp_path: Path) -> None:
    package = package_of(TEXT, tmp_path)
    done = start(words_of(package, tmp_path), {}, python=bare_python(tmp_path), env={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "kale: the image has no kale_nb and no papermill; pip install --user kale-nb before the snapshot\n"


def test_packages_in_the_home_folder_are_found(tmp_path: Path) -> None:
    python = bare_python(tmp_path)
    env = {"HOME": str(tmp_path)}
    site = subprocess.run(
        [python, "-c", "import site; print(site.getusersitepackages())"], env=env, capture_output=True, text=True, check=True
    ).stdout.strip()
    for name in ("kale_nb", "papermill"):
        (Path(site) / name).mkdir(parents=True)
        (Path(site) / name / "__init__.py").touch()
    stepper = Path(site) / "kale_nb" / "engines" / "kfp" / "stepper"
    stepper.mkdir(parents=True)
    stepper.joinpath("__init__.py").write_text("def main(): print('found')")
    system = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=True
    )
    base = str(Path(system.stdout.strip()) / "bin" / "python3")  # an environment has no user's folder, an image's Python has
    done = subprocess.run([base, "-c", GUARD], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "found\n", done.stderr


@pytest.mark.parametrize("words", [["{}", "{}"], ["", "{}"], ["{}"], ["not JSON", '{"step": "a"}']])
def test_arguments_that_are_not_ours_are_refused(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", GUARD, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("kale: the runner was not started by ")
    assert "Traceback" not in done.stderr


AS_SOMEBODY = """
import json, os, sys
from kale_nb.engines.kfp.stepper import leaving, passing, running
from kale_nb.engines.local import execution, reports
from kale_nb.engines.kfp import commands, wires
from kale_nb.pipeline import codec
os.chroot(sys.argv[1]); os.setgroups([]); os.setgid(100); os.setuid(1000)
sys.exit(running.run_step(sys.argv[2:]))
"""
"""The modules are imported first: the machine's Python may be out of reach for others."""


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be somebody else")
def test_a_marshal_volume_that_belongs_to_root_is_explained(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "marshal").mkdir(mode=0o755)
    package = package_of(TEXT.replace("3.11", "3.11 --marshal-volume"), tmp_path, Target(mount="/home"))
    stage_code(package.plan.code, home)
    for path in [home, *home.rglob("*")]:
        shutil.chown(path, 1000, 1000)
    tmp_path.chmod(0o755)
    words = [sys.executable, "-c", AS_SOMEBODY, str(tmp_path), *words_of(package, home)[3:]]
    done = start(words, {"outputs": {}})
    assert done.returncode == 2, done.stderr
    assert (
        "the step runs as user 1000, group 100 and cannot write to /marshal/.kale: /marshal belongs to user 0, group 0, mode 755"
        in done.stderr
    )
    assert "fsGroup" in done.stderr


@pytest.mark.parametrize(
    ("artifact", "path"),
    [
        ({"uri": "minio://mlpipeline/v2/artifacts/x/report"}, "/minio/mlpipeline/v2/artifacts/x/report"),
        ({"uri": "gs://bucket/report"}, "/gcs/bucket/report"),
        ({"uri": "s3://bucket/report"}, "/s3/bucket/report"),
        ({"uri": "/local/report"}, "/local/report"),
        ({"uri": "s3://bucket/report", "customPath": "/tmp/report"}, "/tmp/report"),
    ],
)
def test_artifacts_lie_where_kfp_says(artifact: dict[str, str], path: str) -> None:
    assert str(local_path(artifact)) == path


def test_the_report_without_nbconvert_shows_code_and_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = {
        "cells": [
            {"cell_type": "code", "metadata": {"tags": ["kale-load"]}, "source": "hidden()", "outputs": []},
            {"cell_type": "markdown", "metadata": {}, "source": "Some <text>"},
            {
                "cell_type": "code",
                "metadata": {},
                "source": ["a < b\n", "plot()"],
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": ["1 < 2\n"]},
                    {"output_type": "display_data", "data": {"image/png": "QUJD\n", "text/plain": "<Figure>"}},
                    {"output_type": "execute_result", "data": {"text/html": "<table></table>", "text/plain": "t"}},
                ],
            },
        ]
    }
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    text = page(notebook, "train")
    assert "hidden" not in text
    assert "<p>Some &lt;text&gt;</p>" in text
    assert "<pre>a &lt; b\nplot()</pre>" in text
    assert "1 &lt; 2" in text
    assert "src='data:image/png;base64,QUJD'" in text
    assert "<table></table>" in text


def carried(tmp_path: Path) -> tuple[list[str], Path]:
    """Return the words of a step whose code travels in the pipeline, and its home folder, which is empty."""
    home = tmp_path / "home"
    home.mkdir()
    return words_of(package_of(TEXT, tmp_path, Target(image="x", mount=str(home), carried=True)), home), home


def test_code_that_travels_is_run_in_the_folder_of_the_clone(tmp_path: Path) -> None:
    words, home = carried(tmp_path)
    (home / "rows.txt").write_text("1")
    done = start(words, {"inputs": {"parameterValues": {"n": 4}}, "outputs": {}}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4\n"
    [kept] = (home / ".kale" / "kfp").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["data", "executed", "logs"]


@pytest.mark.parametrize(
    "there", [(), ("lost+found",), (".kale/kfp/0123/data", "lost+found")], ids=["nothing", "new", "after a step"]
)
def test_code_that_travels_refuses_a_workspace_that_is_no_clone(there: tuple[str, ...], tmp_path: Path) -> None:
    words, home = carried(tmp_path)
    for folder in there:
        (home / folder).mkdir(parents=True)
    done = start(words, {"inputs": {}, "outputs": {}}, cwd=tmp_path)
    assert done.returncode == 2
    assert f"the workspace at {home} is empty: the volume was made without its snapshot" in done.stderr


@pytest.mark.parametrize("there", [".kale/kfp/0123/steps", ".kale/runs"], ids=["staged code", "records of runs"])
def test_a_clone_with_nothing_but_what_kale_keeps_there_is_a_clone(there: str, tmp_path: Path) -> None:
    words, home = carried(tmp_path)
    (home / there).mkdir(parents=True)
    assert start(words, {"inputs": {}, "outputs": {}}, cwd=tmp_path).returncode == 0
