"""A workspace, its store, and small disks of their own for tests that need a certain file system."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kale_nb.volumes import SnapshotStore

MakeDisk = Callable[..., Path]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work space ü"
    folder.mkdir()
    return folder


@pytest.fixture
def store(workspace: Path) -> SnapshotStore:
    return SnapshotStore(workspace / ".kale/store")


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Return what makes an image with a file system, a tmpfs, or an overlay on the folder `below`, mounts it, and gives the folder; unmounted after the test."""
    with contextlib.ExitStack() as stack:

        def make(kind: str, size: str = "64M", options: tuple[str, ...] = (), below: Path | None = None) -> Path:
            folder = tmp_path / f"disk-{kind}"
            folder.mkdir()
            if below is not None:
                for name in ("lower", "upper", "work"):
                    (below / name).mkdir(exist_ok=True)
                places = ",".join(f"{name}dir={below / name}" for name in ("lower", "upper", "work"))
                command = ["mount", "-t", kind, "-o", places, "none", str(folder)]
            elif kind == "tmpfs":
                command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
            else:
                if shutil.which(f"mkfs.{kind}") is None:
                    pytest.skip(f"mkfs.{kind} is not installed")
                image = tmp_path / f"{kind}.img"
                subprocess.run(["truncate", "-s", size, image], check=True)
                subprocess.run([f"mkfs.{kind}", "-q", *options, image], check=True, capture_output=True)
                command = ["mount", "-o", "loop", str(image), str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"a {kind} cannot be mounted here: {done.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
            return folder

        yield make
