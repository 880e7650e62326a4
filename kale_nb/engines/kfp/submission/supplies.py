"""What a submission gives a pipeline besides its parameters: sources, sizes and classes of the volumes that the run makes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kale_nb.engines.kfp.cluster.quantities import known_quantity
from kale_nb.engines.kfp.plan import Claim, Origin, Plan
from kale_nb.engines.kfp.submission.following import Made
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.protocol import Job
from kale_nb.errors import UsageError
from kale_nb.pipeline.model import Pipeline
from kale_nb.runs.events import State

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was taken for a run.

    Attributes:
        values: of the pipeline's own parameters.
        told: what the record keeps.
    """

    values: Mapping[str, Any]
    made: Sequence[Made]
    told: dict[str, str] = field(default_factory=dict)


class Supplies(Protocol):
    """Knows what the run starts from, before anything is taken."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, with the volumes that the notebook server has."""
        ...

    @property
    def target(self) -> Target:
        """How it is to run, with what the notebook server says."""
        ...

    def taken(self, plan: Plan, note: Say, warn: Say) -> contextlib.AbstractContextManager[Taken]:
        """Take what the plan needs. When the block ends by an error, what was taken is given back."""
        ...

    def troubles(self) -> tuple[str, ...]:
        """Say what keeps volumes of the run from being made, as far as that can be seen now."""
        ...

    def ended(self, state: State, note: Say, warn: Say) -> None:
        """The run has ended: remove what nobody needs any more, as the target's policy says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No snapshot: the code is in the pipeline, and only empty and existing volumes are used."""

    pipeline: Pipeline
    target: Target
    storage_class: str | None

    @contextlib.contextmanager
    def taken(self, plan: Plan, note: Say, warn: Say) -> Iterator[Taken]:
        """Give sizes and classes."""
        values: dict[str, Any] = {}
        made = []
        for claim in plan.claims:
            if claim.origin is Origin.CLONE:
                raise UsageError(
                    f"volume {claim.name} is a clone of a claim, and clones need snapshots",
                    hint="leave --no-snapshot out, or mount the claim itself: `type: pvc`",
                )
            if claim.origin is Origin.SNAPSHOT and claim.size is None:
                raise UsageError(
                    f"the clone of snapshot {claim.name} has no size", hint="give the volume one, or leave --no-snapshot out"
                )
            values |= class_and_size(claim, None, self.storage_class)
            made.append(Made(claim=claim, mount=mount_of(plan, claim), size=known_quantity(claim.size), snapshot=""))
        yield Taken(values=values, made=made)

    def troubles(self) -> tuple[str, ...]:
        """Nobody looks at the cluster."""
        return ()

    def ended(self, state: State, note: Say, warn: Say) -> None:
        """Nothing was taken."""


def none_taken(job: Job, target: Target, storage_class: str | None) -> Nothing:
    """Return the supplies of a run without snapshots."""
    return Nothing(pipeline=job.pipeline, target=target, storage_class=storage_class)


def class_and_size(claim: Claim, size: str | None, storage_class: str | None) -> dict[str, str]:
    """Return the values of a claim's parameters that have no default. UsageError when there is none to give."""
    values: dict[str, str] = {}
    if claim.storage_class is None:
        if not storage_class:
            raise UsageError(
                f"{claim.task} makes a volume, and nothing says of which storage class",
                hint="name one with --storage-class: Kubeflow Pipelines would take one called `standard`",
            )
        values[claim.parameters["class"]] = storage_class
    if size is not None and (claim.size is None or known_quantity(claim.size) < known_quantity(size)):
        values[claim.parameters["size"]] = size
    return values


def mount_of(plan: Plan, claim: Claim) -> str | None:
    """Return where steps see a claim."""
    return next((mount.path for mount in plan.mounts if mount.claim == claim), None)
