"""Pipeline parameters: typed values that a run may set.

A parameter is an assignment in a parameters cell whose value is a literal, an expression of literals, or a call of `datetime`'s
types with literals. Its type is that of its annotation, else that of its default. Values are Python objects; in files and in
injected cells they are Python source (`to_source`), so tuples, sets, bytes and dates come back as what they were.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kale_nb.errors import UsageError
from kale_nb.location import Location
from kale_nb.pipeline.durations import parse_duration
from kale_nb.pipeline.literals import NotLiteral, parse_literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A value settable per run.

    Attributes:
        name: the variable's name.
        type: how people and messages call its type: `int`, `float`, `str`, `bool`, `None`, `list`, `tuple`, `dict`, `set`,
            `frozenset`, `bytes`, `complex`, `date`, `datetime`, `time`, `timedelta`, or `any`.
        default: the value in the source.
        optional: None is allowed beside the type (`x: int | None = 3`).
        description: the comment on the assignment's line.
    """

    name: str
    type: str
    default: object
    optional: bool = False
    description: str | None = None
    location: Location | None = None


TYPES: Mapping[str, type] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "set": set,
    "frozenset": frozenset,
    "bytes": bytes,
    "complex": complex,
    "date": dt.date,
    "datetime": dt.datetime,
    "time": dt.time,
    "timedelta": dt.timedelta,
}
_BY_TYPE = {kind: name for name, kind in TYPES.items()}
_OPEN = ("any", "None")
_NO_VALUE = ("None", "null", "~")
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_EXAMPLES = {
    "int": "3",
    "float": "0.5",
    "bool": "true",
    "list": "[1, 2]",
    "tuple": "(1, 2)",
    "dict": "{'a': 1}",
    "set": "{1, 2}",
    "frozenset": "{1, 2}",
    "bytes": "b'ab'",
    "complex": "1+2j",
    "date": "2024-01-31",
    "datetime": "2024-01-31T12:30:00",
    "time": "12:30:00",
    "timedelta": "1h30m",
}


def type_name(value: object) -> str:
    """Return how a parameter's type is called after its value; `any` for other types.

    >>> type_name(3), type_name(None), type_name(True), type_name(object())
    ('int', 'None', 'bool', 'any')
    """
    return "None" if value is None else _BY_TYPE.get(type(value), "any")


def parse_value(param: Param, text: str) -> object:
    """Read the value of `-p name=text`.

    Text for a `str` parameter is taken as it stands (`None` and `null` mean None when the parameter may be None). Other types are
    read as Python or JSON spell them; dates as ISO 8601, durations as `1h30m`, truth as true/false/yes/no/on/off.

    Raises:
        UsageError: the text does not fit the type; names parameter, type, default and text.
    """
    bare = text.strip()
    if bare in _NO_VALUE and (param.optional or param.type in _OPEN):
        return None
    if param.type == "str":
        return text
    if param.type == "any" or param.type == "None":
        return _guess(text)
    reader = _READERS.get(param.type, _literal)
    try:
        return check_value(param, reader(bare))
    except (ValueError, NotLiteral, OverflowError) as error:
        raise _misfit(param, text) from error


def check_value(param: Param, value: object) -> object:
    """Return `value`, from a YAML file or the API, as the parameter's type holds it.

    Only what loses nothing is changed: int to float or complex, list to tuple or set, date to datetime, number of seconds to timedelta,
    text that spells the type. A bool is no number.

    Raises:
        UsageError: it does not fit.
    """
    if value is None:
        if param.optional or param.type in _OPEN or param.default is None:
            return None
        raise _misfit(param, value)
    if param.type in _OPEN:
        _check_spelled(param, value)
        return value
    wanted = TYPES.get(param.type)
    if wanted is None or type(value) is wanted:
        _check_spelled(param, value)
        return value
    if isinstance(value, str) and param.type != "str":
        return parse_value(param, value)
    changed = _changed(param.type, value)
    if changed is None:
        raise _misfit(param, value)
    _check_spelled(param, changed)
    return changed


def _changed(wanted: str, value: object) -> object | None:
    match wanted, value:
        case _, bool():
            return None
        case "float", int():
            return _exact_float(value)
        case "complex", int() | float():
            return complex(value)
        case "tuple", list():
            return tuple(value)
        case "list", tuple():
            return list(value)
        case (("set" | "frozenset"), (list() | tuple() | set() | frozenset())):
            try:
                made: object = TYPES[wanted](value)
                return made
            except TypeError:
                return None
        case "datetime", dt.date():
            return dt.datetime(value.year, value.month, value.day)
        case "timedelta", int() | float():
            try:
                return dt.timedelta(seconds=value)
            except (OverflowError, ValueError):
                return None
        case _:
            return None


