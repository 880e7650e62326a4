"""Find out how clones can be made here, why not better, and what it will cost, before anything is copied."""

from __future__ import annotations

import os
from pathlib import Path

from kale_nb.sizes import size
from kale_nb.volumes import subvolumes
from kale_nb.volumes.cache import StatCache, matches
from kale_nb.volumes.copying import Copier
from kale_nb.volumes.locks import Staging
from kale_nb.volumes.model import Mechanism, Probe
from kale_nb.volumes.mounts import file_system
from kale_nb.volumes.scan import Scan

_PER_NEW, _PER_CLONED = 80e-6, 60e-6
"""Seconds to hash and store one small file, and to clone it, near enough."""
_HASH_RATE, _COPY_RATE = 1e9, 1e9
"""Bytes a second that can be hashed and stored, holes among them, and copied, near enough."""
_INODE = 1024
_MANY, _LARGE = 2000, 64 * 1024**2


def mechanism(store: Path, staging: Staging) -> tuple[Mechanism, str]:
    """Return the best way to clone within the file system of a store, and why nothing better is possible."""
    kind = file_system(store) or "this file system"
    why_no_subvolume = subvolumes.why_not(staging.path)
    if not why_no_subvolume:
        return "subvolume", ""
    why_no_reflink = _why_no_reflink(staging, kind)
    if not why_no_reflink:
        return "reflink", f"whole folders can be cloned at once only as btrfs subvolumes: {why_no_subvolume}"
    return "copy", why_no_reflink


def _why_no_reflink(staging: Staging, kind: str) -> str:
    reader = os.open(staging.name(), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=staging.fd)
    writer = os.open(staging.name(), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=staging.fd)
    try:
        os.write(reader, bytes(4096))
        if Copier().share(reader, writer):
            return ""
    finally:
        os.close(reader)
        os.close(writer)
    if kind in ("xfs", "btrfs"):
        return f"files cannot share blocks here: this {kind} was made or mounted without reflinks"
    return f"files cannot share blocks on {kind}, as they can on btrfs and xfs"


def probe(source: Path, found: Scan, store: Path, cache: StatCache, staging: Staging) -> Probe:
    """Say what a snapshot and a clone of a folder would take."""
    how, reason = mechanism(store, staging)
    rows = cache.rows
    new = [status for path, status in found.files.items() if path not in rows or not matches(rows[path], status)]
    new_size = sum(status.st_size for status in new)
    new_bytes = sum(min(status.st_size, status.st_blocks * 512) for status in new)
    apart = os.stat(source).st_dev != os.fstat(staging.fd).st_dev
    if apart:
        there = f"{source} is on another file system than the store, so that taking it copies what is new"
        reason = f"{reason}; {there}" if reason else there
    entries = len(found.files) + len(found.links) + len(found.folders)
    copied = new_bytes if how == "copy" or apart else 0
    cloned = found.allocated if how == "copy" else 0
    return Probe(
        mechanism=how,
        reason=reason,
        files=len(found.files) + len(found.links),
        size=found.size,
        estimated_bytes=copied + cloned + _INODE * (entries + len(new)),
        estimated_seconds=_PER_NEW * len(new) + _PER_CLONED * entries + new_size / _HASH_RATE + cloned / _COPY_RATE,
    )


_HOW = {"subvolume": "cloned as a whole", "reflink": "each sharing its blocks", "copy": "each copied"}


def describe(told: Probe) -> str:
    """Say in one line what a snapshot and a clone will be.

    >>> describe(Probe(mechanism="subvolume", reason="", files=2000, size=5_000_000, estimated_bytes=900_000, estimated_seconds=0.3))
    '2,000 files, 4.8 MiB, cloned as a whole: about 878.9 KiB on the disk and 0.3 s'
    """
    why = f" ({told.reason})" if told.reason else ""
    time = f"{told.estimated_seconds:.1f} s" if told.estimated_seconds >= 0.1 else "less than 0.1 s"
    cost = f"about {size(told.estimated_bytes)} on the disk and {time}"
    return f"{told.files:,} file{'' if told.files == 1 else 's'}, {size(told.size)}, {_HOW[told.mechanism]}{why}: {cost}"


def is_much(found: Scan) -> bool:
    """Tell whether a folder holds so much that it may be worth saying what a snapshot of it will cost."""
    return len(found.files) > _MANY or found.allocated > _LARGE
