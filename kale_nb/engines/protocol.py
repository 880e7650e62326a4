"""The engine interface: what any engine takes and promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kale_nb.names import RunId, StepName
from kale_nb.pipeline.model import Pipeline, Volume
from kale_nb.runs.events import Observer, State
from kale_nb.stepbooks.model import Stepbook


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run to be done.

    Attributes:
        steps: the steps to run, in source order. A predecessor that is not among them has run before: its values are in `<run>/data`.
        params: values that differ from the defaults or were given, by name.
        directory: the run's own folder, which exists and is ours.
        workspace: the user's folder, never written to.
        cwd: the notebook's folder relative to the workspace (`.` or deeper); steps start there inside the clone.
        max_bytes: refuse to clone a workspace larger than this.
        jobs: steps at once; 0 lets the engine choose.
        fail_fast: stop running steps when one fails; otherwise let independent branches finish.
        output_dir: where executed stepbooks are put as well.
        snapshots: the snapshot that a volume is cloned from, by volume; of one that is not named here (the workspace is called
            `workspace`) a new snapshot is taken.
        origins: the snapshots that it all began with, by volume, where those of `snapshots` were taken in the middle of a run.
        volumes: the data volumes, their sources absolute.
        live: run in the workspace itself instead of a clone.
        isolation: whether steps see volumes at their own paths: `auto` where the machine allows it, `mount` or not at all, `none` never.
        conflicts: what it is when two steps that may run at the same time write one file: `warning` or `error`.
    """

    run: RunId
    pipeline: Pipeline
    stepbooks: tuple[Stepbook, ...]
    steps: tuple[StepName, ...]
    directory: Path
    workspace: Path
    cwd: Path
    params: Mapping[str, object] = field(default_factory=dict)
    jobs: int = 0
    fail_fast: bool = False
    max_bytes: int = 4 * 1024**3
    output_dir: Path | None = None
    snapshots: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    live: bool = False
    isolation: str = "auto"
    conflicts: str = "warning"


class Engine(Protocol):
    """Runs pipelines."""

    name: str

    def run(self, job: Job, observer: Observer) -> State:
        """Run the job and return how it ended. Emits every event from RunStarted to RunFinished, also when interrupted.

        Raises EngineError or VolumeError when nothing could be started.
        """
        ...
