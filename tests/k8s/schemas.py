"""Objects against the schemas of a current Kubernetes: the tests' server is an old one, and drops fields that it does not know in silence.

Built-in kinds are checked by `kubernetes-validate`, strictly: no field that is not in the schema. Snapshots are checked the same way by our
own definitions (`crds.py`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from tests.k8s.crds import GROUP, snapshot_crds
from tests.k8s.proxy import Asked

CURRENT = "1.37"


def check(made: dict[str, Any]) -> None:
    """Check an object as it is sent to the API: kind, fields, types, and what must be there.

    Raises:
        AssertionError: names the field and what is wrong with it.
    """
    problem = _problem(made)
    assert problem is None, f"{made.get('kind')} {made.get('metadata', {}).get('name')}: {problem}"


def check_sent(asked: Iterable[Asked]) -> list[dict[str, Any]]:
    """Check every object that was to be created by these requests; return them.

    Raises:
        AssertionError: names the object, the field and what is wrong with it.
    """
    bodies = [json.loads(request.body) for request in asked if request.method == "POST" and request.body]
    made = [body for body in bodies if not str(body.get("kind", "")).endswith("Review")]
    for each in made:
        check(each)
    return made


def _problem(made: dict[str, Any]) -> str | None:
    for field in ("apiVersion", "kind"):
        if not isinstance(made.get(field), str):
            return f"{field} is missing"
    import jsonschema
    import kubernetes_validate

    try:
        if made["apiVersion"].startswith(f"{GROUP}/"):
            jsonschema.Draft202012Validator(_snapshot_schema(made)).validate(made)
        else:
            kubernetes_validate.validate(made, CURRENT, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return f"there is no such kind in {made['apiVersion']} of Kubernetes {CURRENT}"
    except jsonschema.ValidationError as error:
        return f"{error.json_path}: {error.message}"
    return None


def _snapshot_schema(made: dict[str, Any]) -> dict[str, Any]:
    [definition] = [crd for crd in snapshot_crds() if crd["spec"]["names"]["kind"] == made["kind"]]
    [version] = [v for v in definition["spec"]["versions"] if f"{GROUP}/{v['name']}" == made["apiVersion"]]
    return _strict(copy.deepcopy(version["schema"]["openAPIV3Schema"]))


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow no fields but those that are named; the metadata is the server's to judge."""
    if schema.get("type") == "object" and "properties" in schema:
        schema["additionalProperties"] = False
        for inner in schema["properties"].values():
            _strict(inner)
    return schema
