"""What a cell ends with when a command or a mark is at fault: a few lines in the user's terms instead of a traceback through kale."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kale_nb.errors import HINT, KaleError


class _Told:
    """An exception that IPython shows as these lines (it asks for `_render_traceback_`)."""

    lines: Sequence[str] = ()

    def _render_traceback_(self) -> list[str]:
        return list(self.lines)


class MarkError(_Told, KaleError):
    """A mark cannot be read; its cell did not run."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class CommandError(_Told, KaleError):
    """A command of the live notebook could not do its work."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines) or (f"error: {message}",)


class PipelineFailed(_Told, KaleError):
    """A run of the pipeline failed."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class PipelineStopped(_Told, KeyboardInterrupt):
    """The user interrupted a run of the pipeline."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lines = tuple(message.split("\n"))


def told(error: KaleError) -> CommandError:
    """Return an error as a notebook shows it: message and hint, no traceback."""
    lines = [f"error: {error}"]
    if error.hint:
        lines.append(f"  {HINT}{error.hint}")
    return CommandError(str(error), lines)


def check_folder() -> None:
    """CommandError when the folder that the notebook works in is there no more: no relative path means anything then."""
    try:
        os.getcwd()
    except OSError:
        message = "the folder that this notebook works in is gone"
        raise CommandError(message, [f"error: {message}", f"  {HINT}go to another one: `%cd FOLDER`"]) from None
