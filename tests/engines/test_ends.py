"""How runs end from outside: Ctrl-C, SIGTERM, kill -9, a full disk. Whatever happens, no kernel is left."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from kale_nb.engines import engine
from kale_nb.engines.protocol import Job
from kale_nb.runs.events import Event, RunFinished, RunNote, State, StepFinished, StepStarted
from tests.engines.making import Seen, make_job, no_process_left

pytestmark = pytest.mark.kernel

DRIVER = """
import pickle, sys
from kale_nb.engines import engine
job = pickle.load(open(sys.argv[1], 'rb'))
out = open(sys.argv[2], 'ab')
def observe(event):
    pickle.dump(event, out)
    out.flush()
engine('local').run(job, observe)
"""
SLOW = (
    "import os, subprocess, time\n"
    "child = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    "open(f'pids-{os.getpid()}', 'w').write(f'{os.getpid()} {child.pid}')\n"
    "time.sleep(300)"
)


def drive(job: Job, folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    (folder / "job").write_bytes(pickle.dumps(job))
    events = folder / "events"
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder / "job"), str(events)], cwd=Path(__file__).parents[2])
    return process, events


def wait_for(what: Callable[[], Any], seconds: float = 30) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def pids(job: Job, count: int) -> list[int]:
    def read() -> list[int]:
        found = [int(pid) for file in (job.directory / "work").glob("pids-*") for pid in file.read_text().split()]
        return found if len(found) == 2 * count else []

    return wait_for(read)


def alive(found: list[int]) -> list[int]:
    return [pid for pid in found if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def read_events(path: Path) -> list[Event]:
    events = []
    with path.open("rb") as file:
        while True:
            try:
                events.append(pickle.load(file))
            except EOFError:
                return events


def family(process: subprocess.Popen[bytes]) -> list[int]:
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


def test_kill_9_of_the_driver_leaves_no_process(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": SLOW, "b": SLOW}, jobs=2)
    process, _ = drive(job, tmp_path)
    started = pids(job, 2) + family(process)
    assert len(set(started)) >= 5
    process.kill()
    process.wait()
    wait_for(lambda: not alive(started), 10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_what_runs_and_says_so(tmp_path: Path, number: int) -> None:
    job = make_job(tmp_path, {"a": SLOW, "b": SLOW, "c": "1"}, {"c": ["a", "b"]}, jobs=2)
    process, path = drive(job, tmp_path)
    started = pids(job, 2) + family(process)
    process.send_signal(number)
    assert process.wait(60) == 0  # not the minutes that the steps would take
    assert not alive(started)
    events = read_events(path)
    ends = {e.step: e.state for e in events if isinstance(e, StepFinished)}
    assert ends == {"a": State.CANCELLED, "b": State.CANCELLED}
    assert isinstance(events[-1], RunFinished)
    assert events[-1].state is State.CANCELLED
    assert (job.directory / "executed/a.ipynb").exists()


def test_an_interrupt_of_the_whole_terminal_reaches_the_kernels_only_through_the_driver(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": SLOW})
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "job"), str(tmp_path / "events")],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    started = pids(job, 1) + family(process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 0
    assert not alive(started)
    assert isinstance(read_events(tmp_path / "events")[-1], RunFinished)


def test_an_interrupt_while_the_workspace_is_copied_leaves_no_half_clone(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "1"}, max_bytes=1 << 40)
    for number in range(30_000):
        (job.workspace / str(number)).touch()
    process, path = drive(job, tmp_path)
    building = job.directory.parent / ".store" / "staging"
    wait_for(lambda: any(building.glob("*/clone/*")))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    told = [type(e).__name__ for e in read_events(path) if not isinstance(e, RunNote)]  # a slow disk is foretold
    assert told == ["RunStarted", "StepsPlaced", "RunFinished"]
    assert not [name for name in os.listdir(job.directory) if "work" in name]


def test_the_temporary_folder_of_the_kernels_is_removed_also_after_kill_9(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path("/tmp") if len(str(tmp_path)) > 60 else tmp_path
    temporary = short / f"k{os.getpid()}"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    try:
        job = make_job(tmp_path, {"a": SLOW})
        process, _ = drive(job, tmp_path)
        pids(job, 1)
        assert os.listdir(temporary)
        process.kill()
        process.wait()
        wait_for(lambda: not os.listdir(temporary), 10)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.mark.parametrize("which", ["host", "worker"])
def test_a_host_or_worker_that_is_killed_fails_the_steps_and_leaves_no_kernel(tmp_path: Path, which: str) -> None:
    job = make_job(tmp_path, {"a": SLOW, "b": "1"}, {"b": ["a"]})
    process, path = drive(job, tmp_path)
    started = pids(job, 1)
    host = psutil.Process(process.pid).children()[0]
    worker = next(child for child in host.children() if child.pid != started[0])
    (host if which == "host" else worker).kill()
    assert process.wait(20) == 0
    assert not alive(started[:1])
    ends = {e.step: e for e in read_events(path) if isinstance(e, StepFinished)}
    assert {name: end.state for name, end in ends.items()} == {"a": State.FAILED, "b": State.SKIPPED}
    failure = ends["a"].failure
    assert failure is not None
    assert (failure.kind, "gone" in failure.message) == ("engine", True)
    for pid in alive(started):  # what a step detached is beyond the reach of a host that is gone
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting needs rights that are not there")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_fails_the_step_that_meets_it(small_disk: Path) -> None:
    seen = Seen()
    job = make_job(small_disk, {"a": "print('x' * 2_500_000)", "b": "1"}, {"b": ["a"]})
    with no_process_left():
        assert engine("local").run(job, seen) is State.FAILED
    failure = seen.end("a").failure
    assert failure is not None
    assert "disk is full" in failure.message
    assert seen.end("b").state is State.SKIPPED
    assert [e.step for e in seen if isinstance(e, StepStarted)] == ["a"]
