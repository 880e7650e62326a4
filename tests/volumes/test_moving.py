"""A workspace that changes while it is taken gives a snapshot that is true to what was read, and says what never stood still."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kale_nb.errors import VolumeError
from kale_nb.volumes import SnapshotStore
from kale_nb.volumes.trees import remove_tree
from tests.volumes.picture import litter, picture, write


@contextmanager
def meanwhile(work: Callable[[int], None]) -> Iterator[None]:
    stop = threading.Event()
    failures: list[BaseException] = []

    def go() -> None:
        turn = 0
        try:
            while not stop.is_set():
                work(turn)
                turn += 1
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failures == []


def test_a_file_that_never_stands_still_is_taken_as_read_and_named(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "log", b"begin\n" * 10_000_000)
    code = "import sys\nwith open(sys.argv[1], 'ab', buffering=0) as f:\n  while True: f.write(b'x' * 100)"
    with subprocess.Popen([sys.executable, "-c", code, workspace / "log"]) as writer:
        try:
            size = (workspace / "log").stat().st_size
            while (workspace / "log").stat().st_size == size:
                pass
            made = store.snapshot(workspace)
        finally:
            writer.kill()
    assert made.warnings == ("log kept changing while it was read",)
    assert store.verify() == ()
    (entry,) = store.entries(made)
    assert entry.size >= 60_000_000
    assert store.open_object(entry.sha256).read_bytes()[:6] == b"begin\n"
    again = store.snapshot(workspace)
    assert again.warnings == ()
    assert again.size == (workspace / "log").stat().st_size


def test_files_that_come_and_go_do_no_harm(workspace: Path, store: SnapshotStore) -> None:
    for number in range(50):
        write(workspace / "stays" / str(number), b"%d" % number)

    def churn(turn: int) -> None:
        write(workspace / f"a{turn % 7}" / "f", b"x" * (turn % 1000))
        (workspace / f"a{turn % 7}" / "g").symlink_to("f")
        for path in sorted((workspace / f"a{(turn + 3) % 7}").glob("*")):
            path.unlink()
        if (workspace / f"a{(turn + 3) % 7}").exists():
            (workspace / f"a{(turn + 3) % 7}").rmdir()

    with meanwhile(churn):
        for turn in range(30):
            made = store.snapshot(workspace)
            assert len([e for e in store.entries(made) if e.path.startswith("stays/")]) == 50
            assert store.compare(made, store.clone(made, workspace / f".kale/clone{turn}").path) == store.diff(made, made)
    assert store.verify() == ()
    assert litter(store.directory) == []


def test_files_replaced_whole_are_taken_whole(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "model", b"0" * 2_000_000)

    def replace(turn: int) -> None:
        write(workspace / ".tmp", (b"%d" % (turn % 10)) * 2_000_000)
        os.replace(workspace / ".tmp", workspace / "model")

    with meanwhile(replace):
        for _ in range(15):
            (entry,) = [entry for entry in store.entries(store.snapshot(workspace)) if entry.path == "model"]
            content = store.open_object(entry.sha256).read_bytes()
            assert content == content[:1] * 2_000_000


def test_a_folder_that_becomes_a_file_or_a_link_does_no_harm(workspace: Path, store: SnapshotStore) -> None:
    write(workspace / "outside of it/secret", b"secret")

    def turn_into(turn: int) -> None:
        path = workspace / "thing"
        match turn % 3:
            case 0:
                path.mkdir()
                write(path / "f", b"1")
                (path / "f").unlink()
                path.rmdir()
            case 1:
                path.write_bytes(b"2")
                path.unlink()
            case 2:
                path.symlink_to("outside of it")
                path.unlink()

    with meanwhile(turn_into):
        for _ in range(60):
            made = store.snapshot(workspace)
            assert not [entry for entry in store.entries(made) if entry.path == "thing/secret"]


@contextmanager
def ordinary_user() -> Iterator[Path]:
    """Be an ordinary user for a while, with a folder that this user owns."""
    with tempfile.TemporaryDirectory(prefix="kale-nobody-") as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        for module in ("ctypes", "encodings.utf_8_sig", "pathspec"):  # the interpreter may be closed to others
            importlib.import_module(module)
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_cannot_be_read_is_an_error_that_names_it_and_the_way_out(what: str) -> None:
    with ordinary_user() as folder:
        closed = write(folder / "ws/sub/closed") if what == "file" else folder / "ws/sub/closed"
        if what == "folder":
            closed.mkdir(parents=True)
        closed.chmod(0)
        store = SnapshotStore(folder / "store")
        with pytest.raises(VolumeError, match="cannot read sub/closed in the workspace: Permission denied") as caught:
            store.snapshot(folder / "ws")
        assert ".kaleignore" in (caught.value.hint or "")
        assert store.list() == ()
        write(folder / "ws/.kaleignore", b"sub/closed\n")
        assert [entry.path for entry in store.entries(store.snapshot(folder / "ws"))] == [".kaleignore", "sub"]
        closed.chmod(0o700)


def test_one_of_many_files_that_cannot_be_read_is_named_too() -> None:
    """Many new files are read by two threads; whichever meets it, the error comes out and nothing is published."""
    with ordinary_user() as folder:
        for number in range(600):
            write(folder / f"ws/{number}", b"%d" % number)
        (folder / "ws/599").chmod(0)
        store = SnapshotStore(folder / "store")
        with pytest.raises(VolumeError, match="cannot read 599"):
            store.snapshot(folder / "ws")
        assert store.list() == ()
        assert litter(store.directory) == []
        (folder / "ws/599").chmod(0o600)
        made = store.snapshot(folder / "ws")
        assert (made.files, store.verify()) == (600, ())


def test_a_workspace_without_write_permission_anywhere() -> None:
    with ordinary_user() as folder:
        write(folder / "ws/d/f").chmod(0o444)
        for path in (folder / "ws/d", folder / "ws"):
            path.chmod(0o555)
        store = SnapshotStore(folder / "store")
        clone = store.clone(store.snapshot(folder / "ws"), folder / "clone")
        assert picture(clone.path) == picture(folder / "ws")
        assert clone.path.stat().st_mode & 0o777 == 0o555
        remove_tree(clone.path)
        assert not clone.path.exists()
        for path in (folder / "ws", folder / "ws/d"):
            path.chmod(0o755)


def test_files_of_others_are_taken_and_their_changes_seen() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make files of others")
    with tempfile.TemporaryDirectory(prefix="kale-nobody-") as name:
        folder = Path(name)
        os.chown(folder, 65534, 65534)
        theirs = write(folder / "ws/theirs", b"1")
        os.seteuid(65534)
        try:
            store = SnapshotStore(folder / "store")
            first = store.snapshot(folder / "ws")
        finally:
            os.seteuid(0)
        theirs.write_bytes(b"2")
        os.seteuid(65534)
        try:
            assert store.diff(first, store.snapshot(folder / "ws")).changed == ("theirs",)
        finally:
            os.seteuid(0)
