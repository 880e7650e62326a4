"""From what the user typed to a run that was kept."""

from __future__ import annotations

import json
from pathlib import Path

from kale_nb.pipeline.model import Pipeline
from kale_nb.runs.record import RecordError, RunRecord
from kale_nb.runs.store import Store, known_store


def load_run(text: str, workspace: Path | None, runs_dir: Path | None) -> tuple[RunRecord, Pipeline]:
    """Return the record that `text` means and the pipeline that ran. UsageError or RecordError when there is none."""
    record = find_run(text, workspace, runs_dir)
    from kale_nb.pipeline import codec

    try:
        value = json.loads((record.directory / "pipeline.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"the pipeline of the run {record.id} cannot be read: {error}") from error
    return record, codec.from_json(value)


def find_run(text: str, workspace: Path | None, runs_dir: Path | None) -> RunRecord:
    """Return the record that `text` means: an id, its beginning or end, a run's folder, `latest`."""
    return run_store(workspace, runs_dir).find(text)


def run_store(workspace: Path | None, runs_dir: Path | None) -> Store:
    """Return the store of runs that the options name: of the current folder, or the nearest folder above that has runs."""
    if runs_dir is not None or workspace is not None:
        return known_store((workspace or Path.cwd()).expanduser().absolute(), runs_dir)
    here = Path.cwd()
    for place in (here, *here.parents):
        store = known_store(place)
        if store.root.is_dir():
            return store
    return known_store(here)
