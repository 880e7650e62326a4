"""The snapshot store: what a folder held, kept once per content, for as long as somebody needs it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.volumes import manifest, subvolumes
from kale_nb.volumes.cache import StatCache, sweep_caches
from kale_nb.volumes.checking import Checker, this_boot
from kale_nb.volumes.cloning import Damaged, Entries, beside, check_room, fill, move_into_place, subvolume_of
from kale_nb.volumes.collecting import objects_of, plan, sweep
from kale_nb.volumes.comparing import changes_between, changes_in
from kale_nb.volumes.environments import digest_now
from kale_nb.volumes.folder import StoreFolder
from kale_nb.volumes.holding import Lease, leased, pinned, sweep_unfinished
from kale_nb.volumes.ignore import relative_to
from kale_nb.volumes.intake import full_disk
from kale_nb.volumes.locks import Staging, exclusive, shared
from kale_nb.volumes.model import Changes, Clone, Damage, Entry, Freed, Mechanism, Policy, Probe, Snapshot
from kale_nb.volumes.objects import Objects
from kale_nb.volumes.probing import is_much, probe
from kale_nb.volumes.resting import collector_at_rest
from kale_nb.volumes.scan import printable, scan
from kale_nb.volumes.shelf import Shelf, spell_facts
from kale_nb.volumes.subvolumes import Templates
from kale_nb.volumes.taking import Taken, take
from kale_nb.volumes.trees import Tree

Keep = Callable[[], Collection[str]]

_SUBVOLUME: Mechanism = "subvolume"
_FLUSH_BYTES = 1024**3
_FLUSH_FILES = 32_768
"""From this much that is new a snapshot waits for the disk; less is hashed again should the machine have crashed (see objects)."""


class SnapshotStore:
    """Snapshots of folders in one directory, which should be on the same file system as the folders and their clones.

    Any number of processes may use one store at once. A folder that is taken is only read.

    Args:
        directory: the store; made when it is first written to. By convention `<workspace>/.kale/store`.
        policy: what snapshots take.
    """

    def __init__(self, directory: Path, policy: Policy | None = None) -> None:
        self.directory = Path(os.path.abspath(directory))
        self.policy = policy if policy is not None else Policy()
        self._objects = Objects(self.directory / "objects")
        self._folder = StoreFolder(self.directory, self._objects)
        self._shelf = Shelf(self.directory / "snapshots")
        self._templates = Templates(self.directory / "trees")

    @collector_at_rest()
    def snapshot(
        self, source: Path, *, note: str = "", exclude: tuple[Path, ...] = (), tell: Callable[[Probe], None] | None = None
    ) -> Snapshot:
        """Take a picture of the folder `source`, which is only read. An unchanged folder gives the snapshot it gave before.

        Args:
            note: kept with the snapshot; one without a note keeps the note it had.
            exclude: folders and files left out, absolute or relative to `source`: volumes of their own, say.
            tell: called before anything is read, with what it will cost, unless the folder is so small that this is next to nothing.

        Raises:
            VolumeError: too large, something in it cannot be read, another file system is mounted in it, or the disk is full. Then
                there is no new snapshot.
        """
        started = time.monotonic()
        source = Path(os.path.abspath(source))
        out = relative_to(source, (*exclude, self.directory))
        found = scan(source, self.policy, exclude=out, user=not self.policy.listed)
        try:
            self._folder.begin()
            with shared(self._folder.lock), Staging(self.directory / "staging") as staging:
                cache = StatCache(self._folder.cache, source)
                if tell is not None and is_much(found):
                    tell(probe(source, found, self.directory, cache, staging))
                taken = take(source, found, self.policy, self._objects, cache, self._folder.epoch(), staging)
                return self._keep(taken, note, started, staging)
        except OSError as error:
            self._objects.close()
            with contextlib.suppress(VolumeError, OSError):  # contents of a long snapshot that got their names on the way
                self.gc(self._shelf.ids, wait=0)
            raise full_disk(error, "the snapshot", self.directory) from error
        finally:
            self._objects.close()

    def probe(self, source: Path, *, exclude: tuple[Path, ...] = ()) -> Probe:
        """Say how a snapshot and a clone of `source` would be made, why not better, and what they will cost. VolumeError as `snapshot`."""
        source = Path(os.path.abspath(source))
        found = scan(source, self.policy, exclude=relative_to(source, (*exclude, self.directory)))
        try:
            with self._folder.trial() as folder, Staging(folder) as staging:
                return probe(source, found, self.directory, StatCache(self._folder.cache, source), staging)
        except OSError as error:
            raise full_disk(error, "the store", self.directory) from error

    def find(self, id: str) -> Snapshot:
        """Return the snapshot whose id begins with `id`. VolumeError when there is none, or more than one."""
        found = [name for name in self._shelf.ids() if name.startswith(id)] if id else []
        if len(found) == 1:
            return self._shelf.told(found[0])
        if not found:
            raise VolumeError(f"there is no snapshot {id!r} in {self.directory}", hint="`kale snapshots` lists them")
        raise VolumeError(f"{id!r} may be any of {len(found)} snapshots in {self.directory}", hint="give more digits of the id")

    def list(self) -> tuple[Snapshot, ...]:
        """Return all snapshots, the one taken last first."""
        return tuple(sorted((self._shelf.told(id) for id in self._shelf.ids()), key=lambda made: (-made.taken, made.id)))

    def entries(self, snapshot: Snapshot | str) -> Iterator[Entry]:
        """Yield what a snapshot holds, sorted by the bytes of the paths. VolumeError when its manifest is damaged."""
        return manifest.entries(self._shelf.read(_id(snapshot))[1])

    def drifted(self, snapshot: Snapshot | str) -> tuple[str, ...]:
        """Return which of the virtual environments and conda prefixes that a snapshot left out are by now gone or hold something else."""
        header = self._shelf.read(_id(snapshot))[0]
        return tuple(path for path, _, digest in header.environments if digest_now(Path(header.source) / path) != digest)

    def open_object(self, sha256: str) -> Path:
        """Return the read-only file that holds a content. VolumeError when the store lacks it, or it was changed. Never write to it."""
        path = self._objects.path(sha256)
        try:
            status = path.lstat()
        except OSError as error:
            raise VolumeError(f"the store {self.directory} has no content {sha256[:12]}...") from error
        try:
            trusted = self._objects.trusts(sha256, status)
        finally:
            self._objects.close()
        if not trusted:
            raise VolumeError(
                f"the content {sha256[:12]}... is no longer what it was in the store {self.directory}",
                hint="`kale snapshots verify` tells what else is damaged and heals what the workspace still holds",
            )
        return path

    @collector_at_rest()
    def clone(self, snapshot: Snapshot | str, destination: Path, *, seen_at: Path | None = None) -> Clone:
        """Make a writable folder from a snapshot.

        Args:
            destination: must not exist; its parent is made.
            seen_at: where processes will see the clone, by default `destination`. Absolute links into the workspace are rewritten to
                point there; give the workspace itself when the clone is to be mounted in its place, and links stay as they are.

        Raises:
            VolumeError: no such snapshot, an object is damaged, or the disk is full. Nothing is left at `destination` then.
        """
        started = time.monotonic()
        destination = Path(os.path.abspath(destination))
        made = snapshot if isinstance(snapshot, Snapshot) else self.find(snapshot)
        if os.path.lexists(destination):
            raise VolumeError(f"{destination} exists already")
        try:
            self._folder.begin()
            destination.parent.mkdir(parents=True, exist_ok=True)
            with shared(self._folder.lock), self._folder.staging(destination.parent) as staging:
                whole = self._templates.find(made.id) is None
                header, rows = self._shelf.read(made.id, whole=whole)
                entries = list(manifest.entries(rows))
                aim = os.fspath(seen_at or destination)
                tree = self._tree(made, header, entries, staging)
                if tree is not None and subvolume_of(tree, destination, header, entries, staging, seen_at=aim):
                    taken, mechanism = 0, _SUBVOLUME
                else:
                    if not whole:
                        entries = list(self.entries(made))
                    taken, mechanism = self._fill(made, header, entries, staging, destination, aim)
        except Damaged as error:
            raise VolumeError(f"snapshot {made.id[:12]} is damaged: {error.message}", hint=error.hint) from error
        except OSError as error:
            raise full_disk(error, "the clone", destination.parent) from error
        finally:
            self._objects.close()
        return Clone(path=destination, snapshot=made, seconds=time.monotonic() - started, bytes=taken, mechanism=mechanism)

    def compare(self, snapshot: Snapshot | str, folder: Path, *, since: float | None = None) -> Changes:
        """Return how a folder differs from a snapshot: a clone of it, or the workspace itself by now.

        Files are read only when size or time differ, or when their status has changed after `since`, when the clone was there.
        What no snapshot ever takes is left out; what `.kaleignore` names only when `folder` is the workspace, so that such files of a
        run show.
        """
        header, rows = self._shelf.read(_id(snapshot))
        since = since if self._folder.keeps_times(folder) else 0.0
        live = os.path.realpath(folder) == os.path.realpath(header.source)
        out = relative_to(Path(os.path.abspath(folder)), (self.directory,))
        policy = Policy(max_bytes=1 << 62, max_files=1 << 62, ignore=tuple(header.ignore), environments=self.policy.environments)
        return changes_in(header, manifest.entries(rows), Path(os.path.abspath(folder)), policy, out, user=live, since=since)

    def diff(self, a: Snapshot | str, b: Snapshot | str) -> Changes:
        """Return how snapshot `b` differs from snapshot `a`."""
        return changes_between(self.entries(a), self.entries(b))

    def verify(self, ids: Iterable[str] | None = None, *, deep: bool = True) -> tuple[Damage, ...]:
        """Check snapshots (all of them by default, and the stat caches) and return what is wrong.

        A damaged object is replaced when the folder it came from still has the content; otherwise it is taken out, so that no clone is
        ever made of wrong bytes and the next snapshot with that content brings it anew.

        Args:
            deep: read every object, not only look whether it is there, as long as it should be, and never written to.
        """
        if not self._folder.exists:
            return ()
        import tempfile

        everything = ids is None
        wanted = self._shelf.ids() if ids is None else tuple(self.find(id).id for id in ids)
        try:
            self._folder.begin()
            with shared(self._folder.lock), self._folder.staging(Path(tempfile.gettempdir())) as staging:
                checker = Checker(self._shelf, self._objects, staging, heals=not self._folder.is_read_only())
                damages = checker.snapshots(wanted, deep=deep, all_objects=everything)
                if checker.removed:
                    self._folder.renew_epoch(staging)
                if deep and everything and not self._folder.is_read_only():
                    damages += checker.cache(self._folder.cache, self._folder.epoch())
                for id in {id for damage in damages if not damage.healed for id in damage.snapshots}:
                    self._templates.remove(id)
            return tuple(damages)
        except OSError as error:
            raise full_disk(error, "the store", self.directory) from error
        finally:
            self._objects.close()

    def pin(self, id: str) -> None:
        """Keep a snapshot whatever is collected, and see to it that it is on the disk; what is damaged stays marked as such."""
        made = self.find(id)
        try:
            names = [name for name in objects_of(self._shelf.manifest(made.id)) if self._objects.is_whole(name)]
            self._objects.flush(names, [self._shelf.manifest(made.id)])
            pins = self.directory / "pins"
            pins.mkdir(exist_ok=True)
            (pins / made.id).touch()
        except OSError as error:
            raise full_disk(error, "the pin", self.directory) from error
        finally:
            self._objects.close()

    def unpin(self, id: str) -> None:
        """Let a pinned snapshot be collected again; nothing happens when it is not pinned."""
        (self.directory / "pins" / self.find(id).id).unlink(missing_ok=True)

    def pinned(self) -> frozenset[str]:
        """Return the ids of the pinned snapshots."""
        return pinned(self.directory / "pins")

    @contextlib.contextmanager
    def lease(self, run: str, ids: Iterable[str] = ()) -> Iterator[Lease]:
        """Keep snapshots while the block lasts and this process lives: those named, those added, and all taken meanwhile.

        Args:
            run: names the lease; one per run.
        """
        held = Lease(self.directory / "leases" / f"{run}.json", ids)
        try:
            yield held
        finally:
            held.end()

    def gc(self, keep: Collection[str] | Keep = (), *, dry_run: bool = False, wait: float = 10.0) -> Freed:
        """Remove all snapshots but those to keep, the pinned and the leased, and what only they needed.

        Args:
            keep: ids, whole; or what returns them, asked when the store is held and the leases have been read: a run whose lease has
                ended by then has written its record.
            dry_run: only tell what would go.
            wait: seconds to wait for others to finish snapshots and clones.

        Raises:
            VolumeError: others are at work in the store for longer than `wait`.
        """
        if not self._folder.exists and not self._templates.directory.is_dir():
            return Freed(snapshots=(), objects=0, bytes=0, per_snapshot={})
        try:
            self._folder.begin()
            with Staging(self.directory / "staging") as trash:
                with exclusive(self._folder.lock, wait=wait):
                    manifests = {id: self._shelf.manifest(id) for id in self._shelf.ids()}
                    sweep_unfinished(self.directory / "leases")
                    held, since = leased(self.directory / "leases")
                    kept = {
                        *(keep() if callable(keep) else keep),
                        *self.pinned(),
                        *held,
                        *(id for id in manifests if self._shelf.told(id).taken >= since),
                    }
                    freed, gone = plan(manifests, kept, self._objects)
                    if not dry_run:
                        if gone:
                            self._folder.renew_epoch(trash)
                        self._templates.remove_all_but(manifests.keys() - set(freed.snapshots))
                        sweep_caches(self._folder.cache)
                        sweep(self.directory / "snapshots", freed.snapshots, gone, self._objects, trash)
                return freed
        except OSError as error:
            raise full_disk(error, "the store", self.directory) from error
        finally:
            self._objects.close()

    def _keep(self, taken: Taken, note: str, started: float, staging: Staging) -> Snapshot:
        """Give a snapshot its name."""
        facts, path = self._shelf.facts(taken.id), self._shelf.manifest(taken.id)
        before = self._shelf.told(taken.id) if path.exists() else None
        now = time.time()
        made = Snapshot(
            source=Path(taken.header.source),
            files=taken.files,
            size=taken.size,
            skipped=tuple(printable(line) for line in taken.scan.skipped),
            id=taken.id,
            content_id=taken.content_id,
            created=before.created if before else now,
            taken=now,
            seconds=time.monotonic() - started,
            note=note or (before.note if before else ""),
            warnings=tuple(taken.header.warnings),
            environments=tuple(one[0] for one in taken.header.environments),
            new_bytes=taken.new_bytes,
        )
        if before is None:
            staging.write(taken.manifest, path)
        staging.write(spell_facts(made), facts)  # killed before it, the manifest tells: facts without one nobody would sweep
        if taken.new_bytes >= _FLUSH_BYTES or len(taken.new) >= _FLUSH_FILES or (taken.new and not this_boot()):
            self._objects.flush(list(taken.new), [facts, path, path.parent])
        return made

    def _tree(self, made: Snapshot, header: manifest.Header, entries: Entries, staging: Staging) -> Path | None:
        """Return the read-only subvolume that holds a snapshot, made when it is due; None as long as it is not."""
        tree = self._templates.find(made.id)
        if tree is not None or not self._templates.is_due(made.id):
            return tree
        building = staging.path / "tree"
        if not subvolumes.create(building):
            return None
        with Tree(building) as filled:
            fill(filled, header, entries, self._objects, seen_at=header.source)
        return self._templates.adopt(building, made.id)

    def _fill(
        self, made: Snapshot, header: manifest.Header, entries: Entries, staging: Staging, destination: Path, aim: str
    ) -> tuple[int, Mechanism]:
        """Build a clone file by file: in the store when the destination is on the same file system, else beside the destination."""
        folder = staging.path / "clone"
        apart = False  # in a subvolume of its own
        if os.stat(destination.parent).st_dev != os.fstat(staging.fd).st_dev:
            folder = beside(destination)
            staging.builds(folder)
        else:
            apart = subvolumes.create(folder)
        if not apart:
            folder.mkdir(mode=0o700)
        check_room(made, folder, entries, self._objects)
        with Tree(folder) as tree:
            told = fill(tree, header, entries, self._objects, seen_at=aim)
        if not move_into_place(folder, destination):
            raise VolumeError(f"{destination} is on another file system than it was a moment ago")
        os.chmod(destination, header.mode)
        if apart:
            self._templates.mark_due(made.id)
        return told


def _id(snapshot: Snapshot | str) -> str:
    return snapshot.id if isinstance(snapshot, Snapshot) else snapshot
