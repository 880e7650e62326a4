"""How a number of bytes is spelled, everywhere: in powers of 1024, with the units that say so."""

from __future__ import annotations


def size(count: float) -> str:
    """Return a number of bytes for people.

    >>> [size(n) for n in (0, 999, 1023, 1536, 5 * 1024**3, 7e15)]
    ['0 B', '999 B', '1.0 KiB', '1.5 KiB', '5.0 GiB', '6366.5 TiB']
    """
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
