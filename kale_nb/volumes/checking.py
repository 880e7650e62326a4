"""Look for damage: objects that do not hold what their name says, manifests, wrong rows of the stat cache. Heal what can be healed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.volumes import manifest
from kale_nb.volumes.cache import StatCache, matches
from kale_nb.volumes.collecting import objects_of
from kale_nb.volumes.copying import hash_of
from kale_nb.volumes.locks import Staging
from kale_nb.volumes.model import Damage, Entry
from kale_nb.volumes.objects import Objects
from kale_nb.volumes.scan import printable
from kale_nb.volumes.shelf import Shelf
from kale_nb.volumes.trees import Tree


class Checker:
    """Checks one store, which must be held.

    Args:
        heals: replace or take out what is damaged; otherwise only tell.

    Attributes:
        removed: damaged objects were taken out of the store.
    """

    def __init__(self, shelf: Shelf, objects: Objects, staging: Staging, *, heals: bool = True) -> None:
        self._shelf, self._objects, self._staging, self._heals = shelf, objects, staging, heals
        self.removed = False

    def snapshots(self, ids: Iterable[str], *, deep: bool, all_objects: bool) -> list[Damage]:
        """Check snapshots and what they need.

        Args:
            deep: read every object; otherwise only look whether each is there, as long as it should be, and never written to.
            all_objects: with `deep`, read those too that no snapshot needs.
        """
        damages: list[Damage] = []
        users: dict[str, list[str]] = {}
        places: dict[str, list[tuple[str, Entry]]] = {}
        for id in ids:
            for name in objects_of(self._shelf.manifest(id)):
                users.setdefault(name, []).append(id)
            try:
                header, rows = self._shelf.read(id)
            except (VolumeError, ValueError) as error:
                reason = error.message if isinstance(error, VolumeError) else "its manifest cannot be read"
                damages.append(Damage(sha256=id, reason=reason, snapshots=(id,), healed=False))
                continue
            for entry in manifest.entries(rows):
                if entry.kind == "file" and entry.size:
                    places.setdefault(entry.sha256, []).append((header.source, entry))
        if deep and all_objects:
            for name in self._objects.names():
                users.setdefault(name, [])
        for name in sorted(users):
            reason = self._objects.damage(name) if deep else self._short(name, places.get(name, []))
            if reason and (places.get(name) or name not in _EMPTY):
                healed = self._heal(name, places.get(name, []))
                if not healed and self._heals:
                    self._remove(name)
                damages.append(Damage(sha256=name, reason=reason, snapshots=tuple(sorted(users[name])), healed=healed))
        return damages

    def _short(self, name: str, places: list[tuple[str, Entry]]) -> str:
        """Return what is wrong with an object, without reading it unless somebody wrote to it."""
        status = self._objects.status(name)
        if status is None:
            return "it is missing"
        if places and status.st_size != places[0][1].size:
            return f"it is {status.st_size} bytes long, not {places[0][1].size}"
        return "" if self._objects.trusts(name, status) else self._objects.damage(name)

    def _heal(self, name: str, places: list[tuple[str, Entry]]) -> bool:
        """Take a content again from the folders it came from."""
        for source, entry in places if self._heals else ():
            try:
                with Tree(source) as tree:
                    reader = tree.open(entry.path, os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                continue
            staged = self._staging.name()
            writer = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=self._staging.fd)
            try:
                status = os.fstat(reader)
                right = status.st_size == entry.size and hash_of(reader, status, writer)[0] == name
            except OSError:
                right = False
            finally:
                os.close(writer)
                os.close(reader)
            if right:
                self._objects.publish({name: staged}, self._staging)
                return True
            os.unlink(staged, dir_fd=self._staging.fd)
        return False

    def _remove(self, name: str) -> None:
        """Take a wrong object out, so that the next snapshot with that content brings it anew instead of trusting it."""
        if self._objects.status(name) is not None:
            self._objects.discard([name], self._staging)
            self.removed = True

    def cache(self, folder: Path, epoch: str) -> list[Damage]:
        """Compare the rows of the stat caches with the files: a row that says what is not so is dropped."""
        damages = []
        try:
            files = sorted(folder.iterdir())
        except FileNotFoundError:
            return []
        for file in files:
            try:
                source = str(json.loads(file.read_bytes())["source"])
            except (OSError, ValueError, KeyError, TypeError):
                file.unlink(missing_ok=True)  # only a cache
                continue
            cache = StatCache(folder, Path(source))
            wrong = {path for path, row in cache.rows.items() if row[1] and _is_wrong(source, path, row)}
            if not wrong:
                continue
            damages += [self._told(source, path, str(cache.rows[path][5])) for path in sorted(wrong)]
            cache.save({path: row for path, row in cache.rows.items() if path not in wrong}, epoch, self._staging)
        return damages

    def _told(self, source: str, path: str, sha256: str) -> Damage:
        concerned = []
        for id in self._shelf.ids():
            try:
                header, rows = self._shelf.read(id)
            except (VolumeError, ValueError):
                continue
            if header.source == source and any(e.path == path and e.sha256 == sha256 for e in manifest.entries(rows)):
                concerned.append(id)
        reason = f"the stat cache said that {printable(path)} holds this content, and it does not; it will be read anew"
        return Damage(sha256=sha256, reason=reason, snapshots=tuple(sorted(concerned)), healed=True)


_EMPTY = frozenset({"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"})
"""The content of an empty file, which nobody needs an object for."""


def _is_wrong(source: str, path: str, row: list[object]) -> bool:
    """Tell whether a file is as its row says by its status, but not by its content."""
    try:
        with Tree(source) as tree:
            fd = tree.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if not matches(row, status) or hash_of(fd, status)[0] == row[5]:
            return False
        return matches(row, os.fstat(fd))
    except OSError:
        return False
    finally:
        os.close(fd)


def recover(objects: Objects, trash: Staging) -> bool:
    """After a crash of the machine: hash what was published without waiting for the disk, take out what is wrong.

    The store must be held alone. Returns whether anything was taken out.
    """
    wrong = []
    for name, status in objects.statuses():
        if status.st_mtime_ns == 0:
            continue
        if objects.damage(name):
            wrong.append(name)
        else:
            objects.mark_durable(name)
    objects.discard(wrong, trash)
    return bool(wrong)


def this_boot() -> str:
    """Return what tells one boot of the machine from another, nothing when the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
