"""Calls of the real `nbconvert` command, and small notebooks to call it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(p for p in (ROOT / "examples").glob("*/*.ipynb") if p.stem != "mistakes")
GOLDENS = ROOT / "tests" / "examples" / "goldens"

GOOD = ("%%step load\nrows = [1, 2]", "%%step total --after load\nprint(sum(rows))")
BAD = ("%%step load\nrows = [1, 2]", "%%step total --after load\nprint(sum(row))")


def notebook(*sources: str, **metadata: Any) -> dict[str, Any]:
    """Return a notebook of code cells."""
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": s, "execution_count": None, "outputs": []}
        for i, s in enumerate(sources)
    ]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": cells, "metadata": {**spec, **metadata}, "nbformat": 4, "nbformat_minor": 5}


def save(path: Path, *sources: str, **metadata: Any) -> Path:
    """Write a notebook of code cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(*sources, **metadata)), encoding="utf-8")
    return path


NBCONVERT = (
    "import sys; sys.argv[0] = 'jupyter-nbconvert'; sys.path.insert(0, '')\nfrom kale_nb.quick_imports import without_grammars\n"
    "with without_grammars():\n    from nbconvert.nbconvertapp import main\nmain()"
)


def convert(cwd: Path, *words: str, to: str = "kale", stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `jupyter nbconvert --to kale ...` with this Python, and without the 2 s that libraries of JupyterLab add to it."""
    home = cwd / ".home"
    env = {**os.environ, "JUPYTER_CONFIG_DIR": str(home), "IPYTHONDIR": str(home), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", NBCONVERT, "--to", to, *words],
        cwd=cwd,
        env=env,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def files_of(folder: Path) -> dict[str, str]:
    """Return every file below a folder with its text, but for hidden ones."""
    found = (
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in found}


def as_compiled(files: dict[str, str], name: str) -> dict[str, str]:
    """Return what nbconvert wrote for one notebook under the names that `kale compile` gives the same files."""
    renamed = {f"{name}.kale.json": "pipeline.json"}
    steps = f"{name}_files/"
    return {renamed.get(k, k.removeprefix(steps)): text for k, text in files.items() if k in renamed or k.startswith(steps)}
