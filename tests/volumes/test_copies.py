"""Clones are copies that mean the same, made only of what belongs in them, whole or not at all."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kale_nb.errors import VolumeError
from kale_nb.volumes import Clone, Policy, SnapshotStore
from kale_nb.volumes.copying import Copier
from kale_nb.volumes.trees import remove_tree


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work space ü"
    folder.mkdir()
    return folder


def clone_of(workspace: Path, policy: Policy | None = None) -> Clone:
    store = SnapshotStore(workspace / ".kale/store", policy)
    return store.clone(store.snapshot(workspace), workspace / ".kale/runs/r1/work")


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_content_modes_and_times_are_kept(workspace: Path) -> None:
    data = os.urandom(300_000)
    file = write(workspace / "a/b/data.bin", data)
    file.chmod(0o640)
    os.utime(file, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
    write(workspace / "run.sh").chmod(0o755)
    write(workspace / "empty", b"")
    (workspace / "nothing").mkdir(mode=0o750)
    os.utime(workspace / "a", ns=(1, 2_000_000_000))
    clone = clone_of(workspace)
    made = clone.path / "a/b/data.bin"
    assert made.read_bytes() == data
    assert made.stat().st_mode == file.stat().st_mode
    assert made.stat().st_mtime_ns == 1_500_000_000_987_654_321
    assert os.access(clone.path / "run.sh", os.X_OK)
    assert (clone.path / "empty").read_bytes() == b""
    assert stat.S_IMODE((clone.path / "nothing").stat().st_mode) == 0o750
    assert (clone.path / "a").stat().st_mtime_ns == 2_000_000_000
    assert (clone.snapshot.files, clone.snapshot.size) == (3, 300_001)


def test_a_write_to_the_clone_does_not_reach_the_workspace(workspace: Path) -> None:
    file = write(workspace / "f", b"old")
    os.link(file, workspace / "twin")
    clone = clone_of(workspace)
    (clone.path / "f").write_bytes(b"new")
    assert (file.read_bytes(), (workspace / "twin").read_bytes(), (clone.path / "twin").read_bytes()) == (b"old",) * 3
    assert (clone.path / "f").stat().st_nlink == 1


@pytest.mark.parametrize(
    "name",
    [
        ".git/HEAD", ".kale/runs/r0/work/f", ".ipynb_checkpoints/nb-checkpoint.ipynb", "sub/__pycache__/m.pyc", "m.pyc", ".mypy_cache/x",
        ".pytest_cache/x", ".ruff_cache/x", ".nfs000012", ".nb.ipynb.swp", ".#lock", "web/node_modules/p/index.js",
    ],
)  # fmt: skip
def test_what_is_never_copied(workspace: Path, name: str) -> None:
    write(workspace / name)
    write(workspace / "kept/data.csv")
    assert names(clone_of(workspace).path) == {"kept", "kept/data.csv"} | {p for p in ("sub", "web") if name.startswith(p)}


@pytest.mark.parametrize(
    "name", [".gitignore", ".env", "data.db", "notes.txt~", "swap.swp", "pyc", "env/x", "venv/x", "#a#", ".hidden"]
)
def test_what_only_looks_like_it_is_copied(workspace: Path, name: str) -> None:
    write(workspace / name)
    assert name in names(clone_of(workspace).path)


def test_virtual_environments_and_conda_prefixes_are_left_out_and_listed(workspace: Path) -> None:
    write(workspace / "my env/pyvenv.cfg")
    write(workspace / "my env/lib/x.py")
    write(workspace / "conda/conda-meta/history")
    clone = clone_of(workspace)
    assert names(clone.path) == set()
    assert [line for line in clone.snapshot.skipped if not line.startswith(".kale")] == [
        "conda: a Python environment",
        "my env: a Python environment",
    ]


def test_kaleignore_is_honoured_and_gitignore_is_not(workspace: Path) -> None:
    (workspace / ".gitignore").write_text("data/\n*.pkl\n")
    (workspace / ".kaleignore").write_text("# big things\nraw/**\n!raw/keep.csv\n/top.bin\nlogs/\n*.tmp\n")
    for name in ("data/d.csv", "m.pkl", "raw/a.csv", "raw/keep.csv", "top.bin", "sub/top.bin", "logs/l.txt", "x/y.tmp", "tmp"):
        write(workspace / name)
    found = {name for name in names(clone_of(workspace).path) if "." in name}
    assert found == {".gitignore", ".kaleignore", "data/d.csv", "m.pkl", "raw/keep.csv", "sub/top.bin"}


def test_patterns_of_the_policy_are_honoured_too(workspace: Path) -> None:
    write(workspace / "a.bin")
    write(workspace / "b.txt")
    assert names(clone_of(workspace, Policy(ignore=("*.bin",))).path) == {"b.txt"}


def test_links_mean_the_same_in_the_clone(workspace: Path) -> None:
    write(workspace / "data/x.csv", b"1")
    outside = write(workspace.parent / "outside.csv", b"2")
    (workspace / "relative").symlink_to("data/x.csv")
    (workspace / "absolute").symlink_to(workspace / "data/x.csv")
    (workspace / "folder").symlink_to(workspace / "data")
    (workspace / "away").symlink_to(outside)
    (workspace / "data/up").symlink_to("../../outside.csv")
    (workspace / "broken").symlink_to("nowhere")
    (workspace / "self").symlink_to("self")
    (workspace / "root").symlink_to(workspace)
    clone = clone_of(workspace).path
    assert os.readlink(clone / "relative") == "data/x.csv"
    assert os.readlink(clone / "absolute") == str(clone / "data/x.csv")
    assert os.readlink(clone / "root") == str(clone)
    assert (clone / "folder").is_symlink()
    assert (clone / "folder/x.csv").read_bytes() == b"1"
    assert (clone / "away").read_bytes() == (clone / "data/up").read_bytes() == b"2"
    assert os.readlink(clone / "broken") == "nowhere"
    assert os.readlink(clone / "self") == "self"


def test_sparse_files_stay_sparse(workspace: Path) -> None:
    with (workspace / "sparse").open("wb") as file:
        file.seek(300 * 1024**2)
        file.write(b"end")
        file.truncate(400 * 1024**2)
    with (workspace / "hole").open("wb") as file:
        file.truncate(50 * 1024**2)
    clone = clone_of(workspace).path
    made = (clone / "sparse").stat()
    assert made.st_size == 400 * 1024**2
    assert made.st_blocks * 512 < 10 * 1024**2
    assert (clone / "hole").stat().st_size == 50 * 1024**2
    with (clone / "sparse").open("rb") as file:
        file.seek(300 * 1024**2 - 1)
        assert file.read(5) == b"\0end\0"


def test_sockets_and_pipes_are_skipped_and_listed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
        clone = clone_of(workspace)
    assert names(clone.path) == set()
    assert {"fifo: a named pipe", "sock: a socket"} <= set(clone.snapshot.skipped)


def test_names_that_are_no_text_work(workspace: Path) -> None:
    odd = [b"new\nline", b"\xff\xfe", "日本 größe".encode(), b"-rf *", b"'q\"", b"\\n", b"a" * 255]
    for name in odd:
        write(Path(os.fsdecode(os.path.join(os.fsencode(workspace), name))), name)
    clone = clone_of(workspace).path
    assert sorted(os.listdir(os.fsencode(clone))) == sorted(odd)
    for name in odd:
        with open(os.path.join(os.fsencode(clone), name), "rb") as file:
            assert file.read() == name


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_an_error_that_names_it(workspace: Path) -> None:
    write(workspace / "secret").chmod(0)
    with pytest.raises(VolumeError, match="secret") as caught:
        clone_of(workspace)
    assert ".kaleignore" in (caught.value.hint or "")
    assert not list((workspace / ".kale/runs/r1").iterdir())


def test_a_read_only_workspace_gives_a_clone_with_the_same_modes_that_can_be_removed(workspace: Path, tmp_path: Path) -> None:
    write(workspace / "d/f").chmod(0o444)
    (workspace / "d").chmod(0o555)
    store = SnapshotStore(workspace / ".kale/store")
    clone = store.clone(store.snapshot(workspace), tmp_path / "out")
    assert stat.S_IMODE((clone.path / "d").stat().st_mode) == 0o555
    remove_tree(clone.path)
    assert not clone.path.exists()
    (workspace / "d").chmod(0o755)


def test_too_many_bytes_are_refused_with_the_largest_entries_and_what_to_do(workspace: Path) -> None:
    for number in range(7):
        write(workspace / f"dir{number}/f", b"x" * 1000 * (number + 1))
    with (workspace / "huge.bin").open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(VolumeError) as caught:
        clone_of(workspace)
    assert "too large" in caught.value.message
    assert "huge.bin (10.0 GiB)" in caught.value.message
    for way in ("--workspace", ".kaleignore", "--max-workspace-size"):
        assert way in (caught.value.hint or "")
    assert not (workspace / ".kale").exists()


def test_too_many_files_are_refused(workspace: Path) -> None:
    for number in range(20):
        write(workspace / "many" / str(number))
    with pytest.raises(VolumeError, match="20 files or more"):
        clone_of(workspace, Policy(max_files=19))
    assert clone_of(workspace, Policy(max_files=20)).snapshot.files == 20


def test_what_is_ignored_does_not_count(workspace: Path) -> None:
    write(workspace / ".git/big", b"x" * 10_000)
    (workspace / ".kaleignore").write_text("raw\n")
    write(workspace / "raw/big", b"x" * 10_000)
    assert clone_of(workspace, Policy(max_bytes=100)).snapshot.files == 1


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_workspace_that_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w"
    if kind == "file":
        path.touch()
    with pytest.raises(VolumeError, match=str(path)):
        SnapshotStore(tmp_path / "store").snapshot(path)


def test_a_destination_that_exists_is_refused_and_left_alone(workspace: Path, tmp_path: Path) -> None:
    there = write(tmp_path / "out/f").parent
    store = SnapshotStore(workspace / ".kale/store")
    with pytest.raises(VolumeError, match="exists"):
        store.clone(store.snapshot(workspace), there)
    assert names(there) == {"f"}


def test_odd_bytes_in_kaleignore_do_not_crash(workspace: Path) -> None:
    (workspace / ".kaleignore").write_bytes(b"\xef\xbb\xbf*.bin\r\n\xff\n[\n")
    write(workspace / "a.bin")
    write(workspace / "b")
    assert names(clone_of(workspace).path) == {".kaleignore", "b"}


@pytest.mark.parametrize("line", ["\\", "!", "a\\"])
def test_a_pattern_that_is_none_is_refused_by_name(workspace: Path, line: str) -> None:
    (workspace / ".kaleignore").write_text(line + "\n")
    with pytest.raises(VolumeError, match="kaleignore"):
        clone_of(workspace)


def test_setuid_is_not_copied(workspace: Path) -> None:
    write(workspace / "s").chmod(0o4755)
    assert stat.S_IMODE((clone_of(workspace).path / "s").stat().st_mode) == 0o755


def test_a_file_is_copied_whole_also_without_the_shortcuts_of_the_file_system(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    write(tmp_path / "a", data)
    plain = Copier()
    plain.reflink = plain._range = False
    plain.copy(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == data


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting needs rights that are not there")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_too_small_is_refused_before_copying(workspace: Path, small_disk: Path) -> None:
    write(workspace / "f", os.urandom(3 * 1024**2))
    store = SnapshotStore(workspace / ".kale/store")
    with pytest.raises(VolumeError, match="not enough disk space"):
        store.clone(store.snapshot(workspace), small_disk / "clone")
    assert os.listdir(small_disk) == []


def test_a_disk_that_fills_while_taking_leaves_nothing(workspace: Path, small_disk: Path) -> None:
    write(workspace / "a", os.urandom(3 * 1024**2))
    write(workspace / "b", b"small")
    store = SnapshotStore(small_disk / "store")
    with pytest.raises(VolumeError, match="disk is full"):
        store.snapshot(workspace)
    assert store.list() == ()
    assert [
        path for path in (small_disk / "store").rglob("*") if path.is_file() and path.name not in ("lock", "boot", "epoch")
    ] == []
    write(workspace / "a", b"fits")
    assert store.entries(store.snapshot(workspace))


def test_errors_of_the_disk_are_told_apart_from_those_of_the_file() -> None:
    with pytest.raises(OSError, match="nope") as caught:
        Copier().copy("/nope", "/tmp/never")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, "/nope")
