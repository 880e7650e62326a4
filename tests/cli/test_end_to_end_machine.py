"""What the machine does to a run: full disks, folders that cannot be written, kill -9 at any moment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import child_environment
from tests.cli.driving import ended, failures, kale, record, write_cells

pytestmark = pytest.mark.kernel

TWO = "### step:a\nx = 1\n### step:b prev:a\nprint(x)\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting needs rights that are not there")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("x = b'z' * (5 << 20)", "marshal"),
        ("x = 1\nprint('z' * (5 << 20))", "engine"),
        ("x = 1\nopen('big', 'wb').write(b'z' * (5 << 20))", None),
    ],
)
def test_a_disk_that_fills_fails_the_step_and_the_record_says_so(disk: Path, source: str, kind: str | None) -> None:
    write_cells(disk / "nb.ipynb", f"### step:a\n{source}\n### step:b prev:a\nprint(len(x))\n")
    done = ended("run", "nb.ipynb", cwd=disk)
    assert done.code == 1
    assert "disk is full" in done.err or "No space left" in done.err
    assert "not complete" not in done.err
    assert "defect" not in done.err
    assert [step["state"] for step in record(disk)["steps"]] == ["failed", "skipped"]
    assert record(disk)["state"] == "failed"
    if kind is not None:
        assert failures(disk)["a"]["kind"] == kind
        assert "free" in failures(disk)["a"]["hint"]


def test_a_workspace_that_does_not_fit_twice_is_refused(disk: Path) -> None:
    write_cells(disk / "nb.ipynb", TWO)
    (disk / "big").write_bytes(bytes(2_000_000))
    done = ended("run", "nb.ipynb", cwd=disk)
    assert done.code == 1
    assert "not enough disk space" in done.err or "the disk is full: the snapshot" in done.err
    assert record(disk)["state"] == "failed"


def test_a_read_only_file_system_keeps_its_runs_in_the_state_folder(disk: Path, tmp_path: Path) -> None:
    write_cells(disk / "nb.ipynb", TWO.replace("print(x)", "open('new', 'w').write('n')\nprint(x)"))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = ended("run", "nb.ipynb", cwd=disk, XDG_STATE_HOME=str(tmp_path / "state"))
    assert done.code == 0, done.err
    assert f"this run is kept in {tmp_path / 'state'}" in done.out
    assert "succeeded" in ended("runs", cwd=disk, XDG_STATE_HOME=str(tmp_path / "state")).out


def test_folders_that_an_ordinary_user_may_not_write_are_told(tmp_path: Path) -> None:
    ordinary = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if ordinary and (shutil.which("setpriv") is None or subprocess.run([*ordinary, "true"], check=False).returncode):
        pytest.skip("rights cannot be given up here")
    workspace, closed, state = tmp_path / "ws", tmp_path / "closed", tmp_path / "state"
    for made in (workspace, closed, state):
        made.mkdir()
    write_cells(workspace / "nb.ipynb", TWO)
    for made in (workspace, closed):
        made.chmod(0o555)

    def run(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
        command = [*ordinary, sys.executable, "-m", "kale_nb", "run", "nb.ipynb", *words]
        env = {**child_environment(), "XDG_STATE_HOME": str(home)}
        return subprocess.run(command, cwd=workspace, env=env, capture_output=True, text=True, check=False)

    done = run(home=state)
    assert done.returncode == 0, done.stderr
    assert "Permission denied" in done.stdout
    done = run(home=closed)
    assert done.returncode == 1
    assert "hint: name a folder with --runs-dir" in done.stderr
    done = run("--output-dir", str(closed / "out"), home=state)
    assert done.returncode == 1
    assert "cannot be put into" in done.stderr
    for made in (workspace, closed):
        made.chmod(0o755)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in the folder or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


SLOW = """### imports
import subprocess, time
### step:a
x = list(range(1000))
time.sleep(0.2)
### step:b prev:a
child = subprocess.Popen(['sleep', '60'])
del child
time.sleep(0.3)
### step:c prev:a
time.sleep(0.3)
print(sum(x))
### step:d prev:b prev:c
print(len(x))
"""


def test_kill_9_at_any_moment_leaves_a_readable_record_no_process_and_no_trouble_for_the_next_run(folder: Path) -> None:
    write_cells(folder / "nb.ipynb", SLOW)
    for moment in (0.1, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05, 1.2, 1.4):
        process = kale("run", "nb.ipynb", "-q")
        time.sleep(moment)
        process.kill()
        process.communicate()
        until = time.monotonic() + 10
        while left := processes_in(folder):
            if [p.pid for p in left] == [os.getpid()]:
                break
            assert time.monotonic() < until, left
            time.sleep(0.05)
    for run in (folder / ".kale" / "runs").iterdir():
        if (run / "run.json").exists():
            json.loads((run / "run.json").read_text())
    listed = ended("runs")
    assert listed.code == 0
    assert "running" not in listed.out
    assert "interrupted" in listed.out
    assert ended("run", "nb.ipynb", "-q").code == 0
    assert record(folder)["state"] == "succeeded"
