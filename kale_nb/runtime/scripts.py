"""What the stepbook of a script's step needs beside `load` and `save`: its module, and a watch over what the function returns."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from kale_nb import sdk
from kale_nb.errors import MarshalError


def search_in(folder: str) -> None:
    """Look for modules in a folder, relative to the working folder, as well."""
    path = os.path.abspath(folder)
    if path not in sys.path:
        sys.path.insert(min(1, len(sys.path)), path)


def load_module(path: str, name: str) -> ModuleType:
    """Import a file under a name of its own, because its own name is another module's or is none."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, os.path.abspath(path))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def carry(sources: Mapping[str, tuple[str, str]]) -> None:
    """Make modules importable whose sources are given: by name, the file's path and its text."""
    sys.meta_path.insert(0, _Carried(sources))


class _Carried(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def __init__(self, sources: Mapping[str, tuple[str, str]]) -> None:
        self.sources = sources

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name not in self.sources:
            inner = any(known.startswith(f"{name}.") for known in self.sources)
            return importlib.machinery.ModuleSpec(name, None, is_package=True) if inner else None
        spec = importlib.machinery.ModuleSpec(
            name, self, origin=os.path.abspath(self.sources[name][0]), is_package=self.is_package(name)
        )
        spec.has_location = True
        return spec

    def is_package(self, name: str) -> bool:
        return os.path.basename(self.sources[name][0]) == "__init__.py"

    def get_source(self, name: str) -> str:
        return self.sources[name][1]

    def exec_module(self, module: ModuleType) -> None:
        import linecache

        name = module.__name__
        path, text = os.path.abspath(self.sources[name][0]), self.get_source(name)
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
        exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)


class Watch:
    """Listens to the steps that are called in a stepbook: runs them, and looks at what the watched one returns."""

    def __init__(
        self, function: Callable[..., Any], values: int | None, more: bool, at: str | None, metric: Callable[[str, float], None]
    ) -> None:
        self.function = function
        self.values = values
        self.more = more
        self.at = at
        self.metric_of = metric

    def step(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a step; check what the watched one returns, the first time."""
        function = getattr(wrapper, sdk.STEP).function
        watched = wrapper is self.function
        if watched:
            self.function = _nothing
        result = sdk.run_plainly(function, args, kwargs)
        if watched:
            self.check(function, result)
        return result

    def pipeline(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a pipeline that a step calls, as plain Python."""
        return getattr(wrapper, sdk.PIPELINE).function(*args, **kwargs)

    def metric(self, name: str, value: float) -> None:
        """Keep a metric."""
        self.metric_of(name, value)

    def check(self, function: Callable[..., Any], result: Any) -> None:
        """Raise TypeError or ValueError when the result is not what the function declares, or not as many values as are unpacked."""
        where = _where(function)
        if hasattr(result, "send") and hasattr(result, "throw"):
            raise TypeError(f"{where} returns a generator, which cannot be kept for another process; return a list")
        annotations = getattr(function, "__annotations__", {})
        if "return" in annotations:
            from kale_nb.pipeline import hints

            problem = hints.misfit(result, hints.hints_of(function).get("return", hints.ANYTHING), "what it returns")
            if problem is not None:
                raise TypeError(f"{where} breaks its promise `-> {_hint(annotations['return'])}`: {problem}")
        if self.values is None:
            return
        least = "at least " if self.more else ""
        unpacked = f"{self.at} unpacks {least}{self.values}" if self.at else f"the pipeline's body unpacks {least}{self.values}"
        try:
            count = len(result)
        except TypeError:
            if not hasattr(result, "__iter__"):
                kind = "nothing (None)" if result is None else f"one value, {type(result).__name__}"
                raise TypeError(f"{where} returned {kind}, and {unpacked}") from None
            return
        if count < self.values if self.more else count != self.values:
            raise ValueError(f"{where} returned {count} value{'s' if count != 1 else ''}, and {unpacked}")


def _nothing() -> None:
    """Is never a step."""


def _hint(hint: Any) -> str:
    from kale_nb.pipeline import hints

    return hint if isinstance(hint, str) else hints.spelled(hint)


def _where(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", repr(function))
    if code is None:
        return f"{name}()"
    path = os.path.relpath(code.co_filename)
    return f"{name}() ({path if not path.startswith('..') else code.co_filename}:{code.co_firstlineno})"


def keep_file(name: str, path: str, folder: Path) -> None:
    """Copy a file, or a folder, that the step wrote into the step's folder of the run. MarshalError when it is not there."""
    source = Path(path)
    if not source.exists():
        raise MarshalError(
            f"the artifact `{name}` is not there: the step wrote no {path}", hint="write it, or correct the path of @artifact"
        )
    target = folder / "artifacts" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target.with_name(target.name + source.suffix) if not target.suffix else target)
