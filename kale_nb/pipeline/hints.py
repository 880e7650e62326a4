"""Type hints as promises: what of a hint a value keeps, and whether what one function promises suits another.

Both err on the side of silence: a hint that is not understood allows everything.
"""

from __future__ import annotations

import numbers
import types
import typing
from collections.abc import Callable
from typing import Any

from kale_nb.pipeline.params import TYPES

ANYTHING: Any = typing.Any
_NUMBERS = {int: numbers.Integral, float: numbers.Real, complex: numbers.Complex}
_WIDER = {(bool, int), (int, float), (int, complex), (float, complex), (bool, float), (bool, complex)}


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's hints with their names resolved; empty when they cannot be."""
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - a hint is the user's expression: it may raise anything
        return {}


def plain(hint: Any) -> Any:
    """Return a hint without `Annotated`, `NewType` and `Final` around it."""
    while True:
        if hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif typing.get_origin(hint) in (typing.Annotated, typing.Final, typing.ClassVar):
            hint = typing.get_args(hint)[0] if typing.get_args(hint) else ANYTHING
        else:
            return type(None) if hint is None else hint


def members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union; of another hint itself."""
    hint = plain(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(m for arg in typing.get_args(hint) for m in members(arg))
    if typing.get_origin(hint) is typing.Literal:
        return tuple(dict.fromkeys(type(a) for a in typing.get_args(hint)))
    return (hint,)


def class_of(hint: Any) -> type | None:
    """Return the class that a hint asks for, without its parameters; None when it is no class."""
    found = typing.get_origin(hint) or hint
    if not isinstance(found, type) or found in (object, ANYTHING) or getattr(found, "_is_protocol", False):
        return None
    return dict if typing.is_typeddict(hint) else found


def items_of(hint: Any) -> tuple[Any, ...] | None:
    """Return the hints of the elements of a tuple of fixed length; None when the hint is not that of one."""
    hint = plain(hint)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and Ellipsis not in arguments:
        return () if arguments == ((),) else arguments
    return None


def suits(given: Any, wanted: Any) -> bool:
    """Tell whether a value that keeps the hint `given` can keep `wanted`.

    >>> suits(int, float), suits(str, int), suits(int | None, int), suits(tuple[int, str], tuple[int, int])
    (True, False, True, False)
    """
    return any(_suits(g, w) for g in members(given) for w in members(wanted))


def _suits(given: Any, wanted: Any) -> bool:
    one, other = class_of(given), class_of(wanted)
    if one is None or other is None:
        return True
    if (one, other) in _WIDER:
        return True
    try:
        if not issubclass(one, other) and not issubclass(other, one):
            return False
    except TypeError:
        return True
    mine, theirs = typing.get_args(given), typing.get_args(wanted)
    if one is not other or not mine or not theirs:
        return True
    if one is tuple:
        a, b = items_of(given), items_of(wanted)
        return a is None or b is None or (len(a) == len(b) and all(suits(x, y) for x, y in zip(a, b, strict=True)))
    return len(mine) != len(theirs) or all(suits(x, y) for x, y in zip(mine, theirs, strict=True))


def misfit(value: object, hint: Any, name: str = "it") -> str | None:
    """Tell why a value does not keep a hint; None when it does. Elements are looked at in tuples of fixed length only.

    >>> misfit((1, 2), tuple[int, str]), misfit(3, float)
    ('it[1] is int, not str', None)
    """
    if any(_keeps(value, member) for member in members(hint)):
        items = next((found for m in members(hint) if (found := items_of(m)) is not None), None)
        if items is not None and type(value) is tuple and len(members(hint)) == 1:
            if len(items) != len(value):
                return f"{name} has {len(value)} values, not {len(items)}"
            parts = (misfit(v, h, f"{name}[{i}]") for i, (v, h) in enumerate(zip(value, items, strict=True)))
            return next((part for part in parts if part is not None), None)
        return None
    return f"{name} is {type(value).__name__}, not {spelled(hint)}"


def _keeps(value: object, hint: Any) -> bool:
    wanted = class_of(hint)
    if wanted is None:
        return True
    if wanted in _NUMBERS:
        return isinstance(value, _NUMBERS[wanted])
    try:
        return isinstance(value, wanted) or (wanted is bool and type(value).__name__ in ("bool_", "bool"))
    except TypeError:
        return True


def spelled(hint: Any) -> str:
    """Return a hint as the user would write it.

    >>> spelled(int | None), spelled(list[int]), spelled(dict)
    ('int | None', 'list[int]', 'dict')
    """
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def param_type(hint: Any) -> tuple[str, bool] | None:
    """Return the parameter type that a hint names and whether None is allowed beside it; None when it names none.

    >>> param_type(int | None), param_type(list[str]), param_type(object)
    (('int', True), ('list', False), None)
    """
    every = members(hint)
    kinds = [m for m in every if m is not type(None)]
    if len(kinds) != 1:
        return None
    found = class_of(kinds[0])
    name = next((n for n, kind in TYPES.items() if kind is found), None)
    return (name, len(kinds) != len(every)) if name is not None else None
