"""Which definition is which, across bundles and processes.

A class or function that travels by value gets a token the first time it is written. Whoever reads it binds the token to the object
made, so that a second bundle that carries the same definition leads to the same object, and a later save passes the token on.
Tokens stand beside the objects, not in them: `vars(cls)` shows what the user wrote.
"""

from __future__ import annotations

import uuid
import weakref

_tokens: dict[int, tuple[weakref.ref[object], str]] = {}
_objects: weakref.WeakValueDictionary[str, object] = weakref.WeakValueDictionary()


def token_of(value: object) -> str:
    """Give the token of a class or function, making one at the first call."""
    known = _tokens.get(id(value))
    if known is not None and known[0]() is value:
        return known[1]
    token = uuid.uuid4().hex
    bind(token, value)
    return token


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
