"""Notebooks that are submitted to the tests' server, by the engine or by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kale_nb.compiler import Compiled, compile_path
from kale_nb.engines.kfp.submission.address import Asked
from kale_nb.engines.kfp.submission.engine import KfpEngine, Options
from kale_nb.engines.kfp.target import Target
from kale_nb.planning import RunOptions
from kale_nb.runner import run
from kale_nb.runs.events import Event
from kale_nb.runs.record import RunRecord
from tests.kfp.sources import write_notebook

CHAIN = (
    "%pipeline --name chain --image python:3.11\n\n%%parameters\nn = 3\n\n%%step one\nx = [n]\nprint('one has', x)\n\n"
    "%%step two --after one\nx.append(len(x))\nprint(x)\n\n%%metrics\ntotal = sum(x)\nprint(total)"
)


def notebook(folder: Path, text: str = CHAIN) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write_notebook(text, folder / "nb.ipynb")


def engine(url: str, *, asked: dict[str, Any] | None = None, **options: Any) -> KfpEngine:
    given = {
        "every": 0.02,
        "patience": 5.0,
        "lost_after": 5.0,
        "target": Target(image="python:3.11"),
        "snapshot": False,
        **options,
    }
    return KfpEngine(Options(asked=Asked(host=url, **(asked or {})), **given))


class Submitted:
    """A run by the engine: its record and the events."""

    def __init__(self, path: Path, made: KfpEngine, **options: Any) -> None:
        self.events: list[Event] = []
        compiled: Compiled = compile_path(path)
        given = RunOptions(**{"engine": "kfp", "live": True, **options})
        self.record: RunRecord = run(compiled, given, (self.events.append,), engine=made)

    def all(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def record_file(record: RunRecord) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((record.directory / "run.json").read_text(encoding="utf-8"))
    return read
