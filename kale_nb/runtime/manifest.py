"""The manifest of a step: which version of which name is the newest where the step ended.

A step writes `<data>/<step>/step.json` last, when its values are safe. `names` maps every name that any ancestor, or the step itself, has
made a version of to that version; so a step finds all it may need in the manifests of its direct predecessors, and a value that merely
passes through is never written twice. A join takes, of several versions, the one whose maker comes after the others; versions of makers
that do not know of each other are a conflict.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from json import dumps, loads  # by name: a notebook may patch the module
from pathlib import Path
from typing import Any

from kale_nb.errors import MarshalError

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a name.

    Attributes:
        step: the step whose bundle holds it.
        origin: the step that gave it its content; another than `step` when it was only written again beside a value that shares
            objects with it.
        kind: `value`, `state` (of a class or function that every step defines itself), `deleted`, or `failed` (could not be written).
        group: number of the bundle's group of values that share objects.
        globals: names that functions inside the value refer to.
        reason: why it failed.
        digest: of a value as the prelude computed it (`origin` is empty): where it comes out otherwise, this version counts.
    """

    step: str
    origin: str
    kind: str = "value"
    group: int = -1
    globals: tuple[str, ...] = ()
    reason: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a step, or the predecessors of one together, leave.

    Attributes:
        after: each known step's direct predecessors.
        conflicts: names of which unrelated versions meet here.
        outdated: for names whose version lost to a newer one, the losers.
        sources: texts of cells that define something, by file name.
        twins: names that share objects of which two branches have a copy each, with the steps that wrote these.
    """

    step: str
    after: Mapping[str, tuple[str, ...]]
    names: Mapping[str, Version] = field(default_factory=dict)
    conflicts: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    outdated: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    twins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def ancestors(self, step: str) -> frozenset[str]:
        """All steps before `step`."""
        found: set[str] = set()
        pending = list(self.after.get(step, ()))
        while pending:
            at = pending.pop()
            if at not in found:
                found.add(at)
                pending += self.after.get(at, ())
        return frozenset(found)


def read_manifest(data: Path, step: str) -> Manifest:
    """Read what `step` left in the data folder. MarshalError when it left nothing, or something else."""
    path = data / step / "step.json"
    try:
        content = loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise MarshalError(f"{path} has format {content['format']}, this version of kale-nb reads {FORMAT}")
        names = {n: Version(**{**v, "globals": tuple(v.get("globals", ()))}) for n, v in content["names"].items()}
        after = {s: tuple(p) for s, p in content["after"].items()}
        twins = {n: tuple(s) for n, s in content.get("twins", {}).items()}
        sources = dict(content.get("sources", {}))
    except FileNotFoundError:
        raise MarshalError(
            f"there is no output of step `{step}` in {data.resolve()}",
            hint="give the folder that holds the outputs of the steps before: papermill ... -p _kale_data RUN/data",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MarshalError(f"{path} cannot be read: {error}", hint="the file is damaged; run the pipeline again") from error
    return Manifest(step=step, after=after, names=names, twins=twins, sources=sources)


def write_manifest(data: Path, manifest: Manifest, report: Mapping[str, Any]) -> None:
    """Write the manifest, with what else is to be told of the step, in one atomic replacement."""
    content = {
        "format": FORMAT,
        "step": manifest.step,
        **report,
        "after": manifest.after,
        **({"twins": manifest.twins} if manifest.twins else {}),
        **({"sources": manifest.sources} if manifest.sources else {}),
        "names": {n: _as_json(v) for n, v in sorted(manifest.names.items())},
    }
    path = data / manifest.step / "step.json"
    temporary = path.with_name(f".step.json.{os.getpid()}")
    try:
        temporary.write_text(dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise MarshalError(f"{path} cannot be written: {error.strerror or error}") from error


def _as_json(version: Version) -> dict[str, Any]:
    made: dict[str, Any] = {"step": version.step, "origin": version.origin, "kind": version.kind}
    if version.group >= 0:
        made["group"] = version.group
    if version.globals:
        made["globals"] = list(version.globals)
    if version.reason:
        made["reason"] = version.reason
    if version.digest:
        made["digest"] = version.digest
    return made


def join(step: str, predecessors: Sequence[Manifest]) -> Manifest:
    """Combine what the direct predecessors of `step` left."""
    after: dict[str, tuple[str, ...]] = {}
    for manifest in predecessors:
        after.update(manifest.after)
    after[step] = tuple(m.step for m in predecessors)
    twins = {n: s for m in predecessors for n, s in m.twins.items()}
    sources = {f: text for m in predecessors for f, text in m.sources.items()}
    met = Manifest(step=step, after=after, twins=twins, sources=sources)
    if len(predecessors) == 1:
        return replace(met, names=predecessors[0].names)
    versions: dict[str, list[Version]] = {}
    for manifest in predecessors:
        for name, version in manifest.names.items():
            have = versions.setdefault(name, [])
            if version not in have:
                have.append(version)
    names: dict[str, Version] = {}
    conflicts: dict[str, tuple[Version, ...]] = {}
    outdated: dict[str, tuple[Version, ...]] = {}
    before = {s: met.ancestors(s) for s in after}
    for name, found in versions.items():
        last = _newest(found, before)
        names[name] = last[0]
        if len({v.origin for v in last}) > 1:
            conflicts[name] = tuple(last)
        lost = tuple(v for v in found if v is not last[0])
        if lost:
            outdated[name] = lost
    return replace(met, names=names, conflicts=conflicts, outdated=outdated)


def _newest(found: Iterable[Version], before: Mapping[str, frozenset[str]]) -> list[Version]:
    """Keep the versions that none of the others is known to come after.

    Of one content the holder counts that comes last: a step that wrote it again did so because it shares objects with something new.
    """
    versions = list(found)
    later = [v for v in versions if v.origin] or versions  # what the prelude made is older than all

    def passed(v: Version, o: Version) -> bool:
        if o.origin == v.origin:
            return v.step in before.get(o.step, ())
        return v.origin in before.get(o.origin, ())

    return [v for v in later if not any(passed(v, o) for o in later)]
