"""The volumes that a run was told to make, kept in its folder: who looks at the run later can tell of them too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kale_nb.engines.kfp.plan import Claim, Origin
from kale_nb.engines.kfp.submission.following import Made

_FILE = "volumes.json"


def keep_made(folder: Path, made: Sequence[Made]) -> None:
    """Write down what a run makes. OSError when it cannot be."""
    rows = [
        {
            "task": each.claim.task,
            "use": each.claim.use,
            "origin": each.claim.origin.value,
            "name": each.claim.name,
            "mount": each.mount,
            "size": each.size,
            "snapshot": each.snapshot,
        }
        for each in made
    ]
    (folder / _FILE).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def read_made(folder: Path) -> tuple[Made, ...]:
    """Return what a run makes; nothing when that was not kept."""
    try:
        rows = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return tuple(
            Made(
                claim=Claim(task=row["task"], use=row["use"], origin=Origin(row["origin"]), name=row["name"]),
                mount=row["mount"],
                size=row["size"],
                snapshot=row["snapshot"],
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ()
