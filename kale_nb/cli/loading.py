"""From what the user typed to a compiled pipeline: a notebook, a script, or what `kale compile` wrote."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from kale_nb.compiler import Compiled, compile_path, is_compiled, is_script, read_compiled
from kale_nb.errors import UsageError


def load(path: str, *, pipeline: str | None = None, carry: bool = False) -> Compiled:
    """Compile a notebook or a script, or read a compiled pipeline (its folder or its pipeline file); `carry` is of account for scripts.

    SourceError when the path is neither, CompileError when the source cannot become a pipeline, UsageError
    for an option of scripts with a notebook.
    """
    if is_compiled(path):
        return _near_its_notebook(read_compiled(path), Path(path).absolute())
    if pipeline is not None and not is_script(path):
        raise UsageError(f"--pipeline is for scripts, and {path} is none")
    return compile_path(path, pipeline=pipeline, carry=carry)


def _near_its_notebook(compiled: Compiled, form: Path) -> Compiled:
    """Name the notebook as it is found from here, when it still stands beside the folder or the file that was compiled from it."""
    source = Path(compiled.pipeline.source)
    likely = (form.parent, form.parent.parent) if form.is_file() else (form.parent,)
    beside = next((place / source.name for place in likely if (place / source.name).exists()), None)
    if source.exists() or beside is None:
        return compiled
    found = os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
    return replace(compiled, pipeline=replace(compiled.pipeline, source=found))