def _exact_float(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _check_spelled(param: Param, value: object) -> None:
    try:
        to_source(value)
    except ValueError as error:
        raise _misfit(param, value) from error


def _misfit(param: Param, given: object) -> UsageError:
    kind = f"{param.type} or None" if param.optional else param.type
    shown = repr(given)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    example = _EXAMPLES.get(param.type)
    default = repr(param.default)
    return UsageError(
        f"parameter {param.name} takes {kind} (default {default if len(default) <= 80 else default[:77] + '...'}), not {shown}",
        hint=f"for example -p {param.name}={_shell(example)}" if example else None,
    )


def _shell(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _literal(text: str) -> object:
    try:
        return parse_literal(text)
    except NotLiteral:
        return json.loads(text)


def _guess(text: str) -> object:
    words = {"true": True, "false": False}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        return _literal(text)
    except (ValueError, NotLiteral, RecursionError):
        return text


def _number(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return parse_literal(text)


def _float(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return parse_literal(text)


def _complex(text: str) -> object:
    try:
        return complex(text.replace(" ", ""))
    except ValueError:
        return parse_literal(text)


def _bool(text: str) -> object:
    if text.lower() not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text.lower()]


def _bytes(text: str) -> object:
    try:
        value = parse_literal(text)
    except NotLiteral:
        return text.encode()
    return value if isinstance(value, bytes) else text.encode()


def _iso(kind: type[Any]) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            return kind.fromisoformat(text)
        except ValueError:
            value = parse_literal(text)
            if isinstance(value, str | bytes):
                raise ValueError(text) from None
            return value

    return read


def _timedelta(text: str) -> object:
    sign = -1 if text.startswith("-") else 1
    seconds = parse_duration(text[1:] if sign < 0 else text)
    return dt.timedelta(seconds=sign * seconds) if seconds is not None else _not_text(parse_literal(text))


def _not_text(value: object) -> object:
    if isinstance(value, str | bytes):
        raise ValueError(value)
    return value


def _container(text: str) -> object:
    return _not_text(_literal(text))


_READERS: Mapping[str, Callable[[str], object]] = {
    "int": lambda text: _not_text(_number(text)),
    "float": lambda text: _not_text(_float(text)),
    "complex": lambda text: _not_text(_complex(text)),
    "bool": _bool,
    "bytes": _bytes,
    "date": _iso(dt.date),
    "datetime": _iso(dt.datetime),
    "time": _iso(dt.time),
    "timedelta": _timedelta,
    "list": _container,
    "tuple": _container,
    "dict": _container,
    "set": _container,
    "frozenset": _container,
}


def to_source(value: object) -> str:
    """Spell a value as a Python expression that needs no import and evaluates to an equal value of the same type.

    Raises:
        ValueError: the value, or one inside it, is of a type that parameters cannot have, or it contains itself.

    >>> to_source((1, float("inf"), set())), to_source(dt.date(2024, 1, 31))
    ("(1, float('inf'), set())", "__import__('datetime').date(2024, 1, 31)")
    """
    return _spell(value, 0)


def _spell(value: Any, depth: int) -> str:
    if depth > 60:
        raise ValueError("the value is nested too deeply or contains itself")
    kind = type(value)
    if value is None or kind in (bool, str, bytes):
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() < 4096 else hex(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
    if kind is complex:
        return f"complex({_spell(value.real, depth)}, {_spell(value.imag, depth)})"
    if kind in (list, tuple, set, frozenset, dict):
        return _spell_container(value, depth + 1)
    return _spell_date(value)


def _spell_container(value: Any, depth: int) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_spell(k, depth)}: {_spell(v, depth)}" for k, v in value.items()) + "}"
    if isinstance(value, set | frozenset):
        items = ", ".join(sorted(_spell(item, depth) for item in value))
        braces = f"{{{items}}}" if items else "set()"
        return braces if type(value) is set else f"frozenset({braces if items else ''})"
    items = ", ".join(_spell(item, depth) for item in value)
    if type(value) is list:
        return f"[{items}]"
    return f"({items},)" if len(value) == 1 else f"({items})"


def _spell_date(value: object) -> str:
    module = "__import__('datetime')"
    match value:
        case dt.datetime() if type(value) is dt.datetime:
            parts = [value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond]
            return f"{module}.datetime({', '.join(map(str, parts))}{_spell_zone(value)})"
        case dt.date() if type(value) is dt.date:
            return f"{module}.date({value.year}, {value.month}, {value.day})"
        case dt.time() if type(value) is dt.time:
            return f"{module}.time({value.hour}, {value.minute}, {value.second}, {value.microsecond}{_spell_zone(value)})"
        case dt.timedelta() if type(value) is dt.timedelta:
            return f"{module}.timedelta({value.days}, {value.seconds}, {value.microseconds})"
        case dt.timezone():
            offset = value.utcoffset(None)
            named = value.tzname(None) != dt.timezone(offset).tzname(None)
            return f"{module}.timezone({_spell_date(offset)}{f', {value.tzname(None)!r}' if named else ''})"
        case dt.tzinfo() if type(value).__module__.startswith("zoneinfo") and isinstance(getattr(value, "key", None), str):
            return f"__import__('zoneinfo').ZoneInfo({value.key!r})"  # type: ignore[attr-defined]
        case _:
            raise ValueError(f"a value of type {type(value).__name__} cannot be a parameter")


def _spell_zone(value: dt.datetime | dt.time) -> str:
    zone = f", tzinfo={_spell_date(value.tzinfo)}" if value.tzinfo is not None else ""
    return zone + (", fold=1" if value.fold else "")


def to_json(value: object) -> str:
    """Return a value as the text that stands for it in pipeline files and run records: its Python source."""
    return to_source(value)


def from_json(text: str) -> object:
    """Return the value that `to_json` wrote. Nothing is executed. ValueError when the text is no literal."""
    try:
        return parse_literal(text)
    except NotLiteral as error:
        raise ValueError(f"not a parameter's value: {text[:80]!r}") from error
