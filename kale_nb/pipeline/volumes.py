"""The volumes of a pipeline as steps of a run: which are made when it starts, in which order, and what they are called.

The names are those of a cluster's tasks: `create-volume-1` is the workspace, the others are the data volumes in order; the marshal volume
is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os.path import normpath
from pathlib import Path

from kale_nb.errors import UsageError
from kale_nb.names import StepName, kubernetes_name
from kale_nb.pipeline.model import MarshalVolume, Pipeline, Step, Volume

WORKSPACE = "workspace"
"""What the workspace is called among volumes."""
MARSHAL = "marshal"
MARSHAL_STEP = "create-marshal-volume"
MARSHAL_PATH = "/marshal"
"""Where the marshal volume stands when nothing else is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A volume that a run makes when it starts.

    Attributes:
        step: what making it is called.
        name: of the volume; `workspace` and `marshal` are ours.
        mount_point: where steps see it; None for the workspace, which stands at its own path.
        volume: what was asked for; None for the workspace and the marshal volume.
        size: asked for, a Kubernetes quantity.
    """

    step: str
    name: str
    mount_point: str | None = None
    volume: Volume | None = None
    size: str | None = None


def creations(volumes: Iterable[Volume], marshal: MarshalVolume, *, workspace: bool = True) -> tuple[Creation, ...]:
    """Return what a run makes, in order: the workspace's clone unless it runs in the folder itself, each data volume that is not only read,
    the marshal volume when there is one."""
    made = [Creation(step="", name=WORKSPACE)] if workspace else []
    made += [
        Creation(step="", name=volume.name, mount_point=volume.mount_point, volume=volume, size=volume.size)
        for volume in volumes
        if not volume.read_only
    ]
    named = [
        Creation(step=f"create-volume-{number}", name=c.name, mount_point=c.mount_point, volume=c.volume, size=c.size)
        for number, c in enumerate(made, 1)
    ]
    if marshal.enabled:
        named.append(Creation(step=MARSHAL_STEP, name=MARSHAL, mount_point=marshal.path or MARSHAL_PATH, size=marshal.size))
    return tuple(named)


def with_creations(pipeline: Pipeline, made: Iterable[Creation]) -> Pipeline:
    """Return a pipeline for drawing, in which the making of volumes are steps that come before all others."""
    first = tuple(Step(name=StepName(c.step), index=i) for i, c in enumerate(made))
    names = tuple(step.name for step in first)
    moved = (replace(s, index=s.index + len(first), after=s.after or names) for s in pipeline.steps)
    return replace(pipeline, steps=(*first, *moved))


def with_volumes(volumes: Iterable[Volume], more: Iterable[Volume], folders: Mapping[str, str], home: Path) -> tuple[Volume, ...]:
    """Return volumes with others added as `merged` does, their sources absolute.

    Args:
        home: the folder to which sources are relative.

    Raises:
        UsageError: as `merged`.
    """
    return tuple(
        volume if volume.source is None else replace(volume, source=normpath(home / Path(volume.source).expanduser()))
        for volume in merged(volumes, more, folders)
    )


def merged(volumes: Iterable[Volume], more: Iterable[Volume], folders: Mapping[str, str]) -> tuple[Volume, ...]:
    """Return volumes with others added, or put in the place of those of the same name.

    Args:
        folders: a volume's folder on this machine, by its name.

    Raises:
        UsageError: a folder for a volume that there is not, a name of ours, two volumes of one name among the others, two at one place, or
            two that one variable would tell of.
    """
    more = tuple(more)
    _refuse_one_name_twice(more)
    named = {volume.name: volume for volume in volumes} | {volume.name: volume for volume in more}
    for name, folder in folders.items():
        if name not in named:
            there = ", ".join(named) or "none"
            raise UsageError(
                f"there is no volume {name!r}; there are: {there}", hint="a new one needs a place: --volume ./folder:/path"
            )
        named[name] = replace(named[name], source=folder)
    places: dict[str, str] = {}
    for name, volume in named.items():
        if name in (WORKSPACE, MARSHAL) or "/" in name or name in (".", ".."):
            raise UsageError(f"a data volume cannot be called {name!r}", hint="give it another name")
        other = places.setdefault(normpath(volume.mount_point), name)
        if other != name:
            raise UsageError(f"the volumes {other} and {name} are both to be seen at {volume.mount_point}")
    alike = told_alike(named)
    if alike is not None:
        raise UsageError(
            f"the volumes {alike[0]} and {alike[1]} would both be told by the variable {variable(alike[0])}",
            hint="rename one of them",
        )
    return tuple(named.values())


def _refuse_one_name_twice(volumes: Iterable[Volume]) -> None:
    """Raise UsageError for two volumes of one name, which a folder's last part gives them unless they are named."""
    known: dict[str, Volume] = {}
    for volume in volumes:
        other = known.setdefault(volume.name, volume)
        if other != volume:
            source, its = (normpath(each.source) if each.source else each.name for each in (other, volume))
            raise UsageError(
                f"two volumes are called {volume.name!r}: {source} at {other.mount_point} and {its} at {volume.mount_point}",
                hint=f"name one of them: --volume name=NAME,source={its},mount={volume.mount_point}",
            )


def variable(name: str) -> str:
    """Return the environment variable that tells a step where a volume is: ASCII, for Kubernetes takes no other.

    >>> variable("training-data"), variable("größe"), variable(MARSHAL)
    ('KALE_DATA_TRAINING_DATA', 'KALE_DATA_GROSSE', 'KALE_MARSHAL')
    """
    if name == MARSHAL:
        return "KALE_MARSHAL"
    spelled = name if name.isascii() else kubernetes_name(name)
    return "KALE_DATA_" + re.sub(r"\W", "_", spelled).upper()


def told_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two names of volumes that steps would be told by one variable.

    >>> told_alike(["a-b", "c", "a.b"])
    ('a-b', 'a.b')
    """
    seen: dict[str, str] = {}
    return next(((first, name) for name in names if (first := seen.setdefault(variable(name), name)) != name), None)


def shortest(path: str) -> str:
    """Return an absolute path as short as it can be written, so that two spellings of one place are equal; another path as it is.

    >>> shortest("//home/x/../jovyan/"), shortest("data/")
    ('/home/jovyan', 'data/')
    """
    return "/" + normpath(path).lstrip("/") if path.startswith("/") else path


_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18} | {
    f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", 1)
}


def quantity_bytes(text: str) -> int:
    """Return a Kubernetes quantity as bytes; ValueError when it is none.

    >>> quantity_bytes("10Gi"), quantity_bytes("1.5k")
    (10737418240, 1500)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]{0,2})\s*", text)
    if found is None or found[2] not in _FACTORS:
        raise ValueError(f"{text!r} is no size")
    return int(float(found[1]) * _FACTORS[found[2]])
