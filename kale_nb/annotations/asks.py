"""Asks: what marks ask of a step beyond its name and order, whatever spelling they came in.

A tag `limit:cpu:2`, a magic's `--limit cpu=2` and an entry of `steps_defaults` all become one `Ask`. `merge` makes the `StepSettings` of a
step of its asks over the notebook's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kale_nb.annotations import cluster
from kale_nb.annotations.cluster import BadAsk, Value
from kale_nb.diagnostics import Diagnostic, Rule, Severity, rule
from kale_nb.location import Location
from kale_nb.names import is_kubernetes_name, is_label_value, is_qualified_name, is_text
from kale_nb.pipeline.durations import parse_duration
from kale_nb.pipeline.model import Retry, Secret, StepSettings

BAD_VALUE = rule(
    "KN501",
    "bad-setting",
    Severity.ERROR,
    what="A setting of a step has no value, or one that cannot be read.",
    why="The step would silently run without what was asked for.",
    example="%%step train --timeout soon\nx = 1",
    mend="Give the value in the form that the message shows, such as `--timeout 10m` or the tag `limit:cpu:2`.",
)
CONFLICT = rule(
    "KN502",
    "conflicting-settings",
    Severity.ERROR,
    what="Two marks of one step, two `%pipeline` lines, or two entries of the notebook's metadata give different values to one setting.",
    why="Which of them counts would depend on their order, and the other would be lost.",
    example="%%step train --image python:3.11\nx = 1\n\n%%step train --image python:3.12\nprint(x)",
    mend="Keep one of the two.",
)

QUANTITY = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SECRET_KEY = re.compile(r"[A-Za-z0-9._-]+")
_WORDS = {"enabled": True, "true": True, "yes": True, "on": True, "disabled": False, "false": False, "no": False, "off": False}

VARIABLES = ("env", "secret", "config-map")
"""Asks for an environment variable; a step has one of a name."""
PAIRS = {"limit": "RESOURCE", "request": "RESOURCE", "label": "KEY", "annotation": "KEY", "env": "NAME"}
"""Asks with a key and a value, and how their key is called."""
SINGLES = (
    "image",
    "cpu",
    "memory",
    "retries",
    "retry-interval",
    "retry-factor",
    "retry-max-interval",
    "timeout",
    "cache",
    "report",
)
ALL = (*PAIRS, *SINGLES, "secret", *cluster.KINDS)
VALUES = {"cache": ("enabled", "disabled"), "report": ("enabled", "disabled"), "pull-policy": cluster.POLICIES}
"""Asks that take one of a few words."""
STRUCTURED = ("node-affinity",)
"""Asks that have no spelling as text: they come from metadata and from the SDK. A toleration has both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was written, with what a diagnostic shows of it."""

    location: Location
    source_line: str | None = None
    end_column: int | None = None

    def report(self, rule: Rule, message: str, hint: str | None = None, severity: Severity | None = None) -> Diagnostic:
        """Return a finding at this place."""
        return Diagnostic(
            rule=rule,
            message=message,
            location=self.location,
            source_line=self.source_line,
            end_column=self.end_column,
            hint=hint,
            severity=severity,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One setting asked for.

    Attributes:
        kind: one of `ALL`, `cpu` and `memory` already turned into requests.
        key: of a pair; the environment name of a secret; what else tells several apart; empty otherwise.
    """

    kind: str
    key: str
    value: Value
    spelled: str
    place: Place

    @property
    def slot(self) -> tuple[str, str]:
        """What may have one value: asks of one slot that differ contradict each other."""
        return ("variable" if self.kind in VARIABLES else self.kind, self.key)


def read_ask(kind: str, text: str, place: Place, *, separator: str, spelled: str) -> Ask | Diagnostic:
    """Read one setting; `separator` stands between the key and the value of a pair (`:` in tags, `=` in magics)."""
    if not is_text(text):
        shown = spelled.encode("ascii", "backslashreplace").decode()
        return place.report(BAD_VALUE, f"`{shown}` holds half a character, which no file can hold", "write the whole character")
    try:
        found, key, value = _read(kind, text, separator)
    except BadAsk as bad:
        message, hint = bad.args
        return place.report(BAD_VALUE, f"`{spelled}`: {message}", hint)
    return Ask(kind=found, key=key, value=value, spelled=spelled, place=place)


