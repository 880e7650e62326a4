"""Copy what a run made into the folders that it was made from.

A file takes its place in one move, and only where the place still holds what the snapshot held: what the user changed, added or removed
since then stays, unless forced. Nothing is ever written through a symbolic link, outside of the folder, or into `.git` and `.kale`; a link
that leads out of the folder is not copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kale_nb.errors import UsageError, VolumeError
from kale_nb.results.files import RunFile, run_files
from kale_nb.results.gone import CLONE, how_it_went
from kale_nb.results.kept import KeptVolume, kept_volumes, snapshot_of, store_of, workspace_of
from kale_nb.results.landing import Found, InTheWay, Landing
from kale_nb.results.locks import using
from kale_nb.results.patterns import is_meant
from kale_nb.runs.events import State
from kale_nb.runs.record import WORKSPACE, RunRecord
from kale_nb.volumes import Entry, SnapshotStore
from kale_nb.volumes.ignore import IGNORE_FILE, names_in

Action = Literal["copied", "replaced", "deleted", "same", "refused", "failed"]
_THEIRS = frozenset({".git", ".hg", ".svn", ".kale"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What became of one file of the run.

    Attributes:
        action: `copied` (nothing was there), `replaced`, `deleted`, `same` (was so already), `refused`, `failed`.
        reason: why it was refused or failed.
        forced: something of the user's was given up for it.
    """

    file: RunFile
    action: Action
    reason: str = ""
    forced: bool = False


def pull(
    record: RunRecord,
    patterns: Sequence[str] = (),
    *,
    to: Path | None = None,
    force: bool = False,
    delete: bool = False,
    dry_run: bool = False,
) -> tuple[Pulled, ...]:
    """Copy files of a run into the folders that it was made from, and tell of each what became of it.

    Args:
        patterns: paths, folders and shell patterns, `VOLUME:...` for those of a data volume; empty means all files of the workspace.
        to: a folder to copy into instead; files of data volumes go into a folder of the volume's name there.
        force: also where that gives up what the user changed, added or removed since the snapshot.
        delete: remove what the run deleted, too.
        dry_run: only tell.

    Raises:
        UsageError: the run is not over, a pattern means no file, or there is no folder to copy into.
        VolumeError: the clone or the snapshot is gone.
    """
    if record.state in (State.RUNNING, State.PENDING):
        raise UsageError(f"the run {record.id} is not over", hint="pull when it has ended")
    with using(record.directory):
        workspace = kept_volumes(record)[0]
        if not workspace.snapshot:
            snapshot_of(record, workspace, store_of(record))  # says that there never was a clone
        if not workspace.is_there:
            raise VolumeError(
                f"the files of run {record.id} are gone: {how_it_went(record.directory, CLONE)}",
                hint=f"make them again: kale run --from {record.id}",
            )
        chosen = [f for f in _chosen(record, patterns) if delete or f.what != "deleted"]
        done: list[Pulled] = []
        for volume in kept_volumes(record):
            mine = [f for f in chosen if f.volume == volume.name]
            if mine:
                done.extend(_pull_volume(record, volume, mine, _Wishes(to=to, force=force, dry_run=dry_run)))
        return tuple(done)


def _holds(record: RunRecord, name: str, pattern: str) -> bool:
    """Tell whether a pattern means a file that a volume held when the run began, and that is still the same."""
    volume = next(v for v in kept_volumes(record) if v.name == name)
    if not volume.snapshot:
        return False
    return any(e.kind != "folder" and is_meant(e.path, pattern) for e in store_of(record).entries(volume.snapshot))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wishes:
    to: Path | None
    force: bool
    dry_run: bool


