"""Parameters on their way through Kubeflow Pipelines, which knows fewer types than Python.

On the wire a value is JSON whose numbers are doubles: 3 may come back as 3.0, also inside lists and objects, and the keys of an object in
any order: those of the default come in its order, others after them, sorted. So each parameter has a wire
type, and the step's runner is told what it was declared as. Values that JSON cannot hold exactly travel as text in Python's spelling:
tuples, sets, bytes, dates, infinities, integers beyond 2**53, and None, for which backends have had several meanings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kale_nb.errors import UsageError
from kale_nb.pipeline.params import Param, check_value, from_json, parse_value, to_source

_EXACT = 2**53
_WIRES = {
    "int": "NUMBER_INTEGER",
    "float": "NUMBER_DOUBLE",
    "str": "STRING",
    "bool": "BOOLEAN",
    "list": "LIST",
    "dict": "STRUCT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How a parameter travels.

    Attributes:
        kind: KFP's parameter type.
        default: JSON.
        spelled: the text is the value in Python's spelling.
    """

    kind: str
    default: Any
    spelled: bool = False


def wire_of(param: Param) -> Wire:
    """Return how a parameter travels."""
    if param.type == "str" and isinstance(param.default, str):
        return Wire(kind="STRING", default=param.default)
    if param.type in _WIRES and _fits(param.default):
        return Wire(kind=_WIRES[param.type], default=param.default)
    return Wire(kind="STRING", default=to_source(param.default), spelled=True)


def to_wire(param: Param, value: object) -> Any:
    """Return a value as a submission gives it. UsageError when it cannot travel in its parameter's wire type."""
    wire = wire_of(param)
    value = check_value(param, value)
    if wire.spelled:
        return value if param.type == "str" and isinstance(value, str) else to_source(value)
    if value is None or not _fits(value):
        raise UsageError(
            f"parameter {param.name} cannot be {value!r} on Kubeflow Pipelines: it travels as JSON there",
            hint="give it a default that JSON cannot hold either, and it travels as text",
        )
    return value


def _fits(value: object, depth: int = 0) -> bool:
    """Tell whether JSON with doubles for numbers gives the value back, once 3.0 and 3 are told apart."""
    if value is None or isinstance(value, bool | str):
        return value is not None or depth > 0
    if isinstance(value, int):
        return abs(value) <= _EXACT
    if isinstance(value, float):
        return math.isfinite(value)
    if type(value) is list:
        return depth < 50 and all(_fits(item, depth + 1) for item in value)
    if type(value) is dict:
        return depth < 50 and all(isinstance(k, str) and _fits(v, depth + 1) for k, v in value.items())
    return False


def told(param: Param) -> list[Any]:
    """Return what the runner is told of a parameter: type, whether None is allowed, the default's source, whether text is spelled."""
    return [param.type, param.optional, to_source(param.default), wire_of(param).spelled]


def restore(name: str, about: list[Any], value: Any) -> object:
    """Return the Python value that arrived. UsageError when it does not fit the declared type."""
    kind, optional, source, spelled = about
    default = from_json(source)
    param = Param(name=name, type=kind, default=default, optional=optional)
    if spelled and isinstance(value, str):
        return parse_value(param, value)
    if kind == "str" and isinstance(value, str):
        return value
    return check_value(param, _whole(value, default, kind))


def _whole(value: Any, like: object, kind: str | None = None) -> Any:
    """Return JSON with the integers that became floats made integers again.

    What they were is read off the default: its element under the same key, or its elements if all are of one type. Where it says nothing,
    a number without a fraction is an integer.
    """
    if isinstance(value, float):
        is_float = kind == "float" or (kind != "int" and isinstance(like, float))
        return int(value) if value.is_integer() and not is_float else value
    if isinstance(value, list):
        kinds = {type(item) for item in like} if isinstance(like, list | tuple) else set()
        common = next(iter(like)) if isinstance(like, list | tuple) and len(kinds) == 1 else None
        exact = isinstance(like, list | tuple) and len(like) == len(value)
        return [_whole(item, like[i] if exact else common) for i, item in enumerate(value)]  # type: ignore[index]
    if isinstance(value, dict):
        known: Mapping[Any, Any] = like if isinstance(like, dict) else {}
        kinds = {type(item) for item in known.values()}
        common = next(iter(known.values())) if len(kinds) == 1 else None
        order = [*(key for key in known if key in value), *sorted(key for key in value if key not in known)]
        return {key: _whole(value[key], known.get(key, common)) for key in order}
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(like, float):
        return float(value)
    return value
