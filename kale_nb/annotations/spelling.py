"""How near two words are: for "did you mean"."""

from __future__ import annotations

from collections.abc import Iterable


def distance(one: str, other: str) -> int:
    """Count the single changes (insert, delete, replace, swap of neighbours) between two words.

    >>> distance("stp", "step"), distance("blokc", "block"), distance("prv", "prev")
    (1, 1, 1)
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` is most likely a slip of, if any is near enough.

    >>> nearest("iamge", ["image", "limit"]), nearest("zebra", ["image"])
    ('image', None)
    """
    word = word.lower()[:64]
    best: tuple[int, str] | None = None
    for candidate in known:
        allowed = 1 if len(candidate) <= 5 else 2
        if abs(len(candidate) - len(word)) > allowed:
            continue
        far = distance(word, candidate)
        if far <= allowed and len(word) >= 2 and (best is None or far < best[0]):
            best = (far, candidate)
    return best[1] if best else None
