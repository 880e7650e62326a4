"""Whatever a file system can hold comes back from a clone as it was."""

from __future__ import annotations

import os
import string
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kale_nb.errors import VolumeError
from kale_nb.volumes import Entry, Policy, SnapshotStore
from kale_nb.volumes.cloning import fill
from kale_nb.volumes.manifest import Header
from kale_nb.volumes.objects import Objects
from kale_nb.volumes.trees import Tree, remove_tree
from tests.volumes.conftest import MakeDisk
from tests.volumes.picture import picture, write


def deep(root: Path, part: str, depth: int) -> str:
    """Make a folder in a folder in a folder, deeper than a path can name, and a file at the bottom."""
    path = ""
    with Tree(root) as tree:
        for _ in range(depth):
            path = f"{path}/{part}" if path else part
            with tree.reach(path) as (fd, name):
                os.mkdir(name, dir_fd=fd)
        with open(tree.open(f"{path}/file", os.O_WRONLY | os.O_CREAT), "wb") as file:
            file.write(b"down here")
        with tree.reach(f"{path}/link") as (fd, name):
            os.symlink("file", name, dir_fd=fd)
    return f"{path}/file"


@pytest.mark.parametrize(("part", "depth"), [("d" * 200, 40), ("abc", 1050), ("ü" * 100, 25)])
def test_paths_longer_than_the_system_takes_at_once(tmp_path: Path, part: str, depth: int) -> None:
    source = tmp_path / "w"
    source.mkdir()
    try:
        path = deep(source, part, depth)
        assert len(os.fsencode(path)) > 4096
        store = SnapshotStore(tmp_path / "store")
        made = store.snapshot(source)
        clone = store.clone(made, tmp_path / "clone")
        assert picture(clone.path) == picture(source)
        assert not store.compare(made, clone.path)
        assert [entry.path for entry in store.entries(made) if entry.kind == "file"] == [path]
    finally:
        remove_tree(source)
        remove_tree(tmp_path / "clone")
    assert not source.exists()
    assert not (tmp_path / "clone").exists()


def test_names_that_differ_only_in_case(workspace: Path, store: SnapshotStore) -> None:
    for name in ("Readme", "README", "readme", "straße", "STRASSE", "e\u0301", "\u00e9"):
        write(workspace / name, name.encode())
    clone = store.clone(store.snapshot(workspace), workspace / ".kale/clone")
    assert picture(clone.path) == picture(workspace)


