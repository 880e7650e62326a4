"""The run record: what a run left, as one frozen value that events change and a file keeps.

`apply` is the whole meaning of events: a record and an event give the next record. `to_json` and `from_json` are the file's
form (format 1); a field at its default is left out, so that a record stays small. A record that was read never claims to run
when its writer is gone: `settle` says INTERRUPTED then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kale_nb.errors import KaleError
from kale_nb.names import RunId, StepName
from kale_nb.pipeline.volumes import WORKSPACE
from kale_nb.process import Writer, is_gone
from kale_nb.runs.events import (
    Event,
    Failure,
    RunFinished,
    RunLeft,
    RunStarted,
    RunSubmitted,
    RunWarning,
    State,
    StepFinished,
    StepRetrying,
    StepsPlaced,
    StepStarted,
    VolumeCreated,
    VolumeRead,
)

__all__ = [
    "ENDED",
    "FORMAT",
    "LONGEST_TEXT",
    "WORKSPACE",
    "RecordError",
    "RunRecord",
    "StepRecord",
    "VolumeRecord",
    "apply",
    "finish",
    "settle",
]

FORMAT = 1
LONGEST_TEXT = 20_000
"""Characters of a traceback, a result or a warning that a record keeps; the executed stepbook and the log have the whole."""


class RecordError(KaleError):
    """A run record cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What is known of one step of a run.

    Attributes:
        started: seconds since the epoch; None when it never started.
        seconds: wall time of its last attempt, or of all as the engine tells it; None while it runs.
        attempt: the attempt that runs or was the last, from 1; 0 when it never started.
        retried: why the earlier attempts failed, one line each.
        executed: the executed stepbook.
        snapshots: id of the snapshot taken of each volume when the step had ended, by volume; empty without autosnapshot.
        reused: the run from which all this was taken; None when the step ran in this one.
    """

    name: StepName
    state: State = State.PENDING
    started: float | None = None
    seconds: float | None = None
    attempt: int = 0
    failure: Failure | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    result: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()
    retried: tuple[str, ...] = ()
    cpu: float | None = None
    executed: Path | None = None
    snapshots: Mapping[str, str] = field(default_factory=dict)
    reused: RunId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecord:
    """A volume that the run made; see `VolumeCreated`."""

    step: str
    volume: str
    path: Path
    files: int = 0
    size: int = 0
    seconds: float = 0.0
    bytes: int = 0
    mount_point: Path | None = None
    mechanism: str = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is known of one run.

    Attributes:
        source: the notebook, absolute when it was found.
        params: values that differ from the defaults or were given, as Python source.
        directory: the run's folder; where it was read from, not what the file says.
        workspace: the user's folder.
        clone: the run's own copy of it; None before it is made.
        volumes: those that the run made, by their numbers.
        isolation: how steps saw the volumes: `mount`, at their own paths; `none`, at the folders of the run; empty before it is known.
        snapshots: id of the snapshot that each volume was cloned from, by volume; that of the workspace is called `workspace`.
        inputs: fingerprint of each data volume that was only read, by volume; empty where it was not told in time.
        origins: where steps of an earlier run were taken, id of the snapshot that that one began with, by volume.
        repeats: the run of which this one is a repetition.
        environment: fingerprint of Python, machine and distributions, which `environment.json` in the run's folder tells; empty when there
            is none.
        started: seconds since the epoch.
        finished: seconds since the epoch; None while it runs.
        error: why nothing could run at all.
        writer: the process that keeps the record; None of a run that goes on elsewhere and that nobody follows.
        remote: what the run is called where it was submitted; see `RunSubmitted`. Empty for a run on this machine.
    """

    id: RunId
    pipeline: str
    directory: Path
    started: float
    state: State = State.PENDING
    steps: tuple[StepRecord, ...] = ()
    source: str = ""
    source_sha256: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    until: tuple[StepName, ...] = ()
    workspace: Path | None = None
    clone: Path | None = None
    volumes: tuple[VolumeRecord, ...] = ()
    isolation: str = ""
    output_dir: Path | None = None
    snapshots: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    repeats: RunId | None = None
    environment: str = ""
    engine: str = "local"
    finished: float | None = None
    seconds: float | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    writer: Writer | None = None
    remote: Mapping[str, str] = field(default_factory=dict)

    @property
    def left(self) -> bool:
        """The run goes on where it was submitted, as far as is known, and nobody here follows it."""
        return bool(self.remote) and self.writer is None and self.state not in ENDED

    def step(self, name: str) -> StepRecord:
        """Return the record of the step called `name`; KeyError when there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    @property
    def metrics(self) -> dict[StepName, Mapping[str, float]]:
        """Metrics by step, of the steps that have any."""
        return {step.name: step.metrics for step in self.steps if step.metrics}

    @property
    def failed(self) -> tuple[StepRecord, ...]:
        """The steps that failed, in pipeline order."""
        return tuple(step for step in self.steps if step.state is State.FAILED)


ENDED = (State.SUCCEEDED, State.FAILED, State.SKIPPED, State.CANCELLED, State.INTERRUPTED)


def apply(record: RunRecord, event: Event) -> RunRecord:
    """Return the record after `event`; the same object when the event changes nothing that a record keeps."""
    match event:
        case RunStarted():
            known = event.environment or record.environment
            return replace(record, state=State.RUNNING, started=event.time, environment=known)
        case VolumeCreated():
            return _with_volume(record, event)
        case VolumeRead():
            return replace(record, inputs={**record.inputs, event.volume: event.fingerprint})
        case StepsPlaced():
            return replace(record, isolation=event.isolation)
        case StepStarted():
            return _with_step(record, event.step, state=State.RUNNING, started=event.time, attempt=event.attempt)
        case StepRetrying():
            return _with_retry(record, event)
        case StepFinished():
            return _with_finish(record, event)
        case RunWarning():
            return replace(record, warnings=(*record.warnings, _cut(event.message)))
        case RunSubmitted():
            return replace(record, remote={**record.remote, **event.remote})
        case RunLeft():
            return replace(record, writer=None)
        case RunFinished():
            return finish(record, event.state, event.time, event.seconds)
        case _:
            return record


def finish(record: RunRecord, state: State, time: float, seconds: float, error: str | None = None) -> RunRecord:
    """Return the record of a run that is over: no step of it is pending or running any more."""
    left = State.SKIPPED if state in (State.SUCCEEDED, State.FAILED) else State.CANCELLED
    steps = _ended(record.steps, State.CANCELLED, left)
    return replace(record, state=state, finished=time, seconds=seconds, steps=steps, error=error or record.error)


def settle(record: RunRecord) -> RunRecord:
    """Return the record as it is true now: a run whose writer is gone was interrupted.

    Its running steps were interrupted too; those that had not begun stay pending.
    """
    if record.state in ENDED or record.writer is None or not is_gone(record.writer):
        return record
    return replace(record, state=State.INTERRUPTED, steps=_ended(record.steps, State.INTERRUPTED, State.PENDING))


def _ended(steps: Iterable[StepRecord], running: State, pending: State) -> tuple[StepRecord, ...]:
    then = {State.RUNNING: running, State.PENDING: pending}
    return tuple(replace(step, state=then[step.state]) if step.state in then else step for step in steps)


def _with_step(record: RunRecord, name: StepName, **changes: Any) -> RunRecord:
    return replace(record, steps=tuple(replace(s, **changes) if s.name == name else s for s in record.steps))


def _with_volume(record: RunRecord, event: VolumeCreated) -> RunRecord:
    made = VolumeRecord(
        step=event.step,
        volume=event.volume,
        path=event.path,
        files=event.files,
        size=event.size,
        seconds=event.seconds,
        bytes=event.bytes,
        mount_point=event.mount_point,
        mechanism=event.mechanism,
    )
    taken = {event.volume: event.snapshot} if event.snapshot else {}
    volumes = tuple(
        sorted((*record.volumes, made), key=lambda volume: _rank(volume.step))
    )  # on a cluster the last may be ready first
    record = replace(record, volumes=volumes, snapshots={**record.snapshots, **taken})
    return replace(record, clone=event.path) if event.volume == WORKSPACE and event.mechanism != "claim" else record


def _rank(step: str) -> tuple[bool, int]:
    """Place of a volume among those of a run: by its number, the marshal volume last."""
    number = step.rpartition("-")[2]
    return (False, int(number)) if number.isdecimal() else (True, 0)


def _with_retry(record: RunRecord, event: StepRetrying) -> RunRecord:
    try:
        earlier = record.step(event.step).retried
    except KeyError:
        return record
    return _with_step(record, event.step, state=State.PENDING, retried=(*earlier, _cut(event.failure.message)))


def _with_finish(record: RunRecord, event: StepFinished) -> RunRecord:
    failure = event.failure
    if failure is not None:
        failure = replace(failure, message=_cut(failure.message), traceback=_cut(failure.traceback))
    return _with_step(
        record,
        event.step,
        state=event.state,
        seconds=event.seconds,
        attempt=event.attempt,
        failure=failure,
        metrics=dict(event.metrics),
        result=None if event.result is None else (event.result[0], _cut(event.result[1])),
        warnings=tuple(_cut(w) for w in event.warnings),
        cpu=event.cpu,
        executed=event.executed,
        snapshots=dict(event.snapshots),
    )


def _cut(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
