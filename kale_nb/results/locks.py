"""Who uses a run's folder: readers share it, whoever removes it must have it alone. A lock ends with the process that holds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kale_nb.errors import UsageError


@contextlib.contextmanager
def using(directory: Path) -> Iterator[None]:
    """Keep a run's folder from being removed while this lasts. UsageError when it is gone, or about to be."""
    with _locked(directory, alone=False) as held:
        if not held:
            raise UsageError(f"the run {directory.name} is being removed", hint="`kale runs` lists those that are left")
        yield


@contextlib.contextmanager
def removing(directory: Path) -> Iterator[bool]:
    """Tell whether nobody uses a run's folder, and keep it so while this lasts."""
    with _locked(directory, alone=True) as held:
        yield held


@contextlib.contextmanager
def _locked(directory: Path, *, alone: bool) -> Iterator[bool]:
    import fcntl

    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(folder, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            yield True
            return
        yield os.path.exists(directory) and os.path.samestat(os.stat(directory), os.fstat(folder))
    finally:
        os.close(folder)
