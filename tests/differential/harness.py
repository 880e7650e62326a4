"""Runs a notebook both ways.

`run_plain` executes cells top to bottom in one process. `run_pipeline` compiles the notebook and executes each stepbook in a process of
its own (FAST, no kernel), or calls `kale run` (REAL). `judge` compares with what a case expects.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.differential.notebooks import Notebook, TextCell, lay_files, write_notebook

ROOT = Path(__file__).resolve().parents[2]
LIGHT = (
    "IPython.core.magics.auto",
    "asyncio",
    "dill",
    "numpy",
    "sqlite3",
    "xxhash",
    "kale_nb.runtime.session",
    "kale_nb.marshal",
)
HEAVY = (
    *LIGHT, "pandas", "scipy.sparse", "sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing", "sklearn.model_selection",
    "sklearn.datasets", "sklearn.ensemble", "sklearn.metrics", "sklearn.tree", "matplotlib.pyplot",
)  # fmt: skip
_ASKS_HEAVY = re.compile(r"\b(pandas|scipy|sklearn|matplotlib|joblib)\b")
OURS = frozenset({"kale-load", "kale-save"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CellError:
    """An error that ended a run. `step` is None in a plain run; `ours` when a cell of ours raised it; `cell` is the user's cell."""

    ename: str
    evalue: str
    step: str | None = None
    cell: int | None = None
    ours: bool = False
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outputs per user cell (1-based index), normalised for comparison; and how it ended.

    Attributes:
        warnings: everything the compile said that is no error, one text, and what the saves warned of.
        refusal: the compile's message when it refused.
        problem: what else went wrong with the machinery, such as a process that died.
    """

    outputs: Mapping[int, tuple[tuple[str, Any], ...]]
    error: CellError | None = None
    refusal: str | None = None
    warnings: str = ""
    problem: str | None = None


class ForkServer:
    """A process that has imported what is slow and forks one child per run; a fork is the cheaper the less was imported."""

    def __init__(self, preload: Sequence[str]) -> None:
        threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forkserver.py")), *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **threads, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the fork server did not start")
        atexit.register(self.close)

    def run(self, cells: Sequence[Mapping[str, Any]], *, cwd: Path, scratch: Path, seconds: int = 60) -> dict[str, Any]:
        """Run cells (`key`, `source`, `may_raise`) in a fresh process; return what the child wrote."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        scratch.mkdir(parents=True, exist_ok=True)
        result = scratch / f"{uuid.uuid4().hex}.json"
        job = {"cwd": str(cwd), "cells": list(cells), "result": str(result), "seconds": seconds}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != "done":
            crash = Path(str(result) + ".crash")
            told = crash.read_text(encoding="utf-8") if crash.exists() else ""
            return {"outputs": {}, "error": {"ename": "ProcessDied", "evalue": f"{answer} {told}", "traceback": told, "key": "-"}}
        made: dict[str, Any] = json.loads(result.read_text(encoding="utf-8", errors="surrogatepass"))
        result.unlink()
        return made

    def close(self) -> None:
        """End the process."""
        if self.process.poll() is None:
            if self.process.stdin is not None:
                self.process.stdin.close()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()


@functools.cache
def fork_server(preload: tuple[str, ...]) -> ForkServer:
    """Return this process's fork server for a set of modules, started at the first call."""
    return ForkServer(preload)


def run_cells(cells: Sequence[Mapping[str, Any]], *, cwd: Path, scratch: Path) -> dict[str, Any]:
    """Run cells in a fresh process that has what they are likely to import."""
    heavy = any(_ASKS_HEAVY.search(cell["source"]) for cell in cells)
    return fork_server(HEAVY if heavy else LIGHT).run(cells, cwd=cwd, scratch=scratch)


_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_TIMES = re.compile(r"^(CPU times:|Wall time:|File: .*<ipython-input|\d.*(per loop|loops each)).*$", re.MULTILINE)


def normal_text(text: str) -> str:
    """Blank what differs between any two processes: addresses and timings."""
    return _TIMES.sub("<time>", _ADDRESS.sub("0x", text))


def normal_events(events: Iterable[Sequence[Any]]) -> tuple[tuple[str, Any], ...]:
    """Reduce a cell's events to what must be equal: printed text, plain text and images, kinds of the rest; not standard error."""
    made: list[tuple[str, Any]] = []
    for kind, content in events:
        if kind == "stderr":
            continue
        if kind == "stdout":
            text = normal_text(content)
            if made and made[-1][0] == "stdout":
                made[-1] = ("stdout", made[-1][1] + text)
            elif text:
                made.append(("stdout", text))
        else:
            kept = {m: normal_text(v) for m, v in content.items() if m in ("text/plain", "image/png", "text/markdown")}
            made.append((kind, (*sorted(kept.items()), *sorted(set(content) - set(kept)))))
    return tuple(made)


