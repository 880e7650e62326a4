"""Names that stand inside string constants: pandas' `@name`, `globals()["name"]`, constant code given to eval and exec."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

_WORD = re.compile(r"[^\W\d]\w*")
_AT = re.compile(r"@\s*([^\W\d]\w*)")


def at_names(call: ast.Call) -> tuple[str, ...]:
    """Return the names after `@` in constant strings given to a method called `query` or `eval` (pandas)."""
    func = call.func
    if not (isinstance(func, ast.Attribute) and func.attr in {"query", "eval"}):
        return ()
    found: list[str] = []
    for arg in call.args:
        for part in ast.walk(arg):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                found += _AT.findall(part.value)
                if func.attr == "eval":
                    found += _WORD.findall(part.value)
    return tuple(dict.fromkeys(found))


def asks_by_text(call: ast.Call) -> bool:
    """Tell whether a call may look names up that no text shows: pandas' `query` and `eval` with a text that is not a constant."""
    func = call.func
    if not (isinstance(func, ast.Attribute) and func.attr in {"query", "eval"} and call.args):
        return False
    return not any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.walk(call.args[0]))


UNPICKLED = "<unpickled>"
"""Stands among the names that are read for all classes and functions that a pickle may ask the notebook for."""

_PICKLES = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "torch", "pd", "pandas"})


def unpickles(call: ast.Call, imports: Mapping[str, str]) -> bool:
    """Tell whether a call reads a pickle: it finds classes and functions in the notebook by names that no text shows.

    >>> unpickles(ast.parse("joblib.load('model.pkl')", mode="eval").body, {})
    True
    """
    func = call.func
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
        return func.value.id in _PICKLES and func.attr in {"load", "loads", "read_pickle", "open", "Unpickler"}
    if isinstance(func, ast.Name) and func.id in {"load", "loads", "read_pickle", "Unpickler"}:
        return any(f"from {module}" in imports.get(func.id, "") for module in _PICKLES)
    return False


def namespace_call(node: ast.AST) -> bool:
    """Tell whether `node` is `globals()`, or at top level `locals()`, `vars()` or `dir()`, without arguments."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"globals", "locals", "vars", "dir"}
        and not node.args
        and not node.keywords
    )


def constant_text(node: ast.AST) -> str | None:
    """Return the value of a string constant, else None."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
