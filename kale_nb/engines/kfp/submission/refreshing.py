"""A run that goes on on the server without us: looked at again, or stopped, from its record."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kale_nb.engines.kfp.submission.address import Address, Asked, find_address
from kale_nb.engines.kfp.submission.client import Client
from kale_nb.engines.kfp.submission.promises import read_made
from kale_nb.engines.kfp.submission.sending import terminate
from kale_nb.engines.kfp.submission.watching import Watcher
from kale_nb.errors import UsageError
from kale_nb.pipeline import codec
from kale_nb.process import this_process
from kale_nb.runs.events import State
from kale_nb.runs.record import ENDED, RunRecord
from kale_nb.runs.recorder import Recorder


def may_go_on(record: RunRecord) -> bool:
    """Tell whether the server may know more of a run than its record: it was submitted, and nobody here saw its end."""
    return "run_id" in record.remote and (record.left or record.state is State.INTERRUPTED)


def refresh(record: RunRecord, environ: Mapping[str, str], *, patience: float = 5.0) -> RunRecord:
    """Ask the server how a run goes, write that into its record, and return it. ServerError when it does not say."""
    client = Client(address_of(record, environ), patience=patience)
    run_id = record.remote["run_id"]
    run = client.get(f"/runs/{run_id}")  # before the record is touched
    steps = tuple(replace(s, state=State.PENDING) if s.state is State.INTERRUPTED else s for s in record.steps)
    recorder = Recorder(replace(record, state=State.RUNNING, steps=steps, writer=this_process()))
    known = {step.name: (step.state, step.attempt) for step in steps}
    pipeline = codec.from_json(json.loads((record.directory / "pipeline.json").read_text(encoding="utf-8")))
    made, told = read_made(record.directory), [volume.step for volume in record.volumes]
    watcher = Watcher(client, pipeline, run_id, record.directory, made, recorder, began=record.started, known=known, volumes=told)
    try:
        watcher.take(run)
    finally:
        if recorder.record.state not in ENDED and not recorder.record.left:
            watcher.leave()
    return recorder.record


def stop(record: RunRecord, environ: Mapping[str, str], *, within: float = 60.0) -> RunRecord:
    """Stop a run on the server, wait a little for it to end, and return its record. UsageError when there is nothing to stop."""
    if not may_go_on(record):
        where = "was not submitted anywhere" if "run_id" not in record.remote else f"is {record.state.value}"
        raise UsageError(f"the run {record.id} {where}: there is nothing to stop")
    record = refresh(record, environ)
    if record.state in ENDED:
        raise UsageError(f"the run {record.id} is {record.state.value}: there is nothing to stop")
    terminate(Client(address_of(record, environ)), record.remote["run_id"])
    end = time.monotonic() + within
    while record.state not in ENDED and time.monotonic() < end:
        time.sleep(1.0)
        record = refresh(record, environ)
    if record.state is State.FAILED:
        record = _cancelled(record)
    return record


def address_of(record: RunRecord, environ: Mapping[str, str]) -> Address:
    """Return the server that a record names, asked with what it names as well."""
    remote = record.remote
    files = {word: Path(remote[word]) for word in ("token_file", "cookie_file", "ca_file") if word in remote}
    return find_address(Asked(host=remote["host"], ui_host=remote["ui"], namespace=remote.get("namespace"), **files), environ)


def _cancelled(record: RunRecord) -> RunRecord:
    """The workflow engine calls a run that was stopped a failed one."""
    recorder = Recorder(replace(record, state=State.CANCELLED))
    return recorder.record
