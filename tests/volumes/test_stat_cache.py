"""The stat cache saves reading, and never hides a change."""

from __future__ import annotations

import json
import mmap
import os
import time
from pathlib import Path

import pytest

from kale_nb.volumes import Snapshot, SnapshotStore
from tests.volumes.conftest import MakeDisk
from tests.volumes.picture import picture, write


def content(store: SnapshotStore, made: Snapshot, path: str) -> bytes:
    (entry,) = [entry for entry in store.entries(made) if entry.path == path]
    return store.open_object(entry.sha256).read_bytes()


def rows(store: SnapshotStore) -> dict[str, list[object]]:
    (file,) = (store.directory / "cache").iterdir()
    return dict(json.loads(file.read_bytes())["rows"])


def settle() -> None:
    """Wait until the clock of file times has moved on."""
    time.sleep(0.05)


def test_files_that_did_not_change_are_not_read_again(workspace: Path, store: SnapshotStore) -> None:
    file = write(workspace / "f", b"1")
    settle()
    store.snapshot(workspace)
    before = file.stat().st_atime_ns
    os.utime(file, ns=(1, file.stat().st_mtime_ns))  # a reader would move this on, also under relatime
    settle()
    store.snapshot(workspace)
    marked = file.stat().st_atime_ns
    store.snapshot(workspace)
    assert file.stat().st_atime_ns == marked
    assert before


def test_a_second_change_within_one_tick_of_the_clock_is_seen(workspace: Path, store: SnapshotStore) -> None:
    file = workspace / "f"
    for number in range(60):
        file.write_bytes(b"%03d" % number)
        assert content(store, store.snapshot(workspace), "f") == b"%03d" % number


def test_rows_as_new_as_the_scan_are_not_trusted(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f")
    store.snapshot(workspace)
    assert rows(store)["f"][1] == 0
    settle()
    store.snapshot(workspace)
    assert rows(store)["f"][1] != 0


def test_a_change_with_the_old_time_and_size_put_back_is_seen(workspace: Path, store: SnapshotStore) -> None:
    file = write(workspace / "f", b"old")
    settle()
    before = file.stat()
    store.snapshot(workspace)
    store.snapshot(workspace)
    file.write_bytes(b"new")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content(store, store.snapshot(workspace), "f") == b"new"


@pytest.mark.parametrize("size", [4096, 3 * 1024**2])
def test_further_writes_to_a_page_that_is_dirty_already_are_seen(workspace: Path, store: SnapshotStore, size: int) -> None:
    file = write(workspace / "mapped", bytes(size))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), size) as mapped:
        for number in range(1, 6):
            mapped[:4] = b"%04d" % number  # the first makes the page dirty; without a flush no later one leaves a trace
            settle()
            assert content(store, store.snapshot(workspace), "mapped")[:4] == b"%04d" % number
            settle()
            assert content(store, store.snapshot(workspace), "mapped")[:4] == b"%04d" % number


@pytest.mark.parametrize("kind", ["xfs", "btrfs", "tmpfs", "overlay on a disk", "overlay in memory"])
def test_writes_through_a_mapping_are_seen_on_every_file_system(make_disk: MakeDisk, kind: str) -> None:
    """Also those of a mapping that was there before the snapshot, and those to a page that was read first."""
    if kind.startswith("overlay"):
        disk = make_disk("overlay", below=make_disk("tmpfs") if kind.endswith("memory") else make_disk("ext4"))
    else:
        disk = make_disk(kind, "400M")
    file = write(disk / "ws/mapped", bytes(8192))
    store = SnapshotStore(disk / "ws/.kale/store")
    for turn in range(2):
        settle()
        store.snapshot(disk / "ws")
        with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 8192) as mapped:
            assert mapped[0] == turn * 2
            for number in (1, 2):
                mapped[:1] = bytes([turn * 2 + number])
                settle()
                made = store.snapshot(disk / "ws")
                assert content(store, made, "mapped")[0] == turn * 2 + number
    assert store.verify() == ()
    clone = store.clone(made, disk / "clone").path
    assert picture(clone) == picture(disk / "ws")
    began = time.time()
    settle()
    with (clone / "mapped").open("r+b") as opened, mmap.mmap(opened.fileno(), 8192) as mapped:
        assert mapped[0] == 4
        mapped[:1] = b"x"
    assert store.compare(made, clone, since=began).changed == ("mapped",)


def test_a_mapping_that_outlives_the_open_file_is_noticed(workspace: Path, store: SnapshotStore) -> None:
    file = write(workspace / "mapped", bytes(4096))
    with file.open("r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 4096)
    with mapped:
        for number in range(1, 4):
            mapped[:1] = bytes([number])
            settle()
            assert content(store, store.snapshot(workspace), "mapped")[0] == number


def test_in_memory_nothing_is_taken_from_the_cache(make_disk: MakeDisk) -> None:
    disk = make_disk("tmpfs")
    file = write(disk / "ws/mapped", bytes(4096))
    store = SnapshotStore(disk / "ws/.kale/store")
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 4096) as mapped:
        assert mapped[0] == 0  # a tmpfs lets a page that was read be written without a trace
        for number in range(1, 4):
            settle()
            mapped[:1] = bytes([number])
            settle()
            assert content(store, store.snapshot(disk / "ws"), "mapped")[0] == number


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"format":99}', b"\xff\x00"])
def test_a_cache_that_cannot_be_read_is_as_good_as_none(workspace: Path, store: SnapshotStore, garbage: bytes) -> None:
    write(workspace / "f", b"1")
    made = store.snapshot(workspace)
    (file,) = (store.directory / "cache").iterdir()
    file.unlink()
    file.write_bytes(garbage)
    assert store.snapshot(workspace).id == made.id


def test_rows_of_objects_that_were_collected_are_not_believed(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f", b"1")
    settle()
    first = store.snapshot(workspace)
    store.snapshot(workspace)
    store.gc()
    again = store.snapshot(workspace)
    assert again.id == first.id
    assert content(store, again, "f") == b"1"


def test_a_wrong_row_is_caught_by_verify_and_dropped(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f", b"1")
    settle()
    store.snapshot(workspace)
    made = store.snapshot(workspace)
    (file,) = (store.directory / "cache").iterdir()
    told = json.loads(file.read_bytes())
    other = write(workspace / "other", b"other")
    lie = next(e.sha256 for e in store.entries(store.snapshot(workspace)) if e.path == "other")
    other.unlink()
    told["rows"]["f"][5] = lie
    file.unlink()
    file.write_text(json.dumps(told))
    wrong = store.snapshot(workspace)
    assert wrong.id != made.id
    (damage,) = store.verify()
    assert damage.sha256 == lie
    assert "stat cache" in damage.reason
    assert damage.snapshots == (wrong.id,)
    assert store.snapshot(workspace).content_id == made.content_id
    assert store.verify() == ()
