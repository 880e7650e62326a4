"""The collection after a run: gentle, within a budget, and free when there is nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kale_nb.errors import VolumeError
from kale_nb.planning import RunOptions
from kale_nb.results.again import again
from kale_nb.results.tidying import VARIABLE, Budget, began, note_weights, read_budget, tidy, weights_file
from kale_nb.results.weighing import PINNED
from kale_nb.runner import run
from kale_nb.runs.events import Event, OldClonesRemoved, RunWarning, State
from kale_nb.runs.record import RunRecord
from kale_nb.runs.store import known_store, snapshot_folder
from kale_nb.volumes import SnapshotStore
from tests.cli.conftest import child_environment
from tests.cli.fake import FakeEngine
from tests.results.making import finished_run, write
from tests.runs.test_runner import compiled

DAY = 86400.0
NOW = 1.8e9
ROOMY = 1 << 40


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    write(folder, {"nb.ipynb": "{}"})
    return folder


def runs_of(workspace: Path, count: int, budget: Budget | None = None) -> list[RunRecord]:
    """Keep runs a day apart, each on a file of its own of 100 kB; with a budget tidy after each."""
    made = []
    for number in range(count):
        write(workspace, {"in.csv": os.urandom(100_000)})
        began = NOW - (count - number) * DAY
        made.append(finished_run(workspace, started=began))
        if budget is not None:
            tidy(made[-1], budget, now=began)
    return made


def whole(runs: list[RunRecord]) -> list[bool]:
    return [(record.directory / "work").is_dir() for record in runs]


def test_clones_beyond_the_number_go_when_their_grace_is_over_and_records_stay(workspace: Path) -> None:
    runs = runs_of(workspace, 8)
    done = tidy(runs[-1], Budget(keep=3, max_size=ROOMY, grace=6.5 * DAY), now=NOW)
    assert done is not None
    assert done.clones == (runs[0].id, runs[1].id)
    assert whole(runs) == [False, False, *[True] * 6]
    assert len(known_store(workspace).records()) == 8
    again(runs[0])


def test_when_they_take_too_much_grace_is_of_no_account_but_the_newest_stays(workspace: Path) -> None:
    runs = runs_of(workspace, 4)
    done = tidy(runs[-1], Budget(max_size=100_000), now=NOW)
    assert done is not None
    assert whole(runs) == [False, False, False, True]


def test_then_snapshots_go_too_and_doing_such_a_run_again_says_why_not(workspace: Path) -> None:
    runs = runs_of(workspace, 4)
    done = tidy(runs[-1], Budget(max_size=400_000), now=NOW)
    assert done is not None
    assert done.snapshots >= 1
    store = SnapshotStore(snapshot_folder(known_store(workspace).root))
    assert runs[-1].snapshots["workspace"] in {s.id for s in store.list()}
    with pytest.raises(VolumeError, match=r"is gone: removed on .* by the automatic collection"):
        again(runs[0])


def test_pinned_and_live_runs_keep_their_clones(workspace: Path) -> None:
    runs = runs_of(workspace, 3)
    (runs[0].directory / PINNED).touch()
    live = finished_run(workspace, started=NOW - 50 * DAY, state=State.RUNNING, finished=None)
    tidy(runs[-1], Budget(max_size=1), now=NOW)
    assert whole([*runs, live]) == [True, False, True, True]


def test_a_budget_that_is_not_passed_costs_less_than_a_millisecond(workspace: Path) -> None:
    runs = runs_of(workspace, 2)
    note_weights(known_store(workspace), {f"20260101-0000{n:02}-old-x": 1000 for n in range(60)})
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        assert tidy(runs[-1], Budget(keep=100), now=NOW) is None
        best = min(best, time.perf_counter() - start)
    assert best < 0.001


def test_tidying_after_every_run_keeps_a_folder_within_its_budget(workspace: Path) -> None:
    budget = Budget(keep=3, max_size=10_000_000, grace=0)
    runs = runs_of(workspace, 9, budget)
    assert whole(runs) == [False] * 6 + [True] * 3


def test_a_lost_or_damaged_list_of_weights_is_made_again(workspace: Path) -> None:
    runs = runs_of(workspace, 5)
    weights = weights_file(known_store(workspace).root)
    for damage in (b"", b"\xff\xfe nonsense\n", b"gone-run 99999999999999\n"):
        weights.write_bytes(damage)
        tidy(runs[-1], Budget(keep=100, max_size=ROOMY), now=NOW)
    assert whole(runs) == [True] * 5
    weights.unlink()
    assert tidy(runs[-1], Budget(keep=1, max_size=1, grace=0), now=NOW) is not None
    assert whole(runs) == [False] * 4 + [True]


def test_the_id_of_a_run_tells_when_it_began(workspace: Path) -> None:
    record = finished_run(workspace, started=NOW)
    assert began(record.id) == NOW
    assert began("something") == 0


@pytest.mark.parametrize("text", ["keep=x", "keep", "size=1G", "max-size=lots", "grace=7", "keep=-1"])
def test_a_budget_that_cannot_be_read_is_told_and_nothing_goes(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="none of keep=N"):
        read_budget(text)
    monkeypatch.setenv(VARIABLE, text)
    seen: list[Event] = []
    run(compiled(tmp_path), engine=FakeEngine(), observers=(seen.append,))
    assert [VARIABLE in e.message for e in seen if isinstance(e, RunWarning)] == [True]


def test_a_run_tells_what_was_tidied_after_it_unless_it_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "ws"
    write(work, {"in.csv": b"x" * 50_000})
    older = [finished_run(work, started=time.time() - n * DAY) for n in (3, 2)]
    seen: list[Event] = []
    for setting in ("0", "max-size=1"):
        monkeypatch.setenv(VARIABLE, setting)
        run(compiled(work), RunOptions(), engine=FakeEngine(), observers=(seen.append,))
        if setting == "0":
            assert whole(older) == [True, True]
    assert whole(older) == [False, False]
    (told,) = [e for e in seen if isinstance(e, OldClonesRemoved)]
    assert set(told.runs) >= {older[0].id, older[1].id}
    assert told.bytes > 100_000


def test_several_runs_that_end_at_once_tidy_up_once(workspace: Path) -> None:
    runs = runs_of(workspace, 8)
    code = (
        "import sys; from pathlib import Path; from kale_nb.runs.store import read_record; from kale_nb.results.tidying import *\n"
        f"tidy(read_record(Path(sys.argv[1])), Budget(keep=2, grace=0, max_size={ROOMY}), now={NOW})"
    )
    newest = str(runs[-1].directory)
    children = [
        subprocess.Popen([sys.executable, "-c", code, newest], env=child_environment(), stderr=subprocess.PIPE) for _ in range(4)
    ]
    for child in children:
        _, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, b"")
    assert whole(runs) == [False] * 6 + [True] * 2
    assert sorted(p.name for p in runs[0].directory.parent.iterdir()) == sorted(record.id for record in runs)


def test_the_newest_run_keeps_its_clone_when_an_older_one_ends_after_it(workspace: Path) -> None:
    older, newer = runs_of(workspace, 2)
    done = tidy(older, Budget(keep=1, max_size=0, grace=0), now=NOW)
    assert done is None or newer.id not in done.clones
    assert (newer.directory / "work").is_dir()
