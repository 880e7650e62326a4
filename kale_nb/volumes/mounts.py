"""What the system tells of mounts: which lie inside a folder, and on what file system a folder is."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kale_nb.volumes.locks import Staging

_TABLE = "/proc/self/mountinfo"
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "rootfs", "devtmpfs"})
"""File systems that never write a page back, so that a write through a mapping need not change a file's times."""
_STACKED = frozenset({"overlay", "aufs", "unionfs"})
"""File systems that keep what is written on another one."""
_FIEMAP = 0xC020660B
"""`ioctl` of Linux that tells where on the disk a file is, from linux/fs.h."""


def mounts_inside(folder: Path) -> frozenset[str]:
    """Return the relative paths of what is mounted inside `folder`; nothing where the system has no table of mounts."""
    try:
        root = os.fsencode(os.path.realpath(folder)).rstrip(b"/") + b"/"
        with open(_TABLE, "rb") as table:
            text = table.read()
    except OSError:
        return frozenset()
    if b" " + _escaped(root) not in text:
        return frozenset()
    points = (_unescaped(line.split(b" ", 5)[4]) for line in text.splitlines())
    return frozenset(os.fsdecode(point[len(root) :]) for point in points if point.startswith(root) and len(point) > len(root))


def file_system(folder: Path) -> str:
    """Return the name of the file system that holds `folder`, such as `ext4`; empty when the system does not tell."""
    try:
        path = os.fsencode(os.path.realpath(folder)).rstrip(b"/") + b"/"
        with open(_TABLE, "rb") as table:
            lines = table.read().splitlines()
    except OSError:
        return ""
    best, name = -1, b""
    for line in lines:
        fields = line.split(b" ")
        point = _unescaped(fields[4]).rstrip(b"/") + b"/"
        if len(point) >= best and path.startswith(point):
            best, name = len(point), fields[fields.index(b"-", 6) + 1]
    return name.decode("ascii", "replace")


def keeps_times(folder: Path, staging: Staging | None = None) -> bool:
    """Tell whether each change of a file in `folder` shows in its times in the end, also one through a mapping.

    Args:
        staging: a place to try things in: of a stacked file system it is told only there what lies below. Without one, such a file
            system is taken to keep times.
    """
    kind = file_system(folder)
    if kind in _STACKED and staging is not None:
        return os.stat(folder).st_dev == os.fstat(staging.fd).st_dev and _is_on_a_disk(staging)
    return kind not in _IN_MEMORY


def _is_on_a_disk(staging: Staging) -> bool:
    """Tell whether a file of ours has a place on a disk, which no file in memory has."""
    import fcntl

    file = os.open(staging.name(), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=staging.fd)
    try:
        os.write(file, b"x")
        fcntl.ioctl(file, _FIEMAP, bytearray(struct.pack("=QQIIII", 0, 1, 0, 0, 0, 0)))
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1], 8)]), field)


def _escaped(path: bytes) -> bytes:
    return re.sub(rb"[ \t\n\\]", lambda found: b"\\%03o" % found[0][0], path)
