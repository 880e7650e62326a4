"""Snapshots and clones: the words of the volume store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["file", "folder", "link"]
Mechanism = Literal["subvolume", "reflink", "copy"]
"""How a clone comes to be: a snapshot of a whole btrfs subvolume, files that share blocks, or files with blocks of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a snapshot takes and when it refuses.

    Attributes:
        max_bytes: refuse a workspace with more than this, before anything is copied.
        max_files: refuse a workspace with more files than this.
        ignore: extra patterns in gitignore syntax, on top of those always ignored and of `.kaleignore`.
        environments: take virtual environments and conda prefixes too, as ordinary folders.
        listed: take what `.kaleignore` names too.
    """

    max_bytes: int = 4 * 1024**3
    max_files: int = 200_000
    ignore: tuple[str, ...] = ()
    environments: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a folder held at one moment. It never changes; the same content, modes, times and deviations give the same `id`.

    Attributes:
        source: the folder, absolute.
        files: number of regular files and links taken.
        size: bytes of the regular files.
        skipped: what was left out and why, one `path: reason` each, printable.
        id: sha256 of the manifest, 64 hexadecimal digits.
        content_id: sha256 of what the snapshot holds without the times of files and where it was taken: equal content, equal id.
        created: when the snapshot was first taken, seconds since the epoch.
        taken: when it was last taken; later than `created` when the folder was found unchanged.
        seconds: how long taking it took the last time.
        note: what the caller said of it.
        warnings: what is not as in the folder, one sentence each: links that leave it, dropped setuid bits, files that kept changing.
        environments: virtual environments and conda prefixes in the folder that were left out, relative paths.
        new_bytes: bytes that the store did not hold yet; known only of the snapshot just taken.
    """

    source: Path
    files: int
    size: int
    skipped: tuple[str, ...] = ()
    id: str = ""
    content_id: str = ""
    created: float = 0.0
    taken: float = 0.0
    seconds: float = 0.0
    note: str = ""
    warnings: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    new_bytes: int = 0


class Entry(NamedTuple):
    """One line of a snapshot. A tuple, since a clone makes tens of thousands of them.

    Attributes:
        path: relative, `/` between the parts; bytes that are no UTF-8 are surrogate escapes.
        mode: permission bits; 0 for a link.
        size: bytes of a file, else 0.
        mtime_ns: time of the last change, nanoseconds since the epoch.
        sha256: of a file's content, else empty.
        target: where a link points, as it stood in the folder; else empty.
    """

    path: str
    kind: Kind
    mode: int = 0
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A writable folder made from a snapshot. It shares no writable file with the store or with another clone.

    Attributes:
        path: the folder, absolute, complete when this value exists.
        seconds: how long making it took.
        bytes: what it took on the disk, near enough: with shared blocks only what describes the files.
        mechanism: how it was made.
    """

    path: Path
    snapshot: Snapshot
    seconds: float
    bytes: int = 0
    mechanism: Mechanism = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a clone of a folder would be, told before it is made.

    Attributes:
        mechanism: the best that is possible here.
        reason: why nothing better is; empty when nothing is better.
        files: number of regular files and links.
        size: bytes of the regular files.
        estimated_bytes: what a snapshot and one clone will take on the disk, near enough.
        estimated_seconds: how long both will take, near enough.
    """

    mechanism: Mechanism
    reason: str
    files: int
    size: int
    estimated_bytes: int
    estimated_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How one tree of files differs from another: relative paths of files and links, sorted.

    A file changed when its content, permission bits or kind did; a new time alone is no change. Folders are not listed.
    """

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.created or self.changed or self.deleted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something in the store that is not what it should be.

    Attributes:
        sha256: the object; of a damaged snapshot, its id.
        reason: what is wrong, one sentence.
        snapshots: ids of the snapshots that need it.
        healed: the content was found in the folder the snapshot was taken of and is in the store again.
    """

    sha256: str
    reason: str
    snapshots: tuple[str, ...]
    healed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What a collection removed, or would remove.

    Attributes:
        snapshots: ids that went.
        objects: number of files' contents that went.
        bytes: disk space of those; less comes free where blocks are still shared with the workspace.
        per_snapshot: for every snapshot of the store, also those kept, the bytes that only it needs: what removing it alone frees.
    """

    snapshots: tuple[str, ...]
    objects: int
    bytes: int
    per_snapshot: Mapping[str, int]
