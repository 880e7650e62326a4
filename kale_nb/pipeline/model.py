"""The pipeline: what was compiled, frozen, with no trace of how it was written down.

A `Pipeline` is pure data. Engines run it, `codec` writes it to a file and reads it back, `order` answers questions about its
graph. Durations are in seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from kale_nb.location import Location
from kale_nb.names import StepName, VarName
from kale_nb.pipeline.params import Param


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how patiently a failed step is tried again.

    Attributes:
        attempts: tries after the first; 0 means none.
        interval: seconds before the first retry.
        factor: each further wait is this many times the one before.
        max_interval: no wait is longer, seconds.
    """

    attempts: int = 0
    interval: float = 1.0
    factor: float = 2.0
    max_interval: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A key of a Kubernetes secret shown to the step as an environment variable."""

    secret: str
    key: str
    env: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapKey:
    """A key of a Kubernetes config map shown to the step as an environment variable."""

    config_map: str
    key: str
    env: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A Kubernetes secret or config map, every key of which the step sees as a file in the folder `path`."""

    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """A taint of nodes that the step's pod puts up with. Without `value` any value of the key is; an empty `effect` means all effects.

    Attributes:
        seconds: how long, for the effect NoExecute; None for as long as it lasts.
    """

    key: str
    value: str | None = None
    effect: str = ""
    seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a label of a node must be; `operator` as in Kubernetes: In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAffinity:
    """Nodes that the step's pod must go to, or with `weight` (1 to 100) had better go to: those that keep every match."""

    match: tuple[Match, ...]
    weight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """What the marks of a step ask for. None or empty: nothing was asked. What follows `report` has a meaning on a cluster only.

    Attributes:
        user, group: numeric ids that the step's process runs as.
        pull_policy: Always, IfNotPresent or Never.
    """

    image: str | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()
    retry: Retry | None = None
    timeout: float | None = None
    cache: bool | None = None
    report: bool | None = None
    config_maps: tuple[ConfigMapKey, ...] = ()
    secret_files: tuple[Files, ...] = ()
    config_map_files: tuple[Files, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    node_affinity: tuple[NodeAffinity, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    pull_policy: str | None = None
    user: int | None = None
    group: int | None = None


class Certainty(enum.Enum):
    """How sure the analysis is that a step reads a name."""

    REQUIRED = "required"
    """Read before it is bound: without it the step fails."""
    LIKELY = "likely"
    """Read on some path, or by a function that the step can reach: taken when an ancestor has it."""
    POSSIBLE = "possible"
    """Nothing rules it out (exec, globals(), star imports): taken when an ancestor has it, never an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A name that a step takes from its ancestors.

    Attributes:
        producers: the last steps, in pipeline order, that may have bound or changed it; which of them really did is known at
            run time. Empty when the name is bound by a prelude cell and only perhaps changed by a step.
        location: the read that asks for it.
    """

    name: VarName
    certainty: Certainty = Certainty.REQUIRED
    producers: tuple[StepName, ...] = ()
    location: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A name that a step must leave for its descendants if it holds it at its end."""

    name: VarName
    certainty: Certainty = Certainty.REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One node of the pipeline.

    Attributes:
        name: as the user wrote it.
        index: position in the source, from 0.
        after: the steps that must have finished, in source order, with or without data.
        cells: 1-based positions of its cells in the source, metrics cells included.
        needs: names taken from ancestors, sorted.
        offers: names left for descendants, sorted.
        rebinds: names it assigns in its own code, certainly or perhaps.
        prelude_reads: names bound by imports, functions and parameters cells that it mentions, or that functions it can reach read.
        result: the bare name that its last cell ends with.
        location: where it was first marked.
    """

    name: StepName
    index: int
    after: tuple[StepName, ...] = ()
    settings: StepSettings = field(default_factory=StepSettings)
    cells: tuple[int, ...] = ()
    needs: tuple[Need, ...] = ()
    offers: tuple[Offer, ...] = ()
    rebinds: tuple[VarName, ...] = ()
    prelude_reads: tuple[VarName, ...] = ()
    result: VarName | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`target` runs after `source` and needs `names` (perhaps none) that `source` produces."""

    source: StepName
    target: StepName
    names: tuple[VarName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Storage that the pipeline asks for next to its workspace.

    Attributes:
        name: of the volume; on a cluster also of the claim that it is, or is a clone of.
        mount_point: the absolute path at which steps see it.
        size: a Kubernetes quantity, of a volume that is made.
        kind: `new` (empty, made for the run), `clone` (a writable clone of what it held when the run began), `snap` (a clone of the
            snapshot called `name`), `pvc` and `pv` (existing, mounted as it is).
        snapshot: a clone rather than the claim itself, whatever the kind says (the key of Kale's metadata).
        read_only: mounted for reading; then nothing is cloned.
        source: the folder that the volume is on this machine, relative to the source file unless absolute; None: not on this machine.
        sub_path: the folder in the volume that is mounted, relative to its root.
        storage_class, access_mode: of a volume that is made on a cluster; None takes those of what it is made from.
    """

    name: str
    mount_point: str
    size: str | None = None
    kind: str = "new"
    snapshot: bool = False
    read_only: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    sub_path: str | None = None
    storage_class: str | None = None
    access_mode: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarshalVolume:
    """Where the notebook asks for its variables to be passed. Defaults mean: the engine's own place."""

    enabled: bool = False
    size: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The compiled graph.

    Attributes:
        name: for people and, made safe, for Kubernetes.
        source: path of the notebook or script, as the user spelled it.
        source_sha256: hex digest of the source file's bytes.
        kernel: name of the Jupyter kernel that runs the steps.
        steps: in source order, which is a topological order of none: use `order.topological`.
        service_account: that a run's pods have on a cluster.
    """

    name: str
    source: str
    source_sha256: str
    steps: tuple[Step, ...]
    params: tuple[Param, ...] = ()
    kernel: str = "python3"
    language: str = "python"
    experiment: str | None = None
    description: str | None = None
    image: str | None = None
    volumes: tuple[Volume, ...] = ()
    marshal_volume: MarshalVolume = field(default_factory=MarshalVolume)
    autosnapshot: bool | None = None
    explicit_order: bool = True
    service_account: str | None = None

    def step(self, name: StepName) -> Step:
        """Return the step called `name`; KeyError when there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)
