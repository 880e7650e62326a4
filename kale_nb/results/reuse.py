"""Steps of an earlier run that a new one does not run again: it takes what they left."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.names import RunId, StepName
from kale_nb.results.locks import using
from kale_nb.runs.record import StepRecord
from kale_nb.volumes.copying import Copier


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """What a new run takes from an earlier one.

    Attributes:
        directory: the folder of the earlier run.
        steps: those whose values and outputs are taken.
        rerun: those that run.
    """

    run: RunId
    directory: Path
    steps: tuple[StepRecord, ...]
    rerun: tuple[StepName, ...]


def bring(reuse: Reuse, directory: Path) -> None:
    """Copy what the reused steps left into the folder of a new run. UsageError or VolumeError when it is not there."""
    copier = Copier()
    with using(reuse.directory):
        for step in reuse.steps:
            beside = (("executed", f"{step.name}.ipynb"), ("logs", f"{step.name}.log"), ("files", f"{step.name}.json"))
            try:
                _copy_folder(copier, reuse.directory / "data" / step.name, directory / "data" / step.name)
                for folder, name in beside:
                    (directory / folder).mkdir(exist_ok=True)
                    with contextlib.suppress(FileNotFoundError):
                        copier.copy(os.fspath(reuse.directory / folder / name), os.fspath(directory / folder / name))
            except OSError as error:
                raise VolumeError(
                    f"what step {step.name} of run {reuse.run} left cannot be copied: {error.strerror or error}: {error.filename}"
                ) from error


def _copy_folder(copier: Copier, source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for folder, folders, files in os.walk(source):
        inside = target / os.path.relpath(folder, source)
        for name in folders:
            (inside / name).mkdir()
        for name in files:
            copier.copy(os.path.join(folder, name), os.fspath(inside / name))
