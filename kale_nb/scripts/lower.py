"""A script that was read becomes a `Pipeline`, with the same settings, needs and offers as one from a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kale_nb.annotations.asks import STRUCTURED, Ask, Place, choose, merge, read_ask, read_structured
from kale_nb.annotations.combining import combine
from kale_nb.annotations.marks import PipelineMarks
from kale_nb.annotations.settings import KEY, UNUSED_KEY, read_metadata
from kale_nb.annotations.volumes import read_volume
from kale_nb.diagnostics import RULES, Diagnostic, has_errors
from kale_nb.names import StepName, VarName, is_step_name
from kale_nb.pipeline.model import Need, Offer, Pipeline, Step
from kale_nb.pipeline.params import Param, from_json
from kale_nb.scripts.traced import Script, Spot, TracedStep
from kale_nb.source.cells import Source

_KINDS = {
    "image": "image",
    "retry_count": "retries",
    "retry_interval": "retry-interval",
    "retry_factor": "retry-factor",
    "retry_max_interval": "retry-max-interval",
    "timeout": "timeout",
    "cache": "cache",
    "labels": "label",
    "annotations": "annotation",
    "limits": "limit",
    "requests": "request",
    "env": "env",
    "node_selector": "node-selector",
    "pull_policy": "pull-policy",
    "run_as_user": "run-as-user",
    "run_as_group": "run-as-group",
    "secret_files": "secret-files",
    "config_map_files": "config-map-files",
    "config_maps": "config-map",
    "tolerations": "toleration",
    "pull_secrets": "pull-secret",
    "node_affinity": "node-affinity",
}
_PAIRS = ("labels", "annotations", "limits", "requests", "env", "node_selector")
_LISTS = ("secret_files", "config_map_files", "config_maps", "tolerations", "pull_secrets")
_METADATA = {
    "experiment": "experiment_name",
    "description": "pipeline_description",
    "image": "docker_image",
    "marshal_volume": "marshal_volume",
    "marshal_volume_size": "marshal_volume_size",
    "marshal_path": "marshal_path",
    "autosnapshot": "autosnapshot",
    "service_account": "service_account",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredScript:
    """The pipeline, None when there are errors that leave none, and every finding."""

    pipeline: Pipeline | None
    diagnostics: tuple[Diagnostic, ...]


def lower_script(script: Script) -> LoweredScript:
    """Turn a script into a pipeline. Pure."""
    found = list(script.findings)
    if not script.steps:
        return LoweredScript(pipeline=None, diagnostics=tuple(found))
    marks, defaults, problems = _pipeline_marks(script)
    found += problems
    names = [StepName(s.name) for s in script.steps]
    readers = [name for step in script.steps for name in step.needs]
    steps: list[Step] = []
    for index, traced in enumerate(script.steps):
        if not is_step_name(traced.name):
            found.append(
                _say("KN618", traced.marked, f"a step cannot be called {traced.name!r}", "use letters, digits, `-` and `_`")
            )
        asks, problems = _asks(traced.settings, traced.marked)
        settings, more = merge(traced.name, asks, defaults)
        found += [*problems, *more]
        steps.append(
            Step(
                name=names[index],
                index=index,
                after=tuple(names[i] for i in traced.after),
                settings=settings,
                needs=tuple(
                    Need(name=VarName(n), producers=(names[maker],), location=traced.spot.location if traced.spot else None)
                    for n, maker in sorted(traced.needs.items())
                ),
                offers=_offers(traced, script, readers),
                rebinds=tuple(sorted(VarName(n) for n in traced.binds)),
                result=VarName(traced.result) if traced.result else None,
                location=traced.spot.location if traced.spot else None,
            )
        )
    pipeline = Pipeline(
        name=script.name,
        source=script.path,
        source_sha256=script.sha256,
        steps=tuple(steps),
        params=tuple(
            Param(name=p.name, type=p.type, default=from_json(p.default), optional=p.optional, location=script.marked.location)
            for p in script.params
        ),
        experiment=marks.experiment,
        description=marks.description or script.doc,
        image=marks.image,
        volumes=marks.volumes,
        marshal_volume=marks.marshal_volume,
        autosnapshot=marks.autosnapshot,
        service_account=marks.service_account,
    )
    return LoweredScript(pipeline=None if has_errors(found) else pipeline, diagnostics=tuple(found))


def _offers(traced: TracedStep, script: Script, readers: Iterable[str]) -> tuple[Offer, ...]:
    """A step leaves what a later one reads of what it made, and what it was the last to change."""
    index = script.steps.index(traced)
    wanted = set(readers) & set(traced.binds)
    wanted |= {name for step in script.steps for name, maker in step.needs.items() if maker == index}
    return tuple(Offer(name=VarName(n)) for n in sorted(wanted))


def _say(code: str, spot: Spot, message: str, hint: str | None) -> Diagnostic:
    return Diagnostic(rule=RULES[code], message=message, location=spot.location, hint=hint)


def _asks(settings: Mapping[str, Any], spot: Spot) -> tuple[list[Ask], list[Diagnostic]]:
    """Read a decorator's settings as the asks that tags and magics spell."""
    place = Place(location=spot.location)
    asks: list[Ask] = []
    found: list[Diagnostic] = []
    for key, value in settings.items():
        structured = [value] if _KINDS.get(key) in STRUCTURED else _tolerations(key, value)
        made = [read_structured(_KINDS[key], one, place, spelled=f"{key}={one!r}") for one in structured]
        asks += [ask for ask in made if isinstance(ask, Ask)]
        found += [_say("KN604", spot, ask.message, ask.hint) for ask in made if not isinstance(ask, Ask)]
        if _KINDS.get(key) in STRUCTURED:
            continue
        for kind, text, spelled in _words(key, value):
            ask = read_ask(kind, text, place, separator="=", spelled=spelled) if kind else None
            if isinstance(ask, Ask):
                asks.append(ask)
                continue
            message = ask.message if ask is not None else f"`{spelled}`: {text}"
            found.append(_say("KN604", spot, message, _shape(key)))
    return asks, found


