"""A pipeline and its marked source become stepbooks.

Each stepbook holds, in this order: one parameters cell (papermill injects after it), the imports and functions cells, a load cell, the
step's own cells unchanged but for mark lines turned into comments, and a save cell. Parameters come first unless they read what an imports
or functions cell binds; then the notebook's order is kept, since it is the order that worked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kale_nb.annotations.lines import dedented
from kale_nb.annotations.marks import Marked, MarkedCell, Role
from kale_nb.lowering.lower import Lowered, params_stand_alone, prelude_order
from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline, Step
from kale_nb.pipeline.order import ancestors_of, predecessors
from kale_nb.source.cells import CellKind
from kale_nb.stepbooks.cells import DATA_LINE, code_cell, load_source, readers_of, save_source
from kale_nb.stepbooks.model import Stepbook

_TAGS = {Role.PARAMETERS: "parameters", Role.IMPORTS: "imports", Role.FUNCTIONS: "functions", Role.METRICS: "pipeline-metrics"}
_OUR_TAGS = frozenset(
    "step block prev image limit request label annotation cache report secret retries retry-interval timeout env imports functions "
    "parameters pipeline-parameters injected-parameters pipeline-metrics skip kale-load kale-save".split()
)


def build_stepbooks(marked: Marked, lowered: Lowered) -> tuple[Stepbook, ...]:
    """Write the stepbook of every step. The pipeline must be there."""
    assert lowered.pipeline is not None
    before = _submodules(lowered.pipeline, lowered.modules)
    readers = readers_of(lowered.pipeline)
    prelude = tuple(_prelude_cells(marked))
    return tuple(
        Stepbook(step=step.name, notebook=_notebook(marked, lowered, step, prelude, before[step.name], readers[step.name]))
        for step in lowered.pipeline.steps
    )


def _notebook(
    marked: Marked,
    lowered: Lowered,
    step: Step,
    prelude: Sequence[dict[str, Any]],
    modules: Sequence[str],
    readers: Mapping[str, Sequence[StepName]],
) -> Mapping[str, Any]:
    pipeline = lowered.pipeline
    assert pipeline is not None
    cells = [*prelude, code_cell("load", load_source(step, lowered.traced[step.name], lowered.once, modules), ["kale-load"])]
    for number, cell in enumerate(marked.steps[step.index].cells):
        if cell.role is Role.METRICS:
            cells.append(code_cell(f"watch-{number}", "_kale.record_metrics()", ["kale-load"]))
        cells.append(_user_cell(cell))
    cells.append(code_cell("save", save_source(step, readers, (lowered.told or {}).get(step.name)), ["kale-save"]))
    source = marked.source.metadata
    metadata = {k: source[k] for k in ("kernelspec", "language_info") if k in source}
    metadata.setdefault("kernelspec", {"name": pipeline.kernel, "display_name": pipeline.kernel, "language": "python"})
    metadata["kale"] = {"step": step.name, "pipeline": pipeline.name, "source": pipeline.source}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _prelude_cells(marked: Marked) -> Iterable[dict[str, Any]]:
    params = [c for c in marked.prelude if c.role is Role.PARAMETERS]
    written = False
    if not params or params_stand_alone(marked.prelude):
        yield _parameters_cell(params)
        written = True
    for cell in prelude_order(marked.prelude):
        if cell.role is Role.PARAMETERS:
            if not written and cell is params[-1]:
                yield _parameters_cell(params)
                written = True
            continue
        yield _user_cell(cell)


def _parameters_cell(cells: Sequence[MarkedCell]) -> dict[str, Any]:
    source = "\n\n".join(dedented(c.code) for c in cells)
    made = code_cell("parameters", f"{source}\n{DATA_LINE}" if source else DATA_LINE, ["parameters"])
    if cells:
        made["metadata"]["kale"] = {"cell": cells[0].cell.index}
    return made


def _user_cell(cell: MarkedCell) -> dict[str, Any]:
    tag = _TAGS.get(cell.role)
    metadata = {k: v for k, v in cell.cell.metadata.items() if k not in ("tags", "papermill", "kale", "execution")}
    tags = [t for t in cell.cell.tags if not _is_ours(t)]
    if tag is not None:
        tags.insert(0, tag)
    if tags:
        metadata["tags"] = tags
    metadata["kale"] = {"cell": cell.cell.index}
    kind = cell.cell.kind
    made: dict[str, Any] = {
        "cell_type": kind.value,
        "id": f"cell-{cell.cell.index}",
        "metadata": metadata,
        "source": cell.code if kind is CellKind.CODE else cell.cell.source,
    }
    if kind is CellKind.CODE:
        made |= {"execution_count": None, "outputs": []}
    return made


def _is_ours(tag: str) -> bool:
    return tag.split(":", 1)[0] in _OUR_TAGS


def _submodules(pipeline: Pipeline, modules: Mapping[StepName, Sequence[str]]) -> dict[StepName, list[str]]:
    """Per step, the dotted modules that its ancestors imported and whose package it may receive."""
    every = ancestors_of(predecessors(pipeline))
    importers = [(s.name, modules[s.name]) for s in pipeline.steps if modules.get(s.name)]
    found: dict[StepName, list[str]] = {}
    for step in pipeline.steps:
        needed = {n.name for n in step.needs}
        dotted = [m for importer, imported in importers if importer in every[step.name] for m in imported]
        found[step.name] = [m for m in dict.fromkeys(dotted) if m.split(".")[0] in needed]
    return found
