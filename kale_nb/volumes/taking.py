"""Take a snapshot: look the folder over, bring what changed into the store, write the manifest."""

from __future__ import annotations

import collections
import os
import posixpath
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kale_nb.volumes.cache import Row, StatCache, matches
from kale_nb.volumes.intake import Intake
from kale_nb.volumes.locks import Staging
from kale_nb.volumes.manifest import Header, quote, sorted_paths, spell
from kale_nb.volumes.model import Policy
from kale_nb.volumes.mounts import keeps_times
from kale_nb.volumes.objects import Objects
from kale_nb.volumes.scan import Scan, printable
from kale_nb.volumes.trees import Tree

LEADS_TO, LEADS_OUT = " links to ", ", outside of the workspace"
"""How a snapshot's warning of a link is worded: `PATH links to TARGET, outside of the workspace`."""
_CHECKPOINT = 4.0
"""Seconds of hashing after which what was done is kept, so that a killed first snapshot need not start again."""

_PART_FILES, _PART_BYTES = 512, 256 * 1024**2
_TOLD = 20
_MANY = 128
"""Files from which on a second thread is worth its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot that waits for its name: what it says, and what the store did not hold."""

    id: str
    content_id: str
    manifest: bytes
    header: Header
    scan: Scan
    size: int
    files: int
    new: tuple[str, ...]
    new_bytes: int


def take(source: Path, found: Scan, policy: Policy, objects: Objects, cache: StatCache, epoch: str, staging: Staging) -> Taken:
    """Bring a folder into the store, its objects published, and return its manifest. The store must be held.

    Args:
        found: the look over the folder, taken a moment ago.

    Raises:
        VolumeError: it cannot be taken whole.
        OSError: the store cannot be written.
    """
    with Tree(source) as tree:
        intake = Intake(tree, objects, staging, trusted=keeps_times(source, staging))
        rows = _known_rows(cache, objects, epoch)
        taken = _take_files(found, rows, intake, lambda now: cache.save(now, epoch, staging))
        links = _read_links(found, tree)
        mode = stat.S_IMODE(os.fstat(tree.fd).st_mode) & 0o3777
    intake.publish()
    if taken != cache.rows or cache.epoch != epoch:
        cache.save(taken, epoch, staging)
    header = _header(source, mode, policy, found, links, intake.unsettled)
    text, id, content_id = spell(header, *_lines(found, taken, links))
    return Taken(
        id=id,
        content_id=content_id,
        manifest=text,
        header=header,
        scan=found,
        size=sum(row[2] for row in taken.values()),  # type: ignore[misc]  # the third column is a number
        files=len(taken) + len(links),
        new=tuple(intake.published),
        new_bytes=intake.new_bytes,
    )


def _known_rows(cache: StatCache, objects: Objects, epoch: str) -> dict[str, Row]:
    """Return the rows whose objects are in the store."""
    if cache.epoch == epoch or not cache.rows:
        return cache.rows
    there = objects.names()
    return {path: row for path, row in cache.rows.items() if row[5] in there}


def _take_files(
    found: Scan, rows: dict[str, Row], intake: Intake, checkpoint: Callable[[dict[str, Row]], None]
) -> dict[str, Row]:
    taken: dict[str, Row] = {}
    unknown: list[str] = []
    for path, status in found.files.items():
        row = rows.get(path)
        if row is not None and matches(row, status):
            taken[path] = row
        else:
            unknown.append(path)
    due = time.monotonic() + _CHECKPOINT
    for part in _parts(unknown, found):
        _read(part, rows, intake, taken)
        if time.monotonic() > due:
            intake.publish()
            checkpoint({**rows, **taken})
            due = time.monotonic() + _CHECKPOINT
    return taken


