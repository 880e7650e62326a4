"""What a Kubeflow Pipelines server of the tests knows, and the faults that are put in the way of its requests."""

from __future__ import annotations

import datetime
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kfp_api.lineage_store import LineageStore

Body = dict[str, Any]


class Refuse(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class Fault:
    """What happens to requests whose `METHOD path` matches, `times` times: a status, `drop` before or `lose` after the work is done, `hang`,
    `page`, `redirect`, `not-json`."""

    match: str
    action: int | str
    times: int = 1
    message: str = "upstream connect error"


@dataclass
class Deployment:
    """What the server knows; outlives the server itself.

    Attributes:
        token, cookie: needed when set.
        namespaces: the only ones that may be used, when set.
        prefix: path at which everything is.
        scripts: for the next runs: each a list of frames, (state of the run, task name to state or task), the last of which stays.
        cluster: folder of snapshots and claims; runs without a script are executed there.
        snapshots: finds the folder of a snapshot by its name, when they are elsewhere.
        api: an API server on which the claims of runs are made (see `tests/kfp/orchestrator.py`).
        lineage: whether the metadata store may be asked.
    """

    cluster: Path
    token: str | None = None
    cookie: str | None = None
    namespaces: tuple[str, ...] = ()
    prefix: str = ""
    tag: str = "2.17.0"
    several: bool = False
    scripts: list[list[tuple[str, dict[str, Any]]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    experiments: list[Body] = field(default_factory=list)
    pipelines: list[Body] = field(default_factory=list)
    versions: list[Body] = field(default_factory=list)
    runs: list[Body] = field(default_factory=list)
    players: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    store: LineageStore = field(default_factory=LineageStore)
    files: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)
    env: dict[str, str] = field(default_factory=dict)
    lineage: bool = True
    snapshots: Callable[[str], Path] | None = None
    api: dict[str, str] | None = None


def found(rows: list[Body], key: str, value: str) -> Body:
    for row in rows:
        if row.get(key) == value:
            return row
    raise Refuse(404, f"ResourceNotFoundError: {key} {value} not found.")


def now() -> str:
    return stamp(time.time())


def stamp(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
