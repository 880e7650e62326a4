"""What each step did to the files of the clones: seen by looking before and after, told apart between steps that run at once.

Between two looks, only the steps that ran then can have changed something. When that was one step, it did; when there were several, the
paths that each noted (see `writes`) decide, and what nobody noted stays uncertain. Two steps of which neither comes after the other and
that both changed one file are a conflict, and so are two of which one changed what the other read, or created or removed files in a
folder that the other listed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kale_nb.engines.local.writes import Notes
from kale_nb.names import StepName
from kale_nb.pipeline.volumes import WORKSPACE
from kale_nb.volumes.ignore import ignored_always

Look = dict[str, tuple[int, int, int, int, int]]
"""Relative path to size, times of change of content and status in nanoseconds, permission bits and kind, inode number.

The path of a folder ends with a slash, and of it only permission bits and kind are kept: the rest follows what is in it.

The time of the content can be set back, as tools that keep times do; that of the status cannot."""
Place = tuple[str, str]
"""A volume and a path in it."""
_SHOWN = 3


def look_at(folder: Path, ignore: Iterable[Path] = ()) -> Look:
    """Return the files, links and folders in a folder; what no snapshot takes is left out, as is what cannot be listed.

    Args:
        ignore: folders, absolute, that are left out as well.
    """
    found: Look = {}
    left_out = {os.fspath(path) for path in ignore}
    waiting = [(os.fspath(folder), "")]
    while waiting:
        path, prefix = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if ignored_always(entry.name, is_folder=is_folder):
                    continue
                if is_folder:
                    if entry.path not in left_out:
                        waiting.append((entry.path, f"{prefix}{entry.name}/"))
                        with contextlib.suppress(OSError):
                            found[f"{prefix}{entry.name}/"] = (0, 0, 0, entry.stat(follow_symlinks=False).st_mode, 0)
                    continue
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found[prefix + entry.name] = (
                        status.st_size,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                        status.st_mode,
                        status.st_ino,
                    )
    return found


def changes(before: Look, now: Look) -> dict[str, str]:
    """Return what became of each path that is not as it was: `created`, `changed` or `deleted`.

    >>> changes({"a": (1, 1, 1, 1, 1), "b": (1, 1, 1, 1, 1)}, {"a": (2, 1, 1, 1, 1), "c": (1, 1, 1, 1, 1)})
    {'a': 'changed', 'c': 'created', 'b': 'deleted'}
    """
    found = {path: "changed" if path in before else "created" for path, facts in now.items() if before.get(path) != facts}
    return found | dict.fromkeys((path for path in before if path not in now), "deleted")


_AFTER = {
    ("created", "deleted"): None,
    ("created", "changed"): "created",
    ("deleted", "created"): "changed",
    ("changed", "created"): "changed",
}
"""What two changes of one step after the other come to; otherwise the second counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two steps that may run at the same time changed the same files, or one changed what the other saw.

    Attributes:
        first: the steps of which one did it before: one, or those between which there is no telling.
        second: likewise; when it only saw what the first changed, one.
        how: what the second did: changed the files, read them, or listed the folders in which they came or went.
    """

    first: tuple[StepName, ...]
    second: tuple[StepName, ...]
    places: tuple[Place, ...]
    how: Literal["changed", "read", "listed"] = "changed"

    def message(self) -> str:
        """Say it in one sentence."""
        listed = shown_places(self.places)
        one, other = _one_of(self.first), _one_of(self.second)
        if self.how == "read":
            return f"{other} read {listed}, which {one}, that may run at the same time, changed: what it read is left to chance"
        if self.how == "listed":
            return (
                f"{other} listed a folder in which {one}, that may run at the same time, created or removed {listed}: "
                "what it found is left to chance"
            )
        return f"{one} and {other}, which may run at the same time, both changed {listed}: what stays is left to chance"

    def hint(self) -> str:
        """Say what to do."""
        if self.how != "changed":
            return f"let `{self.second[0]}` follow `{self.first[0]}`, or the other way round"
        return f"let `{self.second[0]}` follow `{self.first[0]}`, or let each write a file of its own"


def shown_places(places: Sequence[Place]) -> str:
    """Return the first few of some files, and how many more there are.

    >>> shown_places([("workspace", "a"), ("photos", "b")])
    'a, b (volume photos)'
    """
    shown = [path if volume == WORKSPACE else f"{path} (volume {volume})" for volume, path in places[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else "")


def _one_of(steps: tuple[StepName, ...]) -> str:
    if len(steps) == 1:
        return f"step `{steps[0]}`"
    return "one of the steps " + ", ".join(f"`{step}`" for step in steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A volume, or a folder in it, at a place where steps see it.

    Attributes:
        path: the place, without links.
        inside: the folder, relative to the volume; empty for the whole.
    """

    path: str
    volume: str
    inside: str = ""

    def place(self, path: str) -> Place | None:
        """Return what a path as steps see it is in the volume; None when it does not lead there."""
        if path != self.path and not path.startswith(self.path + "/"):
            return None
        return self.volume, f"{self.inside}/{path[len(self.path) + 1 :]}".strip("/")


