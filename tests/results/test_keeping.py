"""Keeping house: which runs go, what goes of them, and what nothing may take away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kale_nb.process import Writer
from kale_nb.results.again import again
from kale_nb.results.files import run_files
from kale_nb.results.gone import how_it_went
from kale_nb.results.keeping import Collected, Level, Limits, choose, collect
from kale_nb.results.locks import using
from kale_nb.results.weighing import PINNED, Weight
from kale_nb.runs.events import State
from kale_nb.runs.record import RunRecord
from kale_nb.runs.store import known_store, snapshot_folder
from kale_nb.volumes import SnapshotStore
from tests.cli.conftest import child_environment
from tests.results.making import finished_run, tree, write

DAY = 86400.0
NOW = 1.8e9


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    write(folder, {"nb.ipynb": "{}", "in.csv": "1\n"})
    return folder


def runs_of(workspace: Path, count: int) -> list[RunRecord]:
    """Keep runs of which each is a day older than the next, each on a file of its own; the oldest comes first."""
    made = []
    for number in range(count):
        write(workspace, {"in.csv": os.urandom(9000)})
        made.append(finished_run(workspace, lambda c: write(c, {"out": "x"}), started=NOW - (count - number) * DAY))
    return made


def gc(workspace: Path, level: Level = "runs", *, dry_run: bool = False, **limits: object) -> Collected:
    made = Limits(**limits)  # type: ignore[arg-type]
    return collect(known_store(workspace), made, level=level, why="the test", dry_run=dry_run, now=NOW)


def ids(records: list[RunRecord]) -> list[str]:
    return [record.id for record in records]


def left(workspace: Path) -> list[str]:
    return [record.id for record in known_store(workspace).records()]


def store(workspace: Path) -> SnapshotStore:
    return SnapshotStore(snapshot_folder(known_store(workspace).root))


def test_without_a_limit_no_run_goes_but_snapshots_that_none_needs(workspace: Path) -> None:
    runs = runs_of(workspace, 2)
    write(workspace, {"in.csv": "nobody's"})
    stray = store(workspace).snapshot(workspace)
    done = gc(workspace)
    assert done.freed.snapshots == (stray.id,)
    assert (done.removed, left(workspace)) == ((), ids(runs))


def test_keep_keeps_the_newest_with_their_snapshots(workspace: Path) -> None:
    runs = runs_of(workspace, 4)
    told = gc(workspace, keep=2, dry_run=True)
    assert left(workspace) == ids(runs)
    done = gc(workspace, keep=2)
    assert [f.weight.record.id for f in done.removed] == [f.weight.record.id for f in told.removed] == ids(runs[:2])
    assert done.freed.snapshots == told.freed.snapshots
    assert left(workspace) == ids(runs[2:])
    assert {s.id for s in store(workspace).list()} == {r.snapshots["workspace"] for r in runs[2:]}
    assert not list((workspace / ".kale" / "runs").glob(".*"))


def test_older_than_goes_by_age(workspace: Path) -> None:
    runs = runs_of(workspace, 3)
    gc(workspace, older_than=2.5 * DAY)
    assert left(workspace) == ids(runs[1:])


def test_max_size_takes_the_oldest_until_it_fits_and_never_the_newest(workspace: Path) -> None:
    runs = runs_of(workspace, 3)
    gc(workspace, max_size=1)
    assert left(workspace) == ids(runs[2:])


def test_a_dry_run_tells_what_each_run_alone_costs(workspace: Path) -> None:
    runs = runs_of(workspace, 2)
    weights = {f.weight.record.id: f.weight for f in gc(workspace, dry_run=True).fates}
    for record in runs:
        weight = weights[record.id]
        assert weight.clones >= 9000
        assert weight.values >= 10000
        assert weight.rest > 0
        assert weight.snapshots >= 9000, "each run's file is in no other snapshot"
    same = [finished_run(workspace, started=NOW) for _ in range(2)]
    shared = {f.weight.record.id: f.weight.snapshots for f in gc(workspace, dry_run=True).fates}
    assert same[0].snapshots == same[1].snapshots
    assert shared[runs[0].id] >= 9000


def test_clones_go_and_what_people_look_at_stays(workspace: Path) -> None:
    (record,) = runs_of(workspace, 1)
    gc(workspace, "clones", keep=0)
    assert left(workspace) == [record.id]
    assert sorted(p.name for p in record.directory.iterdir()) == [
        "data",
        "executed",
        "files.json",
        "logs",
        "pipeline.json",
        "removed.json",
        "run.json",
        "stepbooks",
    ]
    assert [f.name for f in run_files(record)] == ["out"]
    assert store(workspace).find(record.snapshots["workspace"])
    assert "the test" in how_it_went(record.directory, "clone")
    assert gc(workspace, "clones", keep=0).removed == (), "there is nothing left to take"


def test_live_and_pinned_runs_stay_with_their_snapshots(workspace: Path) -> None:
    runs = runs_of(workspace, 3)
    live = finished_run(workspace, started=NOW - 50 * DAY, state=State.RUNNING, finished=None)
    (runs[0].directory / PINNED).touch()
    store(workspace).pin(runs[1].snapshots["workspace"])
    done = gc(workspace, keep=0)
    assert sorted(left(workspace)) == sorted([live.id, runs[0].id, runs[1].id])
    assert {f.why for f in done.fates if not f.goes} == {"it runs", "pinned"}
    assert {s.id for s in store(workspace).list()} == {r.snapshots["workspace"] for r in (live, runs[0], runs[1])}


def test_a_run_whose_process_died_is_not_live(workspace: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    from kale_nb.process import this_process

    here = this_process()
    writer = Writer(pid=dead.pid, started="1", boot=here.boot, host=here.host, namespace=here.namespace)
    finished_run(workspace, started=NOW - DAY, state=State.RUNNING, finished=None, writer=writer)
    gc(workspace, keep=0)
    assert left(workspace) == []


def test_a_run_that_somebody_reads_stays(workspace: Path) -> None:
    (record,) = runs_of(workspace, 1)
    with using(record.directory):
        (fate,) = gc(workspace, keep=0).fates
        assert (fate.goes, fate.why) == (False, "in use, or gone already")
    assert [f.goes for f in gc(workspace, keep=0).fates] == [True]


def test_a_record_that_cannot_be_read_keeps_its_snapshots(workspace: Path) -> None:
    first, second = runs_of(workspace, 2)
    file = first.directory / "run.json"
    file.write_text(file.read_text().replace('"format":1', '"format":99'))
    gc(workspace, keep=0)
    assert first.directory.is_dir()
    assert [s.id for s in store(workspace).list()] == [first.snapshots["workspace"]]
    assert not second.directory.exists()


def test_what_a_killed_collection_left_goes_with_the_next(workspace: Path) -> None:
    runs = runs_of(workspace, 1)
    write(runs[0].directory.parent, {".removing-abc/0/work/file": b"x" * 9000})
    assert gc(workspace, dry_run=True).litter >= 9000
    assert gc(workspace).litter >= 9000
    assert not list(runs[0].directory.parent.glob(".*"))


def test_a_snapshot_that_was_collected_by_hand_is_told_when_it_is_missed(workspace: Path) -> None:
    (record,) = runs_of(workspace, 1)
    store(workspace).gc()
    from kale_nb.errors import SourceError, VolumeError

    with pytest.raises((VolumeError, SourceError)):
        again(record)
    with pytest.raises(VolumeError, match="no `kale gc` noted"):
        run_files(record)


def test_two_collections_at_once_agree_and_leave_nothing_behind(workspace: Path) -> None:
    runs = runs_of(workspace, 12)
    words = [sys.executable, "-m", "kale_nb", "gc", "--keep", "3", "--workspace", str(workspace)]
    children = [
        subprocess.Popen(words, env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]
    said = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], said
    assert left(workspace) == ids(runs[9:]), said
    assert {s.id for s in store(workspace).list()} == {r.snapshots["workspace"] for r in runs[9:]}
    assert not list((workspace / ".kale" / "runs").glob(".*"))


def test_a_collection_killed_at_any_moment_leaves_whole_runs(workspace: Path) -> None:
    runs = runs_of(workspace, 6)
    words = [sys.executable, "-m", "kale_nb", "gc", "--keep", "0", "--workspace", str(workspace)]
    for wait in (0.05, 0.15, 0.2, 0.25, 0.3):
        child = subprocess.Popen(words, env=child_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        child.kill()
        child.wait()
        for record in known_store(workspace).records():
            assert (record.directory / "work" / "in.csv").is_file()
            needed = [e.sha256 for e in store(workspace).entries(record.snapshots["workspace"]) if e.kind == "file"]
            assert all(store(workspace).open_object(sha256).is_file() for sha256 in needed)
    gc(workspace, keep=0)
    assert left(workspace) == []
    assert list((workspace / ".kale" / "runs").iterdir()) == []
    assert runs[0].directory.parent.is_dir()


def _weight(number: int, *, live: bool = False, pinned: bool = False, folder: Path = Path("/none")) -> Weight:
    record = RunRecord(id=str(number), pipeline="p", directory=folder / str(number), started=NOW - (100 - number) * DAY)  # type: ignore[arg-type]
    return Weight(record=record, clones=100, values=10, rest=1, live=live, pinned=pinned)


def test_grace_is_given_unless_the_size_is_passed() -> None:
    weights = [_weight(n) for n in range(90, 100)]
    limits = Limits(keep=2, max_size=10_000, grace=5.5 * DAY)
    assert [f.goes for f in choose(weights, limits, level="clones", size=1100, now=NOW)] == [True] * 5 + [False] * 5
    limits = Limits(keep=2, max_size=300, grace=5.5 * DAY)
    assert [f.goes for f in choose(weights, limits, level="clones", size=1100, now=NOW)] == [True] * 8 + [False] * 2


def test_what_stays_because_it_must_does_not_save_others_from_the_size() -> None:
    weights = [_weight(1, live=True), _weight(2, pinned=True), _weight(3), _weight(4)]
    fates = choose(weights, Limits(max_size=250), level="runs", size=444, now=NOW)
    assert [(f.goes, f.why) for f in fates] == [(False, "it runs"), (False, "pinned"), (True, "too much"), (False, "")]


def test_links_that_a_step_planted_in_the_run_lead_no_collection_out(workspace: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, {"values/values.bin": "precious", "values/index.json": "{}", "values.bin": "precious", "big": b"x" * 500_000})
    for level in ("clones", "runs"):
        (record,) = runs_of(workspace, 1)
        for place, aim in (("data/a/values", "values"), ("data/b", "."), ("work", ".")):
            path = record.directory / place
            shutil.rmtree(path)
            path.symlink_to(outside / aim)
        before = tree(outside)
        (fate,) = [f for f in gc(workspace, dry_run=True).fates if f.weight.record.id == record.id]
        assert fate.weight.total < 400_000
        gc(workspace, level, keep=0)  # type: ignore[arg-type]
        assert tree(outside) == before
