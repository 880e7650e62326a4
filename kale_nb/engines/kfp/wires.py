"""Parameters on their way through Kubeflow Pipelines, which knows fewer types than Python.

On the wire a value is JSON whose numbers are doubles: 3 may come back as 3.0, also inside lists and objects, and the keys of an object in
any order: those of the default come in its order, others after them, sorted. So each parameter has a wire
type, and the step's runner is told what it was declared as. Values that JSON cannot hold exactly travel as text in Python's spelling:
tuples, sets, bytes, dates, infinities, integers beyond 2**53, and None, for which backends have had several meanings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kale_nb.engines.kfp.code import LARGEST
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


_HELD: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}
"""Types of the values that each of them holds."""
PLACEHOLDER = "{{$"
"""How what Kubeflow replaces begins, also within values."""


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
    if type(param.default) in _HELD.get(param.type, ()) and _fits(param.default):
        return Wire(kind=_WIRES[param.type], default=param.default)
    return Wire(kind="STRING", default=to_source(param.default), spelled=True)


def to_wire(param: Param, value: object) -> Any:
    """Return a value as a submission gives it. UsageError when it cannot travel in its parameter's wire type."""
    wire = wire_of(param)
    value = check_value(param, value)
    if PLACEHOLDER in to_source(value):
        raise UsageError(
            f"parameter {param.name} cannot hold `{PLACEHOLDER}` on Kubeflow Pipelines, which puts other text in its place",
            hint="pass the text in a file, or put it together in the step",
        )
    if wire.spelled:
        if param.type != "str" or not isinstance(value, str):
            return to_source(value)
        if parse_value(param, value) != value:
            raise UsageError(f"parameter {param.name} cannot be the text {value!r} on Kubeflow Pipelines, where it means None")
        return value
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
    if (spelled and value == source) or (kind == "float" and type(default) is int and value == default):
        return default  # which a run that is given nothing leaves as it stands, whatever type is declared
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


def size_of(values: Mapping[str, Any]) -> int:
    """Return how many bytes values take on the wire, which reach a step as one argument."""
    return len(json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def refuse_large(values: Mapping[str, Any]) -> None:
    """Raise UsageError when values take more than a step can be told."""
    size = size_of(values)
    if size > LARGEST:
        raise UsageError(
            f"the values of the parameters have {size:,} bytes, and on Kubeflow Pipelines a step can be told {LARGEST:,}",
            hint="pass what is large in files of the workspace, or a volume",
        )
