"""Whatever a run does to its clone, the workspace and the objects stay as they are, byte for byte."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kale_nb.volumes import SnapshotStore
from tests.volumes.conftest import MakeDisk
from tests.volumes.picture import picture, write


def fill(workspace: Path) -> None:
    write(workspace / "small", b"small")
    write(workspace / "big", os.urandom(2_000_000))
    write(workspace / "d/inner", b"inner")
    write(workspace / "readonly", b"readonly").chmod(0o444)
    os.link(workspace / "small", workspace / "hard")
    (workspace / "link").symlink_to("small")
    (workspace / "absolute").symlink_to(workspace / "big")
    (workspace / "absolute folder").symlink_to(workspace / "d")
    with (workspace / "sparse").open("wb") as file:
        file.truncate(5_000_000)


def chmod_and_write(clone: Path) -> None:
    for path in [p for p in clone.rglob("*") if not p.is_symlink()]:
        path.chmod(0o777)
        if path.is_file():
            path.write_bytes(b"spoiled")


def truncate(clone: Path) -> None:
    for name in ("small", "big", "readonly", "sparse", "hard"):
        (clone / name).chmod(0o600)
        os.truncate(clone / name, 1)


def write_through_mappings(clone: Path) -> None:
    for name in ("small", "big", "sparse"):
        with (clone / name).open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[:5] = b"wrong"
            mapped.flush()


def write_through_links(clone: Path) -> None:
    for name in ("link", "absolute", "absolute folder/inner"):
        (clone / name).write_bytes(b"through the link")


def hard_links(clone: Path) -> None:
    os.link(clone / "small", clone / "mine")
    (clone / "mine").write_bytes(b"spoiled")
    (clone / "hard").write_bytes(b"spoiled too")


def rename_folders(clone: Path) -> None:
    (clone / "d").rename(clone / "e")
    (clone / "e/inner").rename(clone / "small")


def remove_all(clone: Path) -> None:
    shutil.rmtree(clone)


def punch(clone: Path) -> None:
    subprocess.run(["fallocate", "-p", "-o", "0", "-l", "4096", clone / "big"], check=True)
    subprocess.run(["fallocate", "-l", "3000000", clone / "big"], check=True)


ATTACKS = [chmod_and_write, truncate, write_through_mappings, write_through_links, hard_links, rename_folders, remove_all, punch]


def attack_and_compare(workspace: Path, attack: Callable[[Path], None]) -> None:
    fill(workspace)
    store = SnapshotStore(workspace / ".kale/store")
    before = picture(workspace)
    made = store.snapshot(workspace)
    objects = picture(store.directory / "objects")
    clone = store.clone(made, workspace / ".kale/runs/r/work")
    twin = store.clone(made, workspace / ".kale/runs/s/work")
    untouched = picture(twin.path)
    inodes = {(s.st_dev, s.st_ino) for s in (p.stat() for p in (store.directory / "objects").rglob("*"))}
    assert not inodes & {(s.st_dev, s.st_ino) for s in (p.lstat() for p in clone.path.rglob("*"))}
    attack(clone.path)
    os.sync()
    assert picture(workspace) == before
    assert picture(store.directory / "objects") == objects
    assert picture(twin.path) == untouched
    assert store.verify() == ()


@pytest.mark.parametrize("attack", ATTACKS)
def test_source_objects_and_other_clones_survive(workspace: Path, attack: Callable[[Path], None]) -> None:
    attack_and_compare(workspace, attack)


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_also_where_blocks_are_shared(make_disk: MakeDisk, kind: str, attack: Callable[[Path], None]) -> None:
    workspace = make_disk(kind, "400M") / "ws"
    workspace.mkdir()
    attack_and_compare(workspace, attack)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_also_as_an_ordinary_user() -> None:
    """The same attacks in a process that is no longer root."""
    root = Path(__file__).parents[2]
    code = (
        "import ctypes, fcntl, hashlib, json, os, pathlib, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests.volumes.test_hostile import ATTACKS, attack_and_compare\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"  # after the imports: the interpreter may be closed to others
        "for attack in ATTACKS:\n"
        "    folder = pathlib.Path(sys.argv[1]) / attack.__name__; folder.mkdir(); attack_and_compare(folder, attack)\n"
    )
    with tempfile.TemporaryDirectory(prefix="kale-nobody-") as folder:  # pytest's own folders are closed to others
        os.chown(folder, 65534, 65534)
        done = subprocess.run([sys.executable, "-c", code, folder, str(root)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
