"""What is set for a pipeline and for a step, as names and words for people."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from kale_nb.pipeline.model import Pipeline, Step, StepSettings, Volume


def pipeline_settings(pipeline: Pipeline) -> list[tuple[str, str]]:
    """Return what the marks say of the pipeline as a whole, but for its name, description and parameters."""
    facts = [(name, value) for name in ("experiment", "image") if (value := getattr(pipeline, name))]
    facts += [(f"volume {v.name}", _volume(v)) for v in pipeline.volumes]
    return facts


def _volume(volume: Volume) -> str:
    """Return where a volume is seen and what it is: on this machine a folder or a clone of one, else what the marks call it."""
    if volume.source is None:
        return " ".join(filter(None, (volume.mount_point, volume.size, volume.kind)))
    size = f" {volume.size}" if volume.size else ""
    what = f"the folder {volume.source}, to be read" if volume.read_only else f"a clone of {volume.source}"
    return f"{volume.mount_point}{size}, {what}"


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
