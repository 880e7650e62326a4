"""Runs as a store would keep them, for the commands that look at runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from kale_nb.names import StepName
from kale_nb.process import this_process
from kale_nb.runs.events import Failure, State
from kale_nb.runs.record import RunRecord, StepRecord
from kale_nb.runs.recorder import write_record
from kale_nb.runs.store import open_store, run_id


def keep_run(folder: Path, **changes: object) -> RunRecord:
    """Keep a failed run of two steps in the store of a folder and return its record."""
    directory = open_store(folder).create("demo")
    (directory / "executed").mkdir()
    (directory / "work").mkdir()
    executed = directory / "executed" / "load.ipynb"
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["rows 3\n", "cols 2\n"]},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": "AAAA", "text/plain": "<Figure>"}},
    ]
    cell = {"cell_type": "code", "source": "load()", "metadata": {"kale": {"cell": 2}}, "outputs": outputs}
    executed.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    failure = Failure(
        kind="exception",
        message="ZeroDivisionError: division by zero",
        cell=4,
        line=2,
        traceback="Traceback (most recent call last)\nnb.ipynb[cell 4]:2\n    1 / 0\nZeroDivisionError: division by zero",
        hint="look at the divisor",
    )
    record = RunRecord(
        id=run_id(directory),
        pipeline="demo",
        directory=directory,
        started=1e9,
        state=State.FAILED,
        finished=1e9 + 3,
        seconds=3.0,
        source=str(folder / "nb.ipynb"),
        params={"lr": "0.1"},
        workspace=folder,
        clone=directory / "work",
        warnings=("odd thing",),
        writer=this_process(),
        steps=(
            StepRecord(
                name=StepName("load"),
                state=State.SUCCEEDED,
                started=1e9,
                seconds=1.5,
                attempt=2,
                retried=("OSError: not yet",),
                metrics={"rows": 3.0},
                result=("df", "   a\n0  1"),
                warnings=("`df` was changed in place",),
                cpu=0.7,
                executed=executed,
            ),
            StepRecord(name=StepName("fit"), state=State.FAILED, started=1e9 + 2, seconds=0.5, attempt=1, failure=failure),
            StepRecord(name=StepName("plot"), state=State.SKIPPED),
        ),
    )
    record = dataclasses.replace(record, **changes)  # type: ignore[arg-type]
    write_record(record)
    return record
