"""What is to be emitted, decided: claims that the run makes, mounts, and how steps find their code and each other's values.

Everything here follows from the pipeline, its stepbooks and the target. A claim that is a clone takes its snapshot, size and storage class
from parameters of the pipeline, so that one compile serves every submission; `Claim.parameters` is what a submitter has to fill in.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from kale_nb.engines.kfp.code import CODE_FOLDER, Code
from kale_nb.engines.kfp.target import Target
from kale_nb.names import StepName, kubernetes_name
from kale_nb.pipeline.model import Pipeline, Volume
from kale_nb.pipeline.volumes import MARSHAL, MARSHAL_PATH, MARSHAL_STEP, WORKSPACE, shortest, variable

RESERVED = "kale_"
"""What the names of our own parameters begin with."""
MARSHAL_SIZE = "1Gi"
VALUES = ".kale"
"""The folder of a marshal volume that values pass through; the rest of it is the steps' own."""


class Origin(enum.Enum):
    """What a claim is made from."""

    CLONE = "clone"
    """A snapshot that is taken at submission."""
    SNAPSHOT = "snapshot"
    """A snapshot that exists, by name."""
    NEW = "new"
    """Nothing: it is empty."""
    VOLUME = "volume"
    """A persistent volume that exists, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim that the run makes by a task of its own.

    Attributes:
        task: `create-volume-N` or `create-marshal-volume`.
        use: `workspace`, `data` or `marshal`.
        name: of the volume in the pipeline: the claim that it clones, the snapshot or the persistent volume; empty for the workspace of
            which the pipeline does not say the name.
        parameters: names of the pipeline's parameters by what they hold: `source` (an object with apiGroup, kind and name), `size`,
            `class`, `access_modes`, `annotations`.
        size, storage_class, access_modes: defaults of those parameters; None: the submission has to give it.
    """

    task: str
    use: str
    origin: Origin
    name: str = ""
    size: str | None = None
    storage_class: str | None = None
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    annotations: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def remover(self) -> str:
        """The task that deletes the claim."""
        return f"delete-{self.task.removeprefix('create-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A claim in every step's container: one that the run makes, or an existing one by name."""

    claim: Claim | str
    path: str
    sub_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the emitters need.

    Attributes:
        tasks: name of each step's task.
        data: folder through which values pass, as steps see it; None: as artifacts.
        home: the workspace's mount; None without a snapshot.
    """

    pipeline: Pipeline
    target: Target
    code: Code
    tasks: Mapping[StepName, str]
    claims: tuple[Claim, ...]
    mounts: tuple[Mount, ...]
    data: str | None
    home: str | None

    @property
    def cwd(self) -> str | None:
        """Folder in which steps start; None without a snapshot."""
        if self.home is None:
            return None
        return self.home if self.target.folder in ("", ".") else f"{self.home}/{self.target.folder}"

    @property
    def told(self) -> dict[str, str]:
        """Variables that tell every step where its volumes are, as in a local run."""
        found = {} if self.home is None else {"HOME": self.target.home or self.home, "KALE_WORKSPACE": self.home}
        paths = {mount.path for mount in self.mounts}
        for volume in self.pipeline.volumes:
            path = shortest(volume.mount_point)
            if path in paths and path != self.home:
                found[variable(volume.name)] = path
        if self.pipeline.marshal_volume.enabled:
            found["KALE_MARSHAL"] = self.mounts[-1].path
        return found

    def values_of(self, step: StepName) -> str:
        """Name of the input artifact that holds what an earlier step left: its task's, unless a parameter has that."""
        task = self.tasks[step]
        return f"{task}-values" if any(param.name == task for param in self.pipeline.params) else task

    @property
    def carries(self) -> bool:
        """The stepbooks are in the pipeline itself, not in the workspace."""
        return self.home is None or self.target.carried

    @property
    def kept(self) -> str | None:
        """The run's hidden folder in the workspace's clone: code, executed notebooks, logs, and values without a marshal volume."""
        return None if self.home is None else f"{self.home}/{CODE_FOLDER}/{self.code.digest}"


