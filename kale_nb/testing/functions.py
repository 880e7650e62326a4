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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from kale_nb.compiler import Compiled
from kale_nb.dataflow.ipython import transform
from kale_nb.errors import UsageError
from kale_nb.pipeline.params import to_source
from kale_nb.planning import checked_params
from kale_nb.stepbooks.cells import DATA_NAME
from kale_nb.testing.reading import read, told
from kale_nb.testing.result import reachable

_lock = threading.RLock()
_made: dict[tuple[str, str], dict[str, types.ModuleType]] = {}
"""By path and digest of the notebook, then by the values of its parameters."""
_wanted: set[tuple[str, str, str]] = set()
"""Those of them that tests asked for, and may hold classes of."""


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
    made = functions_of(compiled, path, params or {})
    _wanted.add((str(path), compiled.pipeline.source_sha256, _key(compiled, params or {})))
    return made


def functions_of(compiled: Compiled, path: Path, params: Mapping[str, object]) -> types.ModuleType:
    """Return the functions of a notebook at an absolute path."""
    __tracebackhide__ = True
    values = {name: to_source(value) for name, value in checked_params(compiled.pipeline, params).items()}
    with _lock:
        made = _made.setdefault((str(path), compiled.pipeline.source_sha256), {})
        key = _key(compiled, params)
        if key not in made:
            made[key] = _run_prelude(compiled, path, values)
        return made[key]


def namespace_of(compiled: Compiled, path: Path, params: Mapping[str, object]) -> dict[str, object] | None:
    """Return the namespace of the functions with these parameters; when there are none yet that with the defaults, or any; None when no
    test asked for functions."""
    made = _made.get((str(path), compiled.pipeline.source_sha256))
    if not made:
        return None
    known = [key for key in (_key(compiled, params), _key(compiled, {})) if key in made]
    return vars(made[known[0] if known else next(iter(made))])


def namespace_among(compiled: Compiled, path: Path, values: Iterable[object]) -> dict[str, object] | None:
    """Return the namespace whose functions or classes are among these values; None when there is none."""
    made = [vars(module) for module in _made.get((str(path), compiled.pipeline.source_sha256), {}).values()]
    if not made:
        return None
    for value in reachable(values):
        if isinstance(value, types.FunctionType | type):
            found = next((namespace for namespace in made if _is_of(value, namespace)), None)
            if found is not None:
                return found
    return None


def functions_at_home(
    compiled: Compiled, path: Path, params: Mapping[str, object], given: Mapping[str, object] | None, home: dict[str, object]
) -> dict[str, object]:
    """Return what a step with these parameters has of the imports and functions cells, for functions that it made.

    Its classes are those that the test holds: those of the namespace that it gave to the step, else of `kale_functions` with the same
    parameters, else of that with the defaults. All else is as the step's own parameters make it, and functions read it in `home`.
    """
    __tracebackhide__ = True
    own = vars(functions_of(compiled, path, params))
    held = given or _asked(compiled, path, params) or own
    if held is own:
        return own
    classes = {name: value for name, value in held.items() if isinstance(value, type) and _is_of(value, held)}
    return {name: classes.get(name) or _at_home(value, own, home) for name, value in own.items()}


def _asked(compiled: Compiled, path: Path, params: Mapping[str, object]) -> dict[str, object] | None:
    """Return the namespace that a test asked for: with these parameters, else with the defaults."""
    place = (str(path), compiled.pipeline.source_sha256)
    keys = [key for key in (_key(compiled, params), _key(compiled, {})) if (*place, key) in _wanted]
    return vars(_made[place][keys[0]]) if keys else None


def _key(compiled: Compiled, params: Mapping[str, object]) -> str:
    """Return what tells these values of parameters from others; a default that is given is no other value."""
    defaults = {param.name: to_source(param.default) for param in compiled.pipeline.params}
    given = {name: to_source(value) for name, value in checked_params(compiled.pipeline, params).items()}
    return repr(sorted({**defaults, **given}.items()))


def _is_of(value: types.FunctionType | type, namespace: Mapping[str, object]) -> bool:
    if isinstance(value, types.FunctionType):
        return value.__globals__ is namespace
    return value.__module__ == "__main__" and namespace.get(value.__name__) is value


def _at_home(value: object, own: Mapping[str, object], home: dict[str, object]) -> object:
    """Return a function of one namespace as one of another, and any other value as it is."""
    if not isinstance(value, types.FunctionType) or value.__globals__ is not own:
        return value
    made = types.FunctionType(value.__code__, home, value.__name__, value.__defaults__, value.__closure__)
    made.__kwdefaults__ = value.__kwdefaults__
    made.__dict__.update(value.__dict__)
    made.__module__, made.__qualname__, made.__doc__ = value.__module__, value.__qualname__, value.__doc__
    made.__annotations__ = value.__annotations__
    return made


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
