"""A notebook's imports, parameters and functions cells, as a module in the test's own process."""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import inspect
import linecache
import os
import sys
import threading
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from kale_nb.compiler import Compiled
from kale_nb.dataflow.ipython import transform
from kale_nb.errors import UsageError
from kale_nb.pipeline.params import to_source
from kale_nb.planning import checked_params
from kale_nb.stepbooks.cells import DATA_NAME
from kale_nb.testing.reading import read, told

_lock = threading.RLock()
_made: dict[tuple[str, str], dict[str, types.ModuleType]] = {}


class KaleFunctions(Protocol):
    """The type of `kale_functions`, as function and as fixture."""

    def __call__(self, notebook: str | os.PathLike[str], *, params: Mapping[str, object] | None = None) -> types.ModuleType:
        """See `kale_functions`."""
        ...


def kale_functions(notebook: str | os.PathLike[str], *, params: Mapping[str, object] | None = None) -> types.ModuleType:
    """Run a notebook's imports, parameters and functions cells in this process and return what they define, as a module.

    Its classes are those that the notebook's steps have: instances of them can be given to `kale_step`, and come back from it. A notebook
    is run once for the same `params`, as long as its file stays as it is. Magics and `!` lines do nothing.

    Args:
        notebook: relative to the working folder; as a fixture, to the folder of the test.

    CompileError when the notebook does not compile, UsageError for a script (import it) or a parameter that does not exist; what a cell
    raises is raised.
    """
    __tracebackhide__ = True
    path = Path(notebook).absolute()
    compiled = read(path)
    if compiled.script is not None:
        raise told(UsageError(f"{path.name} is a script", hint=f"import what it defines: from {path.stem} import ..."))
    return functions_of(compiled, path, params or {})


def functions_of(compiled: Compiled, path: Path, params: Mapping[str, object]) -> types.ModuleType:
    """Return the functions of a notebook at an absolute path."""
    __tracebackhide__ = True
    values = {name: to_source(value) for name, value in checked_params(compiled.pipeline, params).items()}
    with _lock:
        made = _made.setdefault((str(path), compiled.pipeline.source_sha256), {})
        key = repr(sorted(values.items()))
        if key not in made:
            made[key] = _run_prelude(compiled, path, values)
        made[key] = made.pop(key)  # the last one used stands last
        return made[key]


def namespace_of(compiled: Compiled, path: Path) -> dict[str, object] | None:
    """Return the namespace of the functions that the test asked for last; None when it asked for none."""
    made = _made.get((str(path), compiled.pipeline.source_sha256))
    return vars(made[next(reversed(made))]) if made else None


def _run_prelude(compiled: Compiled, path: Path, values: Mapping[str, str]) -> types.ModuleType:
    __tracebackhide__ = True
    module = types.ModuleType("__main__", f"What the imports, parameters and functions cells of {path.name} define.")
    namespace = vars(module)
    namespace["__builtins__"] = {**vars(builtins), "get_ipython": _NoShell, "display": _display}
    with _at(path.parent):
        for cell in compiled.stepbooks[0].notebook["cells"]:
            tags = cell["metadata"].get("tags", ())
            if "kale-load" in tags:
                break
            if cell["cell_type"] == "code":
                number = cell["metadata"].get("kale", {}).get("cell")
                _run(cell["source"], f"{compiled.pipeline.source}[cell {number}]", namespace)
            if "parameters" in tags:
                for name, source in values.items():
                    namespace[name] = eval(source)
    namespace.pop(DATA_NAME, None)
    return module


def _run(source: str, name: str, namespace: dict[str, Any]) -> None:
    __tracebackhide__ = True
    code = transform(source) or source
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    compiled = compile(code, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    waiting = eval(compiled, namespace)
    if compiled.co_flags & inspect.CO_COROUTINE:
        asyncio.run(waiting)


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    """Be in a folder, look for modules there (and later on too), and write no bytecode into it."""
    before = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


class _NoShell:
    """Stands for the shell where there is none: a magic does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _do_nothing


def _do_nothing(*_: object, **__: object) -> None:
    return None


def _display(*values: object, **_: object) -> None:
    for value in values:
        print(repr(value))  # noqa: T201 - as IPython's display does without a shell
