"""`%pipeline run`: the run in the output area, live, and what came of it.

The runner works in the cell's own thread, so that an interrupt reaches the engine, which stops the steps; a second thread redraws, at
most four times a second.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from kale_nb import planning, runner
from kale_nb.jupyter import display
from kale_nb.jupyter.display import Screen
from kale_nb.jupyter.errors import CommandError, PipelineFailed, PipelineStopped
from kale_nb.report.board import last_line
from kale_nb.report.progress import PlainLines, Stream, brief, volume_text
from kale_nb.report.style import Style, clip, duration, number, plain
from kale_nb.report.summary import failure_lines, near, summary_lines
from kale_nb.runs.events import (
    Event,
    RunFinished,
    RunLeft,
    RunNote,
    RunStarted,
    RunSubmitted,
    RunWarning,
    State,
    StepFinished,
    StepOutput,
    StepRetrying,
    StepStarted,
    VolumeCreated,
)

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled
    from kale_nb.engines.protocol import Engine
    from kale_nb.names import StepName
    from kale_nb.pipeline.model import Pipeline
    from kale_nb.runs.record import RunRecord

_LEAST_PAUSE = 0.25
_TICK = 1.0
_COLUMNS = 90


def run_pipeline(screen: Screen, compiled: Compiled, options: planning.RunOptions, engine: Engine | None = None) -> RunRecord:
    """Run a compiled pipeline, show it while it runs, then what came of it.

    PipelineFailed when a step failed, PipelineStopped when the user interrupts; what finished is on disk then.
    """
    _refuse_in_step()
    place = _Place()
    try:
        record = _run(screen, compiled, options, engine, place)
    except KeyboardInterrupt:
        if place.link:
            raise PipelineStopped(f"{compiled.pipeline.name} goes on on the cluster: {place.link}\n{_later(place.run)}") from None
        raise PipelineStopped(f"stopped: {compiled.pipeline.name} was interrupted before its steps began") from None
    _show_end(screen, compiled.pipeline, record)
    if record.state is State.CANCELLED:
        raise PipelineStopped(f"stopped: {record.pipeline} was interrupted; what finished stays in {near(record.directory)}")
    if record.left:
        screen.say(f"it goes on: {_later(record.id)}")
        return record
    if record.state is not State.SUCCEEDED:
        failed = ", ".join(step.name for step in record.failed)
        message = f"step {failed} failed" if failed else record.error or f"the run {record.state.value}"
        raise PipelineFailed(message, failure_lines(record, screen.style))
    return record


def _later(run: str) -> str:
    return f"`!kale show {run}` asks how it goes, `!kale stop {run}` stops it"


@dataclass(slots=True)
class _Place:
    """Where a run is that another system was given: an observer."""

    run: str = ""
    link: str = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run = event.run
        elif isinstance(event, RunSubmitted):
            self.link = event.remote.get("run", "")


def _run(screen: Screen, compiled: Compiled, options: planning.RunOptions, engine: Engine | None, place: _Place) -> RunRecord:
    if not screen.is_rich:
        return runner.run(compiled, options, (place, PlainLines(Stream(sys.stdout))), engine=engine)
    with Progress(screen, compiled.pipeline) as progress:
        return runner.run(compiled, options, (place, progress.take), engine=engine)


def _refuse_in_step() -> None:
    """A step of a running pipeline starts no run of its own pipeline, which would start the next."""
    runtime = sys.modules.get("kale_nb.runtime")
    if getattr(runtime, "_session", None) is not None:
        raise CommandError("this is a step of a pipeline that runs: `%pipeline run` is for the notebook")


@dataclass(slots=True)
class _Row:
    state: State = State.PENDING
    started: float = 0.0
    seconds: float | None = None
    text: str = ""
    rest: str = ""


class Progress:
    """The table of steps, redrawn in place while the run goes on. As a context manager it draws until it is left."""

    def __init__(self, screen: Screen, pipeline: Pipeline) -> None:
        self._screen = screen
        self._name = pipeline.name
        self._rows: dict[StepName, _Row] = {step.name: _Row() for step in pipeline.steps}
        self._run = ""
        self._state = State.PENDING
        self._started = time.time()
        self._ended: float | None = None
        self._warnings: list[str] = []
        self._note = ""
        self._link = ""
        self._left = False
        self._id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._changed, self._over = threading.Event(), threading.Event()
        draw = contextvars.copy_context()  # where the front end's request is, to which a drawing belongs
        self._thread = threading.Thread(target=draw.run, args=(self._redraw,), name="kale-progress", daemon=True)

    def __enter__(self) -> Progress:
        self._draw(update=False)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._changed.set()
        self._thread.join()
        if self._state in (State.PENDING, State.RUNNING) and not self._left:
            self._state = State.CANCELLED if kind is None or issubclass(kind, KeyboardInterrupt) else State.FAILED
        self._ended = self._ended or time.time()
        self._draw()

    def take(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            self._take(event)
        self._changed.set()

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._run, self._started, self._state = event.run, event.time, State.RUNNING
                self._rows = {name: self._rows.get(name, _Row()) for name in event.steps}
            case RunFinished():
                self._state, self._ended = event.state, event.time
            case VolumeCreated() if event.mechanism == "claim":
                self._note = f"{event.step}: {volume_text(event)}"
            case RunWarning():
                self._warnings.append(plain(event.message))
            case RunNote():
                self._note = plain(event.message)
            case RunSubmitted():
                self._link, self._note = plain(event.remote.get("run", "")), ""
            case RunLeft():
                self._left, self._note = True, "it is not followed any more, and goes on"
            case StepStarted() if event.step in self._rows:
                again = f"attempt {event.attempt}" if event.attempt > 1 else ""
                self._rows[event.step] = _Row(state=State.RUNNING, started=event.time, text=again)
            case StepOutput() if event.step in self._rows:
                row = self._rows[event.step]
                row.text, row.rest = last_line(row.rest + event.text, row.text)
            case StepRetrying() if event.step in self._rows:
                self._rows[event.step] = _Row(text=f"again in {duration(event.wait)}: {brief(event.failure)}")
            case StepFinished() if event.step in self._rows:
                row = self._rows[event.step]
                row.state, row.seconds = event.state, event.seconds
                row.text = row.text if event.failure is None else brief(event.failure)
            case _:
                pass

    def _redraw(self) -> None:
        while not self._over.is_set():
            self._changed.wait(_TICK)
            self._changed.clear()
            if not self._over.is_set():
                self._draw()
            self._over.wait(_LEAST_PAUSE)

    def _draw(self, *, update: bool = True) -> None:
        with self._lock:
            text, html = self._picture(time.time())
        self._screen.show(text, {"text/html": html}, display_id=self._id, update=update)

    def _picture(self, now: float) -> tuple[str, str]:
        done = sum(row.state is State.SUCCEEDED for row in self._rows.values())
        state = "starting" if self._state is State.PENDING else self._state.value
        took = duration((self._ended or now) - self._started)
        text = f"{self._name}: {done}/{len(self._rows)} steps, {state}, {took}"
        shown = display.word(self._state) if self._state is not State.PENDING else display.dim("starting")
        head = f"{escape(self._name)} &nbsp;{shown}&nbsp; {done}/{len(self._rows)} steps &nbsp;{display.dim(took)}"
        rows = [self._row(name, row, now) for name, row in self._rows.items()]
        notes = "".join(f"<div>{display.dim('warning: ' + clip(note, 300))}</div>" for note in self._warnings[:5])
        foot = f"<div>{display.dim(self._note)}</div>" if self._note else ""
        foot += f"<div>{display.dim(self._run)} {display.link(self._link)}</div>" if self._run else ""
        return text, f"{display.heading(head)}{display.table(rows, right=(2,))}{notes}{foot}"

    @staticmethod
    def _row(name: str, row: _Row, now: float) -> tuple[str, ...]:
        seconds = now - row.started if row.state is State.RUNNING else row.seconds
        idle = row.state in (State.PENDING, State.SKIPPED)
        said = clip(" ".join(plain(row.text).split()), _COLUMNS)
        text = row.state.value if idle and not said else said
        return (display.sign(row.state), f"<b>{escape(name)}</b>", "" if idle else duration(seconds), display.dim(text))


def _show_end(screen: Screen, pipeline: Pipeline, record: RunRecord) -> None:
    lines = summary_lines(record, Style(None) if screen.is_rich else screen.style)
    screen.show("\n".join(lines), {"text/html": _end_html(pipeline, record)} if screen.is_rich else None)


def _end_html(pipeline: Pipeline, record: RunRecord) -> str:
    from kale_nb.graph.svg import draw_svg

    parts = []
    metrics = [(escape(s.name), display.code(n), display.code(number(v))) for s in record.steps for n, v in s.metrics.items()]
    if metrics:
        parts.append(display.heading("metrics") + display.table(metrics, right=(2,)))
    results = [
        (escape(s.name), display.code(s.result[0]), display.code(clip(s.result[1], 100))) for s in record.steps if s.result
    ]
    if results:
        parts.append(display.heading("results") + display.table(results))
    warnings = [("", escape(w)) for w in record.warnings] + [
        (escape(s.name), escape(w)) for s in record.steps for w in s.warnings
    ]
    if warnings:
        parts.append(display.heading("warnings") + display.table(warnings))
    states = {step.name: step.state for step in record.steps}
    notes = {step.name: duration(step.seconds) for step in record.steps if step.seconds is not None and step.attempt}
    parts.append(display.picture(draw_svg(pipeline, states, notes)))
    parts.append(f"<div>{display.dim('kept in')} {display.code(near(record.directory))}</div>")
    if "run" in record.remote:
        parts.append(f"<div>{display.dim('on the cluster')} {display.link(plain(record.remote['run']))}</div>")
    return "".join(parts)
