"""Which names share objects: the shape of the aliases among the values of a step.

A step can leave every value equal and still change what is shared: `d["k"] = list(d["k"])` cuts an alias, `d["k"] = xs` makes one. So a
name whose reachable objects are others than before, and meet those of other names than before, counts as written anew.
"""

from __future__ import annotations

from collections.abc import Mapping

Objects = Mapping[str, frozenset[int]]


def shared(name: str, objects: Objects) -> dict[str, frozenset[int]]:
    """Return which objects `name` shares with which other names.

    >>> shared("a", {"a": frozenset({1, 2}), "b": frozenset({2}), "c": frozenset({3})})
    {'b': frozenset({2})}
    """
    mine = objects[name]
    return {n: mine & theirs for n, theirs in objects.items() if n != name and theirs and not mine.isdisjoint(theirs)}


def reshaped(before: Objects, now: Objects) -> list[str]:
    """Return the names of both whose objects are others now and which share other objects than before with other names, sorted.

    >>> reshaped({"d": frozenset({1, 2}), "xs": frozenset({2})}, {"d": frozenset({1, 9}), "xs": frozenset({2})})
    ['d']
    """
    moved = sorted(n for n in now if n in before and before[n] != now[n])
    return [n for n in moved if shared(n, before) != shared(n, now)]
