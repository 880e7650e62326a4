"""Compile what a test names, once as long as the file stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

from kale_nb.compiler import Compiled, compile_path, is_script
from kale_nb.errors import HINT, KaleError, SourceError

_kept: dict[tuple[str, str, int, int], Compiled] = {}


def read(path: Path, pipeline: str | None = None) -> Compiled:
    """Compile a notebook or script. CompileError with all diagnostics, SourceError when there is no such file.

    Args:
        path: absolute; messages spell it relative to the working folder where it lies in it.
    """
    spelled = str(path)
    try:
        inside = os.path.relpath(path)
        if not inside.startswith(os.pardir):
            spelled = inside
        status = path.stat()
    except FileNotFoundError:
        raise told(SourceError(f"there is no {spelled}", hint="relative paths start at the folder of the test")) from None
    if is_script(path):  # what it imports may have changed
        return compile_path(spelled, pipeline=pipeline)
    key = (str(path), spelled, status.st_mtime_ns, status.st_size)
    if key not in _kept:
        _kept[key] = compile_path(spelled)
    return _kept[key]


def told(error: KaleError) -> KaleError:
    """Add the hint of an error where pytest and tracebacks show it."""
    if error.hint:
        error.add_note(f"{HINT}{error.hint}")
    return error
