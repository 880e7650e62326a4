"""What surrounds a step's variables in its process: settings of the interpreter, the shell and libraries, and the state of modules that
lie beside the notebook.

In a notebook all cells share them. Some go along from step to step (`carried`): how the shell shows results, loggers and what they write
to, the variables of modules beside the notebook. The others stay in the step that sets them, by the meaning of the marks, and the step
says so when it ends. Settings of a library are looked at only where it is imported.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kale_nb.runtime.state import apply_state, baseline_of, has_state, state_of

PREFIX = "around:"
_OURS = __name__.partition(".")[0]
MODULE = f"{PREFIX}module "
_SET_BY_LIBRARIES = ("KMP_", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "TF_", "CUDA_", "MPL", "JOBLIB_", "PYDEVD_", "LOKY_")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `read` gives its value, made of plain things; `write` sets it, for a setting that is carried."""

    name: str
    spoken: str
    read: Callable[[], Any]
    write: Callable[[Any], None] | None = None


def _library(module: str, read: Callable[[Any], Any]) -> Callable[[], Any]:
    def look() -> Any:
        loaded = sys.modules.get(module)
        try:
            return None if loaded is None else read(loaded)
        except Exception:  # noqa: BLE001 - another version of the library, or one half imported
            return None

    return look


def _flat(options: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= _flat(value, f"{path}{name}.") if isinstance(value, dict) else {f"{path}{name}": value}
    return found


# -- the shell ----------------------------------------------------------------------------------------------------------------------------


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


_SHOWING = ("float_precision", "pprint", "max_width", "max_seq_length", "newline")


def _read_shell() -> dict[str, Any] | None:
    shell = _shell()
    if shell is None:
        return None
    plain = shell.display_formatter.formatters["text/plain"]
    return {"interactivity": shell.ast_node_interactivity, **{n: getattr(plain, n) for n in _SHOWING}}


def _write_shell(state: dict[str, Any]) -> None:
    shell = _shell()
    if shell is None:
        return
    shell.ast_node_interactivity = state["interactivity"]
    plain = shell.display_formatter.formatters["text/plain"]
    for name in _SHOWING:
        if getattr(plain, name) != state[name]:
            setattr(plain, name, state[name])


# -- loggers ------------------------------------------------------------------------------------------------------------------------------


def _read_loggers() -> dict[str, Any]:
    found = {n: _described(x) for n, x in logging.Logger.manager.loggerDict.items() if isinstance(x, logging.Logger)}
    return {"": _described(logging.root), **{n: d for n, d in found.items() if d != _BARE}}


def _described(logger: logging.Logger) -> tuple[Any, ...]:
    handlers = [h for h in logger.handlers if not isinstance(h, logging.NullHandler)]
    looks = [(h.level, h.formatter) for h in handlers]
    return (logger.level, logger.propagate, logger.disabled, handlers, list(logger.filters), looks)


_BARE: tuple[Any, ...] = (logging.NOTSET, True, False, [], [], [])


def _write_loggers(state: dict[str, Any]) -> None:
    for name, (level, propagate, disabled, handlers, filters, _) in state.items():
        logger = logging.getLogger(name) if name else logging.root
        logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, disabled
        logger.handlers[:] = handlers
        logger.filters[:] = filters


SETTINGS = (
    Setting("environ", "os.environ", lambda: dict(os.environ)),
    Setting("cwd", "the working directory", lambda: os.path.realpath(os.getcwd())),
    Setting("path", "the module search path", lambda: list(sys.path)),
    Setting("recursion", "the recursion limit", sys.getrecursionlimit),
    Setting("decimal", "the decimal context", _library("decimal", lambda m: repr(m.getcontext()).partition(", flags=")[0])),
    Setting("locale", "the locale", _library("locale", lambda m: m.setlocale(m.LC_ALL))),
    Setting("numpy print", "numpy's print options", _library("numpy", lambda m: repr(m.get_printoptions()))),
    Setting("numpy error", "numpy's error handling", _library("numpy", lambda m: m.geterr())),
    Setting("pandas", "pandas' options", _library("pandas._config.config", lambda m: _flat(m._global_config))),
    Setting("sklearn", "scikit-learn's settings", _library("sklearn", lambda m: m.get_config())),
    Setting("shell", "how the shell shows results", _read_shell, _write_shell),
    Setting("loggers", "the logging set-up", _read_loggers, _write_loggers),
)
_BY_NAME = {PREFIX + s.name: s for s in SETTINGS}


# -- modules beside the notebook ----------------------------------------------------------------------------------------------------------


def modules_beside(folder: str) -> Iterator[types.ModuleType]:
    """The imported modules whose files lie under a folder and are part of no Python installation."""
    prefixes = {sys.prefix, sys.base_prefix}
    installed = (*{p + os.sep for p in prefixes | {_real(p) for p in prefixes}},)
    start = _real(folder) + os.sep
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or file.startswith(installed) or "site-packages" in file:
            continue
        if module.__name__.partition(".")[0] in ("__main__", "__mp_main__", _OURS):
            continue
        path = _real(os.path.dirname(file)) + os.sep
        if path.startswith(start) and not path.startswith(installed) and "site-packages" not in path:
            yield module


@functools.lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    """Resolve a folder once: hundreds of modules lie in a few of them."""
    return os.path.realpath(folder)


def spoken(name: str) -> str:
    """How to call what travels under a name."""
    return f"the module `{name.removeprefix(MODULE)}`" if name.startswith(MODULE) else _BY_NAME[name].spoken


def module_state(module: types.ModuleType, baselines: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    """Return the variables of a module, and the state of its classes and functions."""
    data: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name.startswith("__") and name.endswith("__"):
            continue
        if has_state(value, vars(module)) and getattr(value, "__name__", None) == name:
            state = state_of(value, baselines.get(name) or baseline_of(value))
            if any(state.values()):
                definitions[name] = state
        elif not _comes_from_a_module(value):
            data[name] = value
    return {"data": data, "definitions": definitions}


def _comes_from_a_module(value: object) -> bool:
    return isinstance(value, types.ModuleType) or (
        isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
        and getattr(sys.modules.get(value.__module__ or ""), value.__name__, None) is value
    )


def set_module_state(name: str, state: dict[str, Any]) -> None:
    """Import a module and give it a state that `module_state` took in another step."""
    import importlib

    try:
        module = importlib.import_module(name)
    except ImportError:
        return
    for variable, value in state["data"].items():
        setattr(module, variable, value)
    for variable, inner in state["definitions"].items():
        if variable in vars(module):
            apply_state(vars(module)[variable], inner)


def baselines_of(module: types.ModuleType) -> dict[str, Mapping[str, object]]:
    """Note what the classes of a module are made of."""
    return {n: baseline_of(v) for n, v in vars(module).items() if isinstance(v, type)}


class Surroundings:
    """The surroundings of one step, from after the prelude to the end. `folder`: where its modules lie, by default the working folder."""

    def __init__(self, folder: str | None = None) -> None:
        self.folder = os.getcwd() if folder is None else folder
        self.baselines = {m.__name__: baselines_of(m) for m in modules_beside(self.folder)}
        self.settings: dict[str, Any] = {}
        self.brought: Mapping[str, Any] = {}

    def bring(self, found: Mapping[str, Any]) -> None:
        """Set what other steps left."""
        self.brought = found
        for name, state in found.items():
            if name.startswith(MODULE):
                set_module_state(name.removeprefix(MODULE), state)
            else:
                setting = _BY_NAME.get(name)
                if setting is not None and setting.write is not None:
                    setting.write(state)

    def note(self) -> None:
        """Take the settings as the step's own code finds them."""
        self.settings = {s.name: s.read() for s in SETTINGS}

    def changed(self) -> Iterator[tuple[Setting, Any]]:
        """The settings that are not as they were; one of a library that was not imported before cannot be told."""
        for setting in SETTINGS:
            before, now = self.settings.get(setting.name), setting.read()
            if before is None or now is None or before == now:
                continue
            if setting.name == "loggers":  # those of others stay out: what they write to may not travel
                ours = {n for n in (*before, *now) if before.get(n) != now.get(n)} | self.brought.get(
                    PREFIX + "loggers", {}
                ).keys()
                now = {n: now.get(n, _BARE) for n in sorted(ours)}
            if setting.name == "environ" and all(
                before.get(n) == now.get(n) or n.startswith(_SET_BY_LIBRARIES) for n in (*before, *now)
            ):
                continue
            yield setting, now

    def modules(self) -> dict[str, dict[str, Any]]:
        """The states of the modules beside the notebook, by the names they travel under."""
        return {MODULE + m.__name__: module_state(m, self.baselines.get(m.__name__, {})) for m in modules_beside(self.folder)}