def _tolerations(key: str, value: Any) -> list[Any]:
    """Return the tolerations that are written as Kubernetes has them."""
    return (
        [item for item in value if isinstance(item, Mapping)] if key == "tolerations" and isinstance(value, list | tuple) else []
    )


def _words(key: str, value: Any) -> Iterable[tuple[str, str, str]]:
    """One setting as `kind, text, spelled`; an empty kind with what is wrong as its text."""
    spelled = f"{key}={value!r}"
    if key in _PAIRS:
        if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
            yield "", "it takes a dict of names and values", spelled
            return
        for name, inner in value.items():
            told = f"{key}={{{name!r}: {inner!r}}}"
            if inner is None or isinstance(inner, Mapping | list | tuple):
                yield "", f"it cannot be {inner!r}", told
            else:
                yield _KINDS[key], f"{name}={inner}", told
    elif key in _LISTS:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            yield "", "it takes a list", spelled
            return
        for item in value:
            if not (key == "tolerations" and isinstance(item, Mapping)):
                yield _KINDS[key], str(item), f"{key}=[{item!r}]"
    elif key == "secrets":
        items = value.items() if isinstance(value, Mapping) else [(None, v) for v in value] if isinstance(value, list) else None
        for name, inner in items if items is not None else [(None, value)]:
            text = ":".join(map(str, inner)) if isinstance(inner, list) else str(inner)
            yield "secret", f"{text}:{name}" if name else text, f"{key}=[{inner!r}]" if items is not None else spelled
    elif key == "cache":
        if isinstance(value, bool):
            yield "cache", "enabled" if value else "disabled", spelled
        else:
            yield "", "it takes True or False", spelled
    elif isinstance(value, bool) or not isinstance(value, str | int | float):
        yield "", f"it cannot be {value!r}", spelled
    else:
        yield _KINDS[key], f"{value}", spelled