@dataclass(frozen=True, slots=True)
class _Written:
    """What a step noted that it wrote: places, and those that came or went with all that is below them."""

    places: set[Place]
    moved: set[Place]

    def __contains__(self, place: Place) -> bool:
        return place in self.places or (bool(self.moved) and not self.moved.isdisjoint(_upwards(place)))


def _upwards(place: Place) -> Iterator[Place]:
    """Yield a place and the folders that it is in.

    >>> list(_upwards(("photos", "a/b/c")))
    [('photos', 'a/b/c'), ('photos', 'a/b'), ('photos', 'a')]
    """
    volume, path = place
    while path:
        yield volume, path
        path = path.rpartition("/")[0]


def _folder_of(place: Place) -> Place:
    return place[0], place[1].rpartition("/")[0]


def _seen_by_chance(pairs: Mapping[tuple[StepName, StepName], list[Place]], how: Literal["read", "listed"]) -> list[Conflict]:
    return [
        Conflict(first=(writer,), second=(reader,), places=tuple(sorted(places)), how=how)
        for (writer, reader), places in pairs.items()
    ]


@dataclass(slots=True)
class _Done:
    """What one step did so far, by volume and path."""

    sure: dict[Place, str | None] = field(default_factory=dict)
    unsure: dict[Place, tuple[str | None, tuple[StepName, ...]]] = field(default_factory=dict)
    folders: dict[Place, str | None] = field(default_factory=dict)


