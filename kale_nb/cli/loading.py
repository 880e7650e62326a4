"""From what the user typed to a compiled pipeline: a notebook, or what `kale compile` wrote."""

from __future__ import annotations

from pathlib import Path

from kale_nb.compiler import Compiled, compile_notebook, read_compiled


def load(path: str) -> Compiled:
    """Compile a notebook, or read a compiled pipeline (its folder or its `pipeline.json`).

    SourceError when the path is neither, CompileError when the notebook cannot become a pipeline.
    """
    place = Path(path)
    if (place / "pipeline.json").is_file():
        return read_compiled(place)
    if place.name == "pipeline.json" and place.is_file():
        return read_compiled(place.parent)
    return compile_notebook(path)
