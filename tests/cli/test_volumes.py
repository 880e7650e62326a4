"""Volumes from the command line and from what the author wrote: the same steps for a notebook and a script, and what people are shown."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import child_environment
from tests.cli.driving import ended, record, write_cells

pytestmark = pytest.mark.kernel

NOTEBOOK = """### step:load
x = len(open(P).read())
### step:show prev:load
print(x)
""".replace("P", "__import__('os').environ['KALE_DATA_DATA'] + '/rows.csv'")
SCRIPT = """import os
from kale.sdk import pipeline, step


@step
def load():
    return len(open(os.environ["KALE_DATA_DATA"] + "/rows.csv").read())


@step
def show(x):
    print(x)


@pipeline(volumes=["./data:/kale-test/data", {{"name": "models", "mount_point": "/kale-test/models", "source": "../models"}}]{more})
def flow():
    show(load())
"""
SETTINGS = {"volumes": ["./data:/kale-test/data", {"name": "models", "mount_point": "/kale-test/models", "source": "../models"}]}


def volumes_of(*words: str) -> list[dict[str, Any]]:
    done = ended("run", *words, "--json-events")
    assert done.code == 0, done.out + done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    [started] = [event for event in events if event["event"] == "run-started"]
    made = [event for event in events if event["event"] == "volume-created"]
    assert started["volumes"] == [event["step"] for event in made]
    return [{key: event[key] for key in ("step", "volume", "mount_point", "mechanism")} for event in made]


@pytest.fixture
def project(folder: Path) -> Path:
    """A folder with data in it and models beside it."""
    (folder / "data").mkdir()
    (folder / "data/rows.csv").write_text("12345")
    models = folder.parent / "models"
    models.mkdir(exist_ok=True)
    (models / "m").write_text("m")
    return folder


@pytest.mark.parametrize("marshal", [False, True])
def test_a_notebook_and_a_script_show_the_same_volumes(project: Path, marshal: bool) -> None:
    more = {"marshal_volume": True, "marshal_volume_size": "10Mi", "marshal_path": "/kale-test/marshal"} if marshal else {}
    write_cells(project / "nb.ipynb", NOTEBOOK, {"kubeflow_notebook": {**SETTINGS, **more}})
    (project / "flow.py").write_text(SCRIPT.format(more="".join(f", {k}={v!r}" for k, v in more.items())))
    of_notebook, of_script = volumes_of("nb.ipynb"), volumes_of("flow.py")
    assert of_notebook == of_script
    expected = ["create-volume-1", "create-volume-2", "create-volume-3", *(["create-marshal-volume"] if marshal else [])]
    assert [volume["step"] for volume in of_notebook] == expected
    assert [volume["volume"] for volume in of_notebook][:3] == ["workspace", "data", "models"]
    drawn = [ended("graph", name).out for name in ("nb.ipynb", "flow.py")]
    assert [line.split()[-1] for line in drawn[0].splitlines()[: len(expected)]] == expected
    assert drawn[0].splitlines()[: len(expected)] == drawn[1].splitlines()[: len(expected)]
    plans = [
        [line for line in ended("run", name, "--dry-run").out.splitlines() if line.startswith("create-")]
        for name in ("nb.ipynb", "flow.py")
    ]
    assert plans[0] == plans[1]
    assert [line.split()[0] for line in plans[0]] == expected
    told = record(project)
    assert [volume["step"] for volume in told["volumes"]] == expected
    assert set(told["snapshots"]) == {"workspace", "data", "models"}


def test_volumes_of_the_command_line_are_relative_to_the_current_folder(project: Path) -> None:
    (project / "deep").mkdir()
    shutil.copy(write_cells(project / "nb.ipynb", NOTEBOOK), project / "deep/nb.ipynb")
    done = ended("run", "deep/nb.ipynb", "-q", "--volume", "./data:/kale-test/data")
    assert done.code == 0, done.err
    assert ended("run", "nb.ipynb", "-q", "--volume", "./data:/kale-test/data:ro").code == 0
    assert ended("run", "nb.ipynb", "-q", "--volume", "data:/kale-test/x", "--volume", "data=./data").code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--volume", "./data"), "a volume needs"),
        (("--volume", "./nowhere:/kale-test/x"), "no folder"),
        (("--volume", "data=./data"), "there is no volume 'data'"),
        (("--volume", "./data:/usr"), "would hide"),
        (("--volume", "./data:/"), "cannot be mounted"),
        (("--volume", "./data:/kale-test/x", "--volume", "b:/kale-test/x"), "both to be seen"),
        (("--volume", "workspace:/kale-test/x"), "cannot be called"),
    ],
)
def test_a_volume_that_cannot_be_is_refused(project: Path, words: tuple[str, ...], says: str) -> None:
    write_cells(project / "nb.ipynb", "### step:a\nprint(1)\n")
    done = ended("run", "nb.ipynb", *words)
    assert done.code != 0
    assert says in done.err + done.out


def test_a_dry_run_tells_how_volumes_would_be_cloned_and_what_it_costs_and_leaves_nothing(project: Path) -> None:
    write_cells(project / "nb.ipynb", NOTEBOOK, {"kubeflow_notebook": SETTINGS})
    told = ended("run", "nb.ipynb", "--dry-run").out.splitlines()
    place = told.index("create-volume-2  data at /kale-test/data, a clone of data")
    assert told[place + 1].strip().startswith("1 file, 5 B, ")
    assert "on the disk and" in told[place + 1]
    assert sorted(os.listdir(project)) == ["data", "nb.ipynb"]
    refused = ended("run", "nb.ipynb", "--dry-run", "--max-workspace-size", "3")
    assert refused.code == 1, "as the run"
    assert "error: the workspace" in refused.err
    assert "2 steps would run" in refused.out


def test_steps_that_do_not_see_volumes_at_their_paths_are_told_of_by_their_variables(project: Path) -> None:
    more = {"marshal_volume": True}
    write_cells(project / "nb.ipynb", NOTEBOOK, {"kubeflow_notebook": {**SETTINGS, **more}})
    done = ended("run", "nb.ipynb", "--isolation", "none")
    assert done.code == 0, done.err
    assert "create-volume-2: data at $KALE_DATA_DATA, 1 file" in done.out
    assert "create-marshal-volume: marshal at $KALE_MARSHAL, empty" in done.out
    assert "/kale-test/data" not in done.out
    assert "/marshal" not in done.out
    assert [volume["mount_point"] for volume in volumes_of("nb.ipynb", "--isolation", "none")] == [None] * 4


def test_a_run_is_done_again_with_the_volumes_that_it_was_given(project: Path) -> None:
    code = "import os\nx = open(os.environ['KALE_DATA_DATA'] + '/rows.csv').read() + open(os.environ['KALE_DATA_MODELS'] + '/m').read()"
    write_cells(project / "nb.ipynb", f"### step:load\n{code}\n### step:show prev:load\nprint('saw', x)\n")
    volumes = ("--volume", "./data:/kale-test/data", "--volume", "../models:/kale-test/models:ro")
    assert ended("run", "nb.ipynb", "-q", *volumes).code == 0
    first = record(project)["id"]
    (project / "data").rename(project / "data of old")
    again = ended("run", "--from", first)
    assert again.code == 0, again.err
    assert "saw 12345m" in ended("show", "latest", "show").out
    assert "not what it was" not in again.out
    assert ended("diff", first, "latest").code == 0

    (project.parent / "models/m").write_text("other")
    (project / "nb.ipynb").unlink()  # what is relative to it stays so
    again = ended("run", "--from", first)
    assert again.code == 0, again.err
    assert "of volume models, which is only read and of which there is no snapshot, is not what it was" in again.out
    assert "saw 12345other" in ended("show", "latest", "show").out
    told = ended("diff", first, "latest")
    assert told.code == 1
    assert "what they only read" in told.out


def test_a_run_is_done_again_with_another_folder_for_a_volume(project: Path) -> None:
    code = "import os\nx = open(os.environ['KALE_DATA_DATA'] + '/rows.csv').read()"
    write_cells(project / "nb.ipynb", f"### step:load\n{code}\n### step:show prev:load\nprint('saw', x)\n")
    assert ended("run", "nb.ipynb", "-q", "--volume", "./data:/kale-test/data").code == 0
    first = record(project)["id"]
    (project / "other").mkdir()
    (project / "other/rows.csv").write_text("67890")
    refused = ended("run", "--from", first, "--step", "show", "--volume", "data=./other")
    assert refused.code == 2
    assert f"the outcome of load would be taken from run {first}" in refused.err
    assert ended("run", "--from", first, "--step", "load", "--volume", "data=./other", "-q").code == 0
    assert "saw 67890" in ended("show", "latest", "show").out
    (project / "data/rows.csv").write_text("of now")
    assert ended("run", "--from", first, "--volume", "./data:/kale-test/data", "-q").code == 0
    assert "saw of now" in ended("show", "latest", "show").out
    assert ended("run", "--from", first, "-q").code == 0
    assert "saw 12345" in ended("show", "latest", "show").out


def test_a_claim_of_a_cluster_is_an_empty_folder_here_and_the_warning_says_what_to_do(project: Path) -> None:
    volume = {"name": "claim", "mount_point": "/kale-test/claim", "type": "pvc"}
    write_cells(project / "nb.ipynb", "### step:a\nprint(1)\n", {"kubeflow_notebook": {"volumes": [volume]}})
    done = ended("run", "nb.ipynb")
    assert done.code == 0
    assert "--volume claim=./folder" in done.out


def test_no_snapshot_runs_in_the_folder_with_a_warning(project: Path) -> None:
    write_cells(project / "nb.ipynb", "### step:a\nopen('made', 'w').close()\n")
    done = ended("run", "nb.ipynb", "--no-snapshot")
    assert done.code == 0
    assert "stays changed" in done.out
    assert (project / "made").exists()
    assert "volumes" not in record(project)


def test_isolation_that_cannot_be_is_an_error_when_it_is_asked_for(project: Path) -> None:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("bwrap (package bubblewrap) is not installed")
    write_cells(project / "nb.ipynb", "### step:a\nopen('made', 'w').close()\n")
    jail = [
        bwrap,
        "--unshare-user",
        "--disable-userns",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--dev-bind",
        "/",
        "/",
        "--proc",
        "/proc",
    ]
    line = [*jail, sys.executable, "-m", "kale_nb", "run", "nb.ipynb"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*line, *more], env=child_environment(), capture_output=True, text=True, check=False)

    if subprocess.run([*jail, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("bwrap cannot make a jail without user namespaces here")
    refused = run("--isolation", "mount")
    assert refused.returncode != 0
    assert "--isolation auto" in refused.stderr
    allowed = run()
    assert allowed.returncode == 0, allowed.stderr
    assert record(project)["isolation"] == "none"
    assert not (project / "made").exists()


HOSTILE = """### step:a
import os, subprocess
for folder in {folders}:
    for root, folders, files in os.walk(folder):
        for name in files:
            os.chmod(os.path.join(root, name), 0o777)
            with open(os.path.join(root, name), 'r+b') as file:
                file.truncate(1)
                file.write(b'evil')
    for command in ('umount -l ', 'unshare -Urm umount -l ', 'rm -rf '):
        subprocess.run(command + folder, shell=True, capture_output=True)
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        subprocess.run(['rm', '-rf', os.path.join(folder, name)], capture_output=True)
"""


def picture(folder: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for root, _, files in os.walk(folder):
        for name in files:
            path = Path(root, name)
            found[str(path)] = (path.lstat().st_mode, path.lstat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


@pytest.mark.parametrize("user", ["as who runs this", "as an ordinary user"])
def test_a_hostile_step_leaves_workspace_data_and_store_as_they_were(project: Path, user: str) -> None:
    line = [sys.executable, "-m", "kale_nb", "run", "nb.ipynb", "--isolation", "mount", "--volume", "../models:/kale-test/models"]
    if user == "as an ordinary user":
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            pytest.skip("bwrap (package bubblewrap) is not installed")
        line = [bwrap, "--unshare-user", "--uid", "1000", "--gid", "1000", "--dev-bind", "/", "/", *line]
    models = project.parent / "models"
    write_cells(project / "nb.ipynb", "### step:first\nprint(1)\n")
    first = subprocess.run(line, env=child_environment(), capture_output=True, text=True, check=False)
    if "cannot have a view" in first.stderr:
        pytest.skip(first.stderr)
    assert first.returncode == 0, first.stderr
    write_cells(
        project / "nb.ipynb",
        HOSTILE.format(folders=[str(project), "/kale-test/models", str(models), str(project / ".kale/store")]),
    )
    subprocess.run([*line, "--until", "a"], env=child_environment(), capture_output=True, text=True, check=False)
    kept = [project / name for name in os.listdir(project) if name != ".kale"]
    before = {
        path: picture(path) if path.is_dir() else path.read_bytes() for path in (*kept, models, project / ".kale/store/objects")
    }
    subprocess.run(line, env=child_environment(), capture_output=True, text=True, check=False)
    assert {path: picture(path) if path.is_dir() else path.read_bytes() for path in before} == before
    assert (project / "data/rows.csv").read_text() == "12345"
    assert (models / "m").read_text() == "m"


def test_verify_shows_the_plain_notebook_the_same_volumes(project: Path) -> None:
    code = "import os\nopen(os.environ['KALE_DATA_DATA'] + '/new', 'w').close()\nprint(sorted(os.listdir(os.environ['KALE_DATA_DATA'])), os.getcwd())"
    volumes = {"kubeflow_notebook": {"volumes": ["./data:/kale-test/data"]}}
    write_cells(
        project / "nb.ipynb",
        f"### step:a\n{code}\n### step:b prev:a\nprint(os.listdir('.') == os.listdir(os.getcwd()))\n### imports\nimport os\n",
        volumes,
    )
    done = ended("verify", "nb.ipynb")
    assert done.code == 0, done.out + done.err
    assert not (project / "data/new").exists()
