"""The error tree: who must act decides the class.

`KaleError` is the root of everything we raise on purpose. Below it: what the author of the notebook must mend (`CompileError`,
which carries every diagnostic of the compile), what the caller typed wrong (`UsageError`), what the machine refuses (`VolumeError`,
`MarshalError`, `EngineError`), and what the user's own code did (`StepFailed`). All survive pickling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kale_nb.location import Location

HINT = "hint: "
"""Begins the line of an error that says what to do, where an error is shown as lines."""


class KaleError(Exception):
    """Root of all errors raised on purpose.

    Args:
        message: one sentence, no trailing full stop needed.
        location: where in the user's source, when there is such a place.
        hint: what to do next, one sentence.
    """

    def __init__(self, message: str, *, location: Location | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location is not None else ""
        return f"{where}{self.message}"


def _rebuild(cls: type[KaleError], args: tuple[Any, ...], state: dict[str, Any]) -> KaleError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class SourceError(KaleError):
    """The file cannot be read as a notebook or script at all."""


class UsageError(KaleError):
    """The caller asked for something that does not exist or does not fit: an option, a parameter value, a step name."""


class VolumeError(KaleError):
    """A workspace, snapshot or clone cannot be made or read."""


class MarshalError(KaleError):
    """A value cannot be written or read.

    Attributes:
        variable: the name at fault, when one is.
        culprit: the path from the variable to the part that cannot travel, such as `model['cfg'].conn`.
    """

    def __init__(
        self,
        message: str,
        *,
        variable: str | None = None,
        culprit: str | None = None,
        location: Location | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, location=location, hint=hint)
        self.variable = variable
        self.culprit = culprit

    def _render_traceback_(self) -> list[str]:
        """Say what a notebook shows of it (IPython asks): the message and the hint, since every frame is ours."""
        lines = [f"{type(self).__name__}: {self}"]
        return [*lines, f"{HINT}{self.hint}"] if self.hint else lines


class EngineError(KaleError):
    """The engine cannot run: no kernel, no room, lost contact."""


class ConflictError(MarshalError):
    """Branches of a join left different versions of a value that the joining step needs."""


class StepFailed(KaleError):
    """The user's code in a step raised, ran out of time or took its process with it.

    Attributes:
        step: its name.
        kind: as in `runs.events.Failure`: `exception`, `timeout`, `died`, `marshal`, `conflict`, `engine`.
        error: name of the exception's type, such as `ValueError`; None when none was raised.
        traceback: plain text, of the user's cells and lines.
        stdout: what the step had printed.
        notebook: the executed notebook, up to where it failed.
    """

    def __init__(
        self,
        message: str,
        *,
        step: str,
        kind: str = "exception",
        error: str | None = None,
        traceback: str = "",
        stdout: str = "",
        notebook: Path | None = None,
        location: Location | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, location=location, hint=hint)
        self.step = step
        self.kind = kind
        self.error = error
        self.traceback = traceback
        self.stdout = stdout
        self.notebook = notebook
