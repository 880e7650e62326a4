"""Durations as people write them: `90`, `90s`, `10m`, `1h30m`, `2d`, `500ms`; seconds inside."""

from __future__ import annotations

import math
import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def parse_duration(text: str) -> float | None:
    """Return the seconds that `text` names, or None when it is no duration.

    >>> parse_duration("1h30m"), parse_duration("90"), parse_duration("0.5s"), parse_duration("soon")
    (5400.0, 90.0, 0.5, None)
    """
    text = text.strip().lower().replace(" ", "")
    if not text.isascii():
        return None
    if _NUMBER.fullmatch(text):
        total = float(text)
    elif text and re.fullmatch(f"(?:{_PART.pattern})+", text):
        total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        return None
    return total if math.isfinite(total) else None
