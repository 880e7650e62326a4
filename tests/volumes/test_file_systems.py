"""The best way to clone that a file system has is found and used, and said."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from kale_nb.volumes import SnapshotStore
from kale_nb.volumes.copying import Copier
from kale_nb.volumes.trees import remove_tree
from tests.volumes.conftest import MakeDisk
from tests.volumes.picture import litter, picture, write


def fill(workspace: Path) -> None:
    for number in range(100):
        write(workspace / f"d{number % 7}" / str(number), os.urandom(20_000))
    write(workspace / "readonly/f").parent.chmod(0o555)
    (workspace / "inside").symlink_to(workspace / "d1/1")
    (workspace / "d1/inside").symlink_to(workspace)


@pytest.mark.parametrize(
    ("kind", "mechanism", "reason"),
    [
        ("ext4", "copy", "files cannot share blocks on ext4, as they can on btrfs and xfs"),
        ("tmpfs", "copy", "files cannot share blocks on tmpfs, as they can on btrfs and xfs"),
        ("xfs", "reflink", "whole folders can be cloned at once only as btrfs subvolumes: this file system is none"),
        ("btrfs", "subvolume", ""),
    ],
)
def test_probe_says_what_clone_then_does(make_disk: MakeDisk, kind: str, mechanism: str, reason: str) -> None:
    disk = make_disk(kind, "400M" if kind in ("xfs", "btrfs") else "64M")
    fill(disk / "ws")
    before = picture(disk / "ws")
    store = SnapshotStore(disk / "store")
    told = store.probe(disk / "ws")
    assert (told.mechanism, told.reason) == (mechanism, reason)
    made = store.snapshot(disk / "ws")
    for turn in range(3):
        clone = store.clone(made, disk / f"runs/{turn}/work")
        assert clone.mechanism == ("reflink" if mechanism == "subvolume" and turn == 0 else mechanism)
        assert clone.bytes < 200_000 if mechanism != "copy" else clone.bytes > 2_000_000
        found = picture(clone.path)
        assert found.pop("inside")[-1] == str(clone.path / "d1/1")
        assert found.pop("d1/inside")[-1] == str(clone.path)
        assert found == {path: facts for path, facts in before.items() if path not in ("inside", "d1/inside")}
        assert not store.compare(made, clone.path)
        write(clone.path / "d1/1", b"changed")
        assert store.compare(made, clone.path).changed == ("d1/1",)
    assert picture(disk / "ws") == before
    assert store.verify() == ()
    assert litter(store.directory) == []
    remove_tree(disk / "runs")
    assert not (disk / "runs").exists()
    store.gc()
    assert not (store.directory / "trees").exists() or list((store.directory / "trees").iterdir()) == []


def test_every_clone_but_the_first_is_a_snapshot_of_one_subvolume(make_disk: MakeDisk) -> None:
    disk = make_disk("btrfs", "400M")
    for number in range(3000):
        write(disk / f"ws/{number % 50}/{number}", b"%d" % number)
    store = SnapshotStore(disk / "store")
    made = store.snapshot(disk / "ws")
    store.clone(made, disk / "clone")
    assert (store.directory / f"trees/{made.id}.due").exists()
    store.clone(made, disk / "second")
    assert os.listdir(store.directory / "trees") == [made.id]
    later = [store.clone(made, disk / f"clone{turn}") for turn in range(3)]
    assert [clone.mechanism for clone in later] == ["subvolume"] * 3


def test_what_rm_cannot_remove_of_a_store_is_removed_by_the_next_collection(make_disk: MakeDisk) -> None:
    disk = make_disk("btrfs", "400M")
    write(disk / "ws/folder/file", b"x")
    store = SnapshotStore(disk / "ws/.kale/store")
    kept = store.snapshot(disk / "ws")
    for turn in range(2):
        store.clone(kept, disk / f"clones/{turn}")
    (store.directory / "trees/0123").mkdir()  # of a snapshot that is no more
    store.gc(keep={kept.id})
    assert os.listdir(store.directory / "trees") == [kept.id]
    assert subprocess.run(["rm", "-rf", disk / "ws"], capture_output=True, check=False).returncode != 0
    SnapshotStore(disk / "ws/.kale/store").gc()
    subprocess.run(["rm", "-rf", disk / "ws", disk / "clones"], check=True)


def test_a_file_that_cannot_share_blocks_does_not_keep_the_others_from_it(make_disk: MakeDisk) -> None:
    disk = make_disk("btrfs", "400M")
    (disk / "ws/nocow").mkdir(parents=True)
    if subprocess.run(["chattr", "+C", disk / "ws/nocow"], capture_output=True, check=False).returncode:
        pytest.skip("chattr +C is not possible here")
    write(disk / "ws/a", os.urandom(3_000_000))
    write(disk / "ws/nocow/b", os.urandom(3_000_000))
    write(disk / "ws/z", os.urandom(3_000_000))
    store = SnapshotStore(disk / "store")
    made = store.snapshot(disk / "ws")
    assert store.verify() == ()
    assert picture(store.clone(made, disk / "clone").path) == picture(disk / "ws")


def test_space_that_xfs_reserves_for_a_shared_file_does_not_refuse_the_next_clone(make_disk: MakeDisk) -> None:
    disk = make_disk("xfs", "400M")
    write(disk / "ws/big", os.urandom(150_000_000))
    store = SnapshotStore(disk / "store")
    made = store.snapshot(disk / "ws")
    for turn in range(3):
        clone = store.clone(made, disk / f"clone{turn}")
        with (clone.path / "big").open("ab") as file:
            file.write(b"x")
        assert clone.mechanism == "reflink"
    assert store.verify() == ()


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_where_blocks_can_be_shared_the_store_takes_hardly_any(make_disk: MakeDisk, kind: str) -> None:
    disk = make_disk(kind, "400M")
    for number in range(400):
        write(disk / f"ws/{number}", os.urandom(100_000))
    os.sync()
    time.sleep(0.1)
    before = os.statvfs(disk)
    store = SnapshotStore(disk / "store")
    made = store.snapshot(disk / "ws")
    store.clone(made, disk / "clone")
    os.sync()
    after = os.statvfs(disk)
    assert (before.f_bfree - after.f_bfree) * before.f_frsize < 8_000_000  # of 40 MB, twice
    assert store.verify() == ()
    assert picture(disk / "clone") == picture(disk / "ws")


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_file_that_changes_while_its_blocks_are_shared_is_stored_as_it_was_hashed(
    make_disk: MakeDisk, monkeypatch: pytest.MonkeyPatch, kind: str, moment: str
) -> None:
    disk = make_disk(kind, "400M")
    for number in range(20):
        write(disk / f"ws/{number}", b"%d" % number * 9000)
    time.sleep(0.1)
    real, changed = Copier.share, []

    def share(self: Copier, reader: int, writer: int) -> bool:
        def change() -> None:
            if len(changed) < 5:
                changed.append(reader)
                with open(f"/proc/self/fd/{reader}", "r+b") as file:
                    file.write(b"another")

        if moment == "before":
            change()
        done = real(self, reader, writer)
        if moment == "after":
            change()
        return done

    monkeypatch.setattr(Copier, "share", share)
    store = SnapshotStore(disk / "store")
    made = store.snapshot(disk / "ws")
    assert len(changed) == 5
    assert store.verify() == ()
    monkeypatch.undo()
    assert picture(store.clone(made, disk / "clone").path) == picture(disk / "ws")


def test_a_sparse_file_is_sparse_in_the_store_and_in_the_clone(workspace: Path, store: SnapshotStore) -> None:
    with (workspace / "sparse").open("wb") as file:
        file.seek(100_000_000)
        file.write(b"end")
        file.truncate(200_000_000)
    made = store.snapshot(workspace)
    (entry,) = store.entries(made)
    clone = store.clone(made, workspace / ".kale/clone")
    for path in (store.open_object(entry.sha256), clone.path / "sparse"):
        assert path.stat().st_size == 200_000_000
        assert path.stat().st_blocks * 512 < 1_000_000
    assert picture(clone.path) == picture(workspace)


def test_a_workspace_on_an_overlay_is_cloned_apart_from_what_lies_below(make_disk: MakeDisk) -> None:
    below = make_disk("ext4")
    write(below / "lower/ws/d/file", b"below")
    write(below / "lower/ws/other", b"below too")
    disk = make_disk("overlay", below=below)
    write(disk / "ws/mine", b"above")
    store = SnapshotStore(disk / "ws/.kale/store")
    before = picture(disk / "ws")
    made = store.snapshot(disk / "ws")
    clone = store.clone(made, disk / "ws/.kale/clone").path
    assert picture(clone) == before
    (clone / "d").rename(clone / "e")
    (clone / "e/file").write_bytes(b"changed")
    write(below / "upper/ws/other", b"edited below")
    assert (clone / "other").read_bytes() == b"below too"
    assert (disk / "ws/d/file").read_bytes() == (below / "lower/ws/d/file").read_bytes() == b"below"
    assert store.verify() == ()


def test_a_clone_on_another_file_system_is_whole(make_disk: MakeDisk, tmp_path: Path) -> None:
    disk = make_disk("btrfs", "400M")
    fill(disk / "ws")
    store = SnapshotStore(disk / "store")
    made = store.snapshot(disk / "ws")
    clone = store.clone(made, tmp_path / "away/clone", seen_at=disk / "ws")
    assert clone.mechanism == "copy"
    assert picture(clone.path) == picture(disk / "ws")
    assert os.listdir(tmp_path / "away") == ["clone"]


def test_a_store_on_another_file_system_says_so(make_disk: MakeDisk, tmp_path: Path) -> None:
    write(tmp_path / "ws/f")
    told = SnapshotStore(make_disk("tmpfs") / "store").probe(tmp_path / "ws")
    assert "another file system than the store" in told.reason


def test_a_small_unchanged_workspace_costs_next_to_nothing(workspace: Path, store: SnapshotStore) -> None:
    """200 files: snapshot and clone in under 30 ms of CPU, where making 200 files takes the system no more than its usual 5 ms."""
    for number in range(200):
        write(workspace / f"d{number % 10}" / str(number), os.urandom(5000))
    time.sleep(0.05)
    store.snapshot(workspace)
    store.snapshot(workspace)
    data = os.urandom(5000)
    costs, floors = [], []
    for turn in range(7):
        (workspace / f".kale/floor{turn}").mkdir()
        began = time.process_time()
        for number in range(200):
            fd = os.open(f"{workspace}/.kale/floor{turn}/{number}", os.O_WRONLY | os.O_CREAT)
            os.write(fd, data)
            os.close(fd)
        floors.append(time.process_time() - began)
        began = time.process_time()
        made = store.snapshot(workspace)
        store.clone(made, workspace / f".kale/clone{turn}")
        costs.append(time.process_time() - began)
    assert min(costs) < 0.03 * max(1, min(floors) / 0.005), f"{min(costs):.4f} s, where the floor is {min(floors):.4f} s"


def test_an_unchanged_workspace_is_taken_without_reading_or_waiting_for_the_disk(
    workspace: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        write(workspace / f"file{number}", os.urandom(100))
    time.sleep(0.05)
    store.snapshot(workspace)
    store.snapshot(workspace)

    def never(*_: object) -> None:
        raise AssertionError("the disk was waited for")

    for name in ("fsync", "fdatasync", "sync"):
        monkeypatch.setattr(os, name, never)
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *args, **kwargs: opened.append(path) or real(path, *args, **kwargs))
    store.snapshot(workspace)
    assert not [name for name in opened if str(name).startswith("file")]
