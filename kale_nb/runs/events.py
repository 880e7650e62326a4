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
    """The run has begun.

    Attributes:
        volumes: what making each volume is called, in the order in which they will be made.
        environment: fingerprint of the environment of the steps, where it is not that of the process that runs them.
    """

    run: RunId
    pipeline: str
    steps: tuple[StepName, ...]
    directory: Path
    volumes: tuple[str, ...] = ()
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeCreated(Event):
    """A volume of the run is there: the workspace's clone, a data volume, the marshal volume.

    Attributes:
        step: what making it is called: `create-volume-1` and so on, `create-marshal-volume`.
        volume: its name; `workspace` and `marshal` are ours.
        path: the folder that it is on this machine.
        mount_point: where steps see it; None when they see it at `path`.
        files, size: what was in it at the start, bytes as the files' length tells.
        bytes: what making it took on the disk, near enough.
        mechanism: `subvolume`, `reflink` or `copy` of a clone, `empty` of a volume that began empty, `claim` of a clone on a cluster, where
            `path` is no folder of this machine and `size` is what was asked for.
        snapshot: id of the snapshot that it was made from; empty when there is none.
    """

    step: str
    volume: str
    path: Path
    files: int
    size: int
    seconds: float
    bytes: int = 0
    mount_point: Path | None = None
    mechanism: str = "copy"
    snapshot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRead(Event):
    """A data volume that the run only reads is there, as it is and where it is.

    Attributes:
        fingerprint: sha256 over the names, sizes and times of its files (see `glance`); empty when it was not told in time.
    """

    volume: str
    path: Path
    mount_point: Path
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsPlaced(Event):
    """How steps see the volumes: `mount`, each at its own path, or `none`, at the folders that the run made; then `reason` says why."""

    isolation: str
    reason: str = ""


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
        snapshots: id of the snapshot taken of each volume when the step had ended, by volume.
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
    snapshots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWarning(Event):
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote(Event):
    """What is waited for."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSubmitted(Event):
    """Another system runs the pipeline.

    Attributes:
        remote: what it is called there, by what it is: `host`, `run_id`, `run` (an address for people), `snapshot NAME` and so on.
            References only: never a secret.
    """

    remote: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLeft(Event):
    """The run goes on where it was submitted, and is not followed any more. `reason` says why; empty when it was asked for."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldClonesRemoved(Event):
    """After a run: clones of older runs, and snapshots, were removed because the budget was passed.

    Attributes:
        runs: those that lost their clones; their records stay.
        snapshots: number of snapshots that went.
        bytes: that came free.
    """

    runs: tuple[RunId, ...]
    snapshots: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    state: State
    seconds: float


Observer = Callable[[Event], None]
"""Takes each event once, in order, from one thread at a time. Must not raise."""
