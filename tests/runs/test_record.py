"""The record: what events make of it, and that it comes back from its file as it was."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kale_nb.names import RunId, StepName
from kale_nb.process import is_gone, this_process
from kale_nb.runs.codec import event_to_json, record_from_json, record_to_json
from kale_nb.runs.events import (
    Failure,
    RunFinished,
    RunStarted,
    RunWarning,
    State,
    StepFinished,
    StepOutput,
    StepRetrying,
    StepStarted,
    VolumeCreated,
)
from kale_nb.runs.record import LONGEST_TEXT, RecordError, RunRecord, StepRecord, apply, settle

A, B = StepName("a"), StepName("größe")
FAILURE = Failure(kind="exception", message="ValueError: no", cell=3, line=2, traceback="Traceback ...", hint="look")


def new(directory: Path, **changes: object) -> RunRecord:
    record = RunRecord(
        id=RunId("20261124-101500-demo-x7k2"),
        pipeline="demo",
        directory=directory,
        started=10.0,
        steps=(StepRecord(name=A), StepRecord(name=B)),
        writer=this_process(),
    )
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]


def events(directory: Path) -> list[object]:
    return [
        RunStarted(time=11.0, run=RunId("r"), pipeline="demo", steps=(A, B), directory=directory),
        VolumeCreated(
            time=11.5,
            step="create-volume-1",
            volume="workspace",
            path=directory / "work",
            files=3,
            size=10,
            seconds=0.1,
            snapshot="ab12",
        ),
        StepStarted(time=12.0, step=A, attempt=1),
        StepOutput(time=12.1, step=A, stream="stdout", text="hi\n"),
        StepRetrying(time=12.2, step=A, attempt=1, wait=1.0, failure=FAILURE),
        StepStarted(time=13.2, step=A, attempt=2),
        StepFinished(
            time=14.0,
            step=A,
            state=State.SUCCEEDED,
            seconds=0.8,
            attempt=2,
            metrics={"acc": 0.5, "loss": float("nan"), "big": float("-inf")},
            result=("df", "   x\n0  1"),
            warnings=("w",),
            cpu=0.4,
            executed=directory / "executed" / "a.ipynb",
        ),
        RunWarning(time=14.1, message="odd"),
        StepStarted(time=14.2, step=B, attempt=1),
        StepFinished(time=15.0, step=B, state=State.FAILED, seconds=0.8, failure=FAILURE),
        RunFinished(time=16.0, state=State.FAILED, seconds=5.0),
    ]


def after(record: RunRecord, given: list[object]) -> RunRecord:
    for event in given:
        record = apply(record, event)  # type: ignore[arg-type]
    return record


def test_every_record_on_the_way_comes_back_from_its_file_form(tmp_path: Path) -> None:
    record = new(tmp_path, params={"lr": "0.1"}, until=(B,), workspace=tmp_path)
    for event in [None, *events(tmp_path)]:
        record = record if event is None else apply(record, event)  # type: ignore[arg-type]
        value = json.loads(json.dumps(record_to_json(record), allow_nan=False))
        assert repr(record_from_json(value, tmp_path)) == repr(record)


def test_events_tell_the_whole_story(tmp_path: Path) -> None:
    record = after(new(tmp_path), events(tmp_path))
    first = record.step("a")
    assert (first.state, first.attempt, first.retried, first.cpu) == (State.SUCCEEDED, 2, ("ValueError: no",), 0.4)
    assert record.step("größe").failure == FAILURE
    assert [step.name for step in record.failed] == ["größe"]
    assert (record.state, record.finished, record.warnings) == (State.FAILED, 16.0, ("odd",))
    assert record.clone == tmp_path / "work"


def test_output_changes_nothing_that_is_kept(tmp_path: Path) -> None:
    record = new(tmp_path)
    assert apply(record, StepOutput(time=1.0, step=A, stream="stdout", text="x" * 10**6)) is record


def test_an_event_of_a_step_that_the_record_does_not_have_is_harmless(tmp_path: Path) -> None:
    record = new(tmp_path)
    stray = StepName("stray")
    assert after(record, [StepStarted(time=1.0, step=stray, attempt=1)]) == record
    assert after(record, [StepRetrying(time=1.0, step=stray, attempt=1, wait=0.0, failure=FAILURE)]) == record


def test_a_cancelled_run_leaves_no_step_running(tmp_path: Path) -> None:
    record = after(
        new(tmp_path), [StepStarted(time=1.0, step=A, attempt=1), RunFinished(time=2.0, state=State.CANCELLED, seconds=1.0)]
    )
    assert [step.state for step in record.steps] == [State.CANCELLED, State.CANCELLED]


def test_a_failed_run_skips_what_it_did_not_begin(tmp_path: Path) -> None:
    record = after(new(tmp_path), [RunFinished(time=2.0, state=State.FAILED, seconds=1.0)])
    assert [step.state for step in record.steps] == [State.SKIPPED, State.SKIPPED]


def test_a_record_stays_small_whatever_a_step_says(tmp_path: Path) -> None:
    flood = "x" * 10**7
    failure = Failure(kind="exception", message=flood, traceback=flood)
    end = StepFinished(time=1.0, step=A, state=State.FAILED, seconds=1.0, failure=failure, result=("x", flood), warnings=(flood,))
    assert len(json.dumps(record_to_json(after(new(tmp_path), [end])))) < 5 * LONGEST_TEXT


def test_a_lone_surrogate_does_not_stop_the_record(tmp_path: Path) -> None:
    record = after(new(tmp_path), [RunWarning(time=1.0, message="\ud800")])
    json.dumps(record_to_json(record), ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "value", [None, [], {}, {"format": 2}, {"format": 1}, {"format": 1, "id": 3, "steps": 4}, {"format": 1, "id": "x"}]
)
def test_what_is_no_record_is_refused(value: object, tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        record_from_json(value, tmp_path)


def test_fields_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    value = record_to_json(new(tmp_path))
    value["colour"] = "blue"
    value["steps"][0]["mood"] = "fine"
    assert record_from_json(value, tmp_path) == new(tmp_path)


def test_every_event_is_a_flat_json_object_with_a_name(tmp_path: Path) -> None:
    words = []
    for event in events(tmp_path):
        value = json.loads(json.dumps(event_to_json(event), allow_nan=False))  # type: ignore[arg-type]
        words.append(value["event"])
        assert list(value)[:2] == ["event", "time"]
    assert words[:4] == ["run-started", "volume-created", "step-started", "step-output"]
    assert words[-1] == "run-finished"


def test_a_run_whose_writer_is_gone_was_interrupted(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )  # a pid that has been and is no more
    writer = dataclasses.replace(this_process(), pid=int(child.stdout), started="1")
    record = after(new(tmp_path, writer=writer), events(tmp_path)[:3])
    settled = settle(record)
    assert settled.state is State.INTERRUPTED
    assert [step.state for step in settled.steps] == [State.INTERRUPTED, State.PENDING]


def test_a_run_whose_writer_lives_is_left_alone(tmp_path: Path) -> None:
    record = after(new(tmp_path), events(tmp_path)[:3])
    assert settle(record) is record


def test_a_finished_run_stays_what_it_was(tmp_path: Path) -> None:
    record = after(new(tmp_path), events(tmp_path))
    gone = dataclasses.replace(record, writer=dataclasses.replace(this_process(), started="1"))
    assert settle(gone) is gone


def test_a_reused_pid_is_another_process() -> None:
    me = this_process()
    assert me.pid == os.getpid()
    assert not is_gone(me)
    assert is_gone(dataclasses.replace(me, started="another start"))
    assert is_gone(dataclasses.replace(me, boot="another boot"))


def test_nobody_judges_a_process_on_another_machine() -> None:
    assert not is_gone(dataclasses.replace(this_process(), host="elsewhere", boot="another", pid=2**22 - 1))


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(dataclasses.replace(this_process(), pid=child.pid, started="whatever"))
    finally:
        child.wait()


def test_volumes_stand_in_the_order_of_their_numbers_whichever_was_ready_first(tmp_path: Path) -> None:
    record = new(tmp_path)
    for step in ("create-marshal-volume", "create-volume-10", "create-volume-2", "create-volume-1"):
        made = VolumeCreated(time=1.0, step=step, volume=step, path=tmp_path, files=0, size=0, seconds=0.1)
        record = apply(record, made)
    assert [volume.step for volume in record.volumes] == [
        "create-volume-1",
        "create-volume-2",
        "create-volume-10",
        "create-marshal-volume",
    ]
