"""Functions of a test given to a step, such as one that stands for a download: made functions of the notebook, which can travel.

A function is otherwise found in its module by the one who reads it, and a step cannot import the test.
"""

from __future__ import annotations

import builtins
import dis
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from kale_nb.errors import UsageError


def as_notebooks(name: str, value: object, namespace: dict[str, object], folder: Path) -> object:
    """Return a function of the test's own as one of the notebook with this namespace, and any other value as it is.

    UsageError when it reads names of the test's module, which the step does not have.
    """
    if not isinstance(value, types.FunctionType) or value.__globals__ is namespace or not _is_of_the_test(value, folder):
        return value
    lost = sorted({n for n in _globals_read(value.__code__) if n not in namespace and not hasattr(builtins, n)})
    if lost:
        raise UsageError(
            f"the function given as `{name}` reads {', '.join(f'`{n}`' for n in lost)} of the test's module, which a step does not have",
            hint="import inside the function, or give what it reads as default values of its arguments",
        )
    made = types.FunctionType(value.__code__, namespace, value.__name__, value.__defaults__, value.__closure__)
    made.__kwdefaults__ = value.__kwdefaults__
    made.__dict__.update(value.__dict__)
    made.__module__ = "__main__"
    return made


def _is_of_the_test(function: types.FunctionType, folder: Path) -> bool:
    """Tell whether a function's module is a file of tests, or neither installed nor beside the notebook."""
    file = getattr(sys.modules.get(function.__module__ or ""), "__file__", None)
    if file is None:
        return False
    path = Path(file).resolve()
    if "site-packages" in path.parts or any(path.is_relative_to(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix)):
        return False
    tests = path.stem.startswith("test_") or path.stem.endswith("_test") or path.stem == "conftest"
    return tests or not path.is_relative_to(folder.resolve())


def _globals_read(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _globals_read(inner)
