"""Remove what nobody needs: snapshots that are not kept, and the objects that no snapshot names."""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Iterable
from pathlib import Path

from kale_nb.volumes.locks import Staging
from kale_nb.volumes.model import Freed
from kale_nb.volumes.objects import Objects

_OBJECT = re.compile(rb'^\["f",.*"([0-9a-f]{64})",-?\d+\]$', re.MULTILINE)


def objects_of(manifest: Path) -> frozenset[str]:
    """Return the objects that a snapshot needs, also of a manifest that is damaged elsewhere."""
    return frozenset(name.decode("ascii") for name in _OBJECT.findall(manifest.read_bytes()))


def plan(manifests: dict[str, Path], keep: set[str], objects: Objects) -> tuple[Freed, frozenset[str]]:
    """Return what removing all snapshots but those in `keep` frees, and the names of the objects."""
    needs = {id: objects_of(path) for id, path in manifests.items()}
    sizes = {name: status.st_blocks * 512 for name, status in objects.statuses()}
    wanted = collections.Counter(name for names in needs.values() for name in names)
    alone = {id: sum(sizes.get(name, 0) for name in names if wanted[name] == 1) for id, names in needs.items()}
    kept = frozenset().union(*(names for id, names in needs.items() if id in keep))
    gone = sizes.keys() - kept
    snapshots = tuple(sorted(id for id in manifests if id not in keep))
    freed = Freed(snapshots=snapshots, objects=len(gone), bytes=sum(sizes[name] for name in gone), per_snapshot=alone)
    return freed, frozenset(gone)


def sweep(folder: Path, snapshots: Iterable[str], gone: Iterable[str], objects: Objects, trash: Staging) -> None:
    """Take snapshots and objects out of the store by renaming them into `trash`; the store must be held alone.

    Manifests go before objects: killed in between, this leaves objects that nobody needs, never a snapshot that lacks some. Facts go
    before their manifest, which tells a snapshot without them, while facts alone nobody would look for.
    """
    for id in snapshots:
        for name in (f"{id}.json", f"{id}.jsonl"):
            try:
                os.rename(folder / name, trash.path / trash.name())
            except FileNotFoundError:
                continue
    objects.discard(gone, trash)
