"""The file of the record: whole at every moment, whatever happens to its writer or to the disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kale_nb.names import RunId, StepName
from kale_nb.process import this_process
from kale_nb.runs.events import RunFinished, RunStarted, State, StepFinished, StepStarted
from kale_nb.runs.record import RunRecord, StepRecord
from kale_nb.runs.recorder import FILE, Recorder
from kale_nb.runs.store import Store, read_record

A = StepName("a")


def new(directory: Path) -> RunRecord:
    return RunRecord(
        id=RunId(directory.name),
        pipeline="p",
        directory=directory,
        started=1.0,
        steps=(StepRecord(name=A),),
        writer=this_process(),
    )


def test_the_file_follows_each_change(tmp_path: Path) -> None:
    recorder = Recorder(new(tmp_path))
    assert read_record(tmp_path).state is State.PENDING
    recorder(RunStarted(time=2.0, run=RunId("r"), pipeline="p", steps=(A,), directory=tmp_path))
    recorder(StepStarted(time=2.0, step=A, attempt=1))
    assert read_record(tmp_path).step("a").state is State.RUNNING
    recorder(StepFinished(time=3.0, step=A, state=State.SUCCEEDED, seconds=1.0))
    recorder(RunFinished(time=3.0, state=State.SUCCEEDED, seconds=2.0))
    assert read_record(tmp_path) == recorder.record
    assert os.listdir(tmp_path) == [FILE]


WRITER = """
import sys, itertools
from pathlib import Path
from kale_nb.names import RunId, StepName
from kale_nb.runs.events import *
from kale_nb.process import this_process
from kale_nb.runs.record import RunRecord, StepRecord
from kale_nb.runs.recorder import Recorder
directory = Path(sys.argv[1])
steps = tuple(StepRecord(name=StepName(f"s{i}")) for i in range(40))
recorder = Recorder(RunRecord(id=RunId(directory.name), pipeline="p", directory=directory, started=1.0, steps=steps, writer=this_process()))
recorder(RunStarted(time=2.0, run=RunId("r"), pipeline="p", steps=tuple(s.name for s in steps), directory=directory))
print("ready", flush=True)
for i in itertools.cycle(range(40)):
    recorder(StepStarted(time=2.0, step=StepName(f"s{i}"), attempt=1))
"""


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.011, 0.023, 0.05])
def test_kill_9_at_any_moment_leaves_a_readable_record(tmp_path: Path, delay: float) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        for _ in range(20):
            json.loads((tmp_path / FILE).read_text())
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
    record = read_record(tmp_path)
    assert record.state is State.INTERRUPTED
    assert len(record.steps) == 40
    assert State.RUNNING not in [step.state for step in record.steps]


CUT = """
import os, sys
from pathlib import Path
from kale_nb.names import RunId
from kale_nb.process import this_process
from kale_nb.runs.record import RunRecord
import kale_nb.runs.recorder as r
directory, where = Path(sys.argv[1]), sys.argv[2]
record = RunRecord(id=RunId(directory.name), pipeline="first", directory=directory, started=1.0, writer=this_process())
r.write_record(record)
import dataclasses, builtins, io
class Dying:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *a): return self.file.__exit__(*a)
    def write(self, data):
        self.file.write(data[: len(data) * int(where) // 100]); self.file.flush(); os.kill(os.getpid(), 9)
r.open = lambda *a, **k: Dying(builtins.open(*a, **k))
r.write_record(dataclasses.replace(record, pipeline="second" * 1000))
"""


@pytest.mark.parametrize("percent", [0, 1, 50, 99, 100])
def test_death_in_the_middle_of_a_write_leaves_the_record_before_it(tmp_path: Path, percent: int) -> None:
    done = subprocess.run([sys.executable, "-c", CUT, str(tmp_path), str(percent)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_record(tmp_path).pipeline == "first"
    assert Store(root=tmp_path.parent).find(str(tmp_path)).pipeline == "first"


def test_a_disk_that_refuses_does_not_stop_the_run_and_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    recorder = Recorder(new(directory))
    shutil.rmtree(directory)
    recorder(StepStarted(time=2.0, step=A, attempt=1))
    assert recorder.problem is not None
    assert not recorder.flush()
    directory.mkdir()
    assert recorder.flush()
    assert read_record(directory).step("a").state is State.RUNNING


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_keeps_the_last_record_that_fitted(tmp_path: Path) -> None:
    recorder = Recorder(new(tmp_path))
    (tmp_path / f"{FILE}.part").symlink_to("/dev/full")
    recorder(StepStarted(time=2.0, step=A, attempt=1))
    assert recorder.problem is not None
    assert read_record(tmp_path).step("a").state is State.PENDING
    (tmp_path / f"{FILE}.part").unlink()
    assert recorder.flush()
    assert recorder.problem is None
