"""The folder that a store is: its parts, who holds it, and what has to be done before it is worked in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kale_nb.volumes.checking import recover, this_boot
from kale_nb.volumes.locks import Staging, exclusive, sweep_staging
from kale_nb.volumes.mounts import keeps_times
from kale_nb.volumes.objects import Objects


class StoreFolder:
    """One store on the disk. Nothing is made before `begin`.

    Attributes:
        path: absolute.
        cache: the folder of the stat caches.
        lock: the file by which the store is held.
    """

    def __init__(self, path: Path, objects: Objects) -> None:
        self.path, self._objects = path, objects
        self.cache = path / "cache"
        self.lock = path / "lock"

    @property
    def exists(self) -> bool:
        """Whether there is a store."""
        return (self.path / "snapshots").is_dir()

    def begin(self) -> None:
        """Make the store when it is new, sweep what dead processes left, and check what a crash of the machine may have damaged."""
        if self.is_read_only():
            return
        boot = this_boot()
        try:
            known = (self.path / "boot").read_text(encoding="utf-8")
        except OSError:
            known = None
        if known is None:
            for name in ("objects", "snapshots", "staging", "cache"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        sweep_staging(self.path / "staging")
        if known != boot:
            with Staging(self.path / "staging") as trash, exclusive(self.lock, wait=600):
                if recover(self._objects, trash):
                    self.renew_epoch(trash)
                trash.write(boot.encode("ascii"), self.path / "boot")

    def is_read_only(self) -> bool:
        """Tell whether this is a store that can be read and cloned from, but not written."""
        return self.exists and not os.access(self.path, os.W_OK)

    def staging(self, otherwise: Path) -> Staging:
        """Return a staging folder: in the store, or in `otherwise` when the store cannot be written."""
        return Staging(otherwise if self.is_read_only() else self.path / "staging")

    def renew_epoch(self, staging: Staging) -> None:
        """Remember that objects may have left the store, so that rows of the stat cache are not believed without a look."""
        staging.write(os.urandom(8).hex().encode("ascii"), self.path / "epoch")

    def epoch(self) -> str:
        """Return what changes whenever objects may have left the store."""
        try:
            return (self.path / "epoch").read_text(encoding="utf-8")
        except OSError:
            return "0"

    @contextlib.contextmanager
    def trial(self) -> Iterator[Path]:
        """Give a folder to try things in: in the store, or where that would be made, gone afterwards."""
        import tempfile

        if self.exists:
            self.begin()
            yield self.path / "staging"
            return
        near = next(folder for folder in self.path.parents if folder.is_dir())
        with tempfile.TemporaryDirectory(prefix=".kale-", dir=near) as folder:
            yield Path(folder)

    def keeps_times(self, folder: Path) -> bool:
        """Tell whether a folder's file system moves times on with every write, tried in the store where that can be written."""
        try:
            with self.trial() as place, Staging(place) as staging:
                return keeps_times(folder, staging)
        except OSError:  # a store that cannot be written
            return keeps_times(folder)