def _chosen(record: RunRecord, patterns: Sequence[str]) -> list[RunFile]:
    files = run_files(record)
    if not patterns:
        return [f for f in files if f.volume == WORKSPACE]
    volumes = {volume.name for volume in kept_volumes(record)}
    chosen: dict[str, RunFile] = {}
    for pattern in patterns:
        head, colon, rest = pattern.partition(":")
        volume, wanted = (head, rest) if colon and head in volumes else (WORKSPACE, pattern)
        meant = [f for f in files if f.volume == volume and is_meant(f.path, wanted)]
        if not meant and not _holds(record, volume, wanted):
            raise UsageError(
                f"no file that run {record.id} created, changed or deleted is meant by {pattern!r}",
                hint=f"`kale files {record.id}` lists them",
            )
        chosen.update((f.name, f) for f in meant)
    return [f for f in files if f.name in chosen]


def _pull_volume(record: RunRecord, volume: KeptVolume, files: Sequence[RunFile], wishes: _Wishes) -> Iterator[Pulled]:
    source, before = _origin(record, volume, {IGNORE_FILE, *(f.path for f in files)})
    if wishes.to is not None:
        root = wishes.to if volume.name == WORKSPACE else wishes.to / volume.name
        if not wishes.dry_run:
            root.mkdir(parents=True, exist_ok=True)
    else:
        root = workspace_of(record) if volume.name == WORKSPACE else source
    if not root.is_dir():
        if wishes.to is None:
            what = f"there is no folder for {root}" if not volume.snapshot else f"the folder {root} is gone"
            raise UsageError(what, hint="name another with --to")
        yield from (Pulled(file=f, action="copied") for f in files)
        return
    origins = (str(volume.clone), str(source))
    with contextlib.closing(Landing(volume.clone, ours=True)) as clone, contextlib.closing(Landing(root)) as landing:
        here = {} if wishes.to is not None else before
        ignores = _text_of(store_of(record), here[IGNORE_FILE]) if IGNORE_FILE in here else None
        mover = _Mover(clone, landing, here, origins, wishes, ignores)
        for file in sorted(files, key=lambda f: f.what != "deleted"):  # deleted first: a folder may have taken a file's place
            yield mover.move(file)


def _origin(record: RunRecord, volume: KeptVolume, paths: Container[str]) -> tuple[Path, dict[str, Entry]]:
    """Return the folder that a volume was cloned from, and what its snapshot held at `paths`."""
    if not volume.snapshot and volume.name != WORKSPACE:
        return Path(f"{volume.name}, which began as an empty folder and has no place outside of the run"), {}
    store = store_of(record)
    snapshot = snapshot_of(record, volume, store)
    return snapshot.source, {entry.path: entry for entry in store.entries(snapshot) if entry.path in paths}


def _text_of(store: SnapshotStore, entry: Entry) -> str | None:
    """Return the text of a file of a snapshot; None when that cannot be read."""
    try:
        return store.open_object(entry.sha256).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except (OSError, VolumeError):
        return None


