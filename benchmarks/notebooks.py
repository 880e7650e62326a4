"""Notebooks of a given size, for the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


def code(source: str, *tags: str) -> dict[str, object]:
    return {"cell_type": "code", "execution_count": None, "metadata": {"tags": list(tags)}, "outputs": [], "source": source}


def markdown(source: str) -> dict[str, object]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def write(path: Path, cells: list[dict[str, object]]) -> Path:
    """Write cells as a notebook and return its path."""
    cells = [{**cell, "id": f"cell-{i}"} for i, cell in enumerate(cells)]
    document = {"cells": cells, "metadata": {"kernelspec": KERNELSPEC}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def chain(path: Path, steps: int) -> Path:
    """Write a notebook of trivial steps in a row: each adds one to a number."""
    cells = [code("x = 0", "step:s0")]
    cells += [code("x = x + 1", f"step:s{i}", f"prev:s{i - 1}") for i in range(1, steps)]
    return write(path, cells)


def single(path: Path) -> Path:
    """Write a notebook of one trivial cell."""
    return write(path, [code("x = 0\nx = x + 1")])


def realistic(path: Path, steps: int) -> Path:
    """Write a notebook with what analysis has to look at: imports, functions, parameters, forks and joins; three cells a step."""
    cells = [
        code("import math\nimport statistics", "imports"),
        code("def scale(values, by=2.0):\n    return [math.sqrt(abs(v)) * by for v in values]", "functions"),
        code("size = 100\nfactor = 1.5", "pipeline-parameters"),
        code("table_0 = list(range(size))", "step:s0"),
    ]
    for i in range(1, steps):
        before = sorted({i - 1, max(0, i - 3)})
        cells.append(markdown(f"## Step {i}"))
        cells.append(
            code(
                "\n".join(f"part_{j} = scale(table_{j}, by=factor)" for j in before),
                f"step:s{i}",
                *(f"prev:s{j}" for j in before),
            )
        )
        parts = ", ".join(f"part_{j}" for j in before)
        cells.append(code(f"table_{i} = [v for part in ({parts},) for v in part][:size]\nprint(statistics.fmean(table_{i}))"))
    return write(path, cells)
