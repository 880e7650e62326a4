"""Where run records are kept: one folder per run under `<workspace>/.kale/runs/`.

Run ids sort by time: `20261124-101500-train-x7k2` is UTC date and time, the pipeline's name and four random letters. A folder is made
with one `mkdir`, so two runs at once never share one. `.kale/.gitignore` holds `*`. A workspace that cannot be written keeps its runs in
the user's state folder (`$XDG_STATE_HOME/kale/runs/`, by default under `~/.local/state`).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from kale_nb.errors import KaleError, UsageError
from kale_nb.names import RunId, kubernetes_name
from kale_nb.runs.codec import record_from_json
from kale_nb.runs.record import RecordError, RunRecord, settle
from kale_nb.runs.recorder import FILE

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


class StoreError(KaleError):
    """There is no place where a run may be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A folder of runs.

    Attributes:
        root: the folder that holds one folder per run; need not exist when nothing ran yet.
        notice: why the runs are not where they usually are.
    """

    root: Path
    notice: str | None = None

    def create(self, pipeline: str, now: float | None = None) -> Path:
        """Make the folder of a new run and return it; its name is the run's id. OSError when it cannot be made."""
        moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(time.time() if now is None else now))
        name = kubernetes_name(pipeline)[:24].strip("-") or "run"
        while True:
            directory = self.root / f"{moment}-{name}-{''.join(secrets.choice(_LETTERS) for _ in range(4))}"
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            return directory

    def records(self) -> tuple[RunRecord, ...]:
        """Return every readable record, oldest first."""
        found: list[RunRecord] = []
        for directory in self._directories():
            try:
                found.append(read_record(directory))
            except RecordError:
                continue
        return tuple(sorted(found, key=lambda r: (r.started, r.id)))

    def find(self, text: str = "latest") -> RunRecord:
        """Return the run that `text` means: an id, the only id that begins or ends with it, a run's folder, or `latest`.

        UsageError when there is none or more than one.
        """
        if os.sep in text or text in (".", ".."):
            if not (Path(text) / FILE).exists():
                raise UsageError(f"{text} is not the folder of a run")
            return read_record(Path(text).absolute())
        if text == "latest":
            records = self.records()
            if not records:
                raise UsageError(f"there are no runs in {self.root}", hint="start one with `kale run NOTEBOOK`")
            return records[-1]
        return read_record(self.root / self._matching(text))

    def _matching(self, text: str) -> str:
        names = [directory.name for directory in self._directories()]
        if text in names:
            return text
        found = [n for n in names if n.startswith(text)] or [n for n in names if n.endswith(f"-{text}")]
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(found[-5:])
            raise UsageError(f"{len(found)} runs match {text!r}: {some}", hint="write more of the id")
        raise UsageError(f"there is no run {text!r} in {self.root}", hint="`kale runs` lists them")

    def _directories(self) -> list[Path]:
        try:
            with os.scandir(self.root) as entries:
                return sorted(self.root / e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise UsageError(f"the runs in {self.root} cannot be listed: {error.strerror}") from error


def read_record(directory: Path) -> RunRecord:
    """Read the record of the run in `directory`, settled: never running when its writer is gone.

    RecordError when there is none or it cannot be read.
    """
    path = directory / FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecordError(f"{directory} holds no run record") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"the run record {path} cannot be read: {error}") from error
    return settle(record_from_json(value, directory))


def open_store(workspace: Path, runs_dir: Path | None = None) -> Store:
    """Return the store to write a new run into, made if need be.

    Args:
        workspace: the user's folder, absolute.
        runs_dir: keep runs here and nowhere else.

    StoreError when neither the place asked for nor the user's state folder can be written.
    """
    if runs_dir is not None:
        try:
            return Store(root=_writable(runs_dir))
        except OSError as error:
            raise StoreError(f"runs cannot be kept in {runs_dir}: {error.strerror}") from error
    try:
        root = _writable(workspace / ".kale" / "runs")
        _ignore_for_git(workspace / ".kale")
        return Store(root=root)
    except OSError as error:
        reason = error.strerror or str(error)
    fallback = state_runs(workspace)
    try:
        root = _writable(fallback)
    except OSError as error:
        raise StoreError(
            f"runs can be kept neither in {workspace / '.kale'} ({reason}) nor in {fallback} ({error.strerror})",
            hint="name a folder with --runs-dir",
        ) from error
    return Store(root=root, notice=f"{workspace} cannot be written ({reason}): this run is kept in {root}")


def known_store(workspace: Path, runs_dir: Path | None = None) -> Store:
    """Return the store to read the runs of `workspace` from; makes nothing."""
    if runs_dir is not None:
        return Store(root=runs_dir)
    usual = workspace / ".kale" / "runs"
    fallback = state_runs(workspace)
    if not usual.is_dir() and fallback.is_dir():
        return Store(root=fallback)
    return Store(root=usual)


def state_runs(workspace: Path) -> Path:
    """Return the folder in the user's state folder for the runs of a workspace that cannot be written."""
    base = os.environ.get("XDG_STATE_HOME", "")
    state = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    digest = hashlib.sha256(os.fsencode(workspace)).hexdigest()[:8]
    return state / "kale" / "runs" / f"{kubernetes_name(workspace.name)[:40]}-{digest}"


def snapshot_folder(runs: Path) -> Path:
    """Return where the snapshots are kept that the runs in the folder `runs` were made from: beside it, or hidden in it.

    >>> snapshot_folder(Path("/ws/.kale/runs")), snapshot_folder(Path("/elsewhere"))
    (PosixPath('/ws/.kale/store'), PosixPath('/elsewhere/.store'))
    """
    return runs.parent / "store" if runs.name == "runs" and runs.parent.name == ".kale" else runs / ".store"


def run_id(directory: Path) -> RunId:
    """Return the id of the run whose folder this is."""
    return RunId(directory.name)


def _writable(root: Path) -> Path:
    """Make the folder and prove that something can be made in it."""
    root.mkdir(parents=True, exist_ok=True)
    probe = root / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    probe.mkdir()
    probe.rmdir()
    return root


def _ignore_for_git(folder: Path) -> None:
    path = folder / ".gitignore"
    if not path.exists():
        path.write_text("*\n", encoding="utf-8")
