"""Kubernetes' quantities as bytes."""

from __future__ import annotations

from decimal import Decimal

_UNITS = {"": Decimal(1), "k": Decimal(1000), "m": Decimal("0.001")}
_UNITS |= {unit: Decimal(1000**power) for power, unit in enumerate("KMGTPE", 1) if unit != "K"}
_UNITS |= {f"{unit}i": Decimal(1024**power) for power, unit in enumerate("KMGTPE", 1)}


def in_bytes(quantity: str | int) -> int:
    """Return the bytes of a quantity, rounded up.

    >>> in_bytes("1Gi"), in_bytes("1.5k"), in_bytes("2e3"), in_bytes(7)
    (1073741824, 1500, 2000, 7)
    """
    text = str(quantity)
    number = text.rstrip("KMGTPEkmi")
    return -int(-(Decimal(number) * _UNITS[text[len(number) :]]) // 1)


def written(size: int) -> str:
    """Return bytes as Kubernetes' controllers write them: in the largest unit that gives a whole number.

    >>> written(2**30), written(3 * 2**29), written(1000), written(0)
    ('1Gi', '1536Mi', '1000', '0')
    """
    for power, unit in reversed(list(enumerate("KMGTPE", 1))):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}i"
    return str(size)
