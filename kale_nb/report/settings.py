"""What is set for a pipeline and for a step, as names and words for people."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from kale_nb.pipeline.model import Pipeline, Step, StepSettings


def pipeline_settings(pipeline: Pipeline) -> list[tuple[str, str]]:
    """Return what the marks say of the pipeline as a whole, but for its name, description and parameters."""
    facts = [(name, value) for name in ("experiment", "image") if (value := getattr(pipeline, name))]
    facts += [(f"volume {v.name}", f"{v.mount_point} {v.size or ''} {v.kind}".replace("  ", " ")) for v in pipeline.volumes]
    return facts


def step_settings(step: Step) -> list[tuple[str, str]]:
    """Return what the marks of a step set, by name."""
    plain = StepSettings()
    values = ((name, getattr(step.settings, name)) for name in StepSettings.__slots__)
    return [(name.replace("_", " "), _spoken(value)) for name, value in values if value != getattr(plain, name)]


def _spoken(value: object) -> str:
    match value:
        case dict():
            return " ".join(f"{k}={v}" for k, v in value.items())
        case tuple():
            return " ".join(map(_spoken, value))
        case float():
            return f"{value:g}"
        case _ if is_dataclass(value):
            return " ".join(f"{f.name} {_spoken(getattr(value, f.name))}" for f in fields(value))
        case _:
            return str(value)
