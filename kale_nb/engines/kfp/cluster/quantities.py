"""Sizes as Kubernetes spells them, exactly: a clone that is one byte too small stays Pending for ever."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

_FORM = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def read_quantity(text: object) -> int:
    """Return a size in bytes, rounded up; ValueError when it is none.

    >>> read_quantity("5Gi"), read_quantity("1.5G"), read_quantity("1e3"), read_quantity("100m"), read_quantity(7)
    (5368709120, 1500000000, 1000, 1, 7)
    """
    found = _FORM.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is no size")
    number, unit = Decimal(found[1]), found[2] or ""
    if unit in _BINARY:
        number *= 1024 ** (_BINARY.index(unit) + 1)
    elif unit:
        number = number.scaleb(int(unit[1:]) if unit[:1] in "eE" and unit[1:] else _DECIMAL[unit])
    return int(number.to_integral_value(ROUND_CEILING))


def known_quantity(text: object) -> int:
    """Return a size in bytes; 0 when there is none or it cannot be read."""
    try:
        return read_quantity(text)
    except ValueError:
        return 0


def spell_quantity(size: int) -> str:
    """Spell a size exactly, in the largest binary unit that divides it.

    >>> spell_quantity(5 * 1024**3), spell_quantity(1536 * 1024**2), spell_quantity(1_500_000_001)
    ('5Gi', '1536Mi', '1500000001')
    """
    unit = ""
    for larger in _BINARY:
        if size % 1024 or not size:
            break
        size, unit = size // 1024, larger
    return f"{size}{unit}"
