"""A pipeline becomes a run on the server: uploaded once, in an experiment, started once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kale_nb.engines.kfp.submission.client import Body, Client
from kale_nb.engines.kfp.submission.problems import NotThere, ServerError

NEEDED = (2, 17)
"""The first backend whose CreatePVC knows `data_source`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the server says of itself.

    Attributes:
        version: as its tag tells; None when it does not.
        several: it has several users, each with namespaces.
    """

    version: tuple[int, ...] | None
    tag: str
    several: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A run that was started.

    Attributes:
        uploaded: this version of the pipeline was new to the server.
        doubled: runs that an attempt without an answer had started as well, and that were stopped.
    """

    run_id: str
    run_name: str
    experiment_id: str
    pipeline_id: str
    version_id: str
    uploaded: bool
    doubled: tuple[str, ...] = ()


def read_server(client: Client) -> Server:
    """Ask the server what it is. ServerError when there is none, or it does not let us in."""
    said = client.get("/healthz", patience=4.0)
    tag = str(said.get("tag_name") or said.get("apiServerTagName") or "")
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", tag)
    version = tuple(int(part) for part in found.groups() if part is not None) if found else None
    return Server(version=version, tag=tag, several=bool(said.get("multi_user") or said.get("apiServerMultiUser")))


def send(
    client: Client,
    *,
    pipeline: str,
    text: str,
    description: str | None,
    experiment: str,
    run_name: str,
    parameters: Mapping[str, Any],
    service_account: str | None,
    namespace: str | None,
) -> Sent:
    """Upload the pipeline when its text is new, find or make the experiment, start the run. Nothing is made twice.

    Args:
        pipeline: its name; one pipeline of that name holds all its versions.
        run_name: never used before: by it a run is found again when the answer to its start was lost.
    """
    pipeline_id, version_id, uploaded = _upload(client, pipeline, text, description, namespace)
    experiment_id = _experiment(client, experiment, namespace)
    body: Body = {
        "display_name": run_name,
        "experiment_id": experiment_id,
        "pipeline_version_reference": {"pipeline_id": pipeline_id, "pipeline_version_id": version_id},
        "runtime_config": {"parameters": dict(parameters)},
    }
    if service_account:
        body["service_account"] = service_account
    query = {"experiment_id": experiment_id, "namespace": namespace or ""}

    def started() -> list[Body]:
        return [run for run in _named(client, "/runs", "runs", run_name, query) if run.get("display_name") == run_name]

    def find() -> Body | None:
        return next(iter(started()), None)

    run, repeated = client.once(lambda: client.post("/runs", body), find)
    run_id = str(run["run_id"])
    doubled = [str(each["run_id"]) for each in started() if each["run_id"] != run_id] if repeated else []
    for other in doubled:
        with contextlib.suppress(ServerError):
            terminate(client, other)
    return Sent(
        run_id=run_id,
        run_name=run_name,
        experiment_id=experiment_id,
        pipeline_id=pipeline_id,
        version_id=version_id,
        uploaded=uploaded,
        doubled=tuple(doubled),
    )


def terminate(client: Client, run_id: str) -> None:
    """Ask the server to stop a run. Asking again does no harm."""
    path = f"/runs/{run_id}:terminate"
    client.once(lambda: client.post(path), lambda: None)


def withdraw(client: Client, run_name: str, namespace: str | None) -> tuple[str, ...]:
    """Stop runs of a name, which an attempt that was cut short may have started; return their ids."""
    query = {"namespace": namespace or ""}
    found = [
        str(run["run_id"]) for run in _named(client, "/runs", "runs", run_name, query) if run.get("display_name") == run_name
    ]
    for run_id in found:
        terminate(client, run_id)
    return tuple(found)


def _upload(client: Client, name: str, text: str, description: str | None, namespace: str | None) -> tuple[str, str, bool]:
    """Return ids of pipeline and version, and whether it had to be uploaded. A version is named after its content."""
    version = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    about = {"description": (description or "")[:250]}

    def pipeline() -> Body | None:
        try:
            return client.get(f"/pipelines/names/{name}", {"namespace": namespace or ""})
        except NotThere:
            return None

    found = pipeline()
    if found is None:
        body: Body = {"name": name, "display_name": name, **about, **({"namespace": namespace} if namespace else {})}
        found = client.once(lambda: client.post("/pipelines", body), pipeline)[0]
    pipeline_id = str(found["pipeline_id"])
    path = f"/pipelines/{pipeline_id}/versions"

    def same() -> Body | None:
        versions = _named(client, path, "pipeline_versions", version, {})
        return next((each for each in versions if version in (each.get("display_name"), each.get("name"))), None)

    there = same()
    uploaded = there is None
    if there is None:
        query = {"name": version, "display_name": version, "pipelineid": pipeline_id, **about}
        there = client.once(lambda: client.upload("/pipelines/upload_version", text, query), same)[0]
    return pipeline_id, str(there["pipeline_version_id"]), uploaded


def _experiment(client: Client, name: str, namespace: str | None) -> str:
    query = {"namespace": namespace or ""}

    def find() -> Body | None:
        return next(
            (e for e in _named(client, "/experiments", "experiments", name, query) if e.get("display_name") == name), None
        )

    found = find()
    if found is None:
        body = {"display_name": name, **({"namespace": namespace} if namespace else {})}
        found = client.once(lambda: client.post("/experiments", body), find)[0]
    return str(found["experiment_id"])


def _named(client: Client, path: str, key: str, name: str, query: Mapping[str, str]) -> Iterator[Body]:
    wanted = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
    return _pages(client, path, key, {**query, "filter": json.dumps(wanted)})


def _pages(client: Client, path: str, key: str, query: Mapping[str, str]) -> Iterator[Body]:
    token = ""
    while True:
        page = client.get(path, {**query, "page_size": "100", "page_token": token})
        yield from page.get(key) or ()
        token = str(page.get("next_page_token") or "")
        if not token:
            return
