"""What nobody needs goes; what anybody needs stays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kale_nb.errors import VolumeError
from kale_nb.volumes import Snapshot, SnapshotStore, snapshots
from kale_nb.volumes.locks import shared
from tests.volumes.picture import litter, picture, write


def take(workspace: Path, store: SnapshotStore, contents: dict[str, int]) -> Snapshot:
    for old in workspace.iterdir():
        if old.name != ".kale":
            old.unlink()
    for name, size in contents.items():
        write(workspace / name, name.encode() * size)
    return store.snapshot(workspace)


def test_only_what_no_kept_snapshot_needs_goes(workspace: Path, store: SnapshotStore) -> None:
    first = take(workspace, store, {"shared": 10_000, "first": 20_000})
    second = take(workspace, store, {"shared": 10_000, "second": 30_000})
    told = store.gc({second.id}, dry_run=True)
    assert (told.snapshots, told.objects) == ((first.id,), 1)
    assert 100_000 <= told.bytes <= 110_000
    assert 180_000 <= told.per_snapshot[second.id] <= 190_000
    assert len(store.list()) == 2
    assert store.gc({second.id}) == told
    assert [made.id for made in store.list()] == [second.id]
    assert store.verify() == ()
    assert picture(store.clone(second, workspace / ".kale/clone").path) == picture(workspace)
    assert litter(store.directory) == []


def test_an_empty_or_missing_store_has_nothing_to_collect(tmp_path: Path) -> None:
    assert SnapshotStore(tmp_path / "none").gc().snapshots == ()
    assert not (tmp_path / "none").exists()


def test_pins_keep_until_they_are_taken_away(workspace: Path, store: SnapshotStore) -> None:
    made = take(workspace, store, {"f": 1})
    store.pin(made.id[:10])
    assert store.pinned() == {made.id}
    assert store.gc().snapshots == ()
    store.unpin(made.id)
    assert store.gc().snapshots == (made.id,)
    with pytest.raises(VolumeError, match="no snapshot"):
        store.pin(made.id)


def test_a_lease_keeps_what_it_names_and_what_is_taken_meanwhile(workspace: Path, store: SnapshotStore) -> None:
    old = take(workspace, store, {"old": 1})
    dropped = take(workspace, store, {"dropped": 1})
    with store.lease("run-1", [old.id]):
        new = take(workspace, store, {"new": 1})
        assert store.gc().snapshots == (dropped.id,)
        with store.lease("run-2") as lease:
            lease.add(new.id)
    assert set(store.gc().snapshots) == {old.id, new.id}
    assert list((store.directory / "leases").iterdir()) == []


def test_the_lease_of_a_killed_process_is_void(workspace: Path, store: SnapshotStore) -> None:
    made = take(workspace, store, {"f": 1})
    code = (
        "import os, signal, sys; from pathlib import Path; from kale_nb.volumes import SnapshotStore\n"
        "with SnapshotStore(Path(sys.argv[1])).lease('run', [sys.argv[2]]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, store.directory, made.id], check=False)
    assert len(list((store.directory / "leases").iterdir())) == 1
    assert store.gc().snapshots == (made.id,)
    assert list((store.directory / "leases").iterdir()) == []


def test_the_lease_of_a_living_process_holds(workspace: Path, store: SnapshotStore) -> None:
    made = take(workspace, store, {"f": 1})
    code = (
        "import sys; from pathlib import Path; from kale_nb.volumes import SnapshotStore\n"
        "with SnapshotStore(Path(sys.argv[1])).lease('run', [sys.argv[2]]): print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(store.directory), made.id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert store.gc().snapshots == ()
        holder.communicate(b"\n")
    assert store.gc().snapshots == (made.id,)


def test_leases_of_another_boot_and_torn_ones_are_void(workspace: Path, store: SnapshotStore) -> None:
    made = take(workspace, store, {"f": 1})
    with store.lease("run", [made.id]):
        (file,) = (store.directory / "leases").iterdir()
        text = file.read_text()
    write(store.directory / "leases/torn.json", text[:20].encode())
    import json

    told = json.loads(text)
    told["holder"]["boot"] = "before the crash"
    write(store.directory / "leases/old.json", json.dumps(told).encode())
    assert store.gc().snapshots == (made.id,)


def test_collecting_waits_for_those_at_work_and_says_when_it_gives_up(workspace: Path, store: SnapshotStore) -> None:
    take(workspace, store, {"f": 1})
    with shared(store.directory / "lock"):
        with pytest.raises(VolumeError, match="right now"):
            store.gc(wait=0.1)
        assert len(store.list()) == 1
    assert len(store.gc(wait=0.1).snapshots) == 1


def test_contents_that_a_killed_snapshot_left_go(workspace: Path, store: SnapshotStore) -> None:
    made = take(workspace, store, {"f": 1})
    write(store.directory / "objects/00/orphan", b"x" * 5000)
    assert store.gc({made.id}).objects == 1
    assert not (store.directory / "objects/00/orphan").exists()


def test_the_stat_caches_of_folders_that_are_gone_go(workspace: Path, store: SnapshotStore) -> None:
    made = take(workspace, store, {"f": 1})
    clone = store.clone(made, workspace / ".kale/clone").path
    store.snapshot(clone)
    assert len(list((store.directory / "cache").iterdir())) == 2
    subprocess.run(["rm", "-rf", clone], check=True)
    store.gc({made.id})
    assert len(list((store.directory / "cache").iterdir())) == 1


def test_snapshots_clones_and_collections_at_once(tmp_path: Path) -> None:
    """Two workspaces are taken and cloned over and over into one store while it is being collected."""
    directory = tmp_path / "store"
    failures: list[BaseException] = []
    done = threading.Event()

    def work(name: str) -> None:
        source = tmp_path / name
        try:
            for turn in range(25):
                for number in range(20):
                    write(source / f"d{number % 3}" / f"{number}", f"{name if number % 2 else ''}{turn}.{number}".encode() * 50)
                write(source / "same everywhere", b"%d" % (turn % 3))
                store = SnapshotStore(directory)
                with store.lease(name):
                    made = store.snapshot(source)
                    clone = store.clone(made, tmp_path / "clones" / f"{name}{turn}")
                    assert picture(clone.path) == picture(source)
        except BaseException as error:
            failures.append(error)

    def collect() -> None:
        try:
            while not done.wait(0.01):
                SnapshotStore(directory).gc(wait=60)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    collector = threading.Thread(target=collect)
    for thread in (*workers, collector):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    collector.join()
    assert failures == []
    store = SnapshotStore(directory)
    assert store.verify() == ()
    assert litter(directory) == []
    store.gc()
    assert store.list() == ()
    assert [path for path in (directory / "objects").rglob("*") if path.is_file()] == []


def test_two_processes_that_take_the_same_folder_are_both_right(tmp_path: Path) -> None:
    source = tmp_path / "w"
    for number in range(300):
        write(source / str(number), os.urandom(3000))
    code = "import sys; from pathlib import Path; from kale_nb.volumes import SnapshotStore as S; print(S(Path(sys.argv[1])).snapshot(Path(sys.argv[2])).id)"
    command = [sys.executable, "-c", code, str(tmp_path / "store"), str(source)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    ids = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0] * 4
    store = SnapshotStore(tmp_path / "store")
    assert ids == {made.id for made in store.list()}
    assert len(ids) == 1
    assert store.verify() == ()
    assert litter(store.directory) == []


def test_what_is_to_be_kept_is_asked_for_when_the_leases_have_been_read(
    workspace: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends its lease while a collection waits for the store has written its record: whoever reads records first misses it."""
    write(workspace / "f")
    made = store.snapshot(workspace)
    named: set[str] = set()
    leased = snapshots.leased

    def ended_by_then(folder: Path) -> tuple[set[str], float]:
        named.add(made.id)
        return leased(folder)

    monkeypatch.setattr(snapshots, "leased", ended_by_then)
    assert store.gc(lambda: set(named)).snapshots == ()
    assert store.gc(set).snapshots == (made.id,)
