"""From what the metadata and `%pipeline` ask for to the settings of the notebook, and what contradicts itself or leads nowhere.

What contradicts itself is an error, for the notebook would run without one of the two. `%pipeline` counts above the metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kale_nb.annotations.asks import CONFLICT, Ask, choose, merge
from kale_nb.annotations.marks import PipelineMarks
from kale_nb.annotations.settings import UNUSED_KEY, PipelineAsk
from kale_nb.diagnostics import Diagnostic
from kale_nb.pipeline.model import MarshalVolume, Volume
from kale_nb.pipeline.volumes import told_alike, variable


def combine(
    metadata: Iterable[PipelineAsk], magics: Iterable[PipelineAsk]
) -> tuple[PipelineMarks, tuple[Ask, ...], tuple[Diagnostic, ...]]:
    """Make the notebook-level settings: marks, the asks that every step starts from, and conflicts between `%pipeline` lines."""
    chosen: dict[str, str | bool] = {}
    volumes: dict[str, Volume] = {}
    metadata, magics = tuple(metadata), tuple(magics)
    found = [*_contradictions(ask for ask in metadata if isinstance(ask.value, Volume)), *_contradictions(magics)]
    defaults: list[Ask] = []
    for asks in (metadata, magics):
        chosen_defaults, contradictions = choose("the notebook", (ask.value for ask in asks if isinstance(ask.value, Ask)))
        defaults += chosen_defaults.values()
        found += contradictions
        for ask in asks:
            _take(ask, chosen, volumes)
    found += _unused(chosen, (*metadata, *magics))
    settings, _ = merge("", (), defaults)
    marks = PipelineMarks(
        name=_chosen_text(chosen, "name"),
        experiment=_chosen_text(chosen, "experiment"),
        description=_chosen_text(chosen, "description"),
        image=_chosen_text(chosen, "image"),
        volumes=tuple(volumes.values()),
        marshal_volume=MarshalVolume(
            enabled=chosen.get("marshal_enabled", "marshal_size" in chosen) is True,
            size=_chosen_text(chosen, "marshal_size"),
            path=_chosen_text(chosen, "marshal_path"),
        ),
        autosnapshot=bool(chosen["autosnapshot"]) if "autosnapshot" in chosen else None,
        step_defaults=settings,
        service_account=_chosen_text(chosen, "service_account"),
    )
    return marks, tuple(defaults), tuple(found)


def _contradictions(asks: Iterable[PipelineAsk]) -> list[Diagnostic]:
    """Report those that give another value to what was asked for before; settings of steps are looked at elsewhere."""
    seen: dict[str, PipelineAsk] = {}
    found: list[Diagnostic] = []
    for ask in asks:
        if isinstance(ask.value, Ask):
            continue
        slot = f"volume {ask.value.name}" if isinstance(ask.value, Volume) else ask.field
        first = seen.setdefault(slot, ask)
        if first.value == ask.value:
            continue
        if isinstance(ask.value, Volume) and isinstance(first.value, Volume):
            places = f"at `{first.value.mount_point}` and at `{ask.value.mount_point}`"
            message = f"the volume `{ask.value.name}` is asked for twice, {places}; no step can see one volume at two places"
            hint = "mount it once, without `sub_path`, and use the folders in it"
        else:
            message = f"the notebook is asked for `{first.spelled}` and for `{ask.spelled}`"
            hint = f"keep one; the other stands at {first.place.location}"
        found.append(ask.place.report(CONFLICT, message, hint))
    return found


def _unused(chosen: Mapping[str, str | bool], asks: Iterable[PipelineAsk]) -> list[Diagnostic]:
    """Report what cannot be told to steps, and a place for a marshal volume that nobody asked for. Where it was said that there is none,
    the place is idle: Kale's panel leaves it standing."""
    asks = tuple(asks)
    found: list[Diagnostic] = []
    by_name = {ask.value.name: ask.place for ask in asks if isinstance(ask.value, Volume)}
    alike = told_alike(by_name)
    if alike is not None:
        message = f"steps would be told where the volumes `{alike[0]}` and `{alike[1]}` are by one variable, {variable(alike[0])}"
        found.append(by_name[alike[1]].report(CONFLICT, message, "rename one of them"))
    if not {"marshal_enabled", "marshal_size"} & set(chosen):
        found += [
            ask.place.report(
                UNUSED_KEY, f"`{ask.spelled}` is not used: there is no marshal volume", "ask for one: `marshal_volume`"
            )
            for ask in asks
            if ask.field == "marshal_path"
        ]
    return found


def _take(ask: PipelineAsk, chosen: dict[str, str | bool], volumes: dict[str, Volume]) -> None:
    match ask.value:
        case Volume():
            volumes[ask.value.name] = ask.value
        case Ask():
            pass
        case _ if ask.field == "experiment" and ask.spelled.startswith("experiment:"):
            chosen.setdefault("experiment", ask.value)
        case _:
            chosen[ask.field] = ask.value


def _chosen_text(chosen: Mapping[str, str | bool], field: str) -> str | None:
    value = chosen.get(field)
    return value if isinstance(value, str) and value else None
