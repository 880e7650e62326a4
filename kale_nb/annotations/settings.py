"""Notebook-level settings: `metadata.kubeflow_notebook` as Kale's JupyterLab panel and hand-written notebooks hold it.

Every key that Kale 0.x, 1 and 2 wrote is known here. Those that we have no use for give a warning that says what the key did and what
to do now; keys that nobody wrote give a warning with the nearest known one. A value of the wrong type is a warning too, never a crash:
an old notebook must load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kale_nb.annotations.asks import (
    ALL,
    BAD_VALUE,
    QUANTITY,
    STRUCTURED,
    Ask,
    Place,
    read_ask,
    read_structured,
)
from kale_nb.annotations.spelling import nearest
from kale_nb.annotations.volumes import ACCESS, KINDS, SHAPES, UNCLONED, leads_out, read_volume
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.location import Location
from kale_nb.names import is_qualified_name, is_text
from kale_nb.pipeline.model import Volume
from kale_nb.pipeline.volumes import shortest
from kale_nb.source.cells import Source

UNKNOWN_KEY = rule(
    "KN503",
    "unknown-setting",
    Severity.WARNING,
    what="The notebook's `kubeflow_notebook` metadata holds a key that no version of Kale wrote.",
    why="It is ignored, and is most likely a slip.",
    example='# notebook metadata: {"kubeflow_notebook": {"pipline_name": "demo"}}\n\n%%step load\nx = 1',
    mend="Correct the key or remove it.",
)
UNUSED_KEY = rule(
    "KN504",
    "unused-setting",
    Severity.WARNING,
    what="The notebook's metadata, or `%pipeline`, asks for something that has no meaning here or has none without something else.",
    why="The notebook runs, but without it.",
    example='# notebook metadata: {"kubeflow_notebook": {"katib_run": true}}\n\n%%step load\nx = 1',
    mend="Do what the message says, then remove the key.",
)
BAD_METADATA = rule(
    "KN505",
    "bad-metadata",
    Severity.WARNING,
    what="A notebook-level setting has a value of the wrong kind.",
    why="It is ignored. Half of a surrogate pair is an error: no file can hold it.",
    example='# notebook metadata: {"kubeflow_notebook": {"pipeline_name": 3}}\n\n%%step load\nx = 1',
    mend="Give the value as the message says.",
)

KEY = "kubeflow_notebook"
_TEXTS = {"pipeline_name": "name", "experiment_name": "experiment", "pipeline_description": "description"}
_IMAGES = ("docker_image", "base_image")
_USED = (
    *_TEXTS,
    *_IMAGES,
    "experiment",
    "volumes",
    "marshal_volume",
    "marshal_volume_size",
    "marshal_path",
    "autosnapshot",
    "snapshot_volumes",
    "steps_defaults",
    "enable_caching",
    "timeout",
    "service_account",
)
_UNUSED = {
    "katib_run": "ran the pipeline as a Katib hyper-parameter search; run it once per value with `-p name=value` instead",
    "katib_metadata": "described a Katib hyper-parameter search; run the pipeline once per value with `-p name=value` instead",
    "abs_working_dir": "was the folder that steps ran in; they now run in a copy of the notebook's folder",
    "notebook_path": "was the notebook's path; the path on the command line counts",
    "kfp_host": "was the address of Kubeflow Pipelines; name the cluster when you send the pipeline there",
    "storage_class_name": "was the storage class of all volumes; set it on the cluster",
    "volume_access_mode": "was the access mode of all volumes; set it on the cluster",
    "deploy": "sent the pipeline on saving; run `kale run` instead",
    "run_pipeline": "started a run on saving; run `kale run` instead",
    "upload_pipeline": "uploaded the pipeline on saving; run `kale compile` instead",
    "use_notebook_volumes": "mounted the notebook server's volumes; the notebook's folder is copied for each run",
    "output_path": "was the name of the compiled file; give it to `kale compile`",
    "auto_snapshot": "was the older name of `autosnapshot`; set that instead",
    "kale_version": "was the version that saved the notebook; it may go",
}
_SINGULAR = {
    "labels": "label",
    "annotations": "annotation",
    "limits": "limit",
    "requests": "request",
    "retry_count": "retries",
    "secrets": "secret",
    "config_maps": "config-map",
    "tolerations": "toleration",
    "pull_secrets": "pull-secret",
}
_EMPTY: tuple[object, ...] = (None, "", [], {}, False)
_VOLUME_TEXTS = {
    "source": "source",
    "sub_path": "sub_path",
    "storage_class": "storage_class",
    "storage_class_name": "storage_class",
    "access_mode": "access_mode",
    "volume_access_mode": "access_mode",
}
_VOLUME_KEYS = (
    "name", "mount_point", "size", "size_type", "type", "snapshot", "snapshot_name", "annotations", "read_only", "id",
    *_VOLUME_TEXTS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineAsk:
    """One notebook-level setting.

    Attributes:
        field: of `PipelineMarks`; `marshal_enabled`, `marshal_size`, `marshal_path`, `volume` and `default` for the nested ones.
    """

    field: str
    value: str | bool | Volume | Ask
    spelled: str
    place: Place


def read_metadata(source: Source) -> tuple[tuple[PipelineAsk, ...], tuple[Diagnostic, ...]]:
    """Read `metadata.kubeflow_notebook`."""
    place = Place(location=Location(path=source.path))
    raw = source.metadata.get(KEY)
    if raw is None:
        return (), ()
    if not isinstance(raw, Mapping):
        return (), (
            place.report(BAD_METADATA, f"`metadata.{KEY}` is no object and is ignored", "make it an object or remove it"),
        )
    reader = _Reader(place)
    for key, value in raw.items():
        if key != "katib_metadata" or "katib_run" not in raw:
            reader.read(str(key), value)
    return tuple(reader.asks), tuple(reader.found)


class _Reader:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.asks: list[PipelineAsk] = []
        self.found: list[Diagnostic] = []

    def read(self, key: str, value: Any) -> None:
        if key in _UNUSED:
            if not any(value is empty or value == empty for empty in _EMPTY) and not _is_idle(key, value):
                self.found.append(self.place.report(UNUSED_KEY, f"`{key}` is not used: it {_UNUSED[key]}", f"remove `{key}`"))
        elif key not in _USED:
            near = nearest(key, (*_USED, *_UNUSED))
            hint = f"did you mean `{near}`?" if near else "remove it from the notebook's metadata"
            self.found.append(self.place.report(UNKNOWN_KEY, f"`{key}` in `metadata.{KEY}` is unknown and ignored", hint))
        elif not _holds_text(value):
            message = f"`{key}` holds half a character, which no file can hold: {_short(value)}"
            self.found.append(self.place.report(BAD_METADATA, message, "write the whole character", Severity.ERROR))
        elif value is not None and value != "":
            self.known(key, value)

    def known(self, key: str, value: Any) -> None:
        match key, value:
            case (("pipeline_name" | "experiment_name" | "pipeline_description"), str()):
                self.ask(_TEXTS[key], value.strip(), key)
            case (("docker_image" | "base_image"), str()):
                self.ask("image", value.strip(), key)
            case "service_account", str():
                self.ask("service_account", value.strip(), key)
            case "experiment", {"name": str(name)}:
                if name:
                    self.ask("experiment", name, key)
            case "experiment", str():
                self.ask("experiment", value, key)
            case "experiment", dict():
                if value.get("name") not in (None, ""):
                    self.bad("experiment.name", value["name"])
            case "marshal_volume", bool():
                self.ask("marshal_enabled", value, key)
            case "marshal_path", str():
                self.ask("marshal_path", shortest(value.strip()), key)
            case "marshal_volume_size", str() | int() if not isinstance(value, bool) and QUANTITY.fullmatch(str(value)):
                self.ask("marshal_size", str(value), key)
            case (("autosnapshot" | "snapshot_volumes"), bool()):
                self.ask("autosnapshot", value, key)
            case "enable_caching", bool():
                self.default(f"cache:{'enabled' if value else 'disabled'}")
            case "timeout", int() | str() if not isinstance(value, bool):
                self.default(f"timeout:{value}")
            case "steps_defaults", list() | dict():
                self.defaults(value)
            case "volumes", list():
                for index, volume in enumerate(value):
                    self.volume(volume, index)
            case _:
                self.bad(key, value)

    def ask(self, field: str, value: str | bool | Volume | Ask, key: str) -> None:
        self.asks.append(PipelineAsk(field=field, value=value, spelled=f"{key}: {_short(value)}", place=self.place))

    def bad(self, key: str, value: object) -> None:
        hint = "correct it in the notebook's metadata or remove it"
        self.found.append(self.place.report(BAD_METADATA, f"`{key}` cannot be {_short(value)}; it is ignored", hint))

    def default(self, tag: str) -> None:
        head, _, rest = tag.partition(":")
        if head not in ALL:
            near = nearest(head, ALL)
            self.found.append(
                self.place.report(
                    BAD_METADATA,
                    f"`{tag}` in `steps_defaults` is no setting of a step",
                    f"did you mean `{near}:`?" if near else None,
                )
            )
            return
        ask = read_ask(head, rest, self.place, separator=":", spelled=tag)
        if isinstance(ask, Diagnostic):
            self.found.append(ask)
        else:
            self.ask("default", ask, "steps_defaults")

    def defaults(self, value: list[Any] | dict[str, Any]) -> None:
        if isinstance(value, list):
            for tag in value:
                if isinstance(tag, str):
                    self.default(tag)
                else:
                    self.bad("steps_defaults", tag)
            return
        for key, entry in value.items():
            head = _SINGULAR.get(str(key), str(key).replace("_", "-"))
            if head in STRUCTURED:
                self.structured(head, entry, f"steps_defaults: {key}")
            elif isinstance(entry, list):
                for item in entry:
                    if head == "toleration" and isinstance(item, Mapping):
                        self.structured(head, item, f"{key}: {_short(item)}")
                    else:
                        self.default(f"{head}:{item}")
            elif isinstance(entry, Mapping):
                for name, inner in entry.items():
                    if isinstance(inner, Mapping | list):
                        self.bad(f"steps_defaults.{key}.{name}", inner)
                    elif inner is not None:
                        self.default(f"{head}:{name}:{inner}")
            elif entry is not None:
                self.default(f"{head}:{_word(entry)}")

    def structured(self, head: str, value: object, spelled: str) -> None:
        ask = read_structured(head, value, self.place, spelled=spelled)
        if isinstance(ask, Diagnostic):
            self.found.append(ask)
        else:
            self.ask("default", ask, "steps_defaults")

    def volume(self, raw: Any, index: int) -> None:
        key = f"volumes[{index}]"
        if isinstance(raw, str):
            made = read_volume(raw)
            if isinstance(made, str):
                self.found.append(self.place.report(BAD_METADATA, f"`{key}`: {made}; it is ignored", SHAPES))
            else:
                self.ask("volume", made, key)
            return
        if not isinstance(raw, Mapping):
            self.bad(key, raw)
            return
        name, mount = raw.get("name"), raw.get("mount_point")
        if not (isinstance(name, str) and name and isinstance(mount, str) and mount):
            self.found.append(
                self.place.report(BAD_METADATA, f"`{key}` needs a name and a mount_point; it is ignored", "add both or remove it")
            )
            return
        for other in raw:
            if other not in _VOLUME_KEYS:
                near = nearest(str(other), _VOLUME_KEYS)
                hint = f"did you mean `{near}`?" if near else f"remove `{other}`"
                self.found.append(self.place.report(UNKNOWN_KEY, f"`{key}.{other}` is unknown and ignored", hint))
        kind = raw.get("type", "new_pvc")
        if not (isinstance(kind, str) and kind in KINDS):
            self.bad(f"{key}.type", kind)
        kind = KINDS.get(str(kind), "new")
        texts = self.volume_texts(raw, key)
        if leads_out(texts.get("sub_path", "")):
            message = f"`{key}.sub_path`: the folder `{texts['sub_path']}` is not in the volume"
            self.found.append(
                self.place.report(BAD_VALUE, message, "name a folder by its path from the volume's root, without `..`")
            )
        self.ask(
            "volume",
            Volume(
                name=name,
                mount_point=shortest(mount),
                size=self.volume_size(raw, key),
                kind=kind,
                snapshot=self.volume_snapshot(raw, key, kind),
                read_only=self.volume_truth(raw, key, "read_only"),
                annotations=self.volume_annotations(raw, key),
                **texts,
            ),
            key,
        )

    def volume_truth(self, raw: Mapping[str, Any], key: str, name: str) -> bool:
        value = raw.get(name)
        if not (value is None or value == "" or isinstance(value, bool)):
            self.bad(f"{key}.{name}", value)
        return value is True

    def volume_snapshot(self, raw: Mapping[str, Any], key: str, kind: str) -> bool:
        """Read whether a clone is meant, and tell of what Kale's snapshots were for and ours are not."""
        cloned = self.volume_truth(raw, key, "snapshot")
        name = raw.get("snapshot_name")
        if cloned and kind in UNCLONED:
            message = f"`{key}.snapshot` is not used: {UNCLONED[kind]}"
            self.found.append(self.place.report(UNUSED_KEY, message, "remove it; a clone of a claim is `type: clone`"))
        if name not in (None, "") and not (kind == "snap" and name == raw.get("name")):
            message = f"`{key}.snapshot_name` is not used: snapshots get names of their own"
            self.found.append(
                self.place.report(UNUSED_KEY, message, "remove it; a snapshot that exists is `type: snap` and its name")
            )
        return cloned and kind not in UNCLONED

    def volume_size(self, raw: Mapping[str, Any], key: str) -> str | None:
        size, unit = raw.get("size"), raw.get("size_type")
        if size is None or size == "":
            return None
        if isinstance(size, bool) or not isinstance(size, int | float | str):
            self.bad(f"{key}.size", size)
            return None
        if not (unit is None or isinstance(unit, str)):
            self.bad(f"{key}.size_type", unit)
        suffix = unit if isinstance(unit, str) and str(size).replace(".", "", 1).isdigit() else ""
        return f"{size}{suffix}"

    def volume_annotations(self, raw: Mapping[str, Any], key: str) -> dict[str, str]:
        """Read annotations as an object, or as Kale's panel wrote them: objects with `key` and `value`, of which some may be blank."""
        given = raw.get("annotations")
        if isinstance(given, list) and all(isinstance(entry, Mapping) for entry in given):
            given = {entry["key"]: entry.get("value", "") for entry in given if entry.get("key")}
        if not isinstance(given, Mapping):
            if given not in (None, ""):
                self.bad(f"{key}.annotations", given)
            return {}
        for name, value in given.items():
            if not (is_qualified_name(str(name)) and isinstance(value, str | int | float)):
                self.bad(f"{key}.annotations", {name: value})
        return {str(k): str(v) for k, v in given.items() if is_qualified_name(str(k)) and isinstance(v, str | int | float)}

    def volume_texts(self, raw: Mapping[str, Any], key: str) -> dict[str, str]:
        """Read the properties of a volume that are texts; several access modes, as Kale wrote them, are the first."""
        found: dict[str, str] = {}
        for name, field in _VOLUME_TEXTS.items():
            value = raw.get(name)
            if name == "volume_access_mode" and isinstance(value, list) and value:
                value = value[0]
            if isinstance(value, str) and value.strip():
                found[field] = ACCESS.get(value.strip().lower(), value.strip()) if field == "access_mode" else value.strip()
            elif value not in (None, "", []):
                self.bad(f"{key}.{name}", value)
        return found


def _is_idle(key: str, value: object) -> bool:
    """Tell whether the key was written without anybody asking for anything: Katib's form left blank."""
    if key == "katib_metadata" and isinstance(value, Mapping):
        return not value.get("parameters")
    return key in ("notebook_path", "kale_version")


def _short(value: object) -> str:
    shown = value.name if isinstance(value, Volume) else value.spelled if isinstance(value, Ask) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _word(value: object) -> str:
    return {True: "enabled", False: "disabled"}[value] if isinstance(value, bool) else str(value)


def _holds_text(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_holds_text(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return all(map(_holds_text, value))
    return not isinstance(value, str) or is_text(value)
