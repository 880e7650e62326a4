"""A pipeline as JSON and back: readable, diffable, without what is at its default.

The form follows the dataclasses of `model`: an object per dataclass, enums by value, parameters' values as Python source.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

from kale_nb.location import Location
from kale_nb.pipeline import model
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.params import Param
from kale_nb.pipeline.params import from_json as value_from_json
from kale_nb.pipeline.params import to_json as value_to_json

FORMAT = "kale-nb/pipeline/1"


def to_json(pipeline: Pipeline) -> dict[str, Any]:
    """Return the JSON form of a pipeline."""
    return {"format": FORMAT, **_encode(pipeline)}


def from_json(data: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline of a JSON form. ValueError when it is of another format, KeyError or TypeError when parts are missing."""
    found = data.get("format")
    if found != FORMAT:
        raise ValueError(f"its format is {found!r}, not {FORMAT!r}")
    made = _decode(Pipeline, {k: v for k, v in data.items() if k != "format"})
    assert isinstance(made, Pipeline)
    return made


def _encode(value: Any) -> Any:
    if isinstance(value, Location):
        return [value.cell, value.line, value.column]
    if isinstance(value, Param):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name not in ("default", "location")}
        kept = {k: v for k, v in fields.items() if v not in (None, False)}
        return {**kept, "default": value_to_json(value.default)}
    if dataclasses.is_dataclass(value):
        made: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            content = getattr(value, field.name)
            default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
            if content != default:
                made[field.name] = _encode(content)
        return made
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _encode(v) for k, v in value.items()}
    return value


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(cls: type) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls, vars(model))
    return _HINTS[cls]


def _decode(kind: Any, data: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if data is None:
            return None
        return _decode(next(a for a in typing.get_args(kind) if a is not type(None)), data)
    if origin is tuple:
        return tuple(_decode(typing.get_args(kind)[0], item) for item in data)
    if kind is Location:
        cell, line, column = data
        return Location(path="", cell=cell, line=line, column=column)
    if kind is Param:
        return Param(**{**data, "default": value_from_json(data["default"])})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(data)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{k: _decode(hints[k], v) for k, v in data.items()})
    if isinstance(data, Mapping):
        return dict(data)
    return data
