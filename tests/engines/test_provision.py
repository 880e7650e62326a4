"""The volumes of a run, made without running anything: what is said before, what is said of deviations, what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kale_nb.engines.local import provision
from kale_nb.engines.local.provision import provide
from kale_nb.errors import VolumeError
from kale_nb.pipeline.model import MarshalVolume, Volume
from kale_nb.runs.events import RunNote, RunWarning, VolumeCreated, VolumeRead
from kale_nb.volumes import SnapshotStore
from tests.engines.making import Seen, make_job


def data(source: Path, name: str = "data", **more: object) -> Volume:
    return replace(Volume(name=name, mount_point=f"/kale-test/{name}", source=str(source)), **more)  # type: ignore[arg-type]


def test_what_takes_long_is_told_with_its_cost_before_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "_WORTH_SAYING", 0.01)
    many = tmp_path / "many"
    many.mkdir()
    for number in range(2001):
        (many / str(number)).touch()
    job = make_job(tmp_path, {"a": "1"}, volumes=(data(many),))
    seen = Seen()
    provide(job, SnapshotStore, seen, seen=True)
    assert [type(e) for e in seen] == [VolumeCreated, RunNote, VolumeCreated]  # of the small workspace nothing is said
    [note] = [e.message for e in seen if isinstance(e, RunNote)]
    assert note.startswith("create-volume-2: 2,001 files, 0 B, ")
    assert "on the disk" in note


def test_what_the_clone_does_not_have_is_told_and_links_into_volumes_are_none_of_it(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    job = make_job(tmp_path, {"a": "1"}, volumes=(data(folder),))
    (job.workspace / "away").symlink_to(outside)
    (job.workspace / "by mount point").symlink_to("/kale-test/data/x")
    (job.workspace / "by source").symlink_to(folder)
    (job.workspace / "setuid").touch()
    (job.workspace / "setuid").chmod(0o4755)
    os.mkfifo(job.workspace / "pipe")
    (job.workspace / ".git").mkdir()
    seen = Seen()
    provide(job, SnapshotStore, seen, seen=True)
    [warning] = [e.message for e in seen if isinstance(e, RunWarning)]
    for part in (
        f"away links to {outside}",
        "setuid: its setuid or setgid bit is dropped",
        "pipe: a named pipe",
        "stays changed",
    ):
        assert part in warning
    for part in ("by mount point", "by source", ".git"):
        assert part not in warning


def test_without_a_view_a_link_to_a_data_folder_leads_to_the_original_and_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    job = make_job(tmp_path, {"a": "1"}, volumes=(data(folder),))
    (job.workspace / "link").symlink_to(folder)
    seen = Seen()
    provide(job, SnapshotStore, seen, seen=False)
    assert [f"link links to {folder}" in e.message for e in seen if isinstance(e, RunWarning)] == [True]


def test_a_marshal_volume_for_which_there_is_no_room_is_refused_before_anything_is_copied(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "1"})
    job = replace(job, pipeline=replace(job.pipeline, marshal_volume=MarshalVolume(enabled=True, size="900Ti")))
    seen = Seen()
    with pytest.raises(VolumeError, match="900Ti"):
        provide(job, SnapshotStore, seen, seen=True)
    assert seen == []
    assert os.listdir(job.directory) == []


def test_a_data_volume_that_is_too_large_is_named_with_the_way_to_only_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "big").write_bytes(bytes(3000))
    with pytest.raises(VolumeError, match="the volume data cannot be cloned: the folder .* is too large") as caught:
        provide(make_job(tmp_path, {"a": "1"}, volumes=(data(folder),), max_bytes=2000), SnapshotStore, Seen(), seen=True)
    assert caught.value.hint is not None
    assert f"--volume {folder}:/kale-test/data:ro" in caught.value.hint


def test_a_volume_that_is_only_read_is_known_by_a_glance_at_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/f").write_text("1")

    def fingerprint() -> str:
        seen = Seen()
        (tmp_path / "again").mkdir(exist_ok=True)
        provide(
            make_job(
                tmp_path / "again" / str(len(os.listdir(tmp_path / "again"))), {"a": "1"}, volumes=(data(folder, read_only=True),)
            ),
            SnapshotStore,
            seen,
            seen=True,
        )
        [read] = [e for e in seen if isinstance(e, VolumeRead)]
        assert (read.volume, read.path) == ("data", folder)
        return read.fingerprint

    first = fingerprint()
    assert first == fingerprint() != ""
    (folder / "deep/f").write_text("12")
    assert fingerprint() != first


def test_names_of_one_file_are_told_for_they_become_files_of_their_own(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "1"})
    (job.workspace / "table.csv").touch()
    (job.workspace / "alias.csv").hardlink_to(job.workspace / "table.csv")
    (tmp_path / "elsewhere").touch()
    (job.workspace / "cached").hardlink_to(tmp_path / "elsewhere")
    seen = Seen()
    provide(job, SnapshotStore, seen, seen=True)
    [warning] = [e.message for e in seen if isinstance(e, RunWarning)]
    assert "alias.csv and table.csv are one file (hard links), and in a clone one each" in warning
    assert "cached" not in warning


def test_a_volume_that_holds_the_workspace_is_told_for_its_own_path_leads_to_the_folder(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "1"})
    (tmp_path / "above").mkdir()
    job.workspace.rename(tmp_path / "above/ws")
    for more, told in ({}, 1), ({"read_only": True}, 0):
        seen = Seen()
        moved = replace(job, workspace=tmp_path / "above/ws", volumes=(data(tmp_path / "above", **more),))
        provide(replace(moved, directory=tmp_path / f"run{told}"), SnapshotStore, seen, seen=True)
        warnings = [e.message for e in seen if isinstance(e, RunWarning)]
        assert [f"steps find its clone at /kale-test/data, and what they write to {tmp_path}/above" in w for w in warnings] == [
            True
        ] * told
