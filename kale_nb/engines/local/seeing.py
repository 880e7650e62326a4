"""Where steps see things: at their own paths, where the machine allows private mount namespaces, else where the run put them."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kale_nb.engines.local.kernels import KernelHost
from kale_nb.engines.local.provision import Provided
from kale_nb.engines.local.views import Mount, View, hidden_originals, make_view, mount_points
from kale_nb.engines.protocol import Job
from kale_nb.errors import EngineError
from kale_nb.runs.events import Observer, RunWarning, StepsPlaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What steps see.

    Attributes:
        workspace: the path at which a step sees the workspace.
        data: where it finds the values of others.
        environment: variables that tell it where the volumes are.
        view: for `KernelHost.start`; None where steps see what everybody sees.
    """

    workspace: Path
    data: Path
    environment: Mapping[str, str]
    view: Mapping[str, Any] | None = None


def may_mount(job: Job, host: KernelHost, observer: Observer) -> bool:
    """Find out whether steps can see volumes at their own paths, and tell.

    EngineError when the job insists on it and it cannot be; UsageError for a mount point that would hide what steps need.
    """
    places = mount_points(job.volumes, job.pipeline.marshal_volume)
    reason = why_not_mounted(host, job.workspace, set(places.values()), isolation=job.isolation, live=job.live)
    isolation = "none" if reason else "mount"
    if reason and job.isolation == "mount":
        raise no_view(reason)
    observer(StepsPlaced(time=time.time(), isolation=isolation, reason=reason))
    if reason and places and job.isolation != "none":
        listed = ", ".join(sorted(set(places.values())))
        message = f"steps do not find volumes at {listed} ({reason}); the variables KALE_DATA_<NAME> and KALE_MARSHAL tell where they are"
        observer(RunWarning(time=time.time(), message=message))
    return not reason


def no_view(reason: str) -> EngineError:
    """Return the error for a run that insists on volumes at their own paths, where that cannot be."""
    return EngineError(
        f"steps cannot have a view of their own of the file system: {reason}",
        hint="--isolation auto runs them without it; variables then tell where the volumes are",
    )


def why_not_mounted(
    host: KernelHost, workspace: Path, places: Collection[str], *, isolation: str = "auto", live: bool = False
) -> str:
    """Return why steps will not see volumes at their own paths, by trying; empty when they will.

    Args:
        places: mount points.
    """
    if isolation == "none":
        return "it was not asked for (--isolation none)"
    if sys.platform != "linux":
        return "only Linux has mount namespaces"
    if live and not places:
        return "the run uses the workspace itself"
    folder = Path(host.folder) / "trial"
    folder.mkdir(exist_ok=True)
    others = [Mount(source=folder, target=Path(place)) for place in places]
    return host.probe(make_view(folder, workspace, folder, others, [Path(host.folder)]).to_json(host.root))


def sight(job: Job, host: KernelHost, provided: Provided, *, mounted: bool) -> Sight:
    """Return what steps see of what was provided."""
    environment = provided.environment(job.workspace, mounted=mounted)
    data = provided.data_seen(mounted=mounted)
    if not mounted:
        return Sight(workspace=provided.workspace, data=data, environment=environment)
    return Sight(
        workspace=job.workspace,
        data=data,
        environment=environment,
        view=_view(job, host, provided).to_json(host.root),
    )


def _view(job: Job, host: KernelHost, provided: Provided) -> View:
    needed = [Path(host.folder)]
    clone = provided.workspace if provided.cloned else None
    environments = [job.workspace / path for path in provided.environments]
    others = (*provided.mounts(), *hidden_originals(provided.originals, job.workspace))
    return make_view(clone, job.workspace, provided.data, others, needed, environments)
