"""From what the user typed to a compiled pipeline: a notebook, a script, or what `kale compile` wrote."""

from __future__ import annotations

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
        return read_compiled(place)
    if place.name == "pipeline.json" and place.is_file():
        return read_compiled(place.parent)
    if (pipeline is not None or carry) and not is_script(path):
        option = "--pipeline" if pipeline is not None else "--no-snapshot"
        raise UsageError(f"{option} is for scripts, and {path} is none")
    return compile_path(path, pipeline=pipeline, carry=carry)
