"""The order in which a set is iterated, kept.

It follows from the hashes, but also from how the set came to be: its table's size and who was there first. pickle adds the elements one
by one, so that a third of all sets come back in another order, although the hashes are the same in every step of a run. `recipe_of` finds
how to add the elements so that they come to lie where they lie; `follow` does so. Only elements whose hashing runs no code of a user are
looked at, and where no recipe is found the order is pickle's.

The places of elements are read from the set object of CPython (`Objects/setobject.c`), and what was read is tried before it is believed.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_MOST = 20_000
_PLAIN = (str, int, float, complex, bytes, bool, type(None))
_LINEAR_PROBES = 9
_PERTURB_SHIFT = 5
_HEADER = object.__basicsize__


class Recipe:
    """How to make a set.

    Attributes:
        order: its elements in the order in which to add them.
        gaps: places of the table that must be taken meanwhile: an element lay there that is gone.
        mask: the last index of the table.
    """

    def __init__(self, order: list[Any], gaps: list[int], mask: int) -> None:
        self.order = order
        self.gaps = gaps
        self.mask = mask


def recipe_of(value: set[Any]) -> Recipe | None:
    """Find how to make a set that is iterated like `value`; None when adding its elements in turn does, or nothing does."""
    if not 2 <= len(value) <= _MOST:
        return None
    elements = list(value)
    if not all(_is_plain(e) for e in elements):
        return None
    turn: set[Any] = set()
    turn.update(elements)
    if list(turn) == elements or sys.implementation.name != "cpython":
        return None
    places = _places(value)
    if places is None or len(places[0]) != len(elements):
        return None
    slots, mask = places
    order, gaps = _in_turn(elements, slots, mask)
    recipe = Recipe(order, gaps, mask)
    made: set[Any] = set()
    follow(made, recipe.order, recipe.gaps, mask)
    return recipe if list(made) == elements else None


def follow(value: set[Any], order: list[Any], gaps: list[int], mask: int) -> None:
    """Fill `value` anew after a recipe."""
    value.clear()
    holders = [gap + (mask + 1) * (1 << 30) for gap in gaps]  # the hash of an integer is the integer
    order = holders + order
    at_once = order[: (mask + 1) // 2 - 1]
    if mask > 7:  # a dictionary makes room for all its keys first: so many that the table gets its size
        fill = [object() for _ in range(max(5, (mask + 1) // 4) - len(at_once))]
        value.update(dict.fromkeys([*at_once, *fill]))
        for element in fill:
            value.discard(element)
        order = order[len(at_once) :]
    for element in order:
        value.add(element)
    for holder in holders:
        value.discard(holder)


def _is_plain(value: object) -> bool:
    cls = type(value)
    return cls in _PLAIN or cls is tuple and all(type(v) in _PLAIN for v in value)  # type: ignore[attr-defined]


def _places(value: set[Any]) -> tuple[list[int], int] | None:
    """Read at which places of its table a set has elements, and the table's last index."""
    used, mask = (ctypes.c_ssize_t.from_address(id(value) + _HEADER + 8 * n).value for n in (1, 2))
    if used != len(value) or mask < 7 or mask & (mask + 1):
        return None
    if mask > 7 and set.__sizeof__(value) != set.__sizeof__(set()) + 16 * (mask + 1):
        return None
    table = ctypes.c_void_p.from_address(id(value) + _HEADER + 24).value
    if table is None:
        return None
    words = (ctypes.c_ssize_t * (2 * (mask + 1))).from_address(table)
    return [i for i in range(mask + 1) if words[2 * i] and words[2 * i + 1] != -1], mask


def _in_turn(elements: list[Any], slots: list[int], mask: int) -> tuple[list[Any], list[int]]:
    """Order elements so that each finds the places taken that it was turned away from; return also those of them that are free now."""
    gaps: dict[int, None] = {}
    at = dict(zip(slots, range(len(elements)), strict=True))
    order: list[Any] = []
    done = [0] * len(elements)
    for first in range(len(elements)):
        pending = [first]
        while pending:
            number = pending[-1]
            if done[number] == 2:
                pending.pop()
                continue
            done[number] = done[number] or 1
            passed = _passed(hash(elements[number]), slots[number], mask)
            gaps.update(dict.fromkeys(s for s in passed if s not in at))
            waiting = [at[s] for s in passed if s in at and not done[at[s]]]
            if waiting:
                pending += waiting
                continue
            done[number] = 2
            order.append(elements[number])
            pending.pop()
    return order, list(gaps)


def _passed(code: int, slot: int, mask: int) -> list[int]:
    """The places that an element with this hash tries before `slot`."""
    perturb = code & (1 << 64) - 1
    at = code & mask
    passed: list[int] = []
    while len(passed) <= mask + 1:
        for place in range(at, at + 1 + (_LINEAR_PROBES if at + _LINEAR_PROBES <= mask else 0)):
            if place == slot:
                return passed
            passed.append(place)
        perturb >>= _PERTURB_SHIFT
        at = (at * 5 + 1 + perturb) & mask
    return passed