class FileWatch:
    """Follows the files of a run's clones.

    Args:
        folders: the clone of each volume.
        seen: where steps see them; within another one, a place hides what that has there.
        unordered: tells whether two steps may run at the same time.
        noted: returns what a running step noted, paths as the step saw them.
        mounts: by volume, the places in it at which steps see something else: folders that come to be there are nobody's.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        seen: Iterable[Part],
        unordered: Callable[[StepName, StepName], bool],
        noted: Callable[[StepName], Notes],
        mounts: Mapping[str, Iterable[Path]] | None = None,
    ) -> None:
        self._folders = folders
        self._seen = sorted(seen, key=lambda part: len(part.path), reverse=True)
        self._unordered = unordered
        self._noted = noted
        self._readers: dict[Place, dict[StepName, None]] = defaultdict(dict)
        self._listers: dict[Place, dict[StepName, None]] = defaultdict(dict)
        self._moved: dict[Place, dict[Place, dict[StepName, None]]] = defaultdict(lambda: defaultdict(dict))
        self._looks = {name: look_at(folder) for name, folder in folders.items()}
        places = [(name, f"{p}/") for name, at in (mounts or {}).items() for path in at for p in (path, *path.parents)]
        self._made = {(name, path) for name, path in places if path not in self._looks[name]}
        self._running: dict[StepName, None] = {}
        self._lately: dict[StepName, None] = {}
        self._done: dict[StepName, _Done] = {}
        self._past: dict[Place, list[tuple[StepName, ...]]] = {}
        self._told: set[tuple[Place, frozenset[tuple[StepName, ...]]]] = set()

    def started(self, step: StepName) -> None:
        """Take note that a step runs."""
        self._running[step] = None
        self._lately[step] = None
        self._done.setdefault(step, _Done())

    def ended(self, step: StepName) -> list[Conflict]:
        """Look, and take note that a step no longer runs. Return the conflicts that came to light, each file once for a pair of steps."""
        found = self._look()
        self._take_sights(step)
        found += [*self._misread(), *self._mislisted()]
        self._running.pop(step, None)
        self._lately = dict(self._running)
        return found

    def altered(self, step: StepName) -> list[Place]:
        """Return the files that a step found and that it changed or removed, as far as is certain."""
        done = self._done.get(step, _Done())
        return sorted(place for place, what in done.sure.items() if what in ("changed", "deleted"))

    def report(self, step: StepName) -> dict[str, object]:
        """Return what a step did, for its file: that of the workspace at the top, that of other volumes by name below `volumes`."""
        done = self._done.get(step, _Done())
        volumes: dict[str, dict[str, object]] = {name: _part(done, name) for name in self._folders}
        top = volumes.pop(WORKSPACE, {})
        return {**top, "volumes": volumes} if volumes else top

    def _look(self) -> list[Conflict]:
        pairs: dict[tuple[tuple[StepName, ...], tuple[StepName, ...]], list[Place]] = {}
        candidates = tuple(self._lately)
        noted: dict[StepName, _Written] | None = None
        for name, folder in self._folders.items():
            before, self._looks[name] = self._looks[name], look_at(folder)
            for path, what in changes(before, self._looks[name]).items():
                place = (name, path)
                if path.endswith("/"):
                    self._take_folder(place, what, candidates)
                    continue
                if len(candidates) < 2:
                    writers: tuple[StepName, ...] = candidates
                else:
                    if noted is None:
                        noted = {step: self._written(step) for step in candidates}
                    writers = tuple(step for step in candidates if place in noted[step])
                for pair in self._take(place, what, candidates, writers):
                    pairs.setdefault(pair, []).append(place)
        return [Conflict(first=first, second=second, places=tuple(places)) for (first, second), places in pairs.items()]

    def _take_sights(self, step: StepName) -> None:
        """Keep what a step read and listed."""
        notes = self._noted(step)
        for place in self._places(notes.read):
            self._readers[place][step] = None
        for place in self._places(notes.listed):
            self._listers[place][step] = None

    def _misread(self) -> list[Conflict]:
        """Return whom of all steps so far what they read sets against whom."""
        pairs: dict[tuple[StepName, StepName], list[Place]] = {}
        for place in self._readers.keys() & self._past.keys():
            writers = [group[0] for group in self._past[place] if len(group) == 1]
            self._set_against(place, writers, self._readers[place], pairs)
        return _seen_by_chance(pairs, "read")

    def _mislisted(self) -> list[Conflict]:
        """Return whom of all steps so far what they listed sets against whom."""
        pairs: dict[tuple[StepName, StepName], list[Place]] = {}
        for folder in self._listers.keys() & self._moved.keys():
            for place, movers in self._moved[folder].items():
                self._set_against(place, movers, self._listers[folder], pairs)
        return _seen_by_chance(pairs, "listed")

    def _set_against(
        self,
        place: Place,
        writers: Iterable[StepName],
        readers: Iterable[StepName],
        pairs: dict[tuple[StepName, StepName], list[Place]],
    ) -> None:
        """Add a place to those of each writer and each reader that may run at the same time, once."""
        own = {group[0] for group in self._past[place] if len(group) == 1}
        for reader in readers:
            for writer in writers if reader not in own else ():
                told = (place, frozenset(((writer,), (reader,))))
                if self._unordered(writer, reader) and told not in self._told:
                    self._told.add(told)
                    pairs.setdefault((writer, reader), []).append(place)

    def _written(self, step: StepName) -> _Written:
        notes = self._noted(step)
        return _Written(self._places(notes.written), self._places(notes.moved))

    def _places(self, paths: Iterable[str]) -> set[Place]:
        """Return what paths as steps see them are in the volumes; others are left out."""
        found = (next(filter(None, (part.place(path) for part in self._seen)), None) for path in paths)
        return {place for place in found if place is not None}

    def _take(
        self, place: Place, what: str, candidates: tuple[StepName, ...], writers: tuple[StepName, ...]
    ) -> list[tuple[tuple[StepName, ...], tuple[StepName, ...]]]:
        """Keep who changed a path, and return the pairs of steps that this sets against each other."""
        groups: list[tuple[StepName, ...]] = [(writer,) for writer in writers] or ([candidates] if candidates else [])
        for writer in writers:
            sure = self._done[writer].sure
            sure[place] = _AFTER.get((sure.get(place) or "", what), what)
        for step in candidates if not writers else ():
            kind = self._done[step].unsure.get(place, ("", ()))[0]
            self._done[step].unsure[place] = (_AFTER.get((kind or "", what), what), candidates)
        found = []
        past = self._past.setdefault(place, [])
        for group in groups:
            for other in past:
                told = (place, frozenset((other, group)))
                if told not in self._told and self._apart(other, group):
                    self._told.add(told)
                    found.append((other, group))
            if group not in past:
                past.append(group)
            if what != "changed" and len(group) == 1:
                self._moved[_folder_of(place)][place][group[0]] = None
        return found

    def _take_folder(self, place: Place, what: str, candidates: tuple[StepName, ...]) -> None:
        """Keep that a folder was made, removed or given other permissions; of steps that ran at once each may have done it."""
        for step in candidates if place not in self._made else ():
            folders = self._done[step].folders
            folders[place] = _AFTER.get((folders.get(place) or "", what), what)

    def _apart(self, one: tuple[StepName, ...], other: tuple[StepName, ...]) -> bool:
        return all(a != b and self._unordered(a, b) for a in one for b in other)


def _part(done: _Done, volume: str) -> dict[str, object]:
    part: dict[str, object] = {}
    for kind in ("created", "changed", "deleted"):
        part[kind] = sorted(path for (name, path), what in done.sure.items() if name == volume and what == kind)
    unsure = {path: list(steps) for (name, path), (what, steps) in done.unsure.items() if name == volume and what is not None}
    folders = sorted(path for (name, path), what in done.folders.items() if name == volume and what is not None)
    return {**part, "uncertain": unsure} | ({"folders": folders} if folders else {})


def write_report(path: Path, report: Mapping[str, object]) -> None:
    """Write what a step did to files. OSError when it cannot be written."""
    text = json.dumps(report, ensure_ascii=False, indent=1) + "\n"
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(text.encode("utf-8", "surrogateescape"))
    os.replace(part, path)