def make_plan(pipeline: Pipeline, code: Code, target: Target) -> Plan:
    """Decide what is emitted. What cannot be is for `checks` to say; here the nearest thing is taken."""
    home = shortest(target.mount)
    claims: list[Claim] = []
    mounts: list[Mount] = []
    if target.snapshot:
        of_workspace = workspace_volume(pipeline, target)
        claims.append(_workspace(of_workspace, target))
        sub_path = (of_workspace.sub_path if of_workspace is not None else None) or ""
        mounts.append(Mount(claim=claims[0], path=home, sub_path=sub_path.strip("/")))
    else:
        of_workspace = None
    for volume in pipeline.volumes:
        if volume is of_workspace:
            continue
        claim = _claim(volume, sum(c.use != MARSHAL for c in claims) + 1)
        claims += [claim] if claim is not None else []
        mounts.append(
            Mount(
                claim=claim or volume.name,
                path=shortest(volume.mount_point),
                sub_path=(volume.sub_path or "").strip("/"),
            )
        )
    data: str | None = None
    marshal = pipeline.marshal_volume
    if marshal.enabled:
        claims.append(_made(MARSHAL_STEP, "kale_marshal", use=MARSHAL, origin=Origin.NEW, size=marshal.size or MARSHAL_SIZE))
        place = shortest(marshal.path or MARSHAL_PATH)
        data = f"{place}/{VALUES}"
        mounts.append(Mount(claim=claims[-1], path=place))
    elif target.snapshot:
        data = f"{home}/{CODE_FOLDER}/{code.digest}/data"
    return Plan(
        pipeline=pipeline,
        target=target,
        code=code,
        tasks={step.name: kubernetes_name(step.name) for step in pipeline.steps},
        claims=tuple(claims),
        mounts=tuple(mounts),
        data=data,
        home=home if target.snapshot else None,
    )


def workspace_volume(pipeline: Pipeline, target: Target) -> Volume | None:
    """Return the volume of the pipeline that is the workspace: the one mounted where the workspace is."""
    home = shortest(target.mount)
    return next((v for v in pipeline.volumes if shortest(v.mount_point) == home), None)


def _workspace(volume: Volume | None, target: Target) -> Claim:
    if volume is None:
        return _made("create-volume-1", "kale_volume_1", use=WORKSPACE, origin=Origin.CLONE, access_modes=target.access_modes)
    made = _claim(volume, 1) or _clone(volume, 1)
    return Claim(
        task=made.task,
        use=WORKSPACE,
        origin=made.origin,
        name=made.name,
        size=made.size,
        storage_class=made.storage_class,
        access_modes=(volume.access_mode,) if volume.access_mode else target.access_modes,
        annotations=made.annotations,
        parameters=made.parameters,
    )


def _claim(volume: Volume, number: int) -> Claim | None:
    """Return the claim that is made for a volume; None when an existing one is mounted."""
    if volume.kind == "clone" or (volume.snapshot and volume.kind == "pvc"):
        return _clone(volume, number)
    if volume.kind == "pvc":
        return None
    origin = {"snap": Origin.SNAPSHOT, "pv": Origin.VOLUME}.get(volume.kind, Origin.NEW)
    return _of_volume(volume, number, origin)


def _clone(volume: Volume, number: int) -> Claim:
    return _of_volume(volume, number, Origin.CLONE)


def _of_volume(volume: Volume, number: int, origin: Origin) -> Claim:
    return _made(
        f"create-volume-{number}",
        f"kale_volume_{number}",
        use="data",
        origin=origin,
        name=volume.name,
        size=volume.size,
        storage_class="" if origin is Origin.VOLUME and volume.storage_class is None else volume.storage_class,
        access_modes=(volume.access_mode or "ReadWriteOnce",),
        annotations=volume.annotations,
    )


def _made(
    task: str,
    stem: str,
    *,
    use: str,
    origin: Origin,
    name: str = "",
    size: str | None = None,
    storage_class: str | None = None,
    access_modes: tuple[str, ...] = ("ReadWriteOnce",),
    annotations: Mapping[str, str] | None = None,
) -> Claim:
    held = ["size", "class", "access_modes", "annotations"]
    if origin in (Origin.CLONE, Origin.SNAPSHOT):
        held.insert(0, "source")
    return Claim(
        task=task,
        use=use,
        origin=origin,
        name=name,
        size=size,
        storage_class=storage_class,
        access_modes=access_modes,
        annotations=annotations or {},
        parameters={what: f"{stem}_{what}" for what in held},
    )
