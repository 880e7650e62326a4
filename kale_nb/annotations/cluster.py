"""Settings of a step that mean something on a cluster only: where its pod may run, as whom, and what of the namespace it sees.

`asks` reads these through `read`; what they look like as a tag stands in `SHAPES` (a magic has `=` where a tag has the `:` after a key).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from kale_nb.annotations.spelling import nearest
from kale_nb.names import is_kubernetes_name, is_label_value, is_qualified_name
from kale_nb.pipeline.model import ConfigMapKey, Files, Match, NodeAffinity, Secret, Toleration
from kale_nb.pipeline.volumes import shortest

Value = str | int | float | bool | Secret | ConfigMapKey | Files | Toleration | tuple[NodeAffinity, ...]


class BadAsk(ValueError):
    """The text of a setting cannot be read. `args`: what is wrong, then the hint."""


SHAPES = {
    "config-map": "config-map:NAME:KEY:ENV",
    "secret-files": "secret-files:NAME:/path",
    "config-map-files": "config-map-files:NAME:/path",
    "node-selector": "node-selector:KEY:VALUE",
    "toleration": "toleration:KEY=VALUE:EFFECT",
    "pull-secret": "pull-secret:NAME",
    "pull-policy": "pull-policy:Always",
    "run-as-user": "run-as-user:1000",
    "run-as-group": "run-as-group:100",
}
KINDS = tuple(SHAPES)
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
POLICIES = ("Always", "IfNotPresent", "Never")
_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False, "Gt": True, "Lt": True}
_FILE_KEY = re.compile(r"[A-Za-z0-9._-]+")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def read(kind: str, text: str, separator: str) -> tuple[str, Value]:
    """Return what tells this setting from others of its kind, and its value. BadAsk when it cannot be read."""
    if not text:
        raise _bad(kind, separator, "there is no value")
    match kind:
        case "config-map":
            name, key, env = _parts(kind, text, separator, 3)
            if not (is_kubernetes_name(name) and _FILE_KEY.fullmatch(key)):
                raise _bad(kind, separator, f"`{name}:{key}` names no key of a config map")
            if not _ENV.fullmatch(env):
                raise _bad(kind, separator, f"`{env}` cannot name an environment variable")
            return env, ConfigMapKey(config_map=name, key=key, env=env)
        case "secret-files" | "config-map-files":
            name, path = _parts(kind, text, separator, 2)
            if not is_kubernetes_name(name):
                raise _bad(kind, separator, f"`{name}` cannot be the name of a {_spoken(kind)}")
            place = shortest(path)
            if not place.startswith("/") or place == "/":
                raise _bad(kind, separator, f"`{path}` is no absolute path of a folder")
            return place, Files(name=name, path=place)
        case "node-selector":
            key, _, value = text.partition("=" if separator == "=" and "=" in text else ":")
            if not (is_qualified_name(key) and is_label_value(value)) or key == text:
                raise _bad(kind, separator, f"`{text}` is no label of a node")
            return key, value
        case "toleration":
            toleration = _toleration(kind, text, separator)
            return toleration_slot(toleration), toleration
        case "pull-secret":
            if not is_kubernetes_name(text):
                raise _bad(kind, separator, f"`{text}` cannot be the name of a secret")
            return text, text
        case "pull-policy":
            if text not in POLICIES:
                raise _bad(kind, separator, f"the policy is {', '.join(POLICIES[:-1])} or {POLICIES[-1]}, not `{text}`")
            return "", text
        case _:
            if not (text.isascii() and text.isdigit() and int(text) < 2**31):
                raise _bad(kind, separator, f"it is the number of an id, not `{text}`")
            return "", int(text)


def _toleration(kind: str, text: str, separator: str) -> Toleration:
    """Read `KEY`, `KEY=VALUE`, either with `:EFFECT` and that with `:SECONDS`."""
    taint, _, rest = text.partition(":")
    key, equals, value = taint.partition("=")
    effect, colon, seconds = rest.partition(":")
    if not is_qualified_name(key) or not is_label_value(value):
        raise _bad(kind, separator, f"`{taint}` is no taint")
    if effect and effect not in _EFFECTS:
        raise _bad(kind, separator, f"the effect is {', '.join(_EFFECTS[:-1])} or {_EFFECTS[-1]}, not `{effect}`")
    if colon and not (seconds.isascii() and seconds.isdigit() and effect == "NoExecute"):
        raise _bad(kind, separator, "seconds stand after NoExecute only")
    return Toleration(key=key, value=value if equals else None, effect=effect, seconds=int(seconds) if colon else None)


def _parts(kind: str, text: str, separator: str, count: int) -> list[str]:
    parts = [part.strip() for part in text.split(":", count - 1)]
    if len(parts) != count or not all(parts):
        raise _bad(kind, separator, f"it needs {count} parts with `:` between them")
    return parts


def _spoken(kind: str) -> str:
    return "secret" if kind.startswith("secret") else "config map"


def _bad(kind: str, separator: str, message: str) -> BadAsk:
    return BadAsk(message, f"write {shape(kind, separator)}")


def shape(kind: str, separator: str) -> str:
    """Return how a setting is written: as a tag (`:`) or as an option (`=`)."""
    tag = SHAPES[kind]
    if separator == ":":
        return f"`{tag}`"
    head, _, rest = tag.partition(":")
    return f"`--{head} {rest.replace(':', '=', 1) if head == 'node-selector' else rest}`"


def read_affinity(value: object) -> tuple[NodeAffinity, ...]:
    """Read a list of `{"match": [{"key": ..., "operator": "In", "values": [...]}], "weight": 10}`. BadAsk when it is another thing."""
    hint = 'write `[{"match": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]`'
    if not isinstance(value, list | tuple) or not value:
        raise BadAsk("it takes a list of objects", hint)
    return tuple(_affinity(term, hint) for term in value)


def _affinity(term: object, hint: str) -> NodeAffinity:
    if not isinstance(term, Mapping) or not set(term) <= {"match", "weight"} or not isinstance(term.get("match"), list | tuple):
        raise BadAsk("each object has a `match` and perhaps a `weight`", hint)
    weight = term.get("weight")
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= 100):
        raise BadAsk(f"a weight is a number from 1 to 100, not {weight!r}", hint)
    if not term["match"]:
        raise BadAsk("a `match` without any label matches nothing", hint)
    return NodeAffinity(match=tuple(_match(m, hint) for m in term["match"]), weight=weight)


def _match(raw: object, hint: str) -> Match:
    if not isinstance(raw, Mapping) or not set(raw) <= {"key", "operator", "values"} or not isinstance(raw.get("key"), str):
        raise BadAsk("a match has `key`, `operator` and `values`", hint)
    key, operator, values = raw["key"], raw.get("operator", "In"), raw.get("values", ())
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise BadAsk(f"the operator is one of {', '.join(_OPERATORS)}, not {operator!r}", hint)
    if not is_qualified_name(key):
        raise BadAsk(f"`{key}` is no key of a node's label", hint)
    if not isinstance(values, list | tuple) or bool(values) is not _OPERATORS[operator]:
        wanted = "a list of values" if _OPERATORS[operator] else "no values"
        raise BadAsk(f"{operator} takes {wanted}", hint)
    if not all(_is_word(value) and is_label_value(str(value)) for value in values):
        raise BadAsk(f"{', '.join(map(repr, values))}: no label of a node has such a value", hint)
    if operator in ("Gt", "Lt") and not (len(values) == 1 and re.fullmatch(r"\d{1,18}", str(values[0]), re.ASCII)):
        raise BadAsk(
            f"{operator} takes one whole number", f'write `{{"key": "cores", "operator": "{operator}", "values": ["8"]}}`'
        )
    return Match(key=key, operator=operator, values=tuple(str(v) for v in values))


T = TypeVar("T")
_TOLERATION_KEYS = ("key", "operator", "value", "effect", "tolerationSeconds")


def read_toleration(raw: object) -> Toleration:
    """Read a toleration in Kubernetes' own form, where what is null is absent. BadAsk when Kubernetes would not take it.

    >>> read_toleration({"key": "gpu", "operator": "Exists", "effect": "NoSchedule", "value": None})
    Toleration(key='gpu', value=None, effect='NoSchedule', seconds=None)
    """
    hint = 'write `{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}` or `{"key": "gpu", "operator": "Equal", "value": "yes"}`'
    if not isinstance(raw, Mapping):
        raise BadAsk("a toleration is an object", hint)
    for name in raw:
        if name not in _TOLERATION_KEYS:
            near = nearest(str(name), _TOLERATION_KEYS)
            raise BadAsk(f"`{name}` is no key of a toleration", f"did you mean `{near}`?" if near else hint)
    given = {name: value for name, value in raw.items() if value is not None}
    key, value, effect = given.get("key", ""), given.get("value"), given.get("effect", "")
    operator = given.get("operator") or "Equal"
    if not isinstance(key, str) or (key and not is_qualified_name(key)):
        raise BadAsk(f"{key!r} is no key of a taint", hint)
    if operator not in ("Equal", "Exists"):
        raise BadAsk(f"the operator is Exists or Equal, not {operator!r}", hint)
    if operator == "Exists" and value not in (None, ""):
        raise BadAsk("Exists takes no value", "leave `value` out, or write the operator Equal")
    if operator == "Equal" and not key:
        raise BadAsk("there is no key, which only the operator Exists does without", hint)
    if value is not None and not (_is_word(value) and is_label_value(str(value))):
        raise BadAsk(f"{value!r} is no value of a taint", hint)
    if effect not in ("", *_EFFECTS):
        raise BadAsk(f"the effect is {', '.join(_EFFECTS[:-1])} or {_EFFECTS[-1]}, not {effect!r}", hint)
    return Toleration(
        key=key,
        value=None if operator == "Exists" else str("" if value is None else value),
        effect=effect,
        seconds=_toleration_seconds(given.get("tolerationSeconds"), effect),
    )


def _toleration_seconds(value: object, effect: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,18}", str(value), re.ASCII) or effect != "NoExecute":
        hint = "write a whole number such as `60`, with the effect NoExecute"
        raise BadAsk(f"`tolerationSeconds` cannot be {value!r} with the effect {effect or 'of every taint'}", hint)
    return int(str(value))


def _is_word(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def toleration_slot(toleration: Toleration) -> str:
    """Return what tells a toleration from others that a pod may have beside it: all but how long it lasts."""
    value = "" if toleration.value is None else f"={toleration.value}"
    return f"{toleration.key}{value}:{toleration.effect}"


def settings(values: Mapping[tuple[str, str], Value]) -> dict[str, Any]:
    """Return the fields of `StepSettings` that these settings fill."""

    def every(kind: str, of: type[T]) -> tuple[T, ...]:
        found: Iterable[object] = (value for (k, _), value in values.items() if k == kind)
        return tuple(value for value in found if isinstance(value, of))

    def single(kind: str) -> Any:
        return values.get((kind, ""))

    return {
        "config_maps": every("config-map", ConfigMapKey),
        "secret_files": every("secret-files", Files),
        "config_map_files": every("config-map-files", Files),
        "node_selector": {key: str(value) for (kind, key), value in values.items() if kind == "node-selector"},
        "tolerations": every("toleration", Toleration),
        "node_affinity": single("node-affinity") or (),
        "pull_secrets": every("pull-secret", str),
        "pull_policy": single("pull-policy"),
        "user": single("run-as-user"),
        "group": single("run-as-group"),
    }
