"""Notebooks in the text form of the rules' examples, compiled for Kubeflow Pipelines."""

from __future__ import annotations

import json
from pathlib import Path

from kale_nb.compiler import Compiled, compile_path
from kale_nb.engines.kfp.compiling import Package, compile_kfp
from kale_nb.engines.kfp.target import Target
from kale_nb.source.cells import CellKind
from tests.lowering.checking import source_of_example

ROOT = Path(__file__).parents[2]
EXAMPLES = [p for p in sorted((ROOT / "examples").glob("*/*.ipynb")) if p.stem != "mistakes"] + [
    ROOT / "examples" / "script" / "forecast.py"
]
HERE = Target(image="python:3.11")


def write_notebook(text: str, path: Path) -> Path:
    """Write an example of a rule, or anything in its form, as a notebook file."""
    source = source_of_example(text)
    cells = []
    for cell in source.cells:
        made = {"cell_type": cell.kind.value, "id": f"c{cell.index}", "metadata": dict(cell.metadata), "source": cell.source}
        cells.append(made | ({"execution_count": None, "outputs": []} if cell.kind is CellKind.CODE else {}))
    content = {"cells": cells, "metadata": dict(source.metadata), "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def compile_text(text: str, folder: Path) -> Compiled:
    return compile_path(write_notebook(text, folder / "nb.ipynb"))


def package_of(text: str, folder: Path, target: Target = HERE) -> Package:
    compiled = compile_text(text, folder)
    return compile_kfp(compiled.pipeline, compiled.stepbooks, target)


def documents_of(text: str, folder: Path, target: Target = HERE) -> tuple[dict, dict]:
    """Return the pipeline spec and the settings of each executor on Kubernetes."""
    import yaml

    spec, *more = yaml.safe_load_all(package_of(text, folder, target).text)
    return spec, more[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if more else {}
