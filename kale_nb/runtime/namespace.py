"""What stands in a notebook's namespace: the user's names and the shell's, values of the notebook and of modules."""

from __future__ import annotations

import sys
import types


def is_foreign(value: object) -> bool:
    """Tell whether a value is a module, or a class or function of one: it stays what it is, and comes from where it is."""
    if isinstance(value, type(sys)):
        return True
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        module = sys.modules.get(value.__module__ or "")
        return module is not None and vars(module).get(value.__name__) is value and value.__module__ != "__main__"
    return False


def is_shell_name(name: str) -> bool:
    """Tell whether a name that starts with an underscore is IPython's or ours."""
    return (
        name.startswith("__")
        or name in ("_kale", "_kale_data", "_", "_i", "_ii", "_iii", "_ih", "_oh", "_dh")
        or name[1:].isdigit()
        or (name.startswith("_i") and name[2:].isdigit())
    )


def shown_value(value: object, limit: int = 2000) -> str:
    """Return a value's repr, cut at `limit` characters; a repr that raises is told, not raised."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - the user's own __repr__ must not fail the step
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."
