"""Who did what to files, with steps that are only told about: no kernel."""

from __future__ import annotations

import os
import time
from pathlib import Path

from kale_nb.engines.local.files import FileWatch, Part, look_at
from kale_nb.engines.local.writes import Notes, read_notes
from kale_nb.names import StepName

A, B, C = StepName("a"), StepName("b"), StepName("c")


def watch(
    folder: Path, noted: dict[StepName, set[str]] | None = None, ordered: tuple[tuple[StepName, StepName], ...] = ()
) -> FileWatch:
    def unordered(one: StepName, other: StepName) -> bool:
        return one != other and (one, other) not in ordered and (other, one) not in ordered

    def notes(step: StepName) -> Notes:
        return Notes(written=frozenset((noted or {}).get(step, ())))

    return FileWatch({"workspace": folder}, [Part(path=str(folder), volume="workspace")], unordered, notes)


def test_a_conflict_is_told_once_however_often_both_write(tmp_path: Path) -> None:
    file = tmp_path / "x"
    watched = watch(tmp_path, {A: {str(file)}, B: {str(file)}})
    watched.started(A)
    watched.started(B)
    file.write_text("1")
    [conflict] = watched.ended(A)
    assert {conflict.first, conflict.second} == {(A,), (B,)}
    file.write_text("22")
    assert watched.ended(B) == []
    assert watched.report(B)["created"] == ["x"]


def test_a_file_that_one_of_two_wrote_and_a_third_one_changed_names_all_three(tmp_path: Path) -> None:
    watched = watch(tmp_path)
    watched.started(A)
    watched.started(B)
    (tmp_path / "x").write_text("1")
    assert watched.ended(A) == []
    watched.ended(B)
    watched.started(C)
    (tmp_path / "x").write_text("22")
    [conflict] = watched.ended(C)
    assert conflict.message().startswith("one of the steps `a`, `b` and step `c`")


def test_a_file_that_comes_and_goes_in_one_step_is_not_told(tmp_path: Path) -> None:
    watched = watch(tmp_path, ordered=((A, B),))
    watched.started(A)
    (tmp_path / "x").write_text("1")
    watched.ended(A)
    watched.started(B)
    (tmp_path / "x").unlink()
    assert watched.ended(B) == []
    assert watched.report(A)["created"] == ["x"]
    assert watched.report(B)["deleted"] == ["x"]


def test_a_file_whose_time_is_put_back_after_it_was_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    before = (tmp_path / "x").stat()
    time.sleep(0.02)
    watched = watch(tmp_path)
    watched.started(A)
    (tmp_path / "x").write_text("2")
    os.utime(tmp_path / "x", ns=(before.st_atime_ns, before.st_mtime_ns))
    watched.ended(A)
    assert watched.report(A)["changed"] == ["x"]


def test_folders_that_a_step_made_removed_or_gave_other_permissions_are_told_and_no_conflict(tmp_path: Path) -> None:
    for name in ("kept", "gone", "shut"):
        (tmp_path / name).mkdir()
    watched = watch(tmp_path)
    watched.started(A)
    watched.started(B)
    (tmp_path / "new/deep").mkdir(parents=True)
    (tmp_path / "gone").rmdir()
    (tmp_path / "shut").chmod(0o500)
    (tmp_path / "kept/x").touch()
    assert watched.ended(A) == watched.ended(B) == []
    report = watched.report(B)
    assert report["folders"] == ["gone/", "new/", "new/deep/", "shut/"]
    assert (report["created"], report["deleted"]) == ([], [])
    watched.started(C)
    (tmp_path / "brief").mkdir()
    (tmp_path / "brief").rmdir()
    assert watched.ended(C) == []
    assert "folders" not in watched.report(C)


def test_names_that_are_no_text_and_links_that_lead_in_circles_are_looked_at(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\n"
    with open(odd, "w"):
        pass
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / ".kale").mkdir()
    (tmp_path / ".kale/x").touch()
    assert sorted(look_at(tmp_path)) == sorted([os.fsdecode(b"\xff\n"), "circle"])


def test_what_nobody_noted_is_nothing(tmp_path: Path) -> None:
    assert read_notes(tmp_path / "missing") == Notes()
