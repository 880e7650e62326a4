"""Says who is right: what a pipeline printed against what the notebook prints, or against what a case says."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.differential.harness import Outcome, run_plain
from tests.differential.notebooks import PRELUDE, Notebook


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
        return Judgement(
            verdict=Verdict.WARNED if warned else Verdict.FAILED, fits=explained or warned, reason=story, outcome=pipeline
        )
    if expected.kind.startswith("refused"):
        return Judgement(verdict=Verdict.WRONG, fits=False, reason="ran to its end, but had to be refused", outcome=pipeline)
    reason = first_difference(notebook, expected, pipeline, folder, override=override)
    if reason is None:
        reason = prints_differ(notebook, expected, pipeline)
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


def prints_differ(notebook: Notebook, expected: Expectation, outcome: Outcome) -> str | None:
    for step, text in expected.prints.items():
        got = " ".join(stdout_of(notebook, outcome, step).split())
        if got != text:
            return f"step {step} prints {got!r}, the case says {text!r}"
    return None
