"""Records and events as JSON values, and back.

A record file is one object with `format: 1`; fields at their default are left out. An event is one flat object: `event` names
it in words (`step-started`), `time` is seconds since the epoch, the other fields are those of the class in
`kale_nb.runs.events`, paths as strings, states as their words, a failure as an object. JSON has no NaN and no infinities, so
such metrics are written as the strings `nan`, `inf` and `-inf`.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kale_nb.names import RunId, StepName
from kale_nb.process import Writer
from kale_nb.runs.events import Event, Failure, State
from kale_nb.runs.record import FORMAT, RecordError, RunRecord, StepRecord, VolumeRecord


def event_to_json(event: Event) -> dict[str, Any]:
    """Return the event as a flat JSON object.

    >>> from kale_nb.runs.events import StepStarted
    >>> event_to_json(StepStarted(time=1.5, step="train", attempt=1))
    {'event': 'step-started', 'time': 1.5, 'step': 'train', 'attempt': 1}
    """
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(event).__name__).lower()
    body = {f.name: _plain(getattr(event, f.name)) for f in dataclasses.fields(event)}
    return {"event": word, "time": body.pop("time"), **body}


def record_to_json(record: RunRecord) -> dict[str, Any]:
    """Return the record as a JSON object without the fields that are at their default."""
    return {"format": FORMAT, **_sparse(record)}


def record_from_json(value: object, directory: Path) -> RunRecord:
    """Read a record that `record_to_json` wrote, found in `directory`.

    Fields of a later minor version are ignored. RecordError when it is no record or one of a later format.
    """
    if not isinstance(value, dict):
        raise RecordError(f"{directory} does not hold a run record")
    if value.get("format") != FORMAT:
        raise RecordError(
            f"the run record in {directory} has format {value.get('format')!r}, this version reads format {FORMAT}",
            hint="read it with the version of kale that wrote it",
        )
    try:
        return _record(value, directory)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RecordError(f"the run record in {directory} is damaged: {type(error).__name__}: {error}") from error


def _record(value: Mapping[str, Any], directory: Path) -> RunRecord:
    fields = _known(RunRecord, value)
    fields["id"] = RunId(str(value["id"]))
    fields["directory"] = directory
    fields["state"] = State(value.get("state", "pending"))
    fields["steps"] = tuple(_step(step) for step in value.get("steps", ()))
    fields["until"] = tuple(StepName(name) for name in value.get("until", ()))
    fields["warnings"] = tuple(value.get("warnings", ()))
    fields["volumes"] = tuple(_volume(volume) for volume in value.get("volumes", ()))
    if value.get("repeats") is not None:
        fields["repeats"] = RunId(str(value["repeats"]))
    for name in ("workspace", "clone", "output_dir"):
        fields[name] = _path(value.get(name))
    if value.get("writer") is not None:
        fields["writer"] = Writer(**_known(Writer, value["writer"]))
    return RunRecord(**fields)


def _step(value: Mapping[str, Any]) -> StepRecord:
    fields = _known(StepRecord, value)
    fields["name"] = StepName(str(value["name"]))
    fields["state"] = State(value.get("state", "pending"))
    fields["warnings"] = tuple(value.get("warnings", ()))
    fields["retried"] = tuple(value.get("retried", ()))
    fields["metrics"] = {str(name): float(number) for name, number in value.get("metrics", {}).items()}
    fields["executed"] = _path(value.get("executed"))
    if value.get("reused") is not None:
        fields["reused"] = RunId(str(value["reused"]))
    if value.get("result") is not None:
        fields["result"] = (str(value["result"][0]), str(value["result"][1]))
    if value.get("failure") is not None:
        fields["failure"] = Failure(**_known(Failure, value["failure"]))
    return StepRecord(**fields)


def _volume(value: Mapping[str, Any]) -> VolumeRecord:
    fields = _known(VolumeRecord, value)
    return VolumeRecord(**{**fields, "path": Path(str(value["path"])), "mount_point": _path(value.get("mount_point"))})


def _known(cls: type, value: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(cls)}
    return {name: item for name, item in value.items() if name in names}


def _path(value: object) -> Path | None:
    return None if value is None else Path(str(value))


def _sparse(value: Any) -> dict[str, Any]:
    """Return a dataclass as an object without the fields that equal their default."""
    out: dict[str, Any] = {}
    for f in dataclasses.fields(value):
        item = getattr(value, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if default is dataclasses.MISSING or item != default:
            out[f.name] = _plain(item)
    return out


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int():
            return value
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case float():
            return value if math.isfinite(value) else str(value)
        case enum.Enum():
            return value.value
        case Path():
            return _plain(str(value))
        case Mapping():
            return {_plain(str(key)): _plain(item) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
        case _ if dataclasses.is_dataclass(value):
            return _sparse(value)
        case _:
            try:
                return _plain(float(value))
            except (TypeError, ValueError):
                return _plain(str(value))
