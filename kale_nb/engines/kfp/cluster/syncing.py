"""What programs have written gets to the disk before a snapshot is taken: a snapshot is of the disk, not of memory."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def sync_folder(folder: Path) -> str:
    """Write out all that is waiting for the file system of `folder`; return why it could not be, empty when it was.

    Of the one file system where the system can, else of all.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    try:
        return _sync(descriptor, folder)
    finally:
        os.close(descriptor)


def _sync(descriptor: int, folder: Path) -> str:
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        os.sync()
        return ""
    if call(descriptor) == 0:
        return ""
    number = ctypes.get_errno()
    return f"{folder}: {os.strerror(number)}"
