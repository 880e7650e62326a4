"""The live display as lines: what it says, and that it fits every terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kale_nb.names import RunId, StepName
from kale_nb.pipeline.model import Pipeline, Step
from kale_nb.report.board import Board, last_line
from kale_nb.report.style import Style, width
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

STYLE = Style(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


def chain(*names: str) -> Pipeline:
    steps = tuple(
        Step(name=StepName(name), index=i, after=(StepName(names[i - 1]),) if i else ()) for i, name in enumerate(names)
    )
    return Pipeline(name="demo", source="nb.ipynb", source_sha256="0" * 64, steps=steps)


def board(pipeline: Pipeline, *events: Event) -> Board:
    made = Board(pipeline)
    started = RunStarted(
        time=100.0,
        run=RunId("20261124-1-demo-x7k2"),
        pipeline="demo",
        steps=tuple(s.name for s in pipeline.steps),
        directory=Path("d"),
    )
    for event in (started, *events):
        made.take(event)
    return made


def start(step: str, time: float = 100.0, attempt: int = 1) -> StepStarted:
    return StepStarted(time=time, step=StepName(step), attempt=attempt)


def end(step: str, state: State = State.SUCCEEDED, failure: Failure | None = None) -> StepFinished:
    return StepFinished(time=101.0, step=StepName(step), state=state, seconds=1.0, failure=failure)


def out(step: str, text: str) -> StepOutput:
    return StepOutput(time=100.5, step=StepName(step), stream="stdout", text=text)


def shown(of: Board, columns: int = 80, rows: int = 24, now: float = 105.0) -> list[str]:
    return of.lines(now, columns, rows, STYLE)


def test_each_step_has_a_line_with_state_elapsed_and_last_output() -> None:
    failure = Failure(kind="exception", message="ValueError: no\nmore", cell=4, line=2)
    lines = shown(
        board(
            chain("load", "fit", "plot", "end"), start("load"), end("load"), start("fit", 102.0), out("fit", "epoch 1\nepoch 2\n")
        )
    )
    assert "1/4 steps" in lines[0]
    assert lines[1].split() == ["✓", "load", "1.0", "s"]
    assert lines[2].split() == ["▸", "fit", "3.0", "s", "epoch", "2"]
    assert lines[3].split() == ["·", "plot", "waits", "for", "fit"]
    failed = shown(board(chain("a", "b"), start("a"), end("a", State.FAILED, failure)))
    assert "ValueError: no (cell 4, line 2)" in failed[1]
    assert "more" not in failed[1]
    assert "0/2 steps" in failed[0], "those that failed and those that were skipped are not done"


def test_a_retry_says_why_and_when() -> None:
    failure = Failure(kind="exception", message="ValueError: no")
    retry = StepRetrying(time=101.0, step=StepName("a"), attempt=1, wait=4.0, failure=failure)
    assert "again in 4.0 s: ValueError: no" in shown(board(chain("a"), start("a"), retry))[1]
    assert "attempt 2" in shown(board(chain("a"), start("a"), retry, start("a", 104.0, 2)))[1]


def test_the_clock_stops_with_the_run() -> None:
    ended = board(chain("a"), RunFinished(time=103.0, state=State.SUCCEEDED, seconds=3.0))
    assert "3.0 s" in shown(ended, now=500.0)[0]


EVENTS = (
    VolumeCreated(
        time=100.1, step="create-volume-1", volume="workspace", path=Path("p"), files=10**6, size=10**12, seconds=100.0
    ),
    RunWarning(time=100.1, message="long " * 100 + "\x1b[31m\n"),
)


@pytest.mark.parametrize("columns", [1, 5, 10, 20, 40, 80, 300])
@pytest.mark.parametrize("rows", [3, 4, 5, 10, 50])
@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_it_fits_every_terminal(columns: int, rows: int, count: int) -> None:
    names = [f"step-{i}-训练-with-a-rather-long-name" for i in range(count)]
    middle = [start(n) for n in names[:2]] + [out(n, "x" * 500) for n in names[:2]]
    lines = shown(board(chain(*names), *EVENTS, *middle), columns, rows)
    assert len(lines) <= rows
    assert all("\n" not in line for line in lines)
    if columns >= 20:
        assert max(width(line) for line in lines) <= columns


def test_with_too_many_steps_the_running_and_failed_ones_stay_and_the_rest_is_counted() -> None:
    names = [f"s{i}" for i in range(50)]
    lines = shown(board(chain(*names), start("s3"), end("s3", State.FAILED), start("s30"), start("s47")), rows=10)
    text = "\n".join(lines)
    assert all(f" {name} " in text for name in ("s3", "s30", "s47"))
    assert "more" in text or "and 4" in text
    assert len(lines) <= 10


def test_output_of_unknown_steps_and_empty_output_are_harmless() -> None:
    shown(board(chain("a"), out("stray", "x"), start("stray"), out("a", ""), out("a", "\n\n"), out("a", "\r")))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a\nb"], "b"),
        (["a\nb", "c\n"], "bc"),
        (["\r 10%", "\r 20%"], "20%"),
        (["100%\r"], "100%"),
        (["done\n\n\n"], "done"),
        (["\x1b[32mgreen\x1b[0m\n"], "green"),
        (["tab\there  and   there"], "tab here and there"),
        (["\x1b[2K\x1b[1A"], ""),
    ],
)
def test_the_last_line_is_what_a_terminal_would_show(pieces: list[str], expected: str) -> None:
    text, rest = "", ""
    for piece in pieces:
        text, rest = last_line(rest + piece, text)
    assert text == expected


def test_a_line_that_never_ends_is_not_kept_whole() -> None:
    rest = ""
    for _ in range(100):
        _, rest = last_line(rest + "x" * 1000)
    assert len(rest) <= 4000
