"""What the volumes of a run will cost, for `kale run --dry-run`."""

from __future__ import annotations

from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.volumes import WORKSPACE, creations
from kale_nb.planning import Plan, RunOptions
from kale_nb.runs.store import known_store, snapshot_folder


def clone_costs(pipeline: Pipeline, plan: Plan, options: RunOptions) -> tuple[dict[str, str], tuple[VolumeError, ...]]:
    """Return what making each clone would cost and how it would be made, by the step that makes it, and why some cannot be made. Nothing is
    left on the disk."""
    from kale_nb.volumes import Policy, SnapshotStore
    from kale_nb.volumes.probing import describe

    runs = known_store(plan.workspace, None if options.runs_dir is None else options.runs_dir.expanduser().absolute())
    store = SnapshotStore(snapshot_folder(runs.root), Policy(max_bytes=options.max_bytes))
    told: dict[str, str] = {}
    refused: list[VolumeError] = []
    for made in creations(plan.volumes, pipeline.marshal_volume, workspace=not plan.live):
        source = plan.workspace if made.name == WORKSPACE else None if made.volume is None else made.volume.source
        if source is None or made.name in options.snapshots:
            continue
        try:
            told[made.step] = describe(store.probe(Path(source)))
        except VolumeError as error:
            refused.append(error)
    return told, tuple(refused)
