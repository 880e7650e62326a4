"""What the live display shows, as a value: events go in, lines of painted text come out for any size of terminal.

When there are more steps than lines, those that run and those that failed stay, then those next to them; the rest is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline
from kale_nb.report.progress import brief, volume_text
from kale_nb.report.style import Style, clip, duration, pad, plain, width
from kale_nb.runs.events import (
    Event,
    RunFinished,
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

_KEPT = 4000
"""Characters of unfinished output kept for a step."""


@dataclass(slots=True)
class _Line:
    state: State = State.PENDING
    started: float = 0.0
    seconds: float | None = None
    attempt: int = 1
    text: str = ""
    unfinished: str = ""


class Board:
    """The state of the display. Events come from one thread at a time, lines are asked for from another."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._title = pipeline.name
        self._run = ""
        self._note = "starting"
        self._started: float | None = None
        self._ended: float | None = None
        self._after: Mapping[StepName, tuple[StepName, ...]] = {step.name: step.after for step in pipeline.steps}
        self._steps: dict[StepName, _Line] = {step.name: _Line() for step in pipeline.steps}
        self._volumes: dict[str, _Line] = {}

    def take(self, event: Event) -> None:
        """Take one event; steps that the pipeline does not have are ignored."""
        match event:
            case RunStarted():
                self._run, self._started, self._note = event.run, event.time, "making its volumes"
                self._volumes = {step: _Line() for step in event.volumes}
                self._begin_volume(event.time)
                self._steps = {name: self._steps.get(name, _Line()) for name in event.steps}
            case VolumeCreated():
                self._note = f"{event.step}: {volume_text(event)}"
                made = self._volumes.setdefault(event.step, _Line())
                made.state, made.seconds, made.text = State.SUCCEEDED, event.seconds, volume_text(event)
                self._begin_volume(event.time)
            case RunNote():
                self._note = plain(event.message)
            case RunSubmitted():
                self._note = "waiting for the cluster"
            case RunWarning():
                self._note = f"warning: {plain(event.message)}"
            case RunFinished():
                self._ended = event.time
            case StepStarted() | StepOutput() | StepRetrying() | StepFinished() if event.step in self._steps:
                _change(self._steps[event.step], event)
            case _:
                pass

    def _begin_volume(self, now: float) -> None:
        for line in self._volumes.values():
            if line.state is State.PENDING:
                line.state, line.started = State.RUNNING, now
                return

    def lines(self, now: float, columns: int, rows: int, style: Style) -> list[str]:
        """Return the display: at most `rows` lines of at most `columns` columns."""
        elapsed = (self._ended or now) - (self._started or now)
        states = [line.state for line in self._steps.values()]
        head = f"{self._title}  {states.count(State.SUCCEEDED)}/{len(states)} steps  {duration(elapsed)}"
        foot = f"{self._run}  {self._note}  Ctrl-C stops"
        # The workspace alone is told at the bottom; several volumes are rows, as long as there is room for every step as well.
        volumes = self._volumes if 1 < len(self._volumes) <= rows - 2 - len(self._steps) else {}
        chosen = self._chosen(max(1, rows - 3 - len(volumes)))
        names = min(max(8, columns // 3), max((width(name) for name in (*volumes, *self._steps)), default=0))
        body = [self._row(name, line, now, columns, names, style) for name, line in volumes.items()]
        body += [self._row(name, line, now, columns, names, style) for name, line in self._steps.items() if name in chosen]
        hidden = [line.state for name, line in self._steps.items() if name not in chosen]
        if hidden:
            kinds = ", ".join(f"{hidden.count(state)} {state.value}" for state in State if state in hidden)
            body.append(style.paint(clip(f"  and {kinds}", columns), "dim"))
        lines = [style.paint(clip(head, columns), "bold"), *body, style.paint(clip(foot, columns), "dim")]
        return lines[:rows]

    def _chosen(self, room: int) -> set[StepName]:
        """Return the steps to show: all when there is room, else the ones that matter most."""
        if len(self._steps) <= room + 1:
            return set(self._steps)
        names = list(self._steps)
        rank = {State.RUNNING: 0, State.FAILED: 1}
        active = [i for i, name in enumerate(names) if self._steps[name].state is State.RUNNING]
        middle = active[0] if active else sum(self._steps[name].state is not State.PENDING for name in names)

        def weight(i: int) -> tuple[int, int]:
            return rank.get(self._steps[names[i]].state, 2), abs(i - middle)

        return {names[i] for i in sorted(range(len(names)), key=weight)[:room]}

    def _row(self, name: str, line: _Line, now: float, columns: int, names: int, style: Style) -> str:
        seconds = now - line.started if line.state is State.RUNNING else line.seconds
        idle = line.state in (State.SKIPPED, State.PENDING) or (line.state is State.CANCELLED and not line.started)
        took = pad("" if idle else duration(seconds), 10, right=True)
        text = line.text
        if line.state is State.PENDING and not text:
            after = self._after.get(StepName(name), ())
            waits = [p for p in after if p in self._steps and self._steps[p].state in (State.PENDING, State.RUNNING)]
            text = f"waits for {', '.join(waits)}" if waits else ""
        if line.state is State.RUNNING and line.attempt > 1:
            text = f"attempt {line.attempt}  {text}"
        elif line.state in (State.SKIPPED, State.CANCELLED):
            text = line.state.value
        shown = pad(clip(name, names), names)
        room = columns - names - 16
        extra = clip(text, room) if room >= 8 else ""
        painted = style.paint(extra, "red") if line.state is State.FAILED else style.paint(extra, "dim")
        return f" {style.sign(line.state)} {shown}" + (f" {took}  {painted}".rstrip() if columns >= names + 14 else "")


def _change(line: _Line, event: StepStarted | StepOutput | StepRetrying | StepFinished) -> None:
    match event:
        case StepStarted():
            line.state, line.started, line.attempt, line.text, line.unfinished = State.RUNNING, event.time, event.attempt, "", ""
        case StepOutput():
            line.text, line.unfinished = last_line(line.unfinished + event.text, line.text)
        case StepRetrying():
            line.state, line.seconds = State.PENDING, None
            line.text = f"again in {duration(event.wait)}: {brief(event.failure)}"
        case StepFinished():
            line.state, line.seconds = event.state, event.seconds
            if event.failure is not None:
                line.text = brief(event.failure)
            elif event.result is not None:
                line.text = " ".join(plain(" = ".join(event.result)).split())


def last_line(text: str, before: str = "") -> tuple[str, str]:
    """Return the last line of output that says something, as a terminal would show it, and the part that goes on.

    >>> last_line("epoch 1\\nepoch 2\\n")
    ('epoch 2', '')
    >>> last_line("\\r 10%|#\\r 20%|##")
    ('20%|##', '\\r 20%|##')
    """
    lines = text.split("\n")
    rest = lines[-1]
    cut = rest.rfind("\r")
    if cut > 0 and rest[cut + 1 :]:
        rest = rest[cut:]
    for line in reversed(lines):
        parts = [plain(part).strip() for part in line.split("\r")]
        said = next((part for part in reversed(parts) if part), "")
        if said:
            return " ".join(said.split()), rest[-_KEPT:]
    return before, rest[-_KEPT:]
