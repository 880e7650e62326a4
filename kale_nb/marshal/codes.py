"""Which global names a piece of code refers to."""

from __future__ import annotations

import builtins
import functools
from types import CodeType

_GLOBAL = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


@functools.lru_cache(maxsize=4096)
def global_names(code: CodeType) -> frozenset[str]:
    """Collect the names that `code`, and code nested in it, looks up, sets or deletes as globals.

    >>> sorted(global_names(compile("f = lambda: [len(x) for y in z]", "", "exec").co_consts[0]))
    ['len', 'x', 'z']
    """
    import dis

    names: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBAL:
            names.add(str(instruction.argval))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= global_names(constant)
    return frozenset(names)


def is_builtin(name: str) -> bool:
    """Tell whether a name that `main` lacks is found among the builtins."""
    return hasattr(builtins, name)