def read_structured(kind: str, value: object, place: Place, *, spelled: str) -> Ask | Diagnostic:
    """Read one setting of `STRUCTURED`, or a toleration in Kubernetes' own form."""
    try:
        if kind == "toleration":
            toleration = cluster.read_toleration(value)
            return Ask(kind=kind, key=cluster.toleration_slot(toleration), value=toleration, spelled=spelled, place=place)
        return Ask(kind=kind, key="", value=cluster.read_affinity(value), spelled=spelled, place=place)
    except BadAsk as bad:
        message, hint = bad.args
        return place.report(BAD_VALUE, f"`{spelled}`: {message}", hint)


def _read(kind: str, text: str, separator: str) -> tuple[str, str, Value]:
    text = text.strip()
    if kind in cluster.KINDS:
        return kind, *cluster.read(kind, text, separator)
    if kind in PAIRS:
        key, value = _split_pair(kind, text, separator)
        return kind, key, value
    if kind == "secret":
        secret = _secret(text, separator)
        return kind, secret.env, secret
    if not text:
        raise BadAsk("there is no value", f"write {_shape(kind, separator)}")
    match kind:
        case "cpu" | "memory":
            return "request", kind, _quantity(kind, text)
        case "retries":
            return kind, "", _whole(kind, text)
        case "retry-factor":
            return kind, "", _factor(text)
        case "timeout" | "retry-interval" | "retry-max-interval":
            return kind, "", _seconds(kind, text)
        case "cache" | "report":
            if text.lower() not in _WORDS:
                raise BadAsk(f"{kind} is `enabled` or `disabled`, not `{text}`", f"write {_shape(kind, separator)}")
            return kind, "", _WORDS[text.lower()]
        case _:
            if any(c.isspace() for c in text):
                raise BadAsk(f"an image has no space in its name: `{text}`", f"write {_shape(kind, separator)}")
            return kind, "", text


def _shape(kind: str, separator: str) -> str:
    samples = {
        "limit": "nvidia.com/gpu{}1",
        "request": "memory{}2Gi",
        "label": "team{}blue",
        "annotation": "owner{}me@example.org",
        "env": "MODE{}fast",
        "image": "python:3.11",
        "cpu": "2",
        "memory": "4Gi",
        "retries": "3",
        "retry-interval": "5s",
        "retry-factor": "2",
        "retry-max-interval": "5m",
        "timeout": "10m",
        "cache": "enabled",
        "report": "enabled",
        "secret": "my-secret:token:API_TOKEN",
    }
    value = samples[kind].format(separator)
    return f"`{kind}:{value}`" if separator == ":" else f"`--{kind} {value}`"


def _split_pair(kind: str, text: str, separator: str) -> tuple[str, str]:
    hint = f"write {_shape(kind, separator)}"
    at = text.find(separator)
    if at < 0 and separator == "=":
        at = text.find(":")
    if at < 0:
        missing = "there is no value" if text else f"there is neither {PAIRS[kind].lower()} nor value"
        raise BadAsk(missing, hint)
    key, value = text[:at].strip(), text[at + 1 :].strip()
    if not key:
        raise BadAsk(f"the {PAIRS[kind].lower()} is empty", hint)
    if not value and kind not in ("label", "annotation", "env"):
        raise BadAsk(f"`{key}` has no value", hint)
    if not (_ENV_NAME.fullmatch(key) if kind == "env" else is_qualified_name(key)):
        raise BadAsk(f"`{key}` cannot be a {PAIRS[kind].lower()}", hint)
    if kind in ("limit", "request"):
        key = key.lower() if key.lower() in ("cpu", "memory") else key
        value = _quantity(key, value)
    if kind == "label" and not is_label_value(value):
        raise BadAsk(
            f"Kubernetes takes no label with the value `{value}`", "a label's value has at most 63 letters, digits, `-`, `_`, `.`"
        )
    return key, value


