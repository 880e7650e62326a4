"""Runs a notebook both ways and says who is right.

`run_plain` executes cells top to bottom in one process. `run_pipeline` compiles the notebook and executes each stepbook in a process of
its own (FAST, no kernel), or calls `kale run` (REAL). `judge` compares with what a case expects.
"""

from __future__ import annotations

import atexit
import enum
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.differential.notebooks import PRELUDE, Notebook, TextCell, lay_files, write_notebook

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


class Verdict(enum.Enum):
    """What came of a notebook compiled and run as a pipeline."""

    RIGHT = "right"
    """Printed what it had to."""
    REFUSED = "refused"
    """Would not compile, or stopped at a load or save with an error of ours."""
    FAILED = "failed"
    """An error in one of the user's cells that the plain run does not raise."""
    WARNED = "warned"
    """Other process-wide state than the notebook had, and the compile or the step said so."""
    WRONG = "wrong"
    """Ran to its end and printed something else."""


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


def _plain_text(content: Iterable[Any]) -> str:
    return next((str(part[1]) for part in content if isinstance(part, tuple) and part[0] == "text/plain"), "")


def stdout_of(notebook: Notebook, outcome: Outcome, step: str) -> str:
    """All that the cells of `step` printed or showed as text, one after the other."""
    texts: list[str] = []
    for cell in notebook.cells:
        if cell.step != step:
            continue
        for kind, content in outcome.outputs.get(cell.index, ()):
            texts.append(content if kind == "stdout" else _plain_text(content) + "\n")
    return "".join(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with its reason; `fits` tells whether it is what the case expects."""

    verdict: Verdict
    fits: bool
    reason: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The truth of a notebook.

    Attributes:
        kind: `same` as the notebook; `dag`, each step as prelude, ancestors one after the other and itself, except where
            `prints` says (siblings run one after the other are not yet siblings); `refused` at compile; `refused_at_run`;
            `refused_somewhere`; `dag_or_refused`; `same_or_refused`, where both are honest; `same_or_warned`, for module state, which may
            stay behind when a warning says so. A failure in a step is a fault unless the case says `refused_at_run` or
            `refused_somewhere` and its message tells what the case asks.
        names: words that a refusal's message must hold.
        prints: for a step, what it must print, white space aside.
        warns: words that the warnings must hold.
    """

    kind: str
    names: tuple[str, ...] = ()
    prints: Mapping[str, str] = field(default_factory=dict)
    warns: tuple[str, ...] = ()


def judge(notebook: Notebook, expected: Expectation, pipeline: Outcome, folder: Path, *, override: str = "") -> Judgement:
    """Compare a pipeline's outcome with the truth."""
    refused = pipeline.refusal is not None or (pipeline.error is not None and pipeline.error.ours)
    if refused:
        return _judge_refusal(expected, pipeline)
    warned = expected.kind == "same_or_warned" and _names_in(expected.names, pipeline.warnings) is None
    if pipeline.error is not None:
        told = pipeline.error
        explained = (
            expected.kind.startswith("refused") and expected.kind != "refused" and _names_in(expected.names, told.evalue) is None
        )
        story = f"step {told.step} cell {told.cell}: {told.ename}: {told.evalue}\n{told.traceback}"
        return Judgement(verdict=Verdict.WARNED if warned else Verdict.FAILED, fits=explained or warned, reason=story, outcome=pipeline)
    if expected.kind.startswith("refused"):
        return Judgement(verdict=Verdict.WRONG, fits=False, reason="ran to its end, but had to be refused", outcome=pipeline)
    reason = first_difference(notebook, expected, pipeline, folder, override=override)
    if reason is None:
        reason = _prints_differ(notebook, expected, pipeline)
    if reason is not None:
        return Judgement(verdict=Verdict.WARNED if warned else Verdict.WRONG, fits=warned, reason=reason, outcome=pipeline)
    missing = _names_in(expected.warns, pipeline.warnings)
    return Judgement(
        verdict=Verdict.RIGHT,
        fits=missing is None,
        reason=f"right, but no warning says {missing!r}:\n{pipeline.warnings}" if missing else "",
        outcome=pipeline,
    )


def _judge_refusal(expected: Expectation, pipeline: Outcome) -> Judgement:
    error = pipeline.error
    at_compile = error is None
    if error is None:
        text, where, details = str(pipeline.refusal), "at compile", ""
    else:
        text, where, details = (
            f"{error.ename}: {error.evalue}\n(step {error.step})",
            f"at run, step {error.step}",
            f"\n{error.traceback}",
        )
    allowed = {
        "refused": at_compile,
        "refused_at_run": not at_compile,
        "refused_somewhere": True,
        "same_or_refused": True,
        "dag_or_refused": True,
        "same_or_warned": True,
    }.get(expected.kind, False)
    reason = f"refused {where}: {text}"
    missing = _names_in(expected.names, text)
    if allowed and missing is not None:
        reason += f"\n(the message does not say {missing!r})"
    return Judgement(verdict=Verdict.REFUSED, fits=allowed and missing is None, reason=reason + details, outcome=pipeline)


def _names_in(names: Iterable[str], text: str) -> str | None:
    """Return the first of `names` that does not stand in `text` as a word (any case)."""
    for name in names:
        if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE):
            return name
    return None


def first_difference(
    notebook: Notebook, expected: Expectation, pipeline: Outcome, folder: Path, *, override: str = ""
) -> str | None:
    """Return the first difference between the pipeline's outputs and the plain run's, None when there is none."""
    if expected.kind.startswith("dag"):
        for step in notebook.topological():
            if step in expected.prints:
                continue
            plain = run_plain(notebook, folder / f"plain-{step}", cells=notebook.restricted_to(step), override=override)
            if plain.error is not None:
                return f"the plain run of {step} and its ancestors fails: {plain.error.ename}: {plain.error.evalue}"
            found = _compare(notebook, plain, pipeline, {step})
            if found:
                return found
        return None
    plain = run_plain(notebook, folder / "plain", override=override)
    if plain.error is not None:
        return (
            f"the plain run fails in cell {plain.error.cell}: {plain.error.ename}: {plain.error.evalue}\n{plain.error.traceback}"
        )
    return _compare(notebook, plain, pipeline, set(notebook.steps))


def _compare(notebook: Notebook, plain: Outcome, pipeline: Outcome, steps: set[str]) -> str | None:
    for cell in notebook.cells:
        if cell.step not in steps or cell.role in ("markdown", "skip", *PRELUDE):
            continue
        want, got = plain.outputs.get(cell.index, ()), pipeline.outputs.get(cell.index, ())
        if want != got:
            return f"step {cell.step}, cell {cell.index}:\n  notebook: {_shown(want)}\n  pipeline: {_shown(got)}"
    return None


def _shown(events: Sequence[tuple[str, Any]]) -> str:
    return repr(events)[:1500] if events else "(nothing)"


def _prints_differ(notebook: Notebook, expected: Expectation, outcome: Outcome) -> str | None:
    for step, text in expected.prints.items():
        got = " ".join(stdout_of(notebook, outcome, step).split())
        if got != text:
            return f"step {step} prints {got!r}, the case says {text!r}"
    return None


def fresh(folder: Path) -> Path:
    """Empty `folder` and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
