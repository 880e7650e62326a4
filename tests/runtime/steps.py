"""Stepbooks run without a kernel: each step's code cells, executed in the workspace in a fresh module that is `__main__` meanwhile."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kale_nb import runtime
from kale_nb.compiler import Compiled, compile_notebook
from kale_nb.names import StepName
from kale_nb.pipeline.order import topological
from tests.differential.notebooks import parse_notebook, write_notebook


def compiled(text: str, folder: Path) -> Compiled:
    """Compile a notebook in text form."""
    return compile_notebook(write_notebook(parse_notebook(text), folder / "nb.ipynb"))


gc.freeze()  # so that a collection between two steps looks at their own objects only


@contextlib.contextmanager
def _as_main(module: types.ModuleType) -> Iterator[None]:
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = before


class Run:
    """A pipeline that is run step by step. `data`: its data folder; `printed`: the output of each step so far."""

    def __init__(self, text: str, folder: Path) -> None:
        self.compiled = compiled(text, folder)
        self.books = {b.step: b.notebook for b in self.compiled.stepbooks}
        self.data = folder / "data"
        self.workspace = folder
        self.printed: dict[str, str] = {}

    def step(self, name: str, params: Mapping[str, object] | None = None) -> types.ModuleType:
        """Run one step; return the module that was its `__main__`."""
        runtime._session = None
        gc.collect()  # what an earlier step left in this process must not be found again by identity
        module = types.ModuleType("__main__")
        out = io.StringIO()
        with _as_main(module), contextlib.chdir(self.workspace), contextlib.redirect_stdout(out):
            for cell in self.books[StepName(name)]["cells"]:
                if cell["cell_type"] == "code":
                    exec(compile(cell["source"], f"<{cell['id']}>", "exec"), vars(module))
                if "parameters" in cell["metadata"].get("tags", []):
                    vars(module).update({"_kale_data": str(self.data), **(params or {})})
        self.printed[name] = out.getvalue()
        return module

    def all(self) -> Run:
        """Run every step in order."""
        for name in topological(self.compiled.pipeline):
            self.step(name)
        return self

    def report(self, name: str) -> dict[str, Any]:
        """Return a step's `step.json`."""
        found: dict[str, Any] = json.loads((self.data / name / "step.json").read_text(encoding="utf-8"))
        return found
