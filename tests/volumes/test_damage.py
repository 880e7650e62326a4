"""Damage is found, told with all it concerns, and healed where the content still exists."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from kale_nb.errors import VolumeError
from kale_nb.volumes import SnapshotStore
from tests.volumes.conftest import MakeDisk
from tests.volumes.picture import litter, picture, write


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def spoil(store: SnapshotStore, content: bytes, how: str) -> Path:
    path = store.open_object(sha(content))
    path.chmod(0o600)
    match how:
        case "flipped":
            path.write_bytes(b"Y" + content[1:])
        case "rotten":  # as a failing disk does it: no time tells
            before = path.stat()
            path.write_bytes(b"Y" + content[1:])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "cut":
            os.truncate(path, 0)
        case "gone":
            path.unlink()
    return path


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "rotten"])
def test_a_damaged_object_is_healed_from_the_workspace(workspace: Path, store: SnapshotStore, how: str) -> None:
    write(workspace / "f", b"precious")
    made = store.snapshot(workspace)
    spoil(store, b"precious", how)
    (damage,) = store.verify()
    assert (damage.sha256, damage.snapshots, damage.healed) == (sha(b"precious"), (made.id,), True)
    assert damage.reason
    assert store.verify() == ()
    assert litter(store.directory) == []


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "rotten"])
def test_what_cannot_be_healed_names_every_snapshot_and_no_clone_is_made_of_it(
    workspace: Path, store: SnapshotStore, how: str
) -> None:
    write(workspace / "f", b"precious")
    first = store.snapshot(workspace)
    write(workspace / "g", b"other")
    second = store.snapshot(workspace)
    write(workspace / "f", b"overwritten")
    third = store.snapshot(workspace)
    spoil(store, b"precious", how)
    (damage,) = store.verify()
    assert (damage.snapshots, damage.healed) == (tuple(sorted((first.id, second.id))), False)
    with pytest.raises(VolumeError, match=f"snapshot {first.id[:12]} is damaged: the content of f is missing") as caught:
        store.clone(first, workspace / ".kale/clone")
    assert "kale snapshots verify" in (caught.value.hint or "")
    assert not (workspace / ".kale/clone").exists()
    store.clone(third, workspace / ".kale/clone")
    write(workspace / "f", b"precious")  # it comes back: the next snapshot heals the old ones
    store.snapshot(workspace)
    assert store.verify() == ()
    store.clone(first, workspace / ".kale/again")


def test_a_content_cut_short_is_noticed_while_cloning(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f", b"precious")
    made = store.snapshot(workspace)
    spoil(store, b"precious", "cut")
    with pytest.raises(VolumeError, match="0 bytes long, not 8"):
        store.clone(made, workspace / ".kale/clone")


def test_a_content_written_to_is_noticed_while_cloning_and_reading(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f", b"precious")
    made = store.snapshot(workspace)
    spoil(store, b"precious", "flipped")
    with pytest.raises(VolumeError, match=r"content of f is no longer what it was.*") as caught:
        store.clone(made, workspace / ".kale/clone")
    assert "kale snapshots verify" in (caught.value.hint or "")
    assert not (workspace / ".kale/clone").exists()
    with pytest.raises(VolumeError, match="no longer what it was"):
        store.open_object(sha(b"precious"))


def test_a_pin_makes_nothing_whole_that_was_written_to(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f", b"precious")
    write(workspace / "g", b"other")
    made = store.snapshot(workspace)
    spoil(store, b"precious", "flipped")
    store.pin(made.id)
    with pytest.raises(VolumeError, match="no longer what it was"):
        store.clone(made, workspace / ".kale/clone")
    assert store.open_object(sha(b"other")).stat().st_mtime_ns == 0


def test_the_next_snapshot_replaces_an_object_that_was_written_to(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f", b"precious")
    store.snapshot(workspace)
    spoil(store, b"precious", "flipped")
    write(workspace / "copy", b"precious")
    made = store.snapshot(workspace)
    assert store.verify() == ()
    assert picture(store.clone(made, workspace / ".kale/clone").path) == picture(workspace)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_that_was_copied_without_its_times_is_read_once_and_then_trusted(
    workspace: Path, tmp_path: Path, read_only: bool
) -> None:
    store = SnapshotStore(tmp_path / "store")
    contents = (b"one", b"two", b"")
    for content in contents:
        write(workspace / f"f{content.decode()}", content)
    made = store.snapshot(workspace)
    shutil.copytree(store.directory, tmp_path / "copied", copy_function=shutil.copyfile)
    copied = SnapshotStore(tmp_path / "copied")
    if read_only:
        copied.directory.chmod(0o555)
    assert picture(copied.clone(made, tmp_path / "clone").path) == picture(workspace)
    assert copied.verify() == ()
    path = copied.open_object(sha(b"one"))
    assert path.stat().st_mtime == 1
    spoil(copied, b"one", "flipped")
    with pytest.raises(VolumeError, match="no longer what it was"):
        copied.clone(made, tmp_path / "again")


def test_a_shallow_check_finds_what_is_missing_short_or_written_to_without_reading(workspace: Path, store: SnapshotStore) -> None:
    for content in (b"one1", b"two2", b"three", b"four4"):
        write(workspace / content.decode(), content)
    made = store.snapshot(workspace)
    spoil(store, b"one1", "rotten")
    spoil(store, b"two2", "cut")
    spoil(store, b"three", "gone")
    spoil(store, b"four4", "flipped")
    assert {d.sha256 for d in store.verify([made.id], deep=False)} == {sha(b"two2"), sha(b"three"), sha(b"four4")}
    assert {d.sha256 for d in store.verify([made.id])} == {sha(b"one1")}


def test_a_damaged_manifest_is_told_and_not_used(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f")
    made = store.snapshot(workspace)
    path = store.directory / "snapshots" / f"{made.id}.jsonl"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"f"', b'"x"'))
    (damage,) = store.verify()
    assert (damage.sha256, damage.snapshots, damage.healed) == (made.id, (made.id,), False)
    with pytest.raises(VolumeError, match="manifest"):
        store.clone(made, workspace / ".kale/clone")


def test_the_next_snapshot_replaces_an_object_that_is_too_short(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f", b"precious")
    store.snapshot(workspace)
    spoil(store, b"precious", "cut")
    write(workspace / "copy", b"precious")
    made = store.snapshot(workspace)
    assert store.verify() == ()
    assert picture(store.clone(made, workspace / ".kale/clone").path) == picture(workspace)


def crash(store: SnapshotStore) -> None:
    """Make the store believe that the machine was restarted since it was last written to."""
    boot = store.directory / "boot"
    boot.unlink()
    boot.write_bytes(b"another boot")


def test_after_a_crash_what_was_not_flushed_is_checked_before_it_is_trusted(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "lost", b"lost in the crash")
    write(workspace / "kept", b"on the disk")
    made = store.snapshot(workspace)
    spoil(store, b"lost in the crash", "cut")
    crash(store)
    again = store.snapshot(workspace)
    assert again.id == made.id
    assert store.verify() == ()
    assert store.open_object(sha(b"on the disk")).stat().st_mtime_ns == 0


def test_after_a_crash_with_the_content_gone_the_snapshot_is_damaged_not_wrong(workspace: Path, store: SnapshotStore) -> None:
    file = write(workspace / "lost", b"lost in the crash")
    made = store.snapshot(workspace)
    spoil(store, b"lost in the crash", "flipped")
    file.unlink()
    crash(store)
    with pytest.raises(VolumeError, match="missing"):
        store.clone(made, workspace / ".kale/clone")


def test_what_was_flushed_is_not_read_after_a_restart(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f", b"flushed")
    made = store.snapshot(workspace)
    store.pin(made.id)
    path = store.open_object(sha(b"flushed"))
    assert path.stat().st_mtime_ns == 0
    os.utime(path, ns=(1, 0))  # a reader would move the time of access on
    crash(store)
    store.snapshot(workspace)
    assert path.stat().st_atime_ns == 1


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk_leaves_nothing_and_says_so(make_disk: MakeDisk, tmp_path: Path, kind: str) -> None:
    disk = make_disk(kind, "64M")
    source = tmp_path / "ws"
    for number in range(12):
        write(source / f"f{number}", os.urandom(8 * 1024**2))
    for number in range(50):
        write(source / f"small{number}", os.urandom(1000))
    before = picture(source)
    store = SnapshotStore(disk / "store")
    with pytest.raises(VolumeError, match="the disk is full") as caught:
        store.snapshot(source)
    assert "nothing of it was left" in caught.value.message
    assert store.list() == ()
    assert litter(store.directory) == []
    assert list((store.directory / "objects").glob("*/*")) == []
    assert picture(source) == before
    for number in range(1, 12):
        (source / f"f{number}").unlink()
    made = store.snapshot(source)
    assert store.verify() == ()
    filler = write(disk / "filler", b"")
    with filler.open("wb") as file:
        try:
            while file.write(bytes(1024**2)):
                file.flush()
        except OSError:
            pass
    with pytest.raises(VolumeError, match="not enough disk space"):
        store.clone(made, disk / "clone")
    assert sorted(os.listdir(disk)) == sorted(["filler", "store", *(["lost+found"] if kind == "ext4" else [])])
    assert litter(store.directory) == []