def _parts(paths: list[str], found: Scan) -> Iterator[list[str]]:
    """Cut the files to read into parts after each of which what was done can be kept."""
    part: list[str] = []
    size = 0
    for path in paths:
        part.append(path)
        size += found.files[path].st_size
        if len(part) >= _PART_FILES or size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _read(paths: list[str], rows: dict[str, Row], intake: Intake, taken: dict[str, Row]) -> None:
    """Read files into the store, with a second thread when they are many: hashing and the system's work go on beside each other."""
    queue = collections.deque(paths)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while (path := _next(queue)) is not None:
                read = intake.take(path, rows.get(path))
                if read is not None:
                    taken[path] = read[1]
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failures.append(error)
            queue.clear()

    second = threading.Thread(target=work, daemon=True) if len(paths) >= _MANY else None
    if second is not None:
        second.start()
    try:
        work()
    finally:
        queue.clear()
        if second is not None:
            second.join()
    if failures:
        raise failures[0]


def _next(queue: collections.deque[str]) -> str | None:
    try:
        return queue.popleft()
    except IndexError:  # the other thread took the last one
        return None


def _read_links(found: Scan, tree: Tree) -> dict[str, tuple[str, int]]:
    links = {}
    for path, status in found.links.items():
        try:
            links[path] = (tree.readlink(path), status.st_mtime_ns)
        except OSError:
            continue  # gone, or something else by now
    return links


def _lines(found: Scan, taken: Mapping[str, Row], links: Mapping[str, tuple[str, int]]) -> tuple[list[str], list[int]]:
    """Return the manifest's entries without their times, and the times."""
    heads: list[str] = []
    times: list[int] = []
    folders = found.folders
    for path in sorted_paths([*folders, *taken, *links]):
        row = taken.get(path)
        if row is not None:
            mode: int = row[4] & 0o1777  # type: ignore[operator]  # a number
            heads.append(f'["f",{quote(path)},{mode},{row[2]},"{row[5]}"')
            times.append(row[0])  # type: ignore[arg-type]  # a number
        elif path in links:
            heads.append(f'["l",{quote(path)},{quote(links[path][0])}')
            times.append(links[path][1])
        else:
            status = folders[path]
            heads.append(f'["d",{quote(path)},{status.st_mode & 0o3777}')
            times.append(status.st_mtime_ns)
    return heads, times


def _header(
    source: Path, mode: int, policy: Policy, found: Scan, links: Mapping[str, tuple[str, int]], unsettled: list[str]
) -> Header:
    roots = {os.fspath(source), os.path.realpath(source)}
    warnings = [
        f"{printable(path)}{LEADS_TO}{printable(target)}{LEADS_OUT}"
        for path, (target, _) in links.items()
        if leaves(path, target, roots)
    ]
    warnings += [
        f"{printable(path)}: its setuid or setgid bit is dropped"
        for path, status in found.files.items()
        if status.st_mode & 0o6000
    ]
    warnings += [f"{printable(path)} kept changing while it was read" for path in unsettled]
    warnings += _links_lost(found)
    return Header(
        source=os.fspath(source),
        mode=mode,
        ignore=policy.ignore,
        skipped=[printable(line) for line in sorted(found.special)],
        environments=sorted(found.environments),
        warnings=sorted(warnings),
    )


def _links_lost(found: Scan) -> list[str]:
    """Tell which names of one file become files of their own, of which a write changes one."""
    names: dict[int, list[str]] = {}
    for path, status in found.files.items():
        if status.st_nlink > 1:
            names.setdefault(status.st_ino, []).append(path)
    several = sorted(sorted(paths) for paths in names.values() if len(paths) > 1)
    told = [
        f"{' and '.join(map(printable, paths[:3]))} are one file (hard links), and in a clone one each"
        for paths in several[:_TOLD]
    ]
    return told + ([f"so are {len(several) - _TOLD} more files of several names"] if len(several) > _TOLD else [])


def leaves(path: str, target: str, roots: set[str]) -> bool:
    """Tell whether a link at `path` points out of the workspace, by its text alone.

    >>> leaves("a/b", "../c", {"/w"}), leaves("a/b", "../../c", {"/w"}), leaves("a", "/w/x", {"/w"}), leaves("a", "/x", {"/w"})
    (False, True, False, True)
    """
    if posixpath.isabs(target):
        return not any(target == root or target.startswith(root.rstrip("/") + "/") for root in roots)
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return inside == ".." or inside.startswith("../")
