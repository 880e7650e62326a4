"""Progress where there is no terminal: plain lines and JSON lines."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import pytest

from kale_nb.names import RunId, StepName
from kale_nb.report.progress import JsonLines, PlainLines, Stream
from kale_nb.runs.codec import event_to_json
from kale_nb.runs.events import (
    Event,
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
from tests.cli.conftest import ROOT

A = StepName("train")
WHY = Failure(kind="exception", message="ValueError: no\nsecond line", cell=4, line=2)
STORY: list[Event] = [
    RunStarted(time=1e9, run=RunId("r-1"), pipeline="demo", steps=(A, StepName("b")), directory=Path("/d")),
    VolumeCreated(time=1e9, step="create-volume-1", volume="workspace", path=Path("/d/work"), files=3, size=2048, seconds=0.1),
    StepStarted(time=1e9, step=A, attempt=1),
    StepOutput(time=1e9, step=A, stream="stdout", text="noise\n"),
    StepRetrying(time=1e9, step=A, attempt=1, wait=2.0, failure=WHY),
    StepStarted(time=1e9, step=A, attempt=2),
    StepFinished(time=1e9, step=A, state=State.FAILED, seconds=61.0, attempt=2, failure=WHY, metrics={"x": float("nan")}),
    StepFinished(time=1e9, step=StepName("b"), state=State.SKIPPED, seconds=0.0),
    RunWarning(time=1e9, message="odd \x1b[31mred"),
    RunFinished(time=1e9, state=State.FAILED, seconds=62.0),
]


def text_stream(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)  # type: ignore[attr-defined]


def test_plain_lines_tell_each_change_once_with_the_time() -> None:
    stream = text_stream()
    show = PlainLines(Stream(stream))
    for event in STORY:
        show(event)
    lines = written(stream).splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines)
    assert [line[10:] for line in lines] == [
        "demo: 2 steps, run r-1",
        "create-volume-1: workspace, 3 files, 2.0 KiB in 0.10 s",
        "train  running",
        "train  failed, next attempt in 2.0 s: ValueError: no (cell 4, line 2)",
        "train  running (attempt 2)",
        "train  failed after 1 min 01 s: ValueError: no (cell 4, line 2)",
        "b      skipped",
        "warning: odd red",
        "run failed in 1 min 02 s",
    ]


def test_json_lines_are_one_valid_object_each() -> None:
    stream = text_stream()
    show = JsonLines(Stream(stream))
    for event in STORY:
        show(event)
    values = [json.loads(line, parse_constant=pytest.fail) for line in written(stream).splitlines()]
    assert [value["event"] for value in values] == [
        "run-started", "volume-created", "step-started", "step-output", "step-retrying", "step-started", "step-finished",
        "step-finished", "run-warning", "run-finished",
    ]  # fmt: skip
    assert values[6]["failure"] == {"kind": "exception", "message": WHY.message, "cell": 4, "line": 2}
    assert values[6]["metrics"] == {"x": "nan"}
    assert values[0]["directory"] == "/d"


def test_a_stream_that_cannot_spell_a_character_shows_its_escape() -> None:
    stream = text_stream("ascii")
    Stream(stream).write("größe")
    assert written(stream) == "gr\\xf6\\xdfe\n"


def test_a_reader_that_left_stops_the_writing_and_nothing_else() -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stream:
        out = Stream(stream)
        show = PlainLines(out)
        for event in STORY * 3:
            show(event)


def test_a_closed_stream_is_silently_nothing() -> None:
    stream = io.StringIO()
    out = Stream(stream)
    stream.close()
    out.write("x")
    out.write("y")


def test_the_page_on_events_names_every_event_and_field() -> None:
    page = (ROOT / "docs" / "guide" / "json-events.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `")}
    for event in STORY:
        value = event_to_json(event)
        for name in value.keys() - {"event", "time"}:
            assert f"`{name}`" in rows[value["event"]], (value["event"], name)