def run_plain(notebook: Notebook, folder: Path, *, cells: Sequence[TextCell] | None = None, override: str = "") -> Outcome:
    """Run the notebook's cells (all that run, unless given) in one process, in a new folder holding the notebook's files.

    Args:
        override: source run after the parameters cells, as a run with other parameter values would.
    """
    lay_files(notebook, folder)
    chosen = notebook.running_cells() if cells is None else cells
    todo: list[dict[str, Any]] = []
    for cell in chosen:
        todo.append({"key": str(cell.index), "source": cell.source, "may_raise": "raises-exception" in cell.tags})
        if cell.role == "parameters" and override:
            todo.append({"key": "-", "source": override})
    made = run_cells(todo, cwd=folder, scratch=folder.parent / "scratch")
    return Outcome(outputs=_outputs(made), error=_error(made, None))


def _outputs(made: Mapping[str, Any]) -> dict[int, tuple[tuple[str, Any], ...]]:
    return {int(key): normal_events(events) for key, events in made["outputs"].items() if key.isdigit()}


def _error(made: Mapping[str, Any], step: str | None) -> CellError | None:
    fault = made["error"]
    if fault is None:
        return None
    key = fault["key"]
    return CellError(
        ename=fault["ename"],
        evalue=fault["evalue"],
        traceback=fault["traceback"],
        step=step,
        cell=int(key) if key.isdigit() else None,
        ours=key in OURS,
    )


def run_pipeline(notebook: Notebook, folder: Path, *, style: str = "tags", override: str = "") -> Outcome:
    """Compile the notebook and run each stepbook in a process of its own, in topological order, without a kernel."""
    from kale_nb.compiler import compile_notebook
    from kale_nb.diagnostics import CompileError

    path = write_notebook(notebook, folder / "source" / "nb.ipynb", style=style)
    try:
        compiled = compile_notebook(str(path))
    except CompileError as refusal:
        return Outcome(outputs={}, refusal=str(refusal))
    told = [d.render() for d in compiled.diagnostics]
    books = _books(compiled.stepbooks)
    work, data = lay_files(notebook, folder / "work"), folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    outputs: dict[int, tuple[tuple[str, Any], ...]] = {}
    own = {c.index for c in notebook.cells if c.step is not None}
    for step in _order(compiled.pipeline):
        made = run_cells(list(_stepbook_cells(books[step], data, override)), cwd=work, scratch=folder / "scratch")
        outputs |= {index: events for index, events in _outputs(made).items() if index in own}
        error = _error(made, step)
        told += _step_warnings(data / step / "step.json")
        if error is not None:
            return Outcome(outputs=outputs, error=error, warnings="\n".join(told))
    return Outcome(outputs=outputs, warnings="\n".join(told))


def _books(stepbooks: Any) -> dict[str, Mapping[str, Any]]:
    values = stepbooks.values() if isinstance(stepbooks, Mapping) else stepbooks
    return {str(book.step): book.notebook for book in values}


def _order(pipeline: Any) -> list[str]:
    waiting, done = list(pipeline.steps), []
    while waiting:
        ready = next(s for s in waiting if all(p in done for p in s.after))
        done.append(str(ready.name))
        waiting.remove(ready)
    return done


def _stepbook_cells(book: Mapping[str, Any], data: Path, override: str) -> Iterable[dict[str, Any]]:
    for cell in book["cells"]:
        if cell["cell_type"] != "code":
            continue
        tags = set(cell["metadata"].get("tags", ()))
        ours = tags & OURS
        number = cell["metadata"].get("kale", {}).get("cell")
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        key = next(iter(ours)) if ours else str(number or "-")
        yield {"key": key, "source": source, "may_raise": "raises-exception" in tags}
        if "parameters" in tags:
            yield {"key": "-", "source": f"{override}\n_kale_data = {str(data)!r}"}


def _step_warnings(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [str(w) for w in json.loads(path.read_text(encoding="utf-8")).get("warnings", ())]


def run_real(notebook: Notebook, folder: Path, *, style: str = "tags") -> Outcome:
    """Run the notebook with the `kale run` command, kernels and all."""
    path = write_notebook(notebook, folder / "source" / "nb.ipynb", style=style)
    out = folder / "out"
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "kale_nb", "run", str(path), "--output-dir", str(out)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, encoding="utf-8", cwd=path.parent, env=env, timeout=300
    )
    outputs: dict[int, tuple[tuple[str, Any], ...]] = {}
    error: CellError | None = None
    own = {c.index for c in notebook.cells if c.step is not None}
    for step in notebook.steps:
        book = out / f"{step}.ipynb"
        if not book.exists():
            continue
        for cell in json.loads(book.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "code":
                continue
            number = cell["metadata"].get("kale", {}).get("cell")
            if number in own:
                outputs[number] = normal_events(_kernel_events(cell["outputs"]))
            for output in cell["outputs"]:
                if output["output_type"] == "error" and error is None:
                    ours = bool(OURS & set(cell["metadata"].get("tags", ())))
                    error = CellError(ename=output["ename"], evalue=output["evalue"], step=step, cell=number, ours=ours)
    text = done.stdout + done.stderr
    if done.returncode and error is None:
        return Outcome(outputs=outputs, refusal=text)
    return Outcome(outputs=outputs, error=error, warnings=text)


def _kernel_events(outputs: Iterable[Mapping[str, Any]]) -> Iterable[list[Any]]:
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            yield [output["name"], "".join(output["text"])]
        elif kind in ("execute_result", "display_data"):
            data = {m: v if isinstance(v, str) else "".join(v) for m, v in output["data"].items()}
            yield ["result" if kind == "execute_result" else "display", data]
