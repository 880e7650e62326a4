"""What a snapshot keeps of a virtual environment or conda prefix that it leaves out: enough to tell that it changed."""

from __future__ import annotations

import os
from pathlib import Path


def fingerprint(fd: int, path: str) -> tuple[str, str, str]:
    """Return path, kind (`venv`, `conda`) and a sha256 over the interpreter's version and the installed distributions.

    Args:
        fd: the open folder of the environment.
    """
    import hashlib

    conda = _names(fd, "conda-meta")
    told: list[str] = [] if conda is None else [name for name in conda if name.endswith(".json")]
    try:
        config = os.open("pyvenv.cfg", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        pass
    else:
        with open(config, encoding="utf-8", errors="replace") as file:
            told += [line.strip() for line in file.read(65536).splitlines() if line.startswith("version")]
    for version in _names(fd, "lib") or []:
        if version.startswith("python"):
            packages = _names(fd, f"lib/{version}/site-packages") or []
            told += [name for name in packages if name.endswith((".dist-info", ".egg-info"))]
    digest = hashlib.sha256("\n".join(sorted(told)).encode("utf-8", "surrogateescape")).hexdigest()
    return path, "venv" if conda is None else "conda", digest


def digest_now(folder: Path) -> str:
    """Return the sha256 that `fingerprint` tells of the environment in a folder; nothing when there is none."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return fingerprint(fd, os.fspath(folder))[2]
    finally:
        os.close(fd)


def _names(fd: int, folder: str) -> list[str] | None:
    try:
        inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return None
    try:
        return os.listdir(inner)
    except OSError:
        return None
    finally:
        os.close(inner)
