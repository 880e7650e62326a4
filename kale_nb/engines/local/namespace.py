"""A private view of the file system for one process, on Linux: other folders at the places it knows.

`enter` is called in a new child of one thread, before it becomes a kernel. It makes a mount namespace (as root; else with a user namespace
that maps the user to itself), mounts what the view says and gives up every capability that could undo it. What the child starts later
inherits the view. The system calls are those of bubblewrap, without its start.

Nothing but the standard library is imported: the kernel host imports this before it forks.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat
from collections.abc import Iterable, Mapping
from typing import Any

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_RDONLY, _REMOUNT, _BIND, _MOVE, _REC, _PRIVATE = 1, 32, 4096, 8192, 16384, 1 << 18
_NOSUID, _NODEV, _NOEXEC, _NOATIME, _NODIRATIME, _RELATIME = 2, 4, 8, 1024, 2048, 1 << 21
_KEPT = {
    b"nosuid": _NOSUID, b"nodev": _NODEV, b"noexec": _NOEXEC, b"noatime": _NOATIME, b"nodiratime": _NODIRATIME, b"relatime": _RELATIME,
}  # fmt: skip
"""Options of a mount and the flags that a remount must repeat: a user namespace may not take them off."""
_MOUNTS = "/proc/self/mountinfo"
_DETACH = 2
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 24, 47, 4
_LAST_CAPABILITY = 40
_DANGEROUS = (2, 19, 21)
"""CAP_DAC_READ_SEARCH (files by handle), CAP_SYS_PTRACE (other processes' root folders) and CAP_SYS_ADMIN (mounts): what root gives up."""
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_MOST_ENTRIES = 2000
_WHY = {
    errno.ENOSPC: "their number is limited (sysctl user.max_user_namespaces)",
    errno.EPERM: "the system or the container forbids it (a seccomp profile, AppArmor or a sysctl)",
    errno.EACCES: "the system or the container forbids it (a seccomp profile, AppArmor or a sysctl)",
    errno.EINVAL: "the kernel does not have them",
    errno.ENOSYS: "the kernel does not have them",
}
"""Why `unshare` refuses, in words."""

_libc: Any = None


class NoNamespace(Exception):
    """The machine does not allow it; the message says why, for people."""


def enter(view: Mapping[str, Any]) -> None:
    """Give this process, which must have one thread, the view.

    Args:
        view: `mounts`, a list of `[source, target, read_only]` in the order of mounting, paths absolute and without links; `covers`, the
            folders of the host in which targets are missing; `root`, an empty folder for the machine's new root, needed when `/` is
            among the covers.

    Raises:
        NoNamespace: it is not allowed here. The process is then of no use any more.
    """
    global _libc
    _libc = ctypes.CDLL(None, use_errno=True)
    own = _unshare()
    _call("make the mounts private", _libc.mount, b"none", b"/", None, _REC | _PRIVATE, None)
    sources = {source: _open(source) for source, _, _ in view["mounts"]}
    base = ""
    if "/" in view["covers"]:
        base = view["root"]
        _fill_root(base)
    for folder in view["covers"]:
        if folder != "/":
            _cover(base + folder, base + view["root"] if base else view["root"])
    for source, target, read_only in view["mounts"]:
        _bind(sources[source], base + target, read_only=read_only)
    for descriptor in sources.values():
        os.close(descriptor)
    if base:
        _become_root(base)
    _give_up(own=own)


def _unshare() -> bool:
    """Make the namespaces; return whether a user namespace was needed."""
    if os.geteuid() == 0 and _libc.unshare(_NEWNS) == 0:
        return False
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(_NEWUSER | _NEWNS) != 0:
        number = ctypes.get_errno()
        reason = _WHY.get(number, os.strerror(number))
        raise NoNamespace(f"this user may make no namespaces: {reason}")
    try:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1\n"), ("gid_map", f"{gid} {gid} 1\n")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)
    except OSError as error:
        raise NoNamespace(f"this system lets nobody map users into a namespace ({error.strerror})") from error
    return True


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise NoNamespace(f"{path} cannot be opened ({error.strerror})") from error


def _bind(source: int, target: str, *, read_only: bool) -> None:
    """Put an opened folder (or file) at a place, which is made where it is missing."""
    if not os.path.lexists(target):
        try:
            if stat.S_ISDIR(os.fstat(source).st_mode):
                os.makedirs(target, exist_ok=True)  # another step's process may be doing the same
            else:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise NoNamespace(f"there is no place for {target} ({error.strerror})") from error
    _bind_path(f"/proc/self/fd/{source}", target)
    if read_only:
        for point, options in _mounts_at(os.path.realpath(target)):
            flags = sum(flag for option, flag in _KEPT.items() if option in options)
            _call(f"make {target} read-only", _libc.mount, None, point, None, _BIND | _REMOUNT | _RDONLY | flags, None)


def _mounts_at(folder: str) -> list[tuple[bytes, list[bytes]]]:
    """Return the mounts at and below a folder, which are bound with it, and the options of each."""
    place = os.fsencode(folder)
    found = []
    with open(_MOUNTS, "rb") as table:
        for line in table:
            fields = line.split(b" ", 6)
            point = re.sub(rb"\\(\d{3})", lambda code: bytes([int(code[1], 8)]), fields[4])
            if point == place or point.startswith(place + b"/"):
                found.append((point, fields[5].split(b",")))
    return found


def _bind_path(source: str, target: str) -> None:
    _call(f"mount at {target}", _libc.mount, os.fsencode(source), os.fsencode(target), None, _BIND | _REC, None)


def _cover(folder: str, staging: str) -> None:
    """Put a folder over `folder` that holds the same and to which places can be added."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(staging, 0o700)
    _tmpfs(staging, stat.S_IMODE(os.stat(folder).st_mode))
    _repeat(folder, staging, staging)
    _call(f"cover {folder}", _libc.mount, os.fsencode(staging), os.fsencode(folder), None, _MOVE, None)


def _fill_root(root: str) -> None:
    _tmpfs(root, 0o755)
    _repeat("/", root, root)


def _repeat(folder: str, target: str, staging: str) -> None:
    """Bind everything in `folder` into the empty `target`, a mount at `staging`."""
    names = os.listdir(folder)
    if len(names) > _MOST_ENTRIES:
        raise NoNamespace(f"{folder} holds {len(names):,} entries: make the mount point by hand")
    prefix = folder.rstrip("/") + "/"
    around = staging[len(prefix) :].split("/", maxsplit=1)[0] if staging.startswith(prefix) else None
    for name in sorted(names, key=lambda name: name != around):
        source, made = prefix + name, f"{target}/{name}"
        status = os.lstat(source)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), made)
            continue
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(made)
        else:
            os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _bind_path(source, made)
        if name == around:  # it holds the mount that is being filled, which was empty: away with the second one
            _libc.umount2(os.fsencode(target + "/" + staging[len(prefix) :]), _DETACH)


def _tmpfs(folder: str, mode: int) -> None:
    options = f"mode={mode:o},size=1m".encode()
    _call("mount a folder in memory", _libc.mount, b"tmpfs", os.fsencode(folder), b"tmpfs", _NOSUID | _NODEV, options)


def _become_root(root: str) -> None:
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise NoNamespace(f"a new root is not known how to make on {os.uname().machine}")
    remount = _BIND | _REMOUNT | _RDONLY | _NOSUID | _NODEV
    os.chdir(root)
    _call("change the root", _libc.syscall, number, b".", b".")
    _call("leave the old root", _libc.umount2, b".", _DETACH)
    os.chdir("/")
    _call("make the new root read-only", _libc.mount, None, b"/", None, remount, None)


def _give_up(*, own: bool) -> None:
    """Give up the capabilities that could undo the view; in a user namespace of an ordinary user all, for it had none before."""
    everything = own and os.geteuid() != 0
    gone: Iterable[int] = range(_LAST_CAPABILITY + 1) if everything else _DANGEROUS
    _libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in gone:
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _call("read the capabilities", _libc.capget, header, data)
    for capability in gone:
        for column in range(3):
            data[3 * (capability // 32) + column] &= ~(1 << (capability % 32)) & 0xFFFFFFFF
    _call("give up capabilities", _libc.capset, header, data)


def _call(what: str, function: Any, *args: Any) -> None:
    if function(*args) < 0:
        number = ctypes.get_errno()
        raise NoNamespace(f"the system does not let this user {what} ({os.strerror(number)})")
