"""Which runs go on, and which are over: as records here say, and Kubeflow Pipelines where it can be asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kale_nb.engines.kfp.submission.client import Client
from kale_nb.engines.kfp.submission.following import FINAL
from kale_nb.engines.kfp.submission.problems import NotThere, ServerError
from kale_nb.runs.events import State
from kale_nb.runs.record import ENDED, RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of some runs.

    Attributes:
        alive: those that go on, and how that is known.
        ended: those that are over.
        unasked: why Kubeflow Pipelines could not be asked; empty when it could, or need not be.
    """

    alive: Mapping[str, str]
    ended: frozenset[str]
    unasked: str = ""


def find_out(runs: Mapping[str, str], records: Iterable[RunRecord], client: Client | None, why_no_client: str = "") -> Known:
    """Find out about runs.

    Args:
        runs: name of the pipeline by the run's id.
        records: that are kept here.
        client: None: Kubeflow Pipelines cannot be asked.
    """
    kept = {record.id: record for record in records if record.id in runs}
    alive: dict[str, str] = {}
    ended: set[str] = set()
    unasked = "" if client is not None else why_no_client
    for run, pipeline in runs.items():
        record = kept.get(run)  # type: ignore[call-overload]
        if record is not None and record.state in ENDED and record.state is not State.INTERRUPTED:
            ended.add(run)
            continue
        if record is not None and record.state not in ENDED and not record.left:
            alive[run] = f"its record says {record.state.value}"
            continue
        state: str | None = None
        if client is not None and not unasked:
            try:
                state = _state(client, run, pipeline, record)
            except ServerError as error:
                unasked = error.message
        if state in FINAL or state == _GONE:
            ended.add(run)
        elif state is not None:
            alive[run] = f"Kubeflow Pipelines says {state or 'PENDING'}"
        elif record is not None and record.left:
            alive[run] = f"it was left running, and its end is not known (`kale show {run}` asks)"
    return Known(alive=alive, ended=frozenset(ended), unasked=unasked)


_GONE = "gone"


def _state(client: Client, run: str, pipeline: str, record: RunRecord | None) -> str | None:
    """Return what the server says of a run; `gone` when it had it once, None when it knows none of that name."""
    remote = record.remote if record is not None else {}
    if "run_id" in remote:
        try:
            return str(client.get(f"/runs/{remote['run_id']}").get("state") or "")
        except NotThere:
            return _GONE
    wanted = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": f"{pipeline} {run}"}]}
    query = {"namespace": client.address.namespace or "", "filter": json.dumps(wanted), "page_size": "10"}
    found = client.get("/runs", query).get("runs") or ()
    states = [str(each.get("state") or "") for each in found]
    return next((state for state in states if state not in FINAL), states[0] if states else None)
