"""From what the user typed to a compiled pipeline: a notebook, a script, or what `kale compile` wrote."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from kale_nb.compiler import Compiled, compile_path, is_script, read_compiled
from kale_nb.errors import UsageError


def load(path: str, *, pipeline: str | None = None, carry: bool = False) -> Compiled:
    """Compile a notebook or a script, or read a compiled pipeline (its folder or its `pipeline.json`).

    SourceError when the path is neither, CompileError when the source cannot become a pipeline, UsageError
    for an option of scripts with a notebook.
    """
    place = Path(path)
    if (place / "pipeline.json").is_file():
        return _near_its_notebook(read_compiled(place), place)
    if place.name == "pipeline.json" and place.is_file():
        return _near_its_notebook(read_compiled(place.parent), place.parent)
    if (pipeline is not None or carry) and not is_script(path):
        option = "--pipeline" if pipeline is not None else "--no-snapshot"
        raise UsageError(f"{option} is for scripts, and {path} is none")
    return compile_path(path, pipeline=pipeline, carry=carry)


def _near_its_notebook(compiled: Compiled, folder: Path) -> Compiled:
    """Name the notebook as it is found from here, when it still stands beside the folder that was compiled from it."""
    source = Path(compiled.pipeline.source)
    beside = folder.absolute().parent / source.name
    if source.exists() or not beside.exists():
        return compiled
    found = os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
    return replace(compiled, pipeline=replace(compiled.pipeline, source=found))