class _Mover:
    """Moves the files of one volume."""

    def __init__(
        self,
        clone: Landing,
        landing: Landing,
        before: Mapping[str, Entry],
        origins: tuple[str, ...],
        wishes: _Wishes,
        ignores: str | None,
    ) -> None:
        self._clone = clone
        self._landing = landing
        self._before = before
        self._origins = origins
        self._wishes = wishes
        self._ignores = ignores

    def move(self, file: RunFile) -> Pulled:
        """Bring one file to its place, or say why not."""
        try:
            return self._delete(file) if file.what == "deleted" else self._copy(file)
        except InTheWay as reason:
            return Pulled(file=file, action="refused", reason=str(reason))
        except OSError as error:
            return Pulled(file=file, action="failed", reason=error.strerror or str(error))

    def _copy(self, file: RunFile) -> Pulled:
        _refuse_theirs(file.path)
        ours, there = self._clone.look(file.path), self._landing.look(file.path)
        if ours.kind not in ("file", "link"):
            raise InTheWay("it is no file any more" if ours.kind != "special" else "it is neither a file nor a link")
        target = _target_there(file.path, ours.target, self._origins) if ours.kind == "link" else ""
        if self._is_same(file.path, ours, there, target):
            return Pulled(file=file, action="same")
        forced = self._check_place(file.path, there)
        if not self._wishes.dry_run:
            if ours.kind == "link":
                self._landing.put_link(file.path, target, there)
            else:
                with self._clone.reading(file.path) as source:
                    self._landing.put_file(file.path, source, there)
        return Pulled(file=file, action="copied" if there.kind == "nothing" else "replaced", forced=forced)

    def _delete(self, file: RunFile) -> Pulled:
        _refuse_theirs(file.path)
        there = self._landing.look(file.path)
        if there.kind == "nothing":
            return Pulled(file=file, action="same")
        forced = self._check_place(file.path, there)
        if not self._wishes.dry_run:
            self._landing.remove(file.path, there)
        return Pulled(file=file, action="deleted", forced=forced)

    def _check_place(self, path: str, there: Found) -> bool:
        """Raise InTheWay where something of the user's would be lost; tell whether it will be, because that is wished."""
        if there.kind in ("folder", "special"):
            raise InTheWay(f"a {'folder' if there.kind == 'folder' else 'special file'} stands there")
        before = self._before.get(path)
        if before is None:
            problem = "" if there.kind == "nothing" else self._why_unknown(path)
        elif there.kind == "nothing":
            problem = "it was removed there since the run began"
        elif not self._is_entry(path, there, before):
            problem = "it was changed there since the run began"
        else:
            same = before.kind == "link" or there.status is None or there.status.st_mode & 0o1777 == before.mode
            problem = "" if same else "its permissions were changed there since the run began"
        if problem and not self._wishes.force:
            raise InTheWay(problem)
        return bool(problem)

    def _why_unknown(self, path: str) -> str:
        """Say why a file that is there is not in the snapshot."""
        if self._ignores is not None and names_in(self._ignores, path):
            return f"it is there, and {IGNORE_FILE} left it out of the snapshot: you may have changed it since the run began"
        return "it is there, and was not when the run began"

    def _is_entry(self, path: str, there: Found, before: Entry) -> bool:
        if there.kind != before.kind or there.status is None:
            return False
        if there.kind == "link":
            return there.target == before.target
        return there.status.st_size == before.size and digest(self._landing, path) == before.sha256

    def _is_same(self, path: str, ours: Found, there: Found, target: str) -> bool:
        if ours.kind != there.kind or ours.status is None or there.status is None:
            return False
        if ours.kind == "link":
            return there.target == target
        if ours.status.st_size != there.status.st_size or (ours.status.st_mode ^ there.status.st_mode) & 0o777:
            return False
        return digest(self._clone, path) == digest(self._landing, path)


def _refuse_theirs(path: str) -> None:
    for part in path.split("/"):
        if part.casefold() in _THEIRS:
            raise InTheWay(f"nothing is ever written into {part}")


def _target_there(path: str, target: str, origins: Sequence[str]) -> str:
    """Return where a link of the clone must point to in the user's folder to mean the same. InTheWay when that is not in the folder.

    >>> _target_there("a/link", "/run/work/b", ["/run/work", "/ws"])
    '../b'
    """
    folder = os.path.dirname(path)
    if os.path.isabs(target):
        for origin in origins:
            if target.startswith(origin.rstrip("/") + "/"):
                return os.path.relpath(target[len(origin.rstrip("/")) + 1 :], folder or ".")
        raise InTheWay(f"it is a link that leads out of the folder, to {target}")
    aim = os.path.normpath(os.path.join(folder, target))
    if aim == ".." or aim.startswith("../"):
        raise InTheWay(f"it is a link that leads out of the folder, to {target}")
    return target


def digest(folder: Landing, path: str) -> str:
    """Return the sha256 of the file at a path. OSError or InTheWay when there is none."""
    with folder.reading(path) as file:
        assert stat.S_ISREG(os.fstat(file).st_mode)
        with open(file, "rb", closefd=False) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
