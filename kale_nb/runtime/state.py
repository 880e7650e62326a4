"""State that hides in what every step defines for itself: class attributes, function attributes, defaults, closures.

A prelude class or function travels by reference, so what a step changed on it would be lost. `state_of` takes that part as plain values,
`apply_state` puts it on the receiving step's own definition.
"""

from __future__ import annotations

import abc
import contextvars
import types
from collections.abc import Mapping
from typing import Any

_METHODS = (types.FunctionType, classmethod, staticmethod, property, types.MemberDescriptorType, types.GetSetDescriptorType)

_VOLATILE = frozenset(
    "__dict__ __weakref__ __annotations__ __abstractmethods__ _abc_impl __static_attributes__ __protocol_attrs__ "
    "__non_callable_proto_members__ __firstlineno__".split()
)
_NOTHING = object()


def has_state(value: object, namespace: dict[str, object]) -> bool:
    """Tell whether `value` is a class or function that the notebook itself defined."""
    if isinstance(value, contextvars.ContextVar):
        return True
    return isinstance(value, type | types.FunctionType) and value.__module__ == namespace.get("__name__", "__main__")


def baseline_of(value: object) -> dict[str, object]:
    """Note what a class is made of right after the prelude, to tell later what a step put on it."""
    return dict(vars(value)) if isinstance(value, type) else {}


def state_of(value: object, baseline: Mapping[str, object]) -> dict[str, Any]:
    """Return the changeable part of a class, function or context variable. `baseline`: what `baseline_of` gave for it."""
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

    own = vars(value)
    patched = {k: v for k, v in own.items() if k not in _VOLATILE and baseline.get(k, _NOTHING) is not v}
    state: dict[str, Any] = {"gone": sorted(k for k in baseline if k not in own and k not in _VOLATILE)}
    if issubclass(value, enum.Enum):
        state["attributes"] = {k: v for k, v in patched.items() if not k.startswith("_")}
        state["members"] = {
            name: {k: v for k, v in vars(member).items() if not k.startswith("_")}
            for name, member in value.__members__.items()
            if hasattr(member, "__dict__")
        }
        return state
    state["attributes"] = {k: v for k, v in own.items() if k in patched or not _is_definition(k, v)}
    registered = _registered(value)
    if registered:
        state["registered"] = registered
    return state


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
    assert isinstance(value, type)
    for name in (*state["gone"], *state_of(value, vars(value))["attributes"]):
        if name not in attributes and name in vars(value):
            delattr(value, name)
    for name, content in attributes.items():
        if vars(value).get(name, _NOTHING) is not content:
            setattr(value, name, content)
    for name, content in state.get("members", {}).items():
        vars(value.__members__[name]).update(content)  # type: ignore[attr-defined]
    for cls in state.get("registered", ()):
        value.register(cls)  # type: ignore[attr-defined]


def _is_definition(name: str, value: object) -> bool:
    return (
        (name.startswith("__") and name.endswith("__"))
        or name.startswith("_abc_")
        or isinstance(value, _METHODS)
        or (isinstance(value, type) and value.__qualname__.endswith(f".{name}"))
    )


def _registered(cls: type) -> list[type]:
    """The virtual subclasses of an abstract class, in an order that does not depend on where they lie in memory."""
    if not isinstance(cls, abc.ABCMeta) or "_abc_impl" not in vars(cls):
        return []
    import _abc  # type: ignore[import-not-found]

    found = [made for ref in _abc._get_dump(cls)[0] if (made := ref()) is not None]
    return sorted(found, key=lambda c: (c.__module__, c.__qualname__))


def _content(cell: types.CellType) -> tuple[object, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()
