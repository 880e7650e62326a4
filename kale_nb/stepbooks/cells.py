"""The cells that kale adds to a stepbook, whatever the step was written in: parameters, load and save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kale_nb.names import StepName
from kale_nb.pipeline.model import Certainty, Need, Offer, Pipeline, Step
from kale_nb.pipeline.order import ancestors_of, predecessors

DATA_NAME = "_kale_data"
DATA_LINE = f'{DATA_NAME} = "kale-data"  # folder with the outputs of the steps before'


def code_cell(name: str, source: str, tags: list[str]) -> dict[str, Any]:
    """Return a code cell that kale makes."""
    return {
        "cell_type": "code",
        "id": f"kale-{name}",
        "metadata": {"tags": tags},
        "source": source,
        "execution_count": None,
        "outputs": [],
    }


def load_source(step: Step, touches: Sequence[str] = (), once: Sequence[str] = (), modules: Sequence[str] = ()) -> str:
    """Return the code of a step's load cell."""
    arguments: list[tuple[str, Sequence[str]]] = [
        ("after", step.after),
        ("needs", _names(step.needs, Certainty.REQUIRED)),
        ("maybe", _names(step.needs, Certainty.LIKELY)),
        ("possible", _names(step.needs, Certainty.POSSIBLE)),
        ("touches", touches),
        ("once", once),
        ("modules", modules),
    ]
    return f"from kale_nb import runtime as _kale\n{_call('_kale.load', [DATA_NAME, f'step={_text(step.name)}'], arguments)}"


def save_source(step: Step, readers: Mapping[str, Sequence[StepName]], told: Sequence[str] | None) -> str:
    """Return the code of a step's save cell. `told`: what it is known to change of its process; None when no step follows."""
    arguments: list[tuple[str, Sequence[str]]] = [
        ("maybe", _names(step.offers, Certainty.LIKELY)),
        ("possible", _names(step.offers, Certainty.POSSIBLE)),
        ("told", told or ()),
    ]
    needed = {o.name: ", ".join(map(_text, readers.get(o.name, ()))) for o in step.offers if o.certainty is Certainty.REQUIRED}
    first = [f"needs={{{', '.join(f'{_text(n)}: [{r}]' for n, r in needed.items())}}}"] if needed else []
    last = [] if told is not None else ["last=True"]
    last += [f"result={_text(step.result)}"] if step.result is not None else []
    return _call("_kale.save", first, arguments, last)


def readers_of(pipeline: Pipeline) -> dict[StepName, dict[str, list[StepName]]]:
    """Per step, the later steps that surely read a name it may leave."""
    every = ancestors_of(predecessors(pipeline))
    found: dict[StepName, dict[str, list[StepName]]] = {s.name: {} for s in pipeline.steps}
    for step in pipeline.steps:
        for need in step.needs:
            if need.certainty is Certainty.REQUIRED:
                for maker in need.producers or every[step.name]:
                    found[maker].setdefault(need.name, []).append(step.name)
    return found


def _call(function: str, first: list[str], lists: Sequence[tuple[str, Sequence[str]]], last: Sequence[str] = ()) -> str:
    parts = [*first, *(f"{name}=[{', '.join(map(_text, values))}]" for name, values in lists if values), *last]
    flat = f"{function}({', '.join(parts)})"
    if len(flat) <= 100:
        return flat
    return f"{function}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _text(value: str) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _names(items: Sequence[Need] | Sequence[Offer], certainty: Certainty) -> list[str]:
    return [i.name for i in items if i.certainty is certainty]
