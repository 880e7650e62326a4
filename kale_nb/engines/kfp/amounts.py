"""Amounts of resources as Kubernetes spells them, compared exactly."""

from __future__ import annotations

import re
from fractions import Fraction

_FORM = re.compile(r"(\d+(?:\.\d+)?)(?:[eE]([+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i))?", re.ASCII)
_SMALL = {"n": 9, "u": 6, "m": 3}


def amount_of(text: str) -> Fraction | None:
    """Return a quantity as a number; None when it is none, or one beyond all measure.

    >>> amount_of("1.5Gi") == 1.5 * 2**30, amount_of("500m") < amount_of("1e0"), amount_of("much")
    (True, True, None)
    """
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    number, exponent, unit = Fraction(found[1]), found[2], found[3] or ""
    if exponent:
        return Fraction(f"{found[1]}e{exponent}")
    if unit in _SMALL:
        return number * Fraction(1, 10 ** _SMALL[unit])
    power = "kMGTPE".find(unit[:1].replace("K", "k")) + 1 if unit else 0
    base = 1024 if unit.endswith("i") else 1000
    return number * Fraction(base**power)
