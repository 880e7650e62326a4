"""A snapshot is named by what it holds, and tells it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from kale_nb.errors import VolumeError
from kale_nb.volumes import Changes, SnapshotStore
from tests.volumes.picture import write


def test_an_unchanged_folder_gives_the_same_snapshot_again(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "a/b", b"1")
    first = store.snapshot(workspace, note="before")
    second = store.snapshot(workspace)
    assert (second.id, second.content_id, second.note, second.created) == (first.id, first.content_id, "before", first.created)
    assert second.taken >= first.taken
    assert (first.new_bytes, second.new_bytes, len(store.list())) == (1, 0, 1)


def test_a_new_time_gives_another_id_but_the_same_content_id(workspace: Path, store: SnapshotStore) -> None:
    file = write(workspace / "a")
    first = store.snapshot(workspace)
    os.utime(file, ns=(1, 1))
    second = store.snapshot(workspace)
    assert first.id != second.id
    assert first.content_id == second.content_id


@pytest.mark.parametrize("change", ["content", "mode", "name", "link", "folder"])
def test_any_other_change_gives_another_content_id(workspace: Path, store: SnapshotStore, change: str) -> None:
    file = write(workspace / "a", b"1")
    (workspace / "l").symlink_to("a")
    (workspace / "d").mkdir()
    first = store.snapshot(workspace)
    match change:
        case "content":
            file.write_bytes(b"2")
        case "mode":
            file.chmod(0o600 if file.stat().st_mode & 0o777 != 0o600 else 0o640)
        case "name":
            file.rename(workspace / "b")
        case "link":
            (workspace / "l").unlink()
            (workspace / "l").symlink_to("b")
        case "folder":
            (workspace / "d").rmdir()
    assert store.snapshot(workspace).content_id != first.content_id


def test_equal_folders_elsewhere_have_the_same_content_id(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        write(tmp_path / name / "d/f", b"same")
        made.append(SnapshotStore(tmp_path / name / ".kale/store").snapshot(tmp_path / name))
    assert made[0].id != made[1].id
    assert made[0].content_id == made[1].content_id


def test_ids_and_objects_are_what_sha256sum_says(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "a", b"content")
    made = store.snapshot(workspace)
    text = (store.directory / "snapshots" / f"{made.id}.jsonl").read_bytes()
    assert hashlib.sha256(text).hexdigest() == made.id
    (entry,) = store.entries(made)
    assert entry.sha256 == hashlib.sha256(b"content").hexdigest()
    kept = store.open_object(entry.sha256)
    assert kept.read_bytes() == b"content"
    assert kept.stat().st_mode & 0o222 == 0


def test_entries_are_sorted_by_the_bytes_of_their_paths_and_each_line_is_json(workspace: Path, store: SnapshotStore) -> None:
    for name in (b"a/b", b"a.c", b"b", b"\xff", "\uffff".encode(), "\U0001f600".encode(), b"new\nline"):
        write(Path(os.fsdecode(os.path.join(os.fsencode(workspace), name))))
    made = store.snapshot(workspace)
    paths = [os.fsencode(entry.path) for entry in store.entries(made)]
    assert paths == sorted(paths)
    assert len(paths) == 8
    lines = (store.directory / "snapshots" / f"{made.id}.jsonl").read_text(encoding="ascii").splitlines()
    assert [type(json.loads(line)) for line in lines] == [dict] + [list] * 8


def test_equal_contents_are_kept_once(workspace: Path, store: SnapshotStore) -> None:
    for number in range(5):
        write(workspace / str(number), b"the same")
    os.link(workspace / "0", workspace / "hard")
    assert store.snapshot(workspace).new_bytes == 8
    assert len(list((store.directory / "objects").glob("*/*"))) == 1


def test_find_takes_a_prefix_and_says_when_it_is_none_or_many(workspace: Path, store: SnapshotStore) -> None:
    ids = set()
    for number in range(17):  # two of them begin with the same digit
        write(workspace / "f", str(number).encode())
        ids.add(store.snapshot(workspace).id)
    one = next(iter(ids))
    assert store.find(one).id == store.find(one[:20]).id == one
    digit = next(d for d in "0123456789abcdef" if sum(id.startswith(d) for id in ids) > 1)
    with pytest.raises(VolumeError, match="may be any of"):
        store.find(digit)
    for none in ("x", "", one + "0"):
        with pytest.raises(VolumeError, match="no snapshot"):
            store.find(none)
    assert {made.id for made in store.list()} == ids
    assert store.list()[0].taken >= store.list()[-1].taken


def test_what_is_not_as_in_the_workspace_is_said(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "s").chmod(0o4755)
    (workspace / "away").symlink_to("/etc/hostname")
    (workspace / "up").symlink_to("../x")
    (workspace / "inside").symlink_to(workspace / "s")
    os.mkfifo(workspace / "fifo")
    write(workspace / "env/pyvenv.cfg", b"version = 3.11.7\n")
    made = store.find(store.snapshot(workspace).id)
    assert made.warnings == (
        "away links to /etc/hostname, outside of the workspace",
        "s: its setuid or setgid bit is dropped",
        "up links to ../x, outside of the workspace",
    )
    assert {"fifo: a named pipe", "env: a Python environment"} <= set(made.skipped)
    assert made.environments == ("env",)


def test_installing_a_package_into_an_environment_that_is_left_out_shows_in_the_id(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "env/pyvenv.cfg", b"version = 3.11.7\n")
    first = store.snapshot(workspace)
    write(workspace / "env/lib/python3.11/site-packages/numpy-2.0.dist-info/METADATA")
    second = store.snapshot(workspace)
    assert first.id != second.id
    assert first.content_id == second.content_id


def test_facts_that_are_lost_are_counted_from_the_manifest(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "a/b", b"123")
    made = store.snapshot(workspace)
    (store.directory / "snapshots" / f"{made.id}.json").unlink()
    found = store.find(made.id)
    assert (found.files, found.size, found.content_id, found.source) == (1, 3, made.content_id, workspace)


def test_excluded_folders_are_left_out(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "data/d")
    write(workspace / "sub/data/d")
    paths = [entry.path for entry in store.entries(store.snapshot(workspace, exclude=(workspace / "data", Path("sub/data"))))]
    assert paths == ["sub"]


def test_a_store_inside_the_workspace_is_never_part_of_it(workspace: Path) -> None:
    write(workspace / "f")
    store = SnapshotStore(workspace / "my store")
    store.snapshot(workspace)
    assert [entry.path for entry in store.entries(store.snapshot(workspace))] == ["f"]


def test_differences_of_snapshots_and_folders(workspace: Path, store: SnapshotStore) -> None:
    for name in ("same", "touched", "content", "mode", "gone", "becomes a link", "d/inner"):
        write(workspace / name, b"1")
    (workspace / "link").symlink_to("same")
    (workspace / "absolute").symlink_to(workspace / "same")
    first = store.snapshot(workspace)
    clone = store.clone(first, workspace / ".kale/clone").path
    assert not store.compare(first, clone)
    for folder in (workspace, clone):
        os.utime(folder / "touched", ns=(5, 5))
        (folder / "content").write_bytes(b"2")
        (folder / "mode").chmod(0o755)
        (folder / "gone").unlink()
        (folder / "becomes a link").unlink()
        (folder / "becomes a link").symlink_to("same")
        (folder / "link").unlink()
        (folder / "link").symlink_to("content")
        write(folder / "new/file")
        (folder / "empty").mkdir()
        write(folder / "__pycache__/m.pyc")
    expected = Changes(created=("new/file",), changed=("becomes a link", "content", "link", "mode"), deleted=("gone",))
    assert store.compare(first, clone) == store.compare(first.id, workspace) == expected
    assert store.diff(first, store.snapshot(workspace)) == expected


def test_what_kaleignore_names_shows_in_a_clone_but_not_in_the_workspace(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / ".kaleignore", b"*.bin\n")
    write(workspace / "old.bin")
    made = store.snapshot(workspace)
    clone = store.clone(made, workspace / ".kale/clone").path
    write(clone / "new.bin")
    assert store.compare(made, clone).created == ("new.bin",)
    assert not store.compare(made, workspace)


def test_probe_says_how_and_what_it_costs(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "big", os.urandom(3_000_000))
    told = store.probe(workspace)
    assert (told.files, told.size) == (1, 3_000_000)
    assert (told.reason == "") == (told.mechanism == "subvolume")
    if told.mechanism == "copy":
        assert "share blocks" in told.reason
        assert 6_000_000 <= told.estimated_bytes < 7_000_000
    assert told.estimated_seconds > 0
    assert os.listdir(workspace) == ["big"]


def test_a_link_of_a_clone_that_is_mounted_at_the_workspace_stays_as_it_is(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "f")
    (workspace / "absolute").symlink_to(workspace / "f")
    (workspace / "up").symlink_to("../x")
    made = store.snapshot(workspace)
    mounted = store.clone(made, workspace / ".kale/mounted", seen_at=workspace).path
    beside = store.clone(made, workspace / ".kale/beside").path
    assert [os.readlink(mounted / name) for name in ("absolute", "up")] == [str(workspace / "f"), "../x"]
    assert [os.readlink(beside / name) for name in ("absolute", "up")] == [str(beside / "f"), str(workspace.parent / "x")]


def test_a_newer_format_is_refused_with_what_to_do(workspace: Path, store: SnapshotStore) -> None:
    made = store.snapshot(workspace)
    text = (store.directory / "snapshots" / f"{made.id}.jsonl").read_bytes().replace(b'"format":1', b'"format":9')
    id = hashlib.sha256(text).hexdigest()
    (store.directory / "snapshots" / f"{id}.jsonl").write_bytes(text)
    with pytest.raises(VolumeError, match="format 9") as caught:
        list(store.entries(id))
    assert caught.value.hint == "upgrade kale-nb"
