"""What of a workspace is never copied, and what its `.kaleignore` leaves out.

`.gitignore` is not honoured: it hides the very data and models that steps read.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from kale_nb.errors import VolumeError

IGNORE_FILE = ".kaleignore"

_FOLDERS = frozenset(
    {
        ".kale", ".git", ".hg", ".svn", ".ipynb_checkpoints", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache",
        ".hypothesis", ".import_linter_cache", ".pytype", ".pyre", ".tox", ".nox", ".ipython", ".virtual_documents",
    }
)  # fmt: skip
_FILES = ("*.pyc", "*.pyo", ".nfs*", ".*.sw[a-p]", ".#*", ".DS_Store", "Thumbs.db")


def ignored_always(name: str, *, is_folder: bool) -> bool:
    """Tell whether an entry called `name` is left out of every snapshot.

    >>> ignored_always(".git", is_folder=True), ignored_always("a.pyc", is_folder=False), ignored_always("data", is_folder=True)
    (True, True, False)
    """
    if is_folder:
        return name in _FOLDERS
    if name in (".git", ".kale"):  # a worktree's or submodule's .git is a file
        return True
    return (name.startswith(".") or name.endswith((".pyc", ".pyo", ".db"))) and any(fnmatch.fnmatchcase(name, p) for p in _FILES)


def is_environment(names: Iterable[str]) -> bool:
    """Tell from the names in a folder whether it is a virtual environment or a conda prefix."""
    return any(name in ("pyvenv.cfg", "conda-meta") for name in names)


def user_rules(source: Path, extra: tuple[str, ...]) -> Callable[[str], bool] | None:
    """Return what tells whether a relative path (folders end with `/`) is left out by the user's patterns; None without patterns.

    Raises:
        VolumeError: `.kaleignore` cannot be read or holds a pattern that is none.
    """
    lines: list[str] = list(extra)
    file = source / IGNORE_FILE
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines() + lines
    except FileNotFoundError:
        pass
    except OSError as error:
        raise VolumeError(f"{file} cannot be read: {os.strerror(error.errno or 0)}") from error
    return _matcher(lines, file)


def names_in(text: str, path: str) -> bool:
    """Tell whether the text of an ignore file names a file or a folder that it is in; VolumeError where it holds a pattern that is none.

    >>> names_in("cache/", "a/cache/x"), names_in("cache/", "cache")
    (True, False)
    """
    match = _matcher(text.splitlines(), Path(IGNORE_FILE))
    parts = path.split("/")
    above = ("/".join(parts[:depth]) + "/" for depth in range(1, len(parts)))
    return match is not None and any(match(name) for name in (*above, path))


def _matcher(lines: list[str], file: Path) -> Callable[[str], bool] | None:
    if not any(line.strip() and not line.startswith("#") for line in lines):
        return None
    import pathspec

    try:
        # `raw/**` means what is in raw, as `raw/*` does when folders are taken one by one; pathspec lets it match raw itself.
        spec = pathspec.GitIgnoreSpec.from_lines(re.sub(r"(?<=[^/])/\*\*\s*$", "/*", line) for line in lines)
    except ValueError as error:
        raise VolumeError(f"{file} holds a pattern that cannot be read: {error}") from error
    return spec.match_file


def relative_to(source: Path, paths: tuple[Path, ...]) -> frozenset[str]:
    """Return those of `paths` that lie inside `source`, relative to it."""
    found = set()
    for path in paths:
        for root, inner in ((source, source / path), (source.resolve(), (source / path).resolve())):
            if inner != root and inner.is_relative_to(root):
                found.add(inner.relative_to(root).as_posix())
    return frozenset(found)
