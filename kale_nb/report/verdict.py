"""What `kale verify` and the tests of notebooks say of a comparison."""

from __future__ import annotations

from kale_nb.report.progress import brief
from kale_nb.report.style import Style, plain
from kale_nb.report.summary import near, show_command
from kale_nb.verify.compare import Answer, StepVerdict
from kale_nb.verify.verify import Verdict


def verdict_lines(verdict: Verdict, style: Style) -> list[str]:
    """Return what a comparison found, as lines."""
    counts = {answer: sum(step.answer is answer for step in verdict.steps) for answer in Answer}
    total = len(verdict.steps)
    lines = [line for step in verdict.steps for line in _step_lines(step, style)]
    script = verdict.record.source.endswith(".py")
    source = "script" if script else "notebook"
    if verdict.failure is not None:
        how = "as plain Python" if script else "run from top to bottom"
        lines.append(f"the {source} itself fails, {how}: {brief(verdict.failure)}")
    lines.extend(
        f"the pipeline fails in step {step.name}{'' if step.failure is None else f': {brief(step.failure)}'}"
        for step in verdict.record.failed
    )
    if verdict.same:
        lines.append(style.paint(f"same: all {total} steps say what the {source} says", "green"))
        return lines
    told = f"{counts[Answer.SAME]} of {total} steps say what the {source} says"
    lines.append(style.paint(f"different: {told}", "red"))
    lines.append(f"the {source}, executed: {near(verdict.notebook)}")
    lines.append(f"the pipeline's run: {show_command(verdict.record)}")
    return lines


def _step_lines(step: StepVerdict, style: Style) -> list[str]:
    colors = {Answer.SAME: "green", Answer.DIFFERENT: "red", Answer.NOT_RUN: "yellow"}
    place = "" if step.cell is None or step.answer is Answer.SAME else f" in cell {step.cell}"
    reason = f": {step.reason}" if step.reason else ""
    lines = [f"{style.paint(step.answer.value, colors[step.answer])}  {step.step}{'' if step.reason else place}{reason}"]
    if step.diff:
        lines.append(style.paint("    - notebook, + pipeline", "dim"))
    for line in step.diff:
        color = {"-": "red", "+": "green"}.get(line[:1], "dim")
        lines.append(f"    {style.paint(plain(line), color)}")
    return lines
