"""The store: ids, places, and finding a run by what people type."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kale_nb.errors import UsageError
from kale_nb.process import this_process
from kale_nb.runs.events import State
from kale_nb.runs.record import RecordError, RunRecord
from kale_nb.runs.recorder import write_record
from kale_nb.runs.store import Store, StoreError, known_store, open_store, read_record, run_id, state_runs


def keep(store: Store, name: str = "demo", now: float = 1000.0) -> Path:
    directory = store.create(name, now)
    write_record(RunRecord(id=run_id(directory), pipeline=name, directory=directory, started=now, writer=this_process()))
    return directory


def test_an_id_is_short_and_says_when_and_what(tmp_path: Path) -> None:
    directory = open_store(tmp_path).create("Train Größe!", 1795515300.0)
    assert re.fullmatch(r"\d{8}-\d{6}-train-grosse-[a-z0-9]{4}", directory.name)


def test_ids_sort_by_time(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    names = [store.create(name, now).name for name, now in (("z", 1e9), ("a", 1e9 + 1), ("m", 1.7e9))]
    assert names == sorted(names)


def test_two_runs_at_once_never_share_a_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: store.create("same", 5.0), range(200)))
    assert len(set(made)) == 200


@pytest.mark.parametrize("name", ["", "...", "x" * 500, "../../up", "a/b", "训练"])
def test_any_pipeline_name_makes_a_folder_in_the_store(name: str, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.create(name).parent == store.root


def test_the_folder_ignores_itself_for_git(tmp_path: Path) -> None:
    open_store(tmp_path)
    assert (tmp_path / ".kale" / ".gitignore").read_text() == "*\n"
    (tmp_path / ".kale" / ".gitignore").write_text("mine\n")
    open_store(tmp_path)
    assert (tmp_path / ".kale" / ".gitignore").read_text() == "mine\n"


def test_latest_is_the_run_that_started_last(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    keep(store, "zebra", 1000.2)
    newest = keep(store, "ant", 1000.7)
    assert store.find().directory == newest
    assert store.find("latest").id == newest.name


def test_a_run_is_found_by_the_beginning_or_the_end_of_its_id_or_its_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first, second = keep(store, now=1000.0), keep(store, now=99999.0)
    for text in (first.name, first.name[:-2], first.name[-4:], str(first)):
        assert store.find(text).directory == first
    assert store.find(second.name).id == second.name


def test_an_ambiguous_beginning_names_the_candidates(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    names = [keep(store, now=1000.0).name for _ in range(2)]
    with pytest.raises(UsageError) as caught:
        store.find("1970")
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("text", ["nothing", "latest", "./nothing", "..", "", "/"])
def test_a_run_that_is_not_there_is_a_usage_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Store(root=tmp_path / "empty").find(text)


def test_damaged_records_are_passed_over_in_lists_and_told_when_asked_for(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    good, bad, none = keep(store), keep(store), store.create("none")
    (bad / "run.json").write_text('{"format": 1, "id"')
    (store.root / "stray.txt").write_text("")
    assert [record.directory for record in store.records()] == [good]
    for directory in (bad, none):
        with pytest.raises(RecordError):
            store.find(directory.name)


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    assert known_store(tmp_path).records() == ()
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_that_cannot_be_written_keeps_runs_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    workspace = tmp_path / "my work"
    workspace.mkdir()
    (workspace / ".kale").write_text(
        "a file where the folder should be"
    )  # refuses even root, as a read-only folder refuses others
    store = open_store(workspace)
    assert store.root == state_runs(workspace)
    assert store.root.is_relative_to(tmp_path / "state")
    assert store.notice is not None
    assert str(store.root) in store.notice
    assert known_store(workspace).root == store.root


def test_two_workspaces_of_one_name_do_not_share_a_state_folder(tmp_path: Path) -> None:
    assert state_runs(tmp_path / "a" / "work") != state_runs(tmp_path / "b" / "work")


def test_a_runs_folder_that_was_asked_for_is_used_or_refused_never_replaced(tmp_path: Path) -> None:
    asked = tmp_path / "deep" / "runs"
    assert open_store(tmp_path, asked).root == asked
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        open_store(tmp_path, tmp_path / "file")
    assert not (tmp_path / ".kale").exists()


def test_no_place_at_all_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".kale").write_text("")
    (tmp_path / "state").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path)
    assert "--runs-dir" in (caught.value.hint or "")


def test_a_new_record_of_a_living_writer_is_pending(tmp_path: Path) -> None:
    assert read_record(keep(open_store(tmp_path))).state is State.PENDING
    assert os.listdir(tmp_path) == [".kale"]
