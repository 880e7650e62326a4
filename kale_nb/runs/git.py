"""The git state of a workspace: commit and branch, read from the repository's own files, and how much of it was changed.

Reading the files takes microseconds and needs no git. Whether files were changed only git can tell: it is asked in the background while
the run goes on, is told to write nothing, and what it has not answered by the end of the run stays unknown.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

_HASH_LENGTHS = (40, 64)
_THEIRS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitState:
    """Where a workspace stood in its repository.

    Attributes:
        commit: hex; None before the first commit, or where the repository keeps it in a way that is not read here.
        branch: None when no branch is checked out.
        changed: number of files under version control that differ from the commit; None when not known.
        untracked: number of files and folders that git neither knows nor ignores; None when not known.
    """

    commit: str | None = None
    branch: str | None = None
    changed: int | None = None
    untracked: int | None = None

    @property
    def dirty(self) -> bool | None:
        """Whether files under version control differ from the commit; None when not known."""
        return None if self.changed is None else self.changed > 0

    def describe(self) -> str:
        """Say it in words.

        >>> GitState(commit="0123456789abcdef", branch="main", changed=2, untracked=1).describe()
        'main at 0123456789ab, 2 files changed, 1 untracked'
        >>> GitState(commit="0123456789abcdef", changed=0, untracked=0).describe()
        'no branch at 0123456789ab, clean'
        """
        told = f"{self.branch or 'no branch'} at {self.commit[:12] if self.commit else 'no commit'}"
        if self.changed is None:
            return f"{told}, not known whether changed"
        parts = [f"{self.changed} file{'s' if self.changed != 1 else ''} changed"] if self.changed else []
        parts += [f"{self.untracked} untracked"] if self.untracked else []
        return ", ".join([told, *(parts or ["clean"])])


def git_state(workspace: Path) -> GitState | None:
    """Read commit and branch of the repository that the workspace is in; None when it is in none."""
    folder = _git_folder(workspace.resolve())
    if folder is None:
        return None
    head = _first_line(folder / "HEAD")
    if head is None:
        return GitState()
    if not head.startswith("ref: "):
        return GitState(commit=_hash(head))
    name = head[len("ref: ") :].strip()
    branch = name.removeprefix("refs/heads/")
    if branch == ".invalid":  # how a repository with reftables says that its refs are elsewhere
        return GitState()
    common = folder
    shared = _first_line(folder / "commondir")
    if shared is not None:
        common = (folder / shared).resolve()
    return GitState(commit=_hash(_first_line(common / name)) or _packed(common / "packed-refs", name), branch=branch)


class ChangesAsked:
    """A question to git that runs beside us. Ask with `ChangesAsked(workspace)`, take the answer with `answer`."""

    def __init__(self, workspace: Path) -> None:
        import subprocess
        import tempfile

        self._output: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        environment = {name: value for name, value in os.environ.items() if name not in _THEIRS}
        words = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", os.fspath(workspace)]
        words += ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--", "."]
        try:
            self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives until the answer
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.DEVNULL, env=environment
            )
        except OSError:
            self._close()

    def answer(self, state: GitState, patience: float = 0.05) -> GitState:
        """Return the state with what git has answered, waiting at most `patience` seconds for it. To be called once."""
        import subprocess

        process, output = self._process, self._output
        if process is None or output is None:
            return state
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        try:
            if code != 0:
                return state
            output.seek(0)
            changed, untracked = _counted(output.read())
        finally:
            self._close()
        return replace(state, changed=changed, untracked=untracked)

    def _close(self) -> None:
        if self._output is not None:
            with contextlib.suppress(OSError):
                self._output.close()
        self._output = self._process = None


def _counted(told: bytes) -> tuple[int, int]:
    """Count what `git status --porcelain=v1 -z` tells: changed files, untracked ones.

    >>> _counted(b" M a.py\\0R  new\\0old\\0?? notes\\0")
    (2, 1)
    """
    changed = untracked = 0
    entries = iter(told.split(b"\0"))
    for entry in entries:
        if entry.startswith(b"??"):
            untracked += 1
        elif entry:
            changed += 1
            if entry[:1] in b"RC":
                next(entries, None)  # the name before
    return changed, untracked


def _git_folder(workspace: Path) -> Path | None:
    for folder in (workspace, *workspace.parents):
        place = folder / ".git"
        if (place / "HEAD").exists():
            return place
        if place.is_file():  # of a worktree or a submodule
            told = _first_line(place) or ""
            if told.startswith("gitdir: "):
                return (folder / told[len("gitdir: ") :].strip()).resolve()
    return None


def _packed(path: Path, name: str) -> str | None:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    for line in text.splitlines():
        commit, _, ref = line.partition(" ")
        if ref == name:
            return _hash(commit)
    return None


def _first_line(path: Path) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.readline().rstrip("\n")
    except OSError:
        return None


def _hash(text: str | None) -> str | None:
    return text if text is not None and len(text) in _HASH_LENGTHS and all(c in "0123456789abcdef" for c in text) else None
