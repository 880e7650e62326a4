"""Snapshots and clones: the words of the volume store and the interface that every mechanism fulfils."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a snapshot takes and when it refuses.

    Attributes:
        max_bytes: refuse a workspace with more than this, before anything is copied.
        max_files: refuse a workspace with more files than this.
        ignore: extra patterns in gitignore syntax, on top of those always ignored and of `.kaleignore`.
    """

    max_bytes: int = 4 * 1024**3
    max_files: int = 200_000
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a workspace held at one moment.

    Attributes:
        source: the folder, absolute.
        files: number of regular files and links taken.
        size: bytes of the regular files.
        skipped: what was left out and why, one `path: reason` each.
    """

    source: Path
    files: int
    size: int
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A writable folder made from a snapshot.

    Attributes:
        path: the folder, absolute, complete when this value exists.
        seconds: how long making it took.
    """

    path: Path
    snapshot: Snapshot
    seconds: float


class VolumeStore(Protocol):
    """Where snapshots are kept and clones come from."""

    def snapshot(self, source: Path) -> Snapshot:
        """Take a picture of `source`, which is only read. VolumeError when it cannot be taken whole or is too large."""
        ...

    def clone(self, snapshot: Snapshot, destination: Path) -> Clone:
        """Make a writable folder at `destination`, which must not exist yet. VolumeError leaves nothing there."""
        ...
