"""The stepbooks of a script: each imports the step's function from the module it was written in and calls it.

Cells: parameters, the import, load, the call, save. The module is found in the clone of the workspace; with `carried` sources it is in the
stepbook itself.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline, Step
from kale_nb.scripts.modules import ModuleName, module_name, package_root
from kale_nb.scripts.traced import Script, TracedImport, TracedStep
from kale_nb.stepbooks.cells import DATA_LINE, code_cell, load_source, readers_of, save_source
from kale_nb.stepbooks.model import Stepbook

_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def build_script_stepbooks(script: Script, pipeline: Pipeline, *, carry: bool = False) -> tuple[Stepbook, ...]:
    """Write the stepbook of every step. With `carry` each holds the source of the user's modules, read from disk now."""
    readers = readers_of(pipeline)
    module = module_name(script.path)
    sources = _sources(script) if carry else {}
    return tuple(
        Stepbook(step=step.name, notebook=_notebook(script, traced, pipeline, step, readers[step.name], module, sources))
        for step, traced in zip(pipeline.steps, script.steps, strict=True)
    )


def _notebook(
    script: Script,
    traced: TracedStep,
    pipeline: Pipeline,
    step: Step,
    readers: Mapping[str, Sequence[StepName]],
    module: ModuleName,
    sources: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    title = f"**{step.name}**: `{traced.function}` of `{traced.defined.location}`" + (f"\n\n{traced.doc}" if traced.doc else "")
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": "kale-title", "metadata": {}, "source": title},
        code_cell("parameters", _params_source(script), ["parameters"]),
    ]
    if sources:
        cells.append(code_cell("modules", _carry_source(sources), ["imports"]))
    cells.append(code_cell("imports", _imports_source(script, traced, module, carried=bool(sources)), ["imports"]))
    cells.append(code_cell("load", f"{load_source(step)}\n{_watch_source(traced)}", ["kale-load"]))
    call = code_cell("call", "\n".join(traced.statements), [])
    if traced.spot is not None:
        call["metadata"] = {"kale": {"path": traced.spot.path, "line": traced.spot.line}}
    cells.append(call)
    keep = [f"_kale.keep({name!r}, {path!r})\n" for name, path in traced.artifacts]
    cells.append(
        code_cell(
            "save",
            "".join(keep) + save_source(step, readers, () if any(step.name in other.after for other in pipeline.steps) else None),
            ["kale-save"],
        )
    )
    metadata = {"kernelspec": _KERNEL, "kale": {"step": step.name, "pipeline": pipeline.name, "source": pipeline.source}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _params_source(script: Script) -> str:
    return "\n".join([*(f"{p.name} = {p.default}" for p in script.params), DATA_LINE])


def _imports_source(script: Script, traced: TracedStep, module: ModuleName, *, carried: bool) -> str:
    lines: list[str] = []
    if not carried:
        folder = os.path.relpath(package_root(script.path), os.path.dirname(os.path.abspath(script.path)))
        if folder != ".":
            lines += ["from kale_nb import runtime as _kale", f"_kale.search_in({folder!r})"]
        if not module.importable:
            lines += [
                "from kale_nb import runtime as _kale",
                f"_kale.load_module({os.path.basename(script.path)!r}, {module.name!r})",
            ]
    groups: dict[str, list[TracedImport]] = {}
    for wanted in traced.imports:
        groups.setdefault(wanted.module, []).append(wanted)
    for name, group in groups.items():
        parts = [w.name if w.name == w.alias else f"{w.name} as {w.alias}" for w in group if w.name]
        lines += [f"import {name}" if w.alias == name else f"import {name} as {w.alias}" for w in group if not w.name]
        if parts:
            lines.append(f"from {name} import {', '.join(parts)}")
    return "\n".join(dict.fromkeys(lines))


def _watch_source(traced: TracedStep) -> str:
    parts = [_called(traced)]
    if traced.unpacks is not None:
        values, more, spot = traced.unpacks
        parts += [f"values={values}", *(["more=True"] if more else []), *([f'at="{spot.path}:{spot.line}"'] if spot else [])]
    return f"_kale.watch({', '.join(parts)})"


def _called(traced: TracedStep) -> str:
    """The expression of the function that the step's call names."""
    for statement in traced.statements:
        for node in ast.walk(ast.parse(statement)):
            if isinstance(node, ast.Assign | ast.Expr) and isinstance(node.value, ast.Call):
                return ast.unparse(node.value.func)
    return ""


def _sources(script: Script) -> dict[str, tuple[str, str]]:
    """Name, path and source of the user's modules; packages without a file of code included."""
    root = Path(package_root(script.path))
    found: dict[str, tuple[str, str]] = {}
    for module in script.modules:
        found[module.name] = (module.path, (root / module.path).read_text(encoding="utf-8-sig"))
    return found


def _carry_source(sources: Mapping[str, tuple[str, str]]) -> str:
    lines = ["from kale_nb import runtime as _kale", "_kale.carry({"]
    for name, (path, text) in sources.items():
        lines.append(f"    {name!r}: ({path!r}, (")
        lines += [f"        {line!r}" for line in text.splitlines(keepends=True)] or ["        ''"]
        lines.append("    )),")
    return "\n".join([*lines, "})"])
