"""The folder `snapshots` of a store: for each id a manifest, and beside it facts that may change, such as when it was last taken."""

from __future__ import annotations

import json
import os
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.volumes import manifest
from kale_nb.volumes.manifest import Header, Rows
from kale_nb.volumes.model import Snapshot


class Shelf:
    """Finds and reads the snapshots of one store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all snapshots."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return ()
        return tuple(name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl"))

    def manifest(self, id: str) -> Path:
        """Return where a manifest is."""
        return self.folder / f"{id}.jsonl"

    def facts(self, id: str) -> Path:
        """Return where the facts are."""
        return self.folder / f"{id}.json"

    def told(self, id: str) -> Snapshot:
        """Return what is known of a snapshot without reading all of its manifest."""
        try:
            told = json.loads(self.facts(id).read_bytes())
            return Snapshot(
                **{
                    **told,
                    "id": id,
                    "source": Path(told["source"]),
                    **{name: tuple(told[name]) for name in ("skipped", "warnings", "environments")},
                }
            )
        except (OSError, ValueError, TypeError, KeyError):
            return self._counted(id)

    def _counted(self, id: str) -> Snapshot:
        """Return what the manifest itself tells of a snapshot whose facts are lost."""
        try:
            header, rows = self.read(id)
        except VolumeError as error:
            return Snapshot(source=Path(), files=0, size=0, id=id, warnings=(error.message,))
        entries = [entry for entry in manifest.entries(rows) if entry.kind != "folder"]
        _, _, content = manifest.spell(header, *manifest.heads_of(rows))
        modified = os.stat(self.manifest(id)).st_mtime
        return Snapshot(
            source=Path(header.source),
            files=len(entries),
            size=sum(entry.size for entry in entries),
            skipped=tuple(header.skipped),
            id=id,
            content_id=content,
            created=modified,
            taken=modified,
            warnings=tuple(header.warnings),
            environments=tuple(one[0] for one in header.environments),
        )

    def read(self, id: str, *, whole: bool = True) -> tuple[Header, Rows]:
        """Return what a manifest says, or of its entries only the links. VolumeError when there is none, or when it is damaged."""
        import hashlib

        try:
            text = self.manifest(id).read_bytes()
        except FileNotFoundError as error:
            raise VolumeError(
                f"there is no snapshot {id[:12]!r} in {self.folder.parent}", hint="`kale snapshots` lists them"
            ) from error
        if hashlib.sha256(text).hexdigest() != id:
            raise VolumeError(
                f"the manifest of snapshot {id[:12]} is damaged: its content is no longer what its name says",
                hint="take a new snapshot; the files themselves may be whole: `kale snapshots verify` tells",
            )
        return manifest.read(text, id, whole=whole)


def spell_facts(made: Snapshot) -> bytes:
    """Spell what `told` reads."""
    told = {name: getattr(made, name) for name in Snapshot.__slots__ if name not in ("id", "source", "new_bytes")}
    return json.dumps({**told, "source": os.fspath(made.source)}, indent=1).encode("ascii")
