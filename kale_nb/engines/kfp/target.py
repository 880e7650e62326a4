"""What a compile for Kubeflow Pipelines has to know beyond the pipeline itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Cleanup(enum.Enum):
    """What becomes of the volumes that were made for a run, at its end."""

    KEEP = "keep"
    DELETE_ON_SUCCESS = "delete-on-success"
    DELETE = "delete"
    """Also when a step failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How the pipeline is to run on the cluster.

    Attributes:
        image: of steps for which the marks name none.
        mount: absolute path at which every step sees the workspace; it becomes HOME.
        folder: the notebook's folder relative to the workspace; steps start there.
        snapshot: steps work on a clone of the workspace. Without it the stepbooks are in the pipeline itself, and values pass through a
            marshal volume if there is one, else as artifacts.
        packages: pip requirements that each step installs before it begins.
        user, group: numeric ids of steps for which the marks name none; those of the notebook server.
        native_volumes: volumes are made by Kubeflow's own CreatePVC, which knows `data_source` since backend 2.17; otherwise by a step.
        access_modes: of the workspace's claim, and so of its clone.
        carried: the stepbooks are in the pipeline even though there is a snapshot: nobody could write them into the workspace before.
        home: HOME of the steps where that is another volume than the workspace; None: the workspace.
        node: the node that all steps run on; None leaves it to the cluster.
    """

    image: str | None = None
    mount: str = "/home/jovyan"
    folder: str = "."
    snapshot: bool = True
    cleanup: Cleanup = Cleanup.KEEP
    packages: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None
    native_volumes: bool = True
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    carried: bool = False
    home: str | None = None
    node: str | None = None