def test_names_that_differ_only_in_case_where_that_is_no_difference_are_an_error_that_names_one(
    make_disk: MakeDisk, tmp_path: Path
) -> None:
    disk = make_disk("ext4", options=("-O", "casefold"))
    (disk / "clones").mkdir()
    if subprocess.run(["chattr", "+F", disk / "clones"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel has no folders without case")
    write(tmp_path / "w/Readme", b"1")
    write(tmp_path / "w/README", b"2")
    store = SnapshotStore(tmp_path / "store")
    made = store.snapshot(tmp_path / "w")
    with pytest.raises(VolumeError, match="Readme"):
        store.clone(made, disk / "clones/here")
    assert os.listdir(disk / "clones") == []


def test_two_names_that_the_file_system_takes_for_one_are_an_error_that_names_one(tmp_path: Path, store: SnapshotStore) -> None:
    twice = [Entry("Readme", "link", target="x"), Entry("Readme", "link", target="y")]
    with Tree(tmp_path) as tree, pytest.raises(VolumeError, match="Readme and another name .* upper and lower case"):
        fill(tree, Header(source="/w"), twice, Objects(store.directory / "objects"), seen_at="/w")


def test_hard_links_are_stored_once_and_restored_apart(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "a", b"one file")
    os.link(workspace / "a", workspace / "b")
    made = store.snapshot(workspace)
    assert made.new_bytes == 8
    clone = store.clone(made, workspace / ".kale/clone").path
    (clone / "a").write_bytes(b"changed")
    assert (clone / "b").read_bytes() == (workspace / "a").read_bytes() == b"one file"


def test_immutable_and_append_only_files_are_taken_and_cloned(make_disk: MakeDisk) -> None:
    disk = make_disk("ext4")
    write(disk / "ws/immutable", b"i" * 3_000_000)
    write(disk / "ws/folder/in", b"x")
    write(disk / "ws/log", b"a")
    for flag, name in (("+i", "immutable"), ("+a", "log"), ("+i", "folder")):
        if subprocess.run(["chattr", flag, disk / "ws" / name], capture_output=True, check=False).returncode:
            pytest.skip("chattr is not possible here")
    store = SnapshotStore(disk / "ws/.kale/store")
    try:
        clone = store.clone(store.snapshot(disk / "ws"), disk / "ws/.kale/clone").path
        assert picture(clone) == picture(disk / "ws")
        for path in (clone / "immutable", clone / "log", clone / "folder/in"):
            path.write_bytes(b"changed")
        assert store.verify() == ()
    finally:
        subprocess.run(["chattr", "-R", "-i", "-a", disk / "ws"], check=True)


def test_permissions_as_the_umask_would_not_give_them(workspace: Path, store: SnapshotStore) -> None:
    for mode in (0o000, 0o400, 0o444, 0o600, 0o666, 0o777, 0o1777):
        write(workspace / oct(mode)).chmod(mode)
        (workspace / f"d{oct(mode)}").mkdir()
        write(workspace / f"d{oct(mode)}" / "f")
    for mode in (0o500, 0o555, 0o777, 0o1777, 0o2775):
        (workspace / f"d{oct(mode)}").mkdir(exist_ok=True)
        (workspace / f"d{oct(mode)}").chmod(mode)
    if os.geteuid() != 0:
        (workspace / "0o0").chmod(0o200 | 0o400)
    made = store.snapshot(workspace)
    for mask in (0o000, 0o022, 0o077):
        before = os.umask(mask)
        try:
            clone = store.clone(made, workspace / f".kale/clone{mask}")
        finally:
            os.umask(before)
        assert picture(clone.path) == picture(workspace)


_NAMES = st.one_of(
    st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")),
    st.text(string.ascii_letters + " \n\"'\\", min_size=1, max_size=5).map(str.encode),
)
_FILES = st.tuples(
    st.just("file"), st.one_of(st.binary(max_size=300), st.just(b"x" * 1_200_000)), st.sampled_from([0o644, 0o600, 0o755, 0o444])
)
_LINKS = st.tuples(st.just("link"), _NAMES, st.just(0))
_TREES = st.recursive(
    st.one_of(_FILES, _LINKS), lambda inner: st.tuples(st.just("folder"), st.dictionaries(_NAMES, inner, max_size=4), st.sampled_from([0o755, 0o700])),
    max_leaves=12,
)  # fmt: skip


def _grow(folder: bytes, tree: dict[bytes, tuple[str, object, int]]) -> None:
    os.mkdir(folder)
    for name, (kind, content, mode) in tree.items():
        path = os.path.join(folder, name)
        if kind == "folder":
            assert isinstance(content, dict)
            _grow(path, content)
            os.chmod(path, mode)
        elif kind == "link":
            assert isinstance(content, bytes)
            os.symlink(content, path)
        else:
            assert isinstance(content, bytes)
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, mode)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=st.dictionaries(_NAMES, _TREES, max_size=5), change=st.dictionaries(_NAMES, _FILES, max_size=2))
def test_a_clone_is_what_the_workspace_was(
    tree: dict[bytes, tuple[str, object, int]], change: dict[bytes, tuple[str, object, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "w"
        _grow(os.fsencode(source), tree)
        store = SnapshotStore(Path(folder) / "store")
        everything = picture(source)
        made = store.snapshot(source)
        kept = {entry.path for entry in store.entries(made)}
        clone = store.clone(made, Path(folder) / "clone", seen_at=source)
        assert picture(clone.path) == {path: facts for path, facts in everything.items() if path in kept}
        assert picture(source) == everything
        assert not store.compare(made, clone.path)
        assert store.snapshot(source).id == made.id
        for name, (_, content, _mode) in change.items():
            path = os.path.join(os.fsencode(source), name)
            if not os.path.lexists(path):
                assert isinstance(content, bytes)
                with open(path, "wb") as file:
                    file.write(content)
        after = store.snapshot(source)
        assert store.diff(made, after) == store.compare(made, source)
        assert store.verify() == ()


def test_a_mount_inside_is_an_error_unless_it_is_left_out(make_disk: MakeDisk, tmp_path: Path) -> None:
    source = tmp_path / "w"
    write(source / "f")
    inner = make_disk("tmpfs", "1M")
    (source / "data").mkdir()
    subprocess.run(["mount", "--bind", inner, source / "data"], check=True)
    try:
        write(inner / "d")
        store = SnapshotStore(tmp_path / "store")
        with pytest.raises(VolumeError, match="data in the workspace is a mount") as caught:
            store.snapshot(source)
        assert "/data" in (caught.value.hint or "")
        assert [e.path for e in store.entries(store.snapshot(source, exclude=(source / "data",)))] == ["f"]
        write(source / ".kaleignore", b"/data\n")
        assert [e.path for e in store.entries(store.snapshot(source))] == [".kaleignore", "f"]
    finally:
        subprocess.run(["umount", source / "data"], check=True)


def test_a_folder_of_the_same_file_system_mounted_inside_is_found_too(make_disk: MakeDisk) -> None:
    disk = make_disk("tmpfs", "4M")
    write(disk / "elsewhere/x")
    (disk / "w/a b").mkdir(parents=True)
    subprocess.run(["mount", "--bind", disk / "elsewhere", disk / "w/a b"], check=True)
    try:
        with pytest.raises(VolumeError, match="a b in the workspace is a mount"):
            SnapshotStore(disk / "store").snapshot(disk / "w")
    finally:
        subprocess.run(["umount", disk / "w/a b"], check=True)


def test_a_workspace_on_read_only_media(make_disk: MakeDisk, tmp_path: Path) -> None:
    disk = make_disk("ext4", "16M")
    write(disk / "ws/f", b"1")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    store = SnapshotStore(tmp_path / "store")
    clone = store.clone(store.snapshot(disk / "ws"), tmp_path / "clone")
    assert (clone.path / "f").read_bytes() == b"1"
    with pytest.raises(VolumeError, match="could not be written"):
        SnapshotStore(disk / "ws/.kale/store").snapshot(disk / "ws")


def test_a_store_on_read_only_media_can_be_read_and_cloned_from(make_disk: MakeDisk, tmp_path: Path) -> None:
    disk = make_disk("ext4", "16M")
    source = write(tmp_path / "ws/f", b"1").parent
    store = SnapshotStore(disk / "store")
    made = store.snapshot(source)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    store = SnapshotStore(disk / "store")
    assert [entry.path for entry in store.entries(store.find(made.id))] == ["f"]
    assert not store.compare(made, source)
    assert store.verify() == ()
    assert (store.clone(made, tmp_path / "out/clone").path / "f").read_bytes() == b"1"
    assert os.listdir(tmp_path / "out") == ["clone"]


def test_environments_are_taken_when_asked_for(workspace: Path) -> None:
    write(workspace / "env/pyvenv.cfg")
    store = SnapshotStore(workspace / ".kale/store", Policy(environments=True))
    assert [entry.path for entry in store.entries(store.snapshot(workspace))] == ["env", "env/pyvenv.cfg"]
