"""Imports of libraries without what they prepare at import and nobody here uses.

nbformat imports jsonschema, which imports `rfc3987_syntax` where that is installed, as it is with every JupyterLab; that builds a grammar
of all resource identifiers, which takes 1.5 to 2 s of CPU in each process. jsonschema only calls its one function when a schema asks for
the format `iri`, which no notebook's does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

_GRAMMAR = "rfc3987_syntax"


def leave_out_grammars() -> None:
    """Keep a process in which no code of the user's runs from ever importing it: jsonschema does without, as where it is not installed."""
    sys.modules.setdefault(_GRAMMAR, None)  # type: ignore[arg-type]  # None is how Python knows a module that must not be imported


@contextlib.contextmanager
def without_grammars() -> Iterator[None]:
    """Import nbformat, or what imports it, within. A schema that asks for the format is checked all the same, and waits then."""
    if _GRAMMAR in sys.modules or "jsonschema" in sys.modules or importlib.util.find_spec(_GRAMMAR) is None:
        yield
        return
    stand_in = ModuleType(_GRAMMAR)
    stand_in.is_valid_syntax = _is_valid_syntax  # type: ignore[attr-defined]
    sys.modules[_GRAMMAR] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(_GRAMMAR) is stand_in:
            del sys.modules[_GRAMMAR]


def _is_valid_syntax(term: str, value: str) -> bool:
    """Ask the library, imported by now if it was not."""
    return bool(importlib.import_module(_GRAMMAR).is_valid_syntax(term, value))
