"""What happens in a run, as values: engines emit them, the record and the progress display take them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kale_nb.names import RunId, StepName


class State(enum.Enum):
    """Of a step or of a run."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not run because a predecessor failed or `--until` left it out."""
    CANCELLED = "cancelled"
    """Stopped by Ctrl-C, by a signal, or because another step failed under --fail-fast."""
    INTERRUPTED = "interrupted"
    """Said by readers of a record whose writing process is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a step failed, in the user's terms.

    Attributes:
        kind: `exception`, `timeout`, `died` (the kernel is gone), `marshal` (a value cannot travel), `conflict`, `engine`.
        message: one line, such as `ZeroDivisionError: division by zero`.
        cell: 1-based cell of the user's notebook, when known.
        line: 1-based line inside that cell, when known.
        traceback: plain text (no ANSI codes) with the user's cells and lines.
        hint: what to do next.
    """

    kind: str
    message: str
    cell: int | None = None
    line: int | None = None
    traceback: str = ""
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Root of the events. `time` is seconds since the epoch."""

    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    run: RunId
    pipeline: str
    steps: tuple[StepName, ...]
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceCloned(Event):
    path: Path
    files: int
    size: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Event):
    step: StepName
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput(Event):
    """Text that a step printed; `stream` is stdout or stderr. Emitted at most a few times a second a step."""

    step: StepName
    stream: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRetrying(Event):
    step: StepName
    attempt: int
    wait: float
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """The end of a step.

    Attributes:
        metrics: name to number.
        result: name and repr of the bare name that the step ends with.
        warnings: what the run-time checks found, a sentence each.
        cpu: CPU seconds of the kernel, None when not measured.
        executed: the executed stepbook.
    """

    step: StepName
    state: State
    seconds: float
    attempt: int = 1
    failure: Failure | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    result: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()
    cpu: float | None = None
    executed: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWarning(Event):
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    state: State
    seconds: float


Observer = Callable[[Event], None]
"""Takes each event once, in order, from one thread at a time. Must not raise."""
