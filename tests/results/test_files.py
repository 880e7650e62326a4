"""What a run created, changed and deleted, and by whom."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kale_nb.errors import UsageError, VolumeError
from kale_nb.results.comparing import compare
from kale_nb.results.files import keep_list, run_files, step_files
from kale_nb.results.gone import CLONE, note_removed
from kale_nb.results.pull import pull
from tests.results.making import finished_run, write


def told(record: object) -> dict[str, str]:
    return {f.name: f.what for f in run_files(record)}  # type: ignore[arg-type]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    write(folder, {"nb.ipynb": "{}", "data/in.csv": "1\n", "old.txt": "old", "same.txt": "same"})
    return folder


def test_created_changed_and_deleted_files_are_told_with_their_sizes_and_steps(workspace: Path) -> None:
    def work(clone: Path) -> None:
        write(clone, {"models/m.bin": b"12345", "data/in.csv": "2\n"})
        (clone / "old.txt").unlink()

    reports = {
        "a": {"created": ["models/m.bin"], "changed": [], "deleted": ["old.txt"]},
        "b": {"created": [], "changed": ["data/in.csv", "models/m.bin"], "deleted": [], "uncertain": {"data/in.csv": ["a", "b"]}},
    }
    files = {f.name: f for f in run_files(finished_run(workspace, work, reports=reports))}
    assert {name: (f.what, f.size, f.steps, f.uncertain) for name, f in files.items()} == {
        "models/m.bin": ("created", 5, ("a", "b"), ()),
        "data/in.csv": ("changed", 2, ("b",), ("a", "b")),
        "old.txt": ("deleted", None, ("a",), ()),
    }


def test_a_run_that_touched_nothing_has_no_files(workspace: Path) -> None:
    assert told(finished_run(workspace)) == {}


def rewrite_with_the_old_time(clone: Path) -> None:
    time.sleep(0.1)
    before = (clone / "same.txt").stat()
    (clone / "same.txt").write_text("SAME")
    os.utime(clone / "same.txt", ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_whose_time_was_put_back_after_it_was_written_is_told_compared_and_pulled(workspace: Path) -> None:
    first = finished_run(workspace, started=time.time())
    record = finished_run(workspace, rewrite_with_the_old_time, started=time.time())
    assert told(record) == {"same.txt": "changed"}
    assert compare(first, record).files["workspace"].changed == ("same.txt",)
    assert [p.action for p in pull(record)] == ["replaced"]
    assert (workspace / "same.txt").read_text() == "SAME"


def test_a_file_whose_time_was_put_back_is_told_too_where_the_clone_came_from_the_middle_of_a_run(workspace: Path) -> None:
    begun = finished_run(workspace, started=time.time())
    rewrite_with_the_old_time(workspace)
    record = finished_run(workspace, started=time.time() + 1, origins=begun.snapshots)  # nothing is done to its clone
    assert told(record) == {"same.txt": "changed"}
    assert compare(begun, record).files["workspace"].changed == ("same.txt",)


def test_a_file_whose_time_was_put_back_by_a_try_that_failed_is_told(workspace: Path) -> None:
    record = finished_run(workspace, rewrite_with_the_old_time, started=time.time() + 1)
    first, second = record.steps
    assert told(record) == {}
    assert told(replace(record, steps=(replace(first, retried=("failed",)), second))) == {"same.txt": "changed"}


def test_what_the_steps_own_reports_forget_is_told_all_the_same(workspace: Path) -> None:
    record = finished_run(workspace, lambda clone: write(clone, {"new": "x"}), reports={"a": {"created": ["other"]}})
    assert told(record) == {"new": "created"}


def test_files_of_data_volumes_carry_the_volumes_name(workspace: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos, {"cat.jpg": "cat"})
    reports = {"a": {"created": [], "volumes": {"photos": {"created": ["dog.jpg"]}}}}
    record = finished_run(
        workspace,
        volumes={"photos": (photos, lambda clone: write(clone, {"dog.jpg": "dog", "cat.jpg": "CAT"}))},
        reports=reports,
    )
    assert told(record) == {"photos:dog.jpg": "created", "photos:cat.jpg": "changed"}
    assert [f.name for f in step_files(record, "a")] == ["photos:dog.jpg"]


def test_names_that_are_no_text_come_through(workspace: Path) -> None:
    weird = "a\nb\udcff"

    def work(clone: Path) -> None:
        with open(os.path.join(clone, weird), "w") as file:
            file.write("x")

    record = finished_run(workspace, work, reports={"a": {"created": [weird]}})
    assert told(record) == {weird: "created"}
    keep_list(record)
    shutil.rmtree(record.directory / "work")
    assert told(record) == {weird: "created"}


def test_a_step_tells_what_it_did_itself(workspace: Path) -> None:
    reports = {"a": {"created": ["x"], "changed": [], "deleted": []}, "b": {"created": [], "changed": ["x"], "deleted": ["gone"]}}
    record = finished_run(workspace, lambda clone: write(clone, {"x": "123"}), reports=reports)
    assert [(f.name, f.what, f.size) for f in step_files(record, "b")] == [("gone", "deleted", None), ("x", "changed", 3)]
    with pytest.raises(UsageError, match="no step 'c'"):
        step_files(record, "c")


def test_a_damaged_report_is_no_report(workspace: Path) -> None:
    record = finished_run(workspace, lambda clone: write(clone, {"x": "123"}))
    write(record.directory, {"files/a.json": "[1]", "files/b.json": '{"created": 3'})
    assert told(record) == {"x": "created"}
    with pytest.raises(UsageError, match="no report"):
        step_files(record, "a")


def test_a_list_outlives_the_clone_and_without_one_the_error_says_how_it_went(workspace: Path) -> None:
    record = finished_run(workspace, lambda clone: write(clone, {"x": "123"}))
    keep_list(record)
    shutil.rmtree(record.directory / "work")
    assert told(record) == {"x": "created"}
    (record.directory / "files.json").unlink()
    note_removed(record.directory, [CLONE], "kale gc --keep 1 --clones")
    with pytest.raises(VolumeError, match="by kale gc --keep 1 --clones"):
        run_files(record)


def test_a_run_without_a_snapshot_says_so(workspace: Path) -> None:
    record = finished_run(workspace, snapshots={})
    for ask in (run_files, pull):
        with pytest.raises(VolumeError, match="kept no snapshot"):
            ask(record)
