"""Killed at any moment, a store holds only whole snapshots, and the next one at work sweeps what was left.

`KALE_KILLS=500` sets how many kills are tried; the suite tries 40.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kale_nb.volumes import SnapshotStore
from tests.volumes.picture import litter, picture, write

KILLS = int(os.environ.get("KALE_KILLS", "40"))
WORK = """
import sys
from pathlib import Path
from kale_nb.volumes import SnapshotStore
import kale_nb.volumes.checking, hashlib, json, fcntl, signal
root, turn, action = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = SnapshotStore(root / "store")
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
if action == "snapshot":
    store.snapshot(root / "w")
elif action == "clone":
    store.clone(store.list()[0], root / "clones" / turn)
elif action == "elsewhere":
    store.clone(store.list()[0], Path(sys.argv[4]) / turn)
else:
    store.gc(keep={store.list()[0].id})
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder on another file system than the store when there is one."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() and os.access(shm, os.W_OK) and shm.stat().st_dev != tmp_path.stat().st_dev else tmp_path


def change(source: Path, luck: random.Random) -> None:
    for _ in range(40):
        write(source / f"d{luck.randrange(9)}" / f"f{luck.randrange(40)}", luck.randbytes(luck.choice([0, 10, 5000, 1_500_000])))


def start(root: Path, turn: int, action: str, elsewhere: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORK, str(root), str(turn), action, str(elsewhere)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path, elsewhere: Path) -> None:
    luck = random.Random(int(os.environ.get("KALE_SEED", "5")))
    source = tmp_path / "w"
    change(source, luck)
    store = SnapshotStore(tmp_path / "store")
    store.snapshot(source)
    place = elsewhere / f"kale-kills-{os.getpid()}"
    place.mkdir(exist_ok=True)
    took = {"snapshot": 0.1, "clone": 0.1, "gc": 0.02, "elsewhere": 0.1}
    killed = 0
    try:
        for turn in range(KILLS):
            action = luck.choice(list(took))
            change(source, luck)
            if action == "gc":
                store.snapshot(source)
            process = start(tmp_path, turn, action, place)
            began = time.monotonic()
            go(process)
            try:
                process.wait(luck.uniform(0, took[action] * 1.2))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
            if process.returncode == 0:
                took[action] = 0.7 * took[action] + 0.3 * (time.monotonic() - began)
            else:
                took[action] *= 1.03
            told = f"turn {turn}: {action}"
            assert process.returncode in (0, -signal.SIGKILL), told
            for made in store.list():  # whatever has a name is whole
                assert list(store.entries(made)), told
            assert store.verify(deep=False) == (), told
            clones = [*(tmp_path / "clones").glob("*"), *(path for path in place.iterdir() if not path.name.startswith("."))]
            latest = store.list()[0]
            for clone in clones:
                assert not store.compare(latest, clone), told
                subprocess.run(["rm", "-rf", clone], check=True)
            if turn % 5 == 4:
                store.snapshot(source)
                assert store.verify() == (), told
                assert litter(store.directory) == [], told
                assert [path.name for path in place.iterdir()] == [], told
                store.gc(keep={store.list()[0].id})
    finally:
        subprocess.run(["rm", "-rf", place], check=True)
    made = store.snapshot(source)
    assert store.verify() == ()
    assert litter(store.directory) == []
    assert not (tmp_path / "clones").exists() or list((tmp_path / "clones").iterdir()) == []
    assert picture(store.clone(made, tmp_path / "last").path) == picture(source)
    assert killed > KILLS // 4


def test_a_killed_first_snapshot_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was hashed before the last checkpoint is not read again."""
    source = tmp_path / "w"
    for number in range(1500):
        write(source / f"{number:04}", os.urandom(200))
    code = (
        "import os, signal, sys; from pathlib import Path; from kale_nb.volumes import SnapshotStore, taking, intake\n"
        "taking._CHECKPOINT = 0.0; real = intake.Intake.take; count = iter(range(10000))\n"
        "def take(self, path, known):\n"
        "    if next(count) == 1200: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(self, path, known)\n"
        "intake.Intake.take = take; SnapshotStore(Path(sys.argv[1])).snapshot(Path(sys.argv[2]))"
    )
    time.sleep(0.05)
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "store", source], check=False)
    assert done.returncode == -signal.SIGKILL
    store = SnapshotStore(tmp_path / "store")
    assert store.list() == ()
    made = store.snapshot(source)
    assert made.new_bytes <= 500 * 200
    assert litter(store.directory) == []
    assert store.verify() == ()


KEEPING = """
import os, signal, sys; from pathlib import Path; from kale_nb.volumes import SnapshotStore, locks
real = locks.Staging.write
def write(self, data, path):
    real(self, data, path)
    if path.parent.name == "snapshots": os.kill(os.getpid(), signal.SIGKILL)
locks.Staging.write = write; SnapshotStore(Path(sys.argv[1])).snapshot(Path(sys.argv[2]))
"""
COLLECTING = """
import os, signal, sys; from pathlib import Path; from kale_nb.volumes import SnapshotStore
real = os.rename
def rename(a, b, **more):
    real(a, b, **more)
    if Path(a).parent.name == "snapshots": os.kill(os.getpid(), signal.SIGKILL)
os.rename = rename; SnapshotStore(Path(sys.argv[1])).gc()
"""


@pytest.mark.parametrize("code", [KEEPING, COLLECTING], ids=["snapshot", "gc"])
def test_killed_between_the_two_files_of_a_snapshot_none_is_left_alone(code: str, tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "store")
    write(tmp_path / "w" / "a", b"1")
    if code == COLLECTING:
        store.snapshot(tmp_path / "w")
    done = subprocess.run([sys.executable, "-c", code, store.directory, tmp_path / "w"], check=False)
    assert done.returncode == -signal.SIGKILL
    [made] = store.list()
    assert (made.files, made.size) == (1, 1)
    assert store.verify() == ()
    write(tmp_path / "w" / "a", b"22")
    store.snapshot(tmp_path / "w")
    assert litter(store.directory) == []
