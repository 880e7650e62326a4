"""State that hides in what every step defines for itself: class attributes, function attributes, defaults, closures.

A prelude class or function travels by reference, so what a step changed on it would be lost. `state_of` takes that part as plain values,
`apply_state` puts it on the receiving step's own definition.
"""

from __future__ import annotations

import contextvars
import types
from typing import Any

_METHODS = (types.FunctionType, classmethod, staticmethod, property, types.MemberDescriptorType, types.GetSetDescriptorType)


def has_state(value: object, namespace: dict[str, object]) -> bool:
    """Tell whether `value` is a class or function that the notebook itself defined."""
    if isinstance(value, contextvars.ContextVar):
        return True
    return isinstance(value, type | types.FunctionType) and value.__module__ == namespace.get("__name__", "__main__")


def state_of(value: object) -> dict[str, Any]:
    """Return the changeable part of a class, function or context variable."""
    if isinstance(value, contextvars.ContextVar):
        nothing = object()
        content = value.get(nothing)
        return {"attributes": {} if content is nothing else {"value": content}}
    if isinstance(value, types.FunctionType):
        return {
            "attributes": dict(value.__dict__),
            "defaults": value.__defaults__,
            "kwdefaults": value.__kwdefaults__,
            "cells": [_content(c) for c in value.__closure__ or ()],
        }
    assert isinstance(value, type)
    import enum

    if issubclass(value, enum.Enum):
        return {"attributes": {}}
    return {"attributes": {k: v for k, v in vars(value).items() if not _is_definition(k, v)}}


def apply_state(value: object, state: dict[str, Any]) -> None:
    """Put a state taken by `state_of` on another definition of the same class or function."""
    attributes = state["attributes"]
    if isinstance(value, contextvars.ContextVar):
        if attributes:
            value.set(attributes["value"])
        return
    if isinstance(value, types.FunctionType):
        value.__dict__.clear()
        value.__dict__.update(attributes)
        value.__defaults__ = state["defaults"]
        value.__kwdefaults__ = state["kwdefaults"]
        for cell, content in zip(value.__closure__ or (), state["cells"], strict=False):
            if content:
                cell.cell_contents = content[0]
        return
    for name in state_of(value)["attributes"]:
        if name not in attributes:
            delattr(value, name)
    for name, content in attributes.items():
        if vars(value).get(name, state) is not content:
            setattr(value, name, content)


def _is_definition(name: str, value: object) -> bool:
    return (
        (name.startswith("__") and name.endswith("__"))
        or name.startswith("_abc_")
        or isinstance(value, _METHODS)
        or (isinstance(value, type) and value.__qualname__.endswith(f".{name}"))
    )


def _content(cell: types.CellType) -> tuple[object, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()
