"""The runner: whatever the engine does, a record says how the run ended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kale_nb.compiler import Compiled
from kale_nb.errors import EngineError, UsageError, VolumeError
from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline, Step, Volume
from kale_nb.pipeline.volumes import merged
from kale_nb.planning import RunOptions, choose_workspace, plan, steps_until
from kale_nb.runner import run
from kale_nb.runs.events import Event, RunFinished, RunStarted, RunWarning, State, StepStarted
from kale_nb.runs.store import read_record
from kale_nb.stepbooks.model import Stepbook
from tests.cli.fake import FakeEngine

DIAMOND = {"load": "", "a": "load", "b": "load", "join": "a b", "other": ""}


def compiled(folder: Path, **after: str) -> Compiled:
    steps = tuple(
        Step(name=StepName(name), index=i, after=tuple(StepName(p) for p in before.split()))
        for i, (name, before) in enumerate((after or DIAMOND).items())
    )
    (folder / "nb.ipynb").write_text("{}")
    pipeline = Pipeline(name="demo", source=str(folder / "nb.ipynb"), source_sha256="0" * 64, steps=steps)
    books = tuple(
        Stepbook(step=step.name, notebook={"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}) for step in steps
    )
    return Compiled(pipeline=pipeline, stepbooks=books, diagnostics=(), marked=None)


def only_record(folder: Path) -> object:
    (directory,) = (folder / ".kale" / "runs").iterdir()
    return read_record(directory)


def test_the_record_returned_is_the_record_kept(tmp_path: Path) -> None:
    record = run(compiled(tmp_path), engine=FakeEngine({"a": "fail"}))
    assert record.state is State.FAILED
    assert record == only_record(tmp_path)
    assert {step.name: step.state.value for step in record.steps} == {
        "load": "succeeded", "a": "failed", "b": "succeeded", "join": "skipped", "other": "succeeded",
    }  # fmt: skip


def test_the_job_says_what_was_asked(tmp_path: Path) -> None:
    engine = FakeEngine()
    options = RunOptions(until=("a",), jobs=3, fail_fast=True, max_bytes=7, output_dir=tmp_path / "out")
    record = run(compiled(tmp_path), options, engine=engine)
    (job,) = engine.jobs
    assert (job.steps, job.jobs, job.fail_fast, job.max_bytes, job.output_dir) == (("load", "a"), 3, True, 7, tmp_path / "out")
    assert (job.workspace, job.cwd, job.directory) == (tmp_path, Path(), record.directory)
    assert json.loads((record.directory / "stepbooks" / "join.ipynb").read_text())["nbformat"] == 4


def test_an_empty_volume_with_the_name_of_a_folder_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "here" / "pond").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    made = compiled(tmp_path)
    marked = replace(
        made,
        pipeline=replace(
            made.pipeline, volumes=(Volume(name="lake", mount_point="/lake"), Volume(name="pond", mount_point="/pond"))
        ),
    )
    record = run(marked, engine=FakeEngine())
    [told] = record.warnings
    assert told == "the volume lake begins empty, and there is a folder ./lake; write ./lake:/lake for a clone of it"

    given = RunOptions(volumes=(Volume(name="lake", mount_point="/lake"), Volume(name="pond", mount_point="/pond")))
    [told] = plan(made.pipeline, given).notices
    assert "write ./pond:/pond" in told, "what the command line names is relative to the current folder"
    cloned = RunOptions(volumes=(Volume(name="lake", mount_point="/lake", source=str(tmp_path / "lake")),))
    assert plan(made.pipeline, cloned).notices == ()
    claim = RunOptions(volumes=(Volume(name="pond", mount_point="/pond", kind="pvc"),))
    assert plan(made.pipeline, claim).notices == ()
    assert plan(made.pipeline, replace(given, repeats=record.id)).notices == (), "it was told when the run was first done"


def test_observers_see_every_event_after_the_record_has_it(tmp_path: Path) -> None:
    seen: list[Event] = []
    behind: list[Event] = []

    def observe(event: Event) -> None:
        seen.append(event)
        if isinstance(event, StepStarted) and only_record(tmp_path).step(event.step).state is not State.RUNNING:  # type: ignore[attr-defined]
            behind.append(event)

    run(compiled(tmp_path), engine=FakeEngine(), observers=(observe,))
    assert isinstance(seen[0], RunStarted)
    assert isinstance(seen[-1], RunFinished)
    assert behind == []


@pytest.mark.parametrize("error", [EngineError("no such kernel"), VolumeError("too large")])
def test_an_engine_that_cannot_start_leaves_a_record_that_says_why(error: EngineError | VolumeError, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        run(compiled(tmp_path), engine=FakeEngine(error=error))
    record = only_record(tmp_path)
    assert (record.state, record.error) == (State.FAILED, error.message)  # type: ignore[attr-defined]


def test_an_interrupt_leaves_a_cancelled_record_with_no_step_running(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == "a":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(compiled(tmp_path), engine=FakeEngine(hook=None), observers=(interrupt,))
    record = only_record(tmp_path)
    assert record.state is State.CANCELLED  # type: ignore[attr-defined]
    assert [step.state.value for step in record.steps] == ["succeeded", *["cancelled"] * 4]  # type: ignore[attr-defined]


def test_a_notice_about_the_place_is_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    (work / ".kale").write_text("")
    seen: list[Event] = []
    record = run(compiled(work), engine=FakeEngine(), observers=(seen.append,))
    (warning,) = [event for event in seen if isinstance(event, RunWarning)]
    assert str(record.directory.parent) in warning.message
    assert record.warnings == (warning.message,)


def test_two_runs_of_one_notebook_are_apart(tmp_path: Path) -> None:
    same = compiled(tmp_path)
    first, second = (run(same, engine=FakeEngine()) for _ in range(2))
    assert first.id != second.id
    assert len(list((tmp_path / ".kale" / "runs").iterdir())) == 2


def test_until_takes_several_steps_and_keeps_source_order(tmp_path: Path) -> None:
    pipeline = compiled(tmp_path).pipeline
    assert steps_until(pipeline, ["other", "b"]) == ("load", "b", "other")
    assert steps_until(pipeline) == tuple(DIAMOND)
    with pytest.raises(UsageError):
        steps_until(pipeline, ["b", "nope"])


def test_planning_touches_nothing(tmp_path: Path) -> None:
    pipeline = compiled(tmp_path).pipeline
    assert plan(pipeline, RunOptions()).workspace == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["nb.ipynb"]


def test_a_notebook_outside_of_the_workspace_starts_at_its_top(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "nb.ipynb").write_text("")
    assert choose_workspace(str(tmp_path / "nb.ipynb"), tmp_path / "work") == (tmp_path / "work", Path())


def test_a_runs_folder_in_the_workspace_must_be_one_that_clones_leave_out(tmp_path: Path) -> None:
    pipeline = compiled(tmp_path).pipeline
    for fine in (tmp_path / ".kale" / "mine", tmp_path.parent / "elsewhere"):
        plan(pipeline, RunOptions(runs_dir=fine))
    for bad in (tmp_path, tmp_path / "runs"):
        with pytest.raises(UsageError):
            plan(pipeline, RunOptions(runs_dir=bad))
    (tmp_path / ".kaleignore").write_text("runs/\n")
    plan(pipeline, RunOptions(runs_dir=tmp_path / "runs"))


def test_two_volumes_of_one_name_are_refused_and_not_one_of_them_left_out(tmp_path: Path) -> None:
    one = Volume(name="raw", mount_point="/one", source="../d1/raw")
    two = Volume(name="raw", mount_point="/two", source="../d2/raw")
    with pytest.raises(UsageError, match="two volumes are called 'raw': ../d1/raw at /one and ../d2/raw at /two") as caught:
        merged((), (one, two), {})
    assert "name=NAME,source=../d2/raw,mount=/two" in (caught.value.hint or "")
    assert merged((one,), (two,), {}) == (two,)
    assert merged((), (one, one), {}) == (one,)
