"""Why a name is not defined in a step: which step binds it, and why its value is not here.

Only the pipeline and what the steps before it left (`<data>/<step>/step.json`) are looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kale_nb.engines.protocol import Job
from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.order import ancestors_of, predecessors
from kale_nb.runs.events import Failure

_UNDEFINED = re.compile(r"NameError: name '(?P<name>\w+)' is not defined")


def explain_name(job: Job, step: StepName, failure: Failure) -> Failure:
    """Add to a NameError what the pipeline knows of the name; any other failure stays as it is."""
    found = _UNDEFINED.match(failure.message)
    if found is None or failure.kind != "exception" or failure.hint is not None:
        return failure
    before = job.pipeline.step(step).after
    fates = [fate for other in before if (fate := _fate(job.directory / "data" / other / "step.json", found["name"])) is not None]
    return replace(failure, hint=why_undefined(job.pipeline, step, found["name"], fates))


def why_undefined(pipeline: Pipeline, step: StepName, name: str, fates: list[Mapping[str, Any]]) -> str | None:
    """Return why `name` is not defined in `step`, and what to do; None when nothing is known of it.

    Args:
        fates: what became of the name, as the manifests of the step's direct predecessors tell it (`step`, `kind`, `reason`).
    """
    for fate in fates:
        maker = fate.get("origin") or fate.get("step")
        match fate.get("kind"):
            case "failed":
                return f"step `{maker}` made `{name}`, but it could not travel: {fate.get('reason')}"
            case "deleted" if maker != step:
                return f"step `{maker}` deleted `{name}`"
    makers = [s for s in pipeline.steps if name in s.rebinds and s.name != step]
    ancestors = ancestors_of(predecessors(pipeline))
    above = [s for s in makers if s.name in ancestors[step]]
    if fates:
        return (
            f"step `{fates[-1].get('step')}` left `{name}`, but nothing in the text of step `{step}` shows that it reads it: "
            "write the name in one of its cells"
        )
    if above:
        last = above[-1]
        if any(offer.name == name for offer in last.offers):
            return f"step `{last.name}` assigns `{name}` on some path only, and had not when it ended"
        return (
            f"step `{last.name}` assigns `{name}`, but nothing in the text of step `{step}` shows that it reads it: "
            "write the name in one of its cells"
        )
    beside = [s for s in makers if step not in ancestors[s.name]]
    if beside:
        named = _listed([s.name for s in beside])
        tag = f"prev:{beside[-1].name}"
        return (
            f"`{name}` is assigned in {named}, which `{step}` does not wait for: add the tag `{tag}` (or `--after`) to `{step}`"
        )
    if makers:
        return f"`{name}` is assigned in {_listed([s.name for s in makers])} only, which runs after `{step}`"
    return None


def _fate(path: Path, name: str) -> Mapping[str, Any] | None:
    try:
        fate = json.loads(path.read_text(encoding="utf-8"))["names"].get(name)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return fate if isinstance(fate, dict) else None


def _listed(steps: list[StepName]) -> str:
    quoted = [f"`{step}`" for step in steps]
    return f"step {quoted[0]}" if len(quoted) == 1 else f"steps {', '.join(quoted[:-1])} and {quoted[-1]}"
