"""Make small jobs by hand: stepbooks without load and save cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from kale_nb.engines.protocol import Job
from kale_nb.names import RunId, StepName
from kale_nb.pipeline.model import Pipeline, Step, StepSettings
from kale_nb.runs.events import Event, StepFinished
from kale_nb.stepbooks.model import Stepbook


@contextmanager
def no_process_left() -> Iterator[None]:
    """Check that the body leaves no child process; those of other tests in this process were there before."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = set(psutil.Process().children(recursive=True)) - before
    assert not left


def code(source: str, *tags: str, cell: int | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"tags": list(tags)}
    if cell is not None:
        metadata["kale"] = {"cell": cell}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": None, "id": f"c{cell}"}


def notebook(*cells: Mapping[str, Any] | str) -> dict[str, Any]:
    made = [code(cell, cell=number) if isinstance(cell, str) else dict(cell) for number, cell in enumerate(cells, 2)]
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "x"}},
        "cells": made,
    }


def make_job(
    folder: Path,
    steps: Mapping[str, Sequence[Mapping[str, Any] | str] | str],
    after: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, StepSettings] | None = None,
    *,
    kernel: str = "python3",
    defaults: str = "",
    **options: Any,
) -> Job:
    """Make a job of steps given as their cells; `after` names predecessors."""
    run, workspace = folder / "run", folder / "workspace"
    run.mkdir(parents=True, exist_ok=True)
    workspace.mkdir(exist_ok=True)
    made = [
        Step(
            name=StepName(name),
            index=index,
            after=tuple(StepName(other) for other in (after or {}).get(name, ())),
            settings=(settings or {}).get(name, StepSettings()),
        )
        for index, name in enumerate(steps)
    ]
    books = []
    for name, cells in steps.items():
        parameters = code(f"{defaults}\n_kale_data = '.'".strip(), "parameters")
        books.append(
            Stepbook(step=StepName(name), notebook=notebook(parameters, *([cells] if isinstance(cells, str) else cells)))
        )
    return Job(
        run=RunId("r1"),
        pipeline=Pipeline(name="p", source="nb.ipynb", source_sha256="0", steps=tuple(made), kernel=kernel),
        stepbooks=tuple(books),
        steps=tuple(step.name for step in made),
        directory=run,
        workspace=workspace,
        cwd=options.pop("cwd", Path()),
        **options,
    )


class Seen(list[Event]):
    """An observer that keeps what it is told."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def end(self, step: str) -> StepFinished:
        found = [event for event in self if isinstance(event, StepFinished) and event.step == step]
        assert len(found) == 1, found
        return found[0]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self if type(event).__name__ != "StepOutput"]
