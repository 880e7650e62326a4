"""What a step left, for a test to look at."""

from __future__ import annotations

import difflib
import gc
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kale_nb import marshal
from kale_nb.engines.local.outputs import without_ansi
from kale_nb.errors import MarshalError
from kale_nb.marshal import identity
from kale_nb.names import StepName
from kale_nb.runtime.choice import with_companions
from kale_nb.runtime.manifest import Manifest, Version, read_manifest
from kale_nb.runtime.surroundings import PREFIX

_PRELUDE = {"imports", "functions", "parameters", "injected-parameters", "kale-load", "kale-save"}


_opened: weakref.WeakSet[Variables] = weakref.WeakSet()
passing = threading.Lock()
"""Held while values are written or read: what is known of definitions is exchanged meanwhile."""
_MOST = 1_000_000
"""Objects that are looked at in search of functions."""


class Variables(Mapping[str, Any]):
    """A step's variables by name, each read from disk when it is asked for and kept.

    They are copies of what the step had; values that shared objects there share them here. MarshalError for one that could not be written
    (a connection, a generator), saying why.

    Attributes:
        namespace: the globals of functions among them; holds what these refer to.
        prelude: what is in it from the notebook's imports and functions cells.
    """

    __hash__ = object.__hash__

    def __init__(self, data: Path, step: StepName, functions: Callable[[dict[str, object]], Mapping[str, object]]) -> None:
        self._data = data
        self._step = step
        self._functions = functions
        self._manifest = _without_surroundings(read_manifest(data, step))
        self._found: dict[str, object] = {}
        self.namespace: dict[str, object] = {"__name__": "__main__"}
        self.prelude: Mapping[str, object] = dict(self.namespace)
        self._table = identity.Table()
        _opened.add(self)

    def __getitem__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name not in self._found:
            version = self._manifest.names.get(name)
            if version is None or version.kind not in ("value", "failed"):
                raise KeyError(self._no_such(name))
            if version.kind == "failed":
                raise MarshalError(f"`{name}` of step `{self._step}` cannot be brought here: {version.reason}", variable=name)
            self._read(name)
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def __iter__(self) -> Iterator[str]:
        return (name for name, version in self._manifest.names.items() if version.kind in ("value", "failed"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<variables of step {self._step}: {', '.join(self) or 'none'}>"

    def _read(self, name: str) -> None:
        wanted = [n for n in with_companions(self._manifest, [name]) if self._manifest.names[n].kind == "value"]
        bundles: dict[str, list[str]] = {}
        for each in wanted:
            if each not in self._found:
                bundles.setdefault(self._manifest.names[each].step, []).append(each)
        defines = any(self._manifest.names[n].globals for n in wanted)
        known = len(self.prelude) > 1
        if defines and not known:
            self.know_functions()
        try:
            self._take(bundles)
        except MarshalError:
            if known or defines:
                raise
            self.know_functions()  # the values may be of a class of theirs
            self._take(bundles)
        self.namespace.update({n: self._found[n] for n in wanted})

    def know_functions(self) -> None:
        """Put what the notebook's imports and functions cells define into the namespace."""
        if len(self.prelude) == 1:
            self.prelude = {**self.prelude, **self._functions(self.namespace)}
            self.namespace.update({n: v for n, v in self.prelude.items() if n not in self.namespace})

    def _take(self, bundles: Mapping[str, list[str]]) -> None:
        for step, names in bundles.items():
            with passing, identity.apart(self._table):
                self._found.update(marshal.load(self._data / step / "values", names, main=self.namespace))

    def _no_such(self, name: str) -> str:
        close = difflib.get_close_matches(name, list(self), n=3, cutoff=0.6)
        told = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(self) or 'none'}"
        return f"step {self._step} has no variable {name!r} at its end; {told}"


def owner_of(values: Iterable[object]) -> Variables | None:
    """Return the variables that a function in these values was read with; None when there is none.

    MarshalError when there are several, since functions of one step share their globals.
    """
    spaces = {id(variables.namespace): variables for variables in _opened}
    found: dict[int, Variables] = {}
    for value in reachable(values) if spaces else ():
        if isinstance(value, types.FunctionType) and id(value.__globals__) in spaces:
            found[id(value.__globals__)] = spaces[id(value.__globals__)]
    if len(found) > 1:
        raise MarshalError(
            "the inputs hold functions that several results brought along, each with globals of its own",
            hint="take them from one result",
        )
    return next(iter(found.values()), None)


def reachable(values: Iterable[object]) -> Iterator[object]:
    """Give values and what they refer to, each once; of functions what belongs to them alone, of modules nothing."""
    seen: set[int] = set()
    pending = list(values)
    while pending and len(seen) < _MOST:
        value = pending.pop()
        if id(value) in seen or isinstance(value, types.ModuleType):
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, types.FunctionType):
            pending += [value.__closure__, value.__defaults__, value.__dict__]
        elif gc.is_tracked(value):
            pending += gc.get_referents(value)


def _without_surroundings(manifest: Manifest) -> Manifest:
    names: dict[str, Version] = {n: v for n, v in manifest.names.items() if not n.startswith((PREFIX, "random:"))}
    return Manifest(step=manifest.step, after=manifest.after, names=names)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step left.

    Attributes:
        step: its name.
        variables: what it had at its end, by name; `result["model"]` is short for `result.variables["model"]`.
        stdout, stderr: what its cells printed, without what the imports and functions cells print.
        displayed: what it showed, in order: contents by MIME type, such as `{"text/plain": "3"}`.
        metrics: the numbers that it gave as metrics.
        folder: the notebook's folder in the step's own clone, with the files that it wrote.
        notebook: the executed stepbook.
        warnings: what the checks of a run say of this step.
        seconds: how long it took, the kernel's start included.
    """

    step: StepName
    variables: Variables
    folder: Path
    notebook: Path
    stdout: str = ""
    stderr: str = ""
    displayed: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    seconds: float = 0.0

    def __getitem__(self, name: str) -> Any:
        __tracebackhide__ = True
        return self.variables[name]

    def __repr__(self) -> str:
        metrics = "".join(f", {name}={value:g}" for name, value in self.metrics.items())
        return f"<step {self.step}: variables {', '.join(self.variables) or 'none'}{metrics}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What the step's own cells printed and showed."""

    stdout: str
    stderr: str
    displayed: tuple[Mapping[str, Any], ...]


def spoken(notebook: Mapping[str, Any]) -> Spoken:
    """Return what the step's own cells of an executed stepbook said."""
    streams = {"stdout": "", "stderr": ""}
    displayed: list[Mapping[str, Any]] = []
    for cell in notebook.get("cells", ()):
        if _PRELUDE & set(cell.get("metadata", {}).get("tags", ())):
            continue
        for output in cell.get("outputs", ()):
            if output["output_type"] == "stream":
                streams[output["name"]] += _text(output["text"])
            elif output["output_type"] in ("display_data", "execute_result"):
                displayed.append({kind: _text(value) for kind, value in output["data"].items()})
    return Spoken(stdout=streams["stdout"], stderr=without_ansi(streams["stderr"]), displayed=tuple(displayed))


def _text(value: Any) -> Any:
    """Return a text that nbformat may keep as lines; what is no text stays."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "".join(value)
    return value
