"""Values from step to step where no volume holds them: as an artifact of each step.

The artifact is a tar file of the step's own folder and of those of earlier steps that its manifest still refers to, so a step needs
only the artifacts of its direct predecessors.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from kale_nb.engines.kfp.stepper.orders import Order, TaskInput, local_path
from kale_nb.errors import EngineError


def take(order: Order, task: TaskInput, data: Path) -> None:
    """Unpack what the steps before left. EngineError when something is missing or damaged."""
    for name in order.before:
        path = task.inputs.get(name)
        try:
            if path is None:
                raise OSError(f"Kubeflow gave no artifact of task {name}")
            with tarfile.open(path) as packed:
                packed.extractall(data, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise EngineError(
                f"what task {name} left cannot be read: {error}", hint="run the pipeline again without caching"
            ) from error


def leave(order: Order, task: TaskInput, data: Path) -> None:
    """Pack what this step leaves, if it is to leave an artifact."""
    if "data" not in task.outputs:
        return
    path = local_path(task.outputs["data"])
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        manifest = json.loads((data / order.step / "step.json").read_text(encoding="utf-8"))
        referred = {version["step"] for version in manifest.get("names", {}).values()}
    except (OSError, ValueError):
        referred = set()
    with tarfile.open(path, "w") as packed:
        for step in sorted({*referred, order.step}):
            if (data / step).is_dir():
                packed.add(data / step, arcname=step)