def _shape(key: str) -> str | None:
    shapes = {
        "labels": '`labels={"team": "blue"}`',
        "annotations": '`annotations={"owner": "me"}`',
        "limits": '`limits={"nvidia.com/gpu": 1}`',
        "requests": '`requests={"memory": "4Gi"}`',
        "env": '`env={"MODE": "fast"}`',
        "secrets": '`secrets=["my-secret:token:API_TOKEN"]`',
        "timeout": '`timeout=600` or `timeout="10m"`',
        "retry_count": "`retry_count=3`",
        "retry_interval": '`retry_interval=5` or `retry_interval="5s"`',
        "cache": "`cache=True`",
        "node_selector": '`node_selector={"disk": "ssd"}`',
        "tolerations": '`tolerations=["gpu=yes:NoSchedule"]`',
        "pull_secrets": '`pull_secrets=["registry"]`',
        "config_maps": '`config_maps=["settings:mode:MODE"]`',
        "secret_files": '`secret_files=["my-secret:/etc/my-secret"]`',
        "config_map_files": '`config_map_files=["settings:/etc/settings"]`',
        "node_affinity": '`node_affinity=[{"match": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]`',
        "run_as_user": "`run_as_user=1000`",
        "run_as_group": "`run_as_group=100`",
        "pull_policy": '`pull_policy="Always"`',
    }
    return f"write {shapes[key]}" if key in shapes else None


def _pipeline_marks(script: Script) -> tuple[PipelineMarks, tuple[Ask, ...], list[Diagnostic]]:
    """Read the settings of `@pipeline` through the reader of notebook-level settings."""
    settings = dict(script.settings)
    found: list[Diagnostic] = []
    metadata: dict[str, Any] = {_METADATA[k]: v for k, v in settings.items() if k in _METADATA}
    volumes: list[Any] = []
    for volume in settings.get("volumes") or ():
        made = read_volume(volume) if isinstance(volume, str) else None
        if isinstance(made, str):
            found.append(_say("KN604", script.marked, f"volumes: {made}", 'write `"./data:/data"` or `"scratch:/scratch:5Gi"`'))
        else:
            volumes.append(volume)
    if volumes:
        metadata["volumes"] = volumes
    asks, problems = read_metadata(Source(path=script.path, stem=script.name, sha256="", cells=(), metadata={KEY: metadata}))
    marks, _, conflicts = combine(asks, ())
    for problem in (*problems, *conflicts):
        message = problem.message.replace("; it is ignored", "").replace(" and ignored", "")
        level = problem.level if problem.rule is UNUSED_KEY else None
        found.append(replace(_say("KN604", script.marked, f"@pipeline: {message}", "correct the argument"), severity=level))
    defaults: dict[str, Any] = {k: settings[k] for k in ("timeout", "cache") if k in settings}
    given = settings.get("steps_defaults") or {}
    if isinstance(given, Mapping):
        unknown = [k for k in given if k not in (*_KINDS, "secrets")]
        twice = [k for k in given if k in defaults and defaults[k] != given[k]]
        found += [
            _say("KN604", script.marked, f"@pipeline: `{k}` is given, and another in `steps_defaults`", "keep one") for k in twice
        ]
        defaults |= {k: v for k, v in given.items() if k not in unknown}
        found += [_say("KN604", script.marked, f"steps_defaults: a step has no setting `{k}`", _nearest(k)) for k in unknown]
        step_asks, problems_of_steps = _asks(defaults, script.marked)
    else:
        step_asks, problems_of_steps = _asks(defaults, script.marked)
        more, tag_problems = read_metadata(
            Source(path=script.path, stem=script.name, sha256="", cells=(), metadata={KEY: {"steps_defaults": list(given)}})
        )
        step_asks += [a.value for a in more if isinstance(a.value, Ask)]
        found += [_say("KN604", script.marked, f"@pipeline: {p.message}", p.hint) for p in tag_problems]
    chosen, conflicts = choose("each step", step_asks)
    found += [*problems_of_steps, *(_say("KN604", script.marked, f"@pipeline: {c.message}", "keep one") for c in conflicts)]
    return marks, tuple(chosen.values()), found


def _nearest(word: str) -> str | None:
    import difflib

    near = difflib.get_close_matches(word, (*_KINDS, "secrets"), n=1)
    return f"did you mean `{near[0]}`?" if near else f"it has {', '.join((*_KINDS, 'secrets'))}"
