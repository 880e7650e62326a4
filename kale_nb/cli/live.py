"""The live display of a run on a terminal, drawn by rich: redrawn a few times a second, gone when the run ends."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from kale_nb.pipeline.model import Pipeline
from kale_nb.report.board import Board
from kale_nb.report.style import Style
from kale_nb.runs.events import Event, Observer

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

_PER_SECOND = 5


_shown: list[Live] = []
"""The displays that are up."""


@contextmanager
def paused() -> Iterator[None]:
    """Take the display off the terminal while the block lasts, for a question."""
    displays = list(_shown)
    for display in displays:
        display.stop()
    try:
        yield
    finally:
        for display in displays:
            display.start()


class _Picture:
    """What rich draws: the board at this moment, in this size."""

    def __init__(self, board: Board, style: Style, lock: threading.Lock) -> None:
        self._board = board
        self._style = style
        self._lock = lock

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        with self._lock:
            lines = self._board.lines(time.time(), max(10, options.max_width - 1), max(3, console.height - 1), self._style)
        for line in lines:
            yield Text.from_ansi(line, no_wrap=True, overflow="crop", end="\n")


class _Tolerant:
    """A stream for rich that a vanished terminal cannot make raise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def live_display(pipeline: Pipeline, stream: TextIO) -> Iterator[Observer]:
    """Show a run while the block lasts; give the observer that feeds the display."""
    from rich.console import Console
    from rich.live import Live

    style = Style(stream)
    console = Console(file=cast(TextIO, _Tolerant(stream)), highlight=False, force_terminal=True, no_color=not style.color)
    board = Board(pipeline)
    lock = threading.Lock()

    def observe(event: Event) -> None:
        with lock:
            board.take(event)

    picture = _Picture(board, style, lock)
    with Live(picture, console=console, refresh_per_second=_PER_SECOND, transient=True, vertical_overflow="crop") as display:
        _shown.append(display)
        try:
            yield observe
        finally:
            _shown.remove(display)
