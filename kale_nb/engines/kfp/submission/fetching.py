"""What a step left on the cluster, brought into the run's folder: report, metrics, log, and from the log why it failed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kale_nb.engines.kfp.submission.client import Client
from kale_nb.engines.kfp.submission.lineage import Artifact, Lineage, Value, read_artifact, read_lineage, read_log
from kale_nb.engines.kfp.submission.problems import ServerError
from kale_nb.names import StepName, kubernetes_name
from kale_nb.runs.events import Failure

_LOG = "executor-logs"
_OTHERS = ("display_name", "name", "store_session_info", "log_artifact")
"""Properties that Kubeflow adds to artifacts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a step left.

    Attributes:
        log: what its container printed; empty when that cannot be had.
        missing: what could not be fetched, and why.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    log: str = ""
    missing: str = ""


def fetch(client: Client, run_id: str, step: StepName, folder: Path, *, failed: bool) -> Left:
    """Write a step's report and log into the run's folder, and return the rest. What cannot be had is told, not raised."""
    task = kubernetes_name(step)
    try:
        lineage = read_lineage(client, run_id)
    except ServerError as error:
        return Left(missing=error.message)
    missing: list[str] = []
    report = None if failed else _content(client, lineage.of(task, "report"), missing)
    if report is not None:
        _write(folder / "reports" / f"{step}.html", report)
    log = _log(client, lineage, run_id, task, missing)
    if log:
        _write(folder / "logs" / f"{step}.log", log)
    metrics = lineage.of(task, "metrics")
    return Left(
        metrics={} if metrics is None else metrics_of(metrics.properties),
        log=log.decode("utf-8", "replace"),
        missing="; ".join(dict.fromkeys(missing)),
    )


def metrics_of(properties: Mapping[str, Value]) -> dict[str, float]:
    """Return the numbers among properties; NaN and infinities travel as words.

    >>> metrics_of({"display_name": "metrics", "loss": 0.5, "n": 3, "odd": "nan"})
    {'loss': 0.5, 'n': 3.0, 'odd': nan}
    """
    found = {}
    for name, value in properties.items():
        if name in _OTHERS or isinstance(value, bool):
            continue
        try:
            number = float(value)
        except ValueError:
            continue
        if not isinstance(value, str) or not math.isfinite(number):
            found[name] = number
    return found


def _content(client: Client, artifact: Artifact | None, missing: list[str]) -> bytes | None:
    if artifact is None:
        return None
    try:
        return read_artifact(client, artifact.uri)
    except ServerError as error:
        missing.append(error.message)
        return None


def _log(client: Client, lineage: Lineage, run_id: str, task: str, missing: list[str]) -> bytes:
    """Return the log from the object store, else from the pod while there is one."""
    kept = _content(client, lineage.of(task, _LOG), missing)
    if kept is None and task in lineage.pods:
        try:
            kept = read_log(client, run_id, lineage.pods[task])
        except ServerError as error:
            missing.append(error.message)
    return kept or b""


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


_FAILED = re.compile(
    r"^kale: step (?P<step>\S+) failed: (?:(?P<source>[^\n]*?)\[cell (?P<cell>\d+)\](?::(?P<line>\d+))?: )?(?P<message>.*)$",
    re.MULTILINE,
)
_REFUSED = re.compile(r"^kale: (?P<message>.*)$", re.MULTILINE)
_HINT = re.compile(r"\A\n +hint: (.*)")


def failure_in(log: str) -> Failure | None:
    """Return why a step failed, as its runner said it last; None when it did not say.

    >>> failure_in("kale: step two failed: nb.ipynb[cell 4]:2: ZeroDivisionError: division by zero").line
    2
    """
    said = list(_FAILED.finditer(log))
    if said:
        last = said[-1]
        cell, line = last["cell"], last["line"]
        return Failure(
            kind="exception",
            message=last["message"],
            cell=None if cell is None else int(cell),
            line=None if line is None else int(line),
            traceback=_traceback(log[: last.start()]),
            hint=_hint(log, last.end()),
        )
    refused = list(_REFUSED.finditer(log))
    if refused:
        return Failure(kind="engine", message=refused[-1]["message"], hint=_hint(log, refused[-1].end()))
    return None


def _hint(log: str, at: int) -> str | None:
    found = _HINT.match(log[at:])
    return found[1] if found else None


def _traceback(before: str) -> str:
    """Return the traceback that stands right before the last word."""
    start = before.rfind("Traceback (most recent call last)")
    return before[start:].strip() if start >= 0 else ""
