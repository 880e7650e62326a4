"""Pulling: what a run made comes into the workspace, and nothing of the user's is lost or led astray."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kale_nb.errors import UsageError, VolumeError
from kale_nb.results.keeping import drop_clones
from kale_nb.results.landing import InTheWay, Landing
from kale_nb.results.patterns import is_meant
from kale_nb.results.pull import pull
from kale_nb.runs.events import State
from kale_nb.runs.record import RunRecord
from tests.results.making import finished_run, tree, write


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    write(folder, {"nb.ipynb": "{}", "in.csv": "1\n", "old.txt": "old", "deep/down/x": "x"})
    return folder


def work(clone: Path) -> None:
    write(clone, {"models/a.bin": b"model", "in.csv": "22\n", "report.txt": "fine"})
    (clone / "old.txt").unlink()


def actions(record: RunRecord, *patterns: str, **how: object) -> dict[str, str]:
    return {p.file.name: p.action for p in pull(record, patterns, **how)}  # type: ignore[arg-type]


def test_created_and_changed_files_come_and_deleted_ones_stay_unless_asked(workspace: Path) -> None:
    record = finished_run(workspace, work)
    assert actions(record) == {"models/a.bin": "copied", "in.csv": "replaced", "report.txt": "copied"}
    assert tree(workspace)["models/a.bin"] == b"model"
    assert tree(workspace)["in.csv"] == b"22\n"
    assert "old.txt" in tree(workspace)
    assert actions(record, delete=True) == {"models/a.bin": "same", "in.csv": "same", "report.txt": "same", "old.txt": "deleted"}
    assert "old.txt" not in tree(workspace)


def test_a_dry_run_tells_the_same_and_touches_nothing(workspace: Path) -> None:
    record = finished_run(workspace, work)
    before = tree(workspace)
    told = actions(record, delete=True, dry_run=True)
    assert tree(workspace) == before
    assert actions(record, delete=True) == told


def test_patterns_choose_and_one_that_means_nothing_is_an_error_before_anything_is_copied(workspace: Path) -> None:
    record = finished_run(workspace, work)
    with pytest.raises(UsageError, match="nothing"):
        pull(record, ["models/*", "nothing*"])
    assert "models" not in tree(workspace)
    assert actions(record, "deep") == {}, "it is as it was"
    assert actions(record, "models") == {"models/a.bin": "copied"}
    assert actions(record, "*.txt") == {"report.txt": "copied"}


def test_what_the_user_changed_added_or_removed_meanwhile_stays_unless_forced(workspace: Path) -> None:
    record = finished_run(workspace, work)
    write(workspace, {"in.csv": "mine\n", "report.txt": "mine"})
    (workspace / "old.txt").write_text("mine")
    assert actions(record, delete=True) == {
        "models/a.bin": "copied", "in.csv": "refused", "report.txt": "refused", "old.txt": "refused",
    }  # fmt: skip
    assert tree(workspace)["in.csv"] == tree(workspace)["report.txt"] + b"\n"  # type: ignore[operator]
    done = {p.file.name: p for p in pull(record, ["in.csv", "report.txt", "old.txt"], force=True, delete=True)}
    assert all(p.forced for p in done.values())
    assert (tree(workspace)["in.csv"], tree(workspace)["report.txt"]) == (b"22\n", b"fine")
    assert "old.txt" not in tree(workspace)


def test_a_file_that_the_user_removed_does_not_come_back_unless_forced(workspace: Path) -> None:
    record = finished_run(workspace, work)
    (workspace / "in.csv").unlink()
    assert actions(record, "in.csv") == {"in.csv": "refused"}
    assert actions(record, "in.csv", force=True) == {"in.csv": "copied"}


def test_a_file_that_was_only_touched_is_not_changed(workspace: Path) -> None:
    record = finished_run(workspace, work)
    os.utime(workspace / "in.csv")
    assert actions(record, "in.csv") == {"in.csv": "replaced"}


def test_permissions_that_the_user_changed_meanwhile_stay_unless_forced(workspace: Path) -> None:
    record = finished_run(workspace, work)
    (workspace / "in.csv").chmod(0o600)
    (workspace / "old.txt").chmod(0o600)
    done = {p.file.name: p for p in pull(record, ["in.csv", "old.txt"], delete=True)}
    assert {p.action for p in done.values()} == {"refused"}
    assert done["in.csv"].reason == "its permissions were changed there since the run began"
    assert actions(record, "in.csv", force=True) == {"in.csv": "replaced"}


def test_a_file_that_the_ignore_file_left_out_of_the_snapshot_is_told_as_that(workspace: Path) -> None:
    write(workspace, {".kaleignore": "cache/\n", "cache/x": "mine", "new": "mine"})
    (workspace / "new").unlink()
    record = finished_run(workspace, lambda clone: write(clone, {"cache/x": "of the run", "new": "of the run"}))
    write(workspace, {"new": "mine"})
    done = {p.file.name: p for p in pull(record)}
    assert done["cache/x"].action == done["new"].action == "refused"
    assert ".kaleignore left it out of the snapshot" in done["cache/x"].reason
    assert done["new"].reason == "it is there, and was not when the run began"


def test_permissions_travel_without_setuid(workspace: Path) -> None:
    def make_tool(clone: Path) -> None:
        write(clone, {"tool": "#!/bin/sh\n"})
        (clone / "tool").chmod(0o6755)

    pull(finished_run(workspace, make_tool))
    assert stat.S_IMODE((workspace / "tool").stat().st_mode) == 0o755


def test_to_another_folder_nothing_of_the_workspace_matters(workspace: Path, tmp_path: Path) -> None:
    record = finished_run(workspace, work)
    write(workspace, {"in.csv": "mine\n"})
    assert actions(record, to=tmp_path / "out") == {"models/a.bin": "copied", "in.csv": "copied", "report.txt": "copied"}
    assert tree(tmp_path / "out")["in.csv"] == b"22\n"
    write(tmp_path / "out", {"in.csv": "edited"})
    assert actions(record, "in.csv", to=tmp_path / "out") == {"in.csv": "refused"}


def test_data_volumes_go_back_to_their_own_folder_when_asked(workspace: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos, {"cat.jpg": "cat"})
    record = finished_run(workspace, work, volumes={"photos": (photos, lambda clone: write(clone, {"dog.jpg": "dog"}))})
    assert "photos:dog.jpg" not in actions(record, dry_run=True)
    assert actions(record, "photos:*") == {"photos:dog.jpg": "copied"}
    assert tree(photos) == {"cat.jpg": b"cat", "dog.jpg": b"dog"}
    assert actions(record, "photos:*", "report.txt", to=tmp_path / "out") == {"report.txt": "copied", "photos:dog.jpg": "copied"}
    assert tree(tmp_path / "out")["photos/dog.jpg"] == b"dog"


@pytest.mark.parametrize("name", ["a\nb", "\udcff\udcfe", "-rf", " ", "ü", "w[1]*?.txt", "a:b", "x" * 250])
def test_weird_names_come_as_they_are(name: str, workspace: Path) -> None:
    def make(clone: Path) -> None:
        with open(os.path.join(clone, name), "w") as file:
            file.write("x")

    record = finished_run(workspace, make)
    assert actions(record, name) == {name: "copied"}
    assert os.path.exists(os.path.join(workspace, name))


def _link_out(clone: Path, outside: Path) -> None:
    (clone / "out").symlink_to(outside)


def _folder_becomes_link(clone: Path, outside: Path) -> None:
    (clone / "deep" / "down" / "x").unlink()
    (clone / "deep" / "down").rmdir()
    (clone / "deep" / "down").symlink_to(outside)


def _climbing_link(clone: Path, outside: Path) -> None:
    (clone / "out").symlink_to("../" * 20 + str(outside).lstrip("/"))


def _link_over_file(clone: Path, outside: Path) -> None:
    (clone / "in.csv").unlink()
    (clone / "in.csv").symlink_to(outside / "secret")


@pytest.mark.parametrize("plant", [_link_out, _folder_becomes_link, _climbing_link, _link_over_file])
@pytest.mark.parametrize("force", [False, True])
def test_a_link_that_a_step_planted_leads_nothing_out(
    plant: Callable[[Path, Path], None], force: bool, workspace: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    write(outside, {"secret": "secret"})
    record = finished_run(workspace, lambda clone: plant(clone, outside))
    done = pull(record, force=force, delete=True)
    assert any(p.action == "refused" and "leads out" in p.reason for p in done)
    assert tree(outside) == {"secret": b"secret"}
    assert not any(isinstance(v, str) and v.startswith("->") for v in tree(workspace).values())


def test_a_link_in_the_workspace_is_not_written_through(workspace: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    record = finished_run(workspace, lambda clone: write(clone, {"models/a.bin": "new", "deep/down/x": "new"}))
    (workspace / "models").symlink_to(outside)
    (workspace / "deep" / "down" / "x").unlink()
    (workspace / "deep" / "down").rmdir()
    (workspace / "deep" / "down").symlink_to(outside)
    for force in (False, True):
        done = {p.file.name: p for p in pull(record, force=force)}
        assert {p.action for p in done.values()} == {"refused"}
        assert "links are not followed" in done["models/a.bin"].reason
    assert tree(outside) == {}


def test_links_within_the_workspace_come_as_links_into_it(workspace: Path) -> None:
    def link(clone: Path) -> None:
        write(clone, {"models/v2": "2"})
        (clone / "models" / "latest").symlink_to("v2")
        (clone / "models" / "absolute").symlink_to(clone / "in.csv")
        (clone / "models" / "seen").symlink_to(workspace / "in.csv")

    pull(finished_run(workspace, link))
    found = tree(workspace)
    assert (found["models/latest"], found["models/absolute"], found["models/seen"]) == ("-> v2", "-> ../in.csv", "-> ../in.csv")


def test_nothing_is_written_into_git_or_kale(workspace: Path) -> None:
    record = finished_run(workspace, lambda clone: write(clone, {"sub/.git/hooks/post-checkout": "evil", ".GIT/config": "evil"}))
    assert {p.action for p in pull(record, force=True)} <= {"refused"}
    assert not (workspace / "sub").exists()
    assert not (workspace / ".GIT").exists()


def test_folders_in_the_way_stay(workspace: Path) -> None:
    record = finished_run(workspace, work)
    (workspace / "report.txt").mkdir()
    (workspace / "models").write_text("a file")
    done = {p.file.name: p for p in pull(record, force=True)}
    assert done["report.txt"].reason == "a folder stands there"
    assert "models is no folder" in done["models/a.bin"].reason
    assert tree(workspace)["models"] == b"a file"


def test_a_folder_may_take_the_place_of_a_file_that_the_run_deleted(workspace: Path) -> None:
    def swap(clone: Path) -> None:
        (clone / "old.txt").unlink()
        write(clone, {"old.txt/now": "a folder"})

    pull(finished_run(workspace, swap), delete=True)
    assert tree(workspace)["old.txt/now"] == b"a folder"


def test_a_place_that_changes_in_the_last_moment_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {"root/file": "one", "source": "new"})
    landing = Landing(tmp_path / "root")
    seen, nothing = landing.look("file"), landing.look("other")
    write(tmp_path, {"root/file": "two", "root/other": "appeared"})
    with open(tmp_path / "source", "rb") as source:
        for name, found in (("file", seen), ("other", nothing)):
            with pytest.raises(InTheWay, match="in this moment"):
                landing.put_file(name, source.fileno(), found)
    landing.close()
    assert tree(tmp_path / "root") == {"file": b"two", "other": b"appeared"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_workspace_is_told_file_by_file(workspace: Path) -> None:
    record = finished_run(workspace, work)
    workspace.chmod(0o555)
    try:
        assert actions(record, "report.txt") == {"report.txt": "failed"}
    finally:
        workspace.chmod(0o755)


def test_a_run_that_is_not_over_or_has_lost_its_clone_is_not_pulled(workspace: Path) -> None:
    record = finished_run(workspace, work)
    with pytest.raises(UsageError, match="not over"):
        pull(finished_run(workspace, work, state=State.RUNNING, finished=None))
    drop_clones(record, "kale gc --clones")
    with pytest.raises(VolumeError, match="kale gc --clones"):
        pull(record)


def test_a_workspace_that_moved_with_its_runs_is_pulled_into(workspace: Path, tmp_path: Path) -> None:
    record = finished_run(workspace, work)
    moved = tmp_path / "moved"
    workspace.rename(moved)
    from kale_nb.runs.store import known_store

    assert actions(known_store(moved).find(record.id), "report.txt") == {"report.txt": "copied"}
    assert tree(moved)["report.txt"] == b"fine"


@pytest.mark.parametrize(
    ("name", "pattern", "meant"),
    [
        ("a/b", "a/*", True), ("a/b/c", "a/?", True), ("a/b", "*", True), ("a/b", "b", False), ("a/b", "**/b", True),
        ("a.b", "a?b", True), ("a/b", "a?b", False), ("a", "[ab]", True), ("a", "[!ab]", False), ("]", "[]]", True),
        ("[", "[", True), ("a\nb", "a*b", True), ("a", "./a", True), ("a", ".", True), ("a/b", "a/", True), ("ab", "a", False),
        ("a.b", "a.c", False), ("a+b", "a+b", True), ("a\\b", "a\\b", True),
    ],
)  # fmt: skip
def test_patterns_mean_what_a_shell_means(name: str, pattern: str, meant: bool) -> None:
    assert is_meant(name, pattern) is meant


def test_a_clone_that_became_a_link_is_not_pulled_from(workspace: Path, tmp_path: Path) -> None:
    record = finished_run(workspace, work)
    write(tmp_path / "outside", {"secret": "secret"})
    shutil.rmtree(record.directory / "work")
    (record.directory / "work").symlink_to(tmp_path / "outside")
    with pytest.raises(VolumeError):
        pull(record)
    assert "secret" not in tree(workspace)
