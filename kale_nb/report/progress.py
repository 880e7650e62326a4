"""Observers that show a run where there is no terminal to draw on: plain lines, and JSON lines.

An observer must not raise: a stream that refuses is written to no more, and the run goes on.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TextIO

from kale_nb.pipeline.volumes import WORKSPACE, variable
from kale_nb.report.style import Style, clock, duration, is_terminal, pad, plain, width
from kale_nb.runs.codec import event_to_json
from kale_nb.runs.events import (
    Event,
    Failure,
    RunFinished,
    RunLeft,
    RunNote,
    RunStarted,
    RunSubmitted,
    RunWarning,
    State,
    StepFinished,
    StepRetrying,
    StepStarted,
    VolumeCreated,
)
from kale_nb.runs.record import VolumeRecord
from kale_nb.sizes import size


class Stream:
    """A text stream that may be closed by whoever reads it; writing to it then is silently nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._closed = False
        self.style = Style(stream)
        self.is_terminal = is_terminal(stream)

    def write(self, text: str) -> None:
        """Write text and a newline, at once."""
        if self._closed:
            return
        try:
            try:
                self._stream.write(f"{text}\n")
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self._stream.write(f"{text.encode(encoding, 'backslashreplace').decode(encoding)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._close()

    def _close(self) -> None:
        """Send what is left to the null device, so that the interpreter's last flush does not complain either."""
        self._closed = True
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            pass


class JsonLines:
    """Writes every event as one JSON object a line (see `kale_nb.runs.codec`)."""

    def __init__(self, out: Stream) -> None:
        self._out = out

    def __call__(self, event: Event) -> None:
        self._out.write(json.dumps(event_to_json(event), ensure_ascii=False, allow_nan=False))


class PlainLines:
    """Writes one line for each change of state, with the time of day."""

    def __init__(self, out: Stream) -> None:
        self._out = out
        self._columns = 0

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._columns = min(40, max((width(name) for name in event.steps), default=0))
                self._line(event, f"{event.pipeline}: {_counted(len(event.steps), 'step')}, run {event.run}")
            case VolumeCreated():
                self._line(event, f"{event.step}: {volume_text(event)} in {duration(event.seconds)}")
            case StepStarted():
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                self._step(event, event.step, State.RUNNING, again)
            case StepRetrying():
                wait = duration(event.wait)
                self._step(event, event.step, State.FAILED, f", next attempt in {wait}: {brief(event.failure)}")
            case StepFinished():
                self._step(event, event.step, event.state, _ending(event))
            case RunWarning():
                self._line(event, f"{self._out.style.paint('warning:', 'yellow')} {plain(event.message)}")
            case RunNote():
                self._line(event, plain(event.message))
            case RunSubmitted():
                for word in ("run", "experiment"):
                    if word in event.remote:
                        self._line(event, f"{word}: {plain(event.remote[word])}")
            case RunLeft():
                self._line(event, f"the run goes on{f': {plain(event.reason)}' if event.reason else ''}")
            case RunFinished():
                self._line(event, f"run {self._out.style.state(event.state)} in {duration(event.seconds)}")
            case _:
                pass

    def _step(self, event: Event, step: str, state: State, text: str) -> None:
        self._line(event, f"{pad(step, self._columns)}  {self._out.style.state(state)}{text}")

    def _line(self, event: Event, text: str) -> None:
        self._out.write(f"{clock(event.time)}  {text}")


def volume_text(volume: VolumeCreated | VolumeRecord) -> str:
    """Return what a volume is and holds, on one line."""
    where = (
        ""
        if volume.volume == WORKSPACE and volume.mount_point is None
        else f" at {place_text(volume.volume, volume.mount_point)}"
    )
    match volume.mechanism:
        case "empty":
            held = "empty"
        case "claim":
            held = f"a clone of {size(volume.size)}"
        case _:
            held = f"{_counted(volume.files, 'file')}, {size(volume.size)}"
    return f"{plain(volume.volume)}{where}, {held}"


def place_text(volume: str, mount_point: Path | str | None) -> str:
    """Return where steps find a volume: its mount point, or where they do not see it there (None) the variable that holds the place."""
    return plain(str(mount_point)) if mount_point is not None else f"${variable(volume)}"


def brief(failure: Failure) -> str:
    """Return a failure on one line: message and place."""
    lines = plain(failure.message).strip().splitlines()
    parts = [f"{word} {at}" for word, at in (("cell", failure.cell), ("line", failure.line)) if at is not None]
    place = f" ({', '.join(parts)})" if parts else ""
    return f"{lines[0] if lines else failure.kind}{place}"


def _ending(event: StepFinished) -> str:
    match event.state:
        case State.SUCCEEDED:
            return f" in {duration(event.seconds)}"
        case State.FAILED:
            return f" after {duration(event.seconds)}{'' if event.failure is None else f': {brief(event.failure)}'}"
        case _:
            return "" if event.failure is None else f": {brief(event.failure)}"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
