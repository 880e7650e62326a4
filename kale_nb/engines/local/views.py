"""What the steps of a run see of the file system, decided before any of them starts.

A `View` is the list of mounts that make the clone stand at the workspace's own path, data volumes at theirs and the marshal volume at its
own; `namespace.enter` carries it out. What the steps need of the real workspace (the run's data folder, virtual environments, the folder
of the kernels' sockets) is put back at its place.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kale_nb.errors import UsageError
from kale_nb.pipeline.model import MarshalVolume, Volume
from kale_nb.pipeline.volumes import creations

_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder and the place at which steps see it, both absolute and without links."""

    source: Path
    target: Path
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Mounts in order, and the folders of this machine in which mount points are missing."""

    mounts: tuple[Mount, ...]
    covers: tuple[Path, ...] = ()

    def to_json(self, root: str) -> dict[str, object]:
        """Return the view as `namespace.enter` takes it; `root` is an empty folder to build a new root on."""
        mounts = [[str(mount.source), str(mount.target), mount.read_only] for mount in self.mounts]
        return {"mounts": mounts, "covers": [str(folder) for folder in self.covers], "root": root}


def make_view(
    clone: Path | None,
    workspace: Path,
    data: Path,
    others: Iterable[Mount],
    needed: Iterable[Path] = (),
    environments: Iterable[Path] = (),
) -> View:
    """Return what steps are to see.

    Args:
        clone: stands at the workspace's path; None when the run uses the workspace itself.
        data: the run's data folder, which is seen at its own path.
        others: volumes and their mount points.
        needed: folders that must be seen as they are, wherever they lie.
        environments: virtual environments in the workspace that the clone does not have: to be read, not written.

    Raises:
        UsageError: a mount point at which something of the system or of the interpreter stands.
    """
    workspace = workspace.resolve()
    mounts = [] if clone is None else [Mount(source=clone.resolve(), target=workspace)]
    wanted = [Mount(source=m.source.resolve(), target=_place(m.target), read_only=m.read_only) for m in others]
    hidden = [mount.target for mount in (*mounts, *wanted)]
    back = [folder.resolve() for folder in (data, *needed)]
    wanted += [Mount(source=real, target=real) for real in back if any(real.is_relative_to(target) for target in hidden)]
    if clone is not None:
        folders = _python_folders(workspace, clone, environments)
        wanted += [Mount(source=real, target=real, read_only=True) for real in folders]
    mounts += wanted
    mounts.sort(key=lambda mount: len(mount.target.parts))
    return View(mounts=tuple(mounts), covers=_covers(mounts))


def hidden_originals(originals: Iterable[Mount], workspace: Path) -> tuple[Mount, ...]:
    """Return the mounts that put clones of data folders over these folders too, so that no path leads to an original.

    Left out are folders in the workspace, which its clone covers, and those that hold the workspace or the interpreter.
    """
    home = workspace.resolve()
    needed = [Path(os.path.realpath(path)) for path in (sys.prefix, sys.base_prefix, sys.executable, os.path.dirname(__file__))]
    found: dict[Path, Mount] = {}
    for mount in originals:
        place = mount.target.resolve()
        if not place.is_relative_to(home) and not any(path.is_relative_to(place) for path in (home, *needed)):
            found.setdefault(place, Mount(source=mount.source, target=place, read_only=mount.read_only))
    return tuple(found.values())


def mount_points(volumes: Iterable[Volume], marshal: MarshalVolume) -> dict[str, str]:
    """Return where steps are to see the data volumes and the marshal volume, by name. UsageError for a mount point that would hide what
    steps need, whether or not this machine can mount there."""
    known = tuple(volumes)
    places = {c.name: c.mount_point for c in creations(known, marshal) if c.mount_point is not None}
    places |= {volume.name: volume.mount_point for volume in known}
    for name, place in places.items():
        check_mount_point(place, name)
    return places


def check_mount_point(path: str, name: str) -> Path:
    """Return a mount point as a path. UsageError when it is none, or when a volume there would hide what every step needs."""
    place = Path(os.path.normpath(path))
    if not place.is_absolute() or str(place) == "/":
        raise UsageError(f"the volume {name} cannot be mounted at {path}", hint="name a folder of its own, such as /data")
    needed = (*_SYSTEM, sys.prefix, sys.base_prefix, sys.executable, os.path.dirname(__file__))
    for system in needed:
        if Path(system).is_relative_to(place) or (system in _SYSTEM[:1] and place.is_relative_to(system)):
            raise UsageError(f"the volume {name} cannot be mounted at {path}: it would hide {system}", hint="use another path")
    return place


def _place(target: Path) -> Path:
    """Return a mount point without the links on the way to it."""
    return Path(os.path.realpath(target))


def _python_folders(workspace: Path, clone: Path, environments: Iterable[Path]) -> list[Path]:
    """Return the folders of the workspace that interpreters need and that its clone does not have, such as virtual environments."""
    folders = [*map(str, environments), sys.prefix, sys.exec_prefix, sys.base_prefix, *sys.path, os.path.dirname(sys.executable)]
    folders += [os.environ.get(name, "") for name in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    folders += [site.getuserbase()] if site.ENABLE_USER_SITE else []
    found: list[Path] = []
    for text in folders:
        if not os.path.isabs(text):
            continue
        real = Path(os.path.realpath(text))
        if real == workspace or not real.is_relative_to(workspace) or not real.is_dir():
            continue
        if not (clone / real.relative_to(workspace)).exists():
            found.append(real)
    found.sort(key=lambda path: len(path.parts))
    return [path for i, path in enumerate(found) if not any(path.is_relative_to(other) for other in found[:i])]


def _covers(mounts: Iterable[Mount]) -> tuple[Path, ...]:
    """Return the nearest existing folders of the mount points that exist neither here nor below a mount before them."""
    covers: list[Path] = []
    before: list[Path] = []
    for mount in mounts:
        if not mount.target.exists() and not any(mount.target.is_relative_to(other) for other in before):
            folder = next(parent for parent in mount.target.parents if parent.exists())
            if folder not in covers:
                covers.append(folder)
        before.append(mount.target)
    return tuple(sorted(covers, key=lambda path: len(path.parts)))
