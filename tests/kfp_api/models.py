"""Hold what is sent and answered against the models of `kfp_server_api`, and parameters against those of a pipeline."""

from __future__ import annotations

import re
from typing import Any

from tests.kfp_api.deployment import Body, Refuse

_JSON = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": (int, float), "BOOLEAN": bool, "LIST": list, "STRUCT": dict}


def check(model: str, body: Any) -> None:
    """Hold a body against a model of `kfp_server_api`: fields, enumerations and kinds, all the way down."""
    import kfp_server_api.models as models

    cls = getattr(models, model)
    if not hasattr(cls, "attribute_map") or not cls.attribute_map:
        if isinstance(body, str) and hasattr(cls, "allowable_values") and body not in cls.allowable_values:
            raise Refuse(400, f"{body} is no {model}")
        return
    if not isinstance(body, dict):
        raise Refuse(400, f"{model} must be an object")
    names = {json_name: name for name, json_name in cls.attribute_map.items()}
    for key, value in body.items():
        if key not in names:
            raise Refuse(400, f'proto: (line 1:2): unknown field "{key}" in {model}')
        check_kind(cls.openapi_types[names[key]], value, f"{model}.{key}")


def check_kind(kind: str, value: Any, place: str) -> None:
    if value is None or kind == "object":
        return
    if inner := re.fullmatch(r"list\[(.*)\]", kind):
        for item in value:
            check_kind(inner[1], item, place)
    elif inner := re.fullmatch(r"dict\(str, (.*)\)", kind):
        for item in value.values():
            check_kind(inner[1], item, place)
    elif kind in ("str", "int", "bool", "datetime"):
        wanted = {"str": str, "int": int, "bool": bool, "datetime": str}[kind]
        if not isinstance(value, wanted):
            raise Refuse(400, f"{place} is {value!r}, not {kind}")
    else:
        check(kind, value)


def check_parameters(spec: Body, given: Body) -> None:
    """Refuse what the real server refuses: parameters that are unknown, missing or of another type."""
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in given.items():
        if name not in known:
            raise Refuse(400, f"Invalid input error: parameter {name} is not an input of the pipeline")
        if not isinstance(value, _JSON[known[name]["parameterType"]]):
            raise Refuse(400, f"Invalid input error: input parameter {name} requires type {known[name]['parameterType']}")
    for name, about in known.items():
        if name not in given and not about.get("isOptional") and "defaultValue" not in about:
            raise Refuse(400, f"Invalid input error: input parameter {name} is missing")
