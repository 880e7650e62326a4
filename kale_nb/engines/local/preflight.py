"""What this machine can do for a run: kernel, private views, clones, space. Leaves nothing behind."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path

from kale_nb import __version__
from kale_nb.engines.local.kernels import KernelHost
from kale_nb.engines.local.kernelspecs import find_kernel
from kale_nb.engines.local.seeing import why_not_mounted
from kale_nb.engines.preflight import Diagnosis, Finding, Mark
from kale_nb.errors import EngineError, VolumeError
from kale_nb.sizes import size
from kale_nb.volumes import Policy, SnapshotStore

PART = "This machine"
FOLDER = "The workspace"
_TOLD = ("ipykernel", "nbclient", "papermill")
_HOW = {
    "subvolume": "a clone is made at once, as a btrfs subvolume",
    "reflink": "clones share blocks with what they were made from",
    "copy": "clones are copies",
}


def diagnose(
    workspace: Path, *, kernel: str = "python3", max_bytes: int = 4 * 1024**3, findings: tuple[Finding, ...] = ()
) -> Diagnosis:
    """Look at this machine, and at a folder as the workspace of a run.

    Args:
        workspace: absolute.
        findings: of the notebook, to be told first.
    """
    found = (*findings, *_versions(), _kernel(kernel), _view(workspace), *_workspace(workspace, max_bytes))
    return Diagnosis(engine="local", findings=found)


def _versions() -> Iterator[Finding]:
    told = ", ".join(f"{name} {metadata.version(name)}" for name in _TOLD if _installed(name))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding(
        key="versions",
        part=PART,
        mark=Mark.OK,
        found=f"kale-nb {__version__}, {python}, {platform.system()} {platform.release()} {platform.machine()}, {told}",
    )


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _kernel(name: str) -> Finding:
    try:
        command = find_kernel(name)
    except EngineError as error:
        return Finding(
            key="kernel",
            part=PART,
            mark=Mark.MISSING,
            found=error.message,
            why="each step runs in a kernel of its own",
            mend=error.hint or "",
        )
    program = shutil.which(command.template[0])
    if program is None:
        return Finding(
            key="kernel",
            part=PART,
            mark=Mark.MISSING,
            found=f"kernel {name} is started by {command.template[0]}, which is not there",
            why="each step runs in a kernel of its own",
            mend="install that kernel again (`python -m ipykernel install --user --name NAME`) or change the notebook's",
        )
    how = "forked from one that is ready" if command.forkable else "started anew for each step"
    return Finding(key="kernel", part=PART, mark=Mark.OK, found=f"kernel {name} ({program}), {how}")


def _view(workspace: Path) -> Finding:
    reason = why_no_view(workspace)
    if not reason:
        return Finding(
            key="view", part=PART, mark=Mark.OK, found="steps see clones at the paths of the originals (private mount namespaces)"
        )
    return Finding(
        key="view",
        part=PART,
        mark=Mark.WARNING,
        found=f"steps cannot have a view of their own of the file system: {reason}",
        why="an absolute path in a step means the original, which the step may change; KALE_WORKSPACE tells where the clone is",
        mend="use relative paths, or run where Linux lets users make namespaces",
    )


def why_no_view(workspace: Path, places: Collection[str] = (), *, isolation: str = "auto", live: bool = False) -> str:
    """Return why steps of a run would not see volumes at their own paths; see `why_not_mounted`."""
    try:
        with KernelHost(lambda message: None) as host:
            return why_not_mounted(host, workspace, places, isolation=isolation, live=live)
    except (EngineError, OSError) as error:
        return str(error)


def _workspace(workspace: Path, max_bytes: int) -> Iterator[Finding]:
    kept = workspace / ".kale"
    place = kept if kept.is_dir() else workspace
    if not os.access(place, os.W_OK):
        yield Finding(
            key="folder",
            part=FOLDER,
            mark=Mark.WARNING,
            found=f"{place} cannot be written",
            why="runs and snapshots are kept in the user's state folder instead",
            mend="name a folder with --runs-dir, where another is better",
        )
        place = Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".kale-doctor-") as store:
            probe = SnapshotStore(Path(store), Policy(max_bytes=max_bytes)).probe(workspace, exclude=(Path(store), kept))
    except (VolumeError, OSError) as error:
        hint = error.hint if isinstance(error, VolumeError) else None
        yield Finding(
            key="clone", part=FOLDER, mark=Mark.MISSING, found=str(error), why="a run works on a clone of it", mend=hint or ""
        )
        return
    slow = f": {probe.reason}" if probe.reason and probe.mechanism == "copy" else ""
    yield Finding(
        key="clone",
        part=FOLDER,
        mark=Mark.OK,
        found=f"{workspace}: {probe.files} file{'s' * (probe.files != 1)}, {size(probe.size)}; {_HOW[probe.mechanism]}{slow}",
    )
    free = shutil.disk_usage(place).free
    needed = (
        f"{size(free)} free; the first run takes about {size(probe.estimated_bytes)}, {max(1, round(probe.estimated_seconds))} s"
    )
    short = probe.estimated_bytes > free
    yield Finding(
        key="space",
        part=FOLDER,
        mark=Mark.MISSING if short else Mark.OK,
        found=needed,
        why="a clone that does not fit fails half-way" if short else "",
        mend="`kale gc` removes old runs; or list in .kaleignore what steps do not need" if short else "",
    )
