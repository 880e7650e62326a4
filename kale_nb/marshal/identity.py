"""Which definition is which, across bundles and processes.

A class or function that travels by value gets a token the first time it is written. Whoever reads it binds the token to the object
made, so that a second bundle that carries the same definition leads to the same object, and a later save passes the token on.
Tokens stand beside the objects, not in them: `vars(cls)` shows what the user wrote.
"""

from __future__ import annotations

import contextlib
import sys
import types
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

_tokens: dict[int, tuple[weakref.ref[object], str]] = {}
_cells: dict[str, types.CellType] = {}
_cell_tokens: dict[int, str] = {}
_cell_limit = [1024]
_HELD_HERE = 4
_floats: dict[int, tuple[str, float]] = {}
_floats_by_token: dict[str, float] = {}
_objects: weakref.WeakValueDictionary[str, object] = weakref.WeakValueDictionary()


def token_of(value: object) -> str:
    """Give the token of a class or function, making one at the first call."""
    known = _tokens.get(id(value))
    if known is not None and known[0]() is value:
        return known[1]
    token = uuid.uuid4().hex
    bind(token, value)
    return token


def cell_token(cell: types.CellType) -> str:
    """Give the token of a closure cell. Cells take no weak reference, so they are held until only this module holds them."""
    token = _cell_tokens.get(id(cell))
    if token is None:
        token = uuid.uuid4().hex
        bind_cell(token, cell)
    return token


def bind_cell(token: str, cell: types.CellType) -> None:
    """Record that `cell` is what `token` stands for in this process."""
    if len(_cells) >= _cell_limit[0]:
        for old in [t for t, c in _cells.items() if sys.getrefcount(c) <= _HELD_HERE]:
            del _cell_tokens[id(_cells.pop(old))]
        _cell_limit[0] = max(1024, 2 * len(_cells))
    _cells[token] = cell
    _cell_tokens[id(cell)] = token


def find_cell(token: str) -> types.CellType | None:
    """Give the closure cell of this process that carries `token`."""
    return _cells.get(token)


def float_token(value: float) -> str:
    """Give the token of a NaN, of which there are few; they are told apart by identity."""
    token, _ = _floats.setdefault(id(value), (uuid.uuid4().hex, value))
    return token


def find_float(token: str) -> float:
    """Give the NaN of this process that carries `token`, making it at the first call."""
    value = _floats_by_token.get(token)
    if value is None:
        value = _floats_by_token[token] = next((v for t, v in _floats.values() if t == token), None) or float("nan")
        _floats[id(value)] = (token, value)
    return value


def find(token: str) -> object | None:
    """Give the living object of this process that carries `token`."""
    return _objects.get(token)


def bind(token: str, value: object) -> None:
    """Record that `value` is what `token` stands for in this process."""
    key = id(value)

    def forget(dead: weakref.ref[object]) -> None:
        if _tokens.get(key, (None, ""))[0] is dead:
            del _tokens[key]

    _tokens[key] = (weakref.ref(value, forget), token)
    _objects[token] = value


class Table:
    """What a part of this process knows of definitions, apart from the rest: see `apart`."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ({}, {}, {}, weakref.WeakValueDictionary())


@contextlib.contextmanager
def apart(table: Table) -> Iterator[None]:
    """Know in this block only what the table knows, and add to it alone: a process that reads what several others left keeps their
    definitions apart. One thread at a time."""
    global _tokens, _cells, _cell_tokens, _objects
    before = (_tokens, _cells, _cell_tokens, _objects)
    _tokens, _cells, _cell_tokens, _objects = table.state
    try:
        yield
    finally:
        _tokens, _cells, _cell_tokens, _objects = before
