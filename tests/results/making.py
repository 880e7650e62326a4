"""Runs that are over, made of real snapshots and clones, without running anything."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from kale_nb.compiler import Compiled
from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline, Step
from kale_nb.process import this_process
from kale_nb.runner import write_plan
from kale_nb.runs.events import State
from kale_nb.runs.record import WORKSPACE, RunRecord, StepRecord
from kale_nb.runs.recorder import write_record
from kale_nb.runs.store import open_store, run_id, snapshot_folder
from kale_nb.stepbooks.model import Stepbook
from kale_nb.volumes import SnapshotStore

Work = Callable[[Path], None]
"""What the steps did to their clone."""


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def finished_run(
    workspace: Path,
    work: Work | None = None,
    *,
    started: float | None = None,
    reports: Mapping[str, Mapping[str, object]] | None = None,
    volumes: Mapping[str, tuple[Path, Work]] | None = None,
    **changes: object,
) -> RunRecord:
    """Keep a run of steps `a` and `b` whose clone the function changed; return its record.

    Args:
        reports: what each step says it did to files.
        volumes: data volumes: name to source folder and what was done to its clone.
    """
    runs = open_store(workspace)
    directory = runs.create("demo", started)
    store = SnapshotStore(snapshot_folder(runs.root))
    snapshots = {}
    for name, (source, change) in {WORKSPACE: (workspace, work), **(volumes or {})}.items():
        snapshot = store.snapshot(source)
        clone = directory / "work" if name == WORKSPACE else directory / "volumes" / name
        store.clone(snapshot, clone)
        snapshots[name] = snapshot.id
        if change is not None:
            change(clone)
    for step in ("a", "b"):
        write(directory, {f"executed/{step}.ipynb": "{}", f"logs/{step}.log": "said\n", f"data/{step}/step.json": "{}"})
        write(directory, {f"data/{step}/values/values.bin": os.urandom(5000)})
    steps = (Step(name=StepName("a"), index=0), Step(name=StepName("b"), index=1, after=(StepName("a"),)))
    pipeline = Pipeline(name="demo", source=str(workspace / "nb.ipynb"), source_sha256="0" * 64, steps=steps)
    books = tuple(
        Stepbook(step=step.name, notebook={"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}) for step in steps
    )
    write_plan(Compiled(pipeline=pipeline, stepbooks=books), directory)
    for step, report in (reports or {}).items():
        write(directory, {f"files/{step}.json": json.dumps(report)})
    moment = time.time() if started is None else started
    record = RunRecord(
        id=run_id(directory),
        pipeline="demo",
        directory=directory,
        started=moment,
        state=State.SUCCEEDED,
        finished=moment + 3,
        seconds=3.0,
        source=str(workspace / "nb.ipynb"),
        workspace=workspace,
        clone=directory / "work",
        snapshots=snapshots,
        writer=this_process(),
        steps=tuple(
            StepRecord(name=StepName(name), state=State.SUCCEEDED, started=moment + i, seconds=0.5, attempt=1)
            for i, name in enumerate("ab")
        ),
    )
    record = dataclasses.replace(record, **changes)  # type: ignore[arg-type]
    write_record(record)
    return record


def tree(folder: Path) -> dict[str, bytes | str]:
    """Return all that is in a folder but `.kale`: files by content, links by target, folders as `/`."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == ".kale":
            continue
        found[name] = f"-> {os.readlink(path)}" if path.is_symlink() else "/" if path.is_dir() else path.read_bytes()
    return found