def _quantity(resource: str, text: str) -> str:
    if not QUANTITY.fullmatch(text):
        raise BadAsk(f"`{text}` is no amount of {resource}", "write a Kubernetes quantity: `2`, `500m`, `4Gi`")
    return text


def _whole(kind: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise BadAsk(f"{kind} is a whole number, not `{text}`", "write a number such as `3`")
    return int(text)


def _factor(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(?:\.\d{1,6})?", text) or float(text) < 1:
        raise BadAsk(f"the factor is a number of 1 or more, not `{text}`", "write a number such as `2`")
    return float(text)


def _seconds(kind: str, text: str) -> float:
    seconds = parse_duration(text)
    if seconds is None:
        raise BadAsk(f"`{text}` is no duration", "write `90` (seconds), `90s`, `10m` or `1h30m`")
    if seconds == 0 and kind == "timeout":
        raise BadAsk("a timeout of nothing stops the step at once", "write `10m`, or leave it out for no limit")
    return seconds


def _secret(text: str, separator: str) -> Secret:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 3 or not all(parts):
        raise BadAsk("a secret needs its name, its key and a variable", f"write {_shape('secret', separator)}")
    secret, key, env = parts
    if not (is_kubernetes_name(secret) and _SECRET_KEY.fullmatch(key)):
        raise BadAsk(f"`{secret}:{key}` names no key of a secret", f"write {_shape('secret', separator)}")
    if not _ENV_NAME.fullmatch(env):
        raise BadAsk(f"`{env}` cannot name an environment variable", f"write {_shape('secret', separator)}")
    return Secret(secret=secret, key=key, env=env)


def merge(step: str, asks: Iterable[Ask], defaults: Iterable[Ask] = ()) -> tuple[StepSettings, tuple[Diagnostic, ...]]:
    """Make the settings of a step; of two asks that differ the first counts, and the second is reported."""
    chosen, found = choose(f"step {step}", asks)
    merged = {ask.slot: ask for ask in defaults} | chosen
    return _settings({(ask.kind, ask.key): ask.value for ask in merged.values()}), found


def choose(who: str, asks: Iterable[Ask]) -> tuple[dict[tuple[str, str], Ask], tuple[Diagnostic, ...]]:
    """Return the first ask of each slot, and a finding for each later one that contradicts it.

    Args:
        who: is asked, as a message says it.
    """
    chosen: dict[tuple[str, str], Ask] = {}
    found: list[Diagnostic] = []
    for ask in asks:
        first = chosen.setdefault(ask.slot, ask)
        if first.value != ask.value:
            found.append(
                ask.place.report(
                    CONFLICT,
                    f"{who} is asked for `{first.spelled}` and for `{ask.spelled}`",
                    f"keep one; the other stands at {first.place.location}",
                )
            )
    return chosen, tuple(found)


def _settings(values: Mapping[tuple[str, str], Value]) -> StepSettings:
    def pairs(kind: str) -> dict[str, str]:
        return {key: str(value) for (k, key), value in values.items() if k == kind}

    def number(kind: str) -> float | None:
        value = values.get((kind, ""))
        return float(value) if isinstance(value, int | float) else None

    def truth(kind: str) -> bool | None:
        value = values.get((kind, ""))
        return value if isinstance(value, bool) else None

    image = values.get(("image", ""))
    return StepSettings(
        image=image if isinstance(image, str) else None,
        limits=pairs("limit"),
        requests=pairs("request"),
        labels=pairs("label"),
        annotations=pairs("annotation"),
        env=pairs("env"),
        secrets=tuple(value for value in values.values() if isinstance(value, Secret)),
        retry=_retry(number("retries"), number("retry-interval"), number("retry-factor"), number("retry-max-interval")),
        timeout=number("timeout"),
        cache=truth("cache"),
        report=truth("report"),
        **cluster.settings(values),
    )


def _retry(attempts: float | None, interval: float | None, factor: float | None, longest: float | None) -> Retry | None:
    if attempts is None and interval is None and factor is None and longest is None:
        return None
    plain = Retry()
    return Retry(
        attempts=int(attempts or 0),
        interval=plain.interval if interval is None else interval,
        factor=plain.factor if factor is None else factor,
        max_interval=plain.max_interval if longest is None else longest,
    )
