"""What each step did to files, conflicts between parallel steps, originals that changed, the marshal volume's size, snapshots after steps."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines import engine
from kale_nb.engines.protocol import Job
from kale_nb.pipeline.model import MarshalVolume, Retry, StepSettings, Volume
from kale_nb.runs.events import RunWarning, State, StepFinished, StepsPlaced, VolumeCreated
from tests.engines.making import Seen, make_job, no_process_left

pytestmark = pytest.mark.kernel


def run(job: Job) -> tuple[State, Seen]:
    seen = Seen()
    with no_process_left():
        return engine("local").run(job, seen), seen


def did(job: Job, step: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((job.directory / "files" / f"{step}.json").read_text())
    return told


def warnings(seen: Seen) -> list[str]:
    return [event.message for event in seen if isinstance(event, RunWarning)]


def test_each_step_is_told_with_the_files_it_created_changed_and_deleted(tmp_path: Path) -> None:
    job = make_job(
        tmp_path,
        {
            "a": "open('new', 'w').write('1'); open('old', 'a').write('x'); open('gone-soon', 'w').close(); os = __import__('os'); "
            "os.remove('doomed'); os.remove('gone-soon')",
            "b": "open('new', 'w').write('22')",
            "c": "print('nothing')",
        },
        {"b": ["a"], "c": ["b"]},
    )
    (job.workspace / "old").write_text("o")
    (job.workspace / "doomed").write_text("d")
    (job.workspace / "untouched").write_text("u")
    state, _ = run(job)
    assert state is State.SUCCEEDED
    assert did(job, "a") == {"created": ["new"], "changed": ["old"], "deleted": ["doomed"], "uncertain": {}}
    assert did(job, "b") == {"created": [], "changed": ["new"], "deleted": [], "uncertain": {}}
    assert did(job, "c") == {"created": [], "changed": [], "deleted": [], "uncertain": {}}
    assert sorted(os.listdir(job.directory / "files")) == ["a.json", "b.json", "c.json"]


WAIT = "import time, os\nwhile not (os.path.exists('go-a') and os.path.exists('go-b')): time.sleep(0.01)\n"
"""Until both of two steps are here."""
BOTH = "open('go-{0}', 'w').close()\n" + WAIT


@pytest.mark.parametrize("isolation", ["auto", "none"])
def test_two_parallel_steps_that_write_one_file_are_a_conflict_that_names_both_and_the_file(
    tmp_path: Path, isolation: str
) -> None:
    both = {
        name: BOTH.format(name) + f"open('same.csv', 'w').write('{name}')\nopen('{name}.csv', 'w').close()" for name in ("a", "b")
    }
    job = make_job(tmp_path, both, jobs=2, isolation=isolation)
    state, seen = run(job)
    assert state is State.SUCCEEDED
    [told] = [line for line in warnings(seen) if "same.csv" in line]
    assert "`a`" in told
    assert "`b`" in told
    assert "a.csv" not in told
    assert "go-" not in told
    for name in ("a", "b"):
        assert did(job, name)["created"] == sorted(
            [f"go-{name}", f"{name}.csv", *(["same.csv"] if "same.csv" in did(job, name)["created"] else [])]
        )
    assert "same.csv" in did(job, "a")["created"] + did(job, "a")["changed"]


def test_a_step_that_is_tried_again_on_files_that_its_failed_attempt_changed_is_told(tmp_path: Path) -> None:
    fails_once = "\nif not os.path.exists('tried {0}'):\n    open('tried {0}', 'w').close()\n    1 / 0"
    work = {"a": "import os\nopen('rows.csv', 'a').write('more')", "b": "import os\nopen('new', 'w').write('x')"}
    code = {name: text + fails_once.format(name) for name, text in work.items()}
    settings = {name: StepSettings(retry=Retry(attempts=1, interval=0.01)) for name in code}
    job = make_job(tmp_path, code, {"b": ["a"]}, settings)
    (job.workspace / "rows.csv").write_text("rows ")
    state, seen = run(job)
    assert state is State.SUCCEEDED
    assert (job.directory / "work/rows.csv").read_text() == "rows moremore"
    assert warnings(seen) == [
        "step `a` is tried again on the files as its failed attempt left them: it had changed or removed rows.csv"
    ]


def test_a_conflict_is_an_error_on_request(tmp_path: Path) -> None:
    job = make_job(
        tmp_path, {n: BOTH.format(n) + f"open('same', 'w').write('{n}')" for n in ("a", "b")}, jobs=2, conflicts="error"
    )
    state, seen = run(job)
    assert state is State.FAILED
    [failed] = [e for e in seen if isinstance(e, StepFinished) and e.failure is not None]
    assert failed.failure is not None
    assert failed.failure.kind == "conflict"
    assert "same" in failed.failure.message


def test_steps_one_after_the_other_may_write_one_file_and_so_may_branches_that_never_meet_one(tmp_path: Path) -> None:
    code = "open('same', 'a').write('x')"
    job = make_job(tmp_path, {"a": code, "b": code, "c": "open('other', 'w').close()"}, {"b": ["a"]}, jobs=2)
    state, seen = run(job)
    assert state is State.SUCCEEDED
    assert warnings(seen) == []


def test_branches_that_ran_one_after_the_other_by_chance_are_a_conflict_all_the_same(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "open('same', 'w').write('x')", "b": "open('same', 'a').write('y')"}, jobs=1)
    _, seen = run(job)
    [told] = warnings(seen)
    assert "`a`" in told
    assert "`b`" in told


def test_what_a_program_wrote_beside_another_step_is_told_as_one_of_two(tmp_path: Path) -> None:
    program = "import subprocess; subprocess.run('echo x > by-program', shell=True)\n"
    end = "open('end-{0}', 'w').close()\nwhile not (os.path.exists('end-a') and os.path.exists('end-b')): time.sleep(0.01)\n"
    job = make_job(tmp_path, {"a": BOTH.format("a") + program + end.format("a"), "b": BOTH.format("b") + end.format("b")}, jobs=2)
    state, seen = run(job)
    assert state is State.SUCCEEDED
    assert warnings(seen) == []
    assert did(job, "a")["uncertain"] == {"by-program": ["a", "b"]}


def test_data_volumes_are_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    job = make_job(tmp_path, {"a": "import os; open(os.environ['KALE_DATA_D'] + '/x', 'w').close()"})
    job = replace(job, volumes=(Volume(name="d", mount_point="/kale-test/d", source=str(tmp_path / "d")),))
    state, _ = run(job)
    assert state is State.SUCCEEDED
    assert did(job, "a")["volumes"]["d"]["created"] == ["x"]
    assert did(job, "a")["created"] == []


def test_an_original_that_a_step_changed_by_its_absolute_path_is_told_where_nothing_keeps_it_from_that(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": f"open({str(tmp_path / 'workspace/x.csv')!r}, 'w').write('changed')"}, isolation="none")
    (job.workspace / "x.csv").write_text("x")
    _, seen = run(job)
    [told] = warnings(seen)
    assert "x.csv" in told
    assert "absolute path" in told


def test_an_original_that_nobody_touched_is_not_told(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "open('x.csv', 'w').write('changed')"}, isolation="none")
    job = replace(job, output_dir=job.workspace / "out")
    (job.workspace / "x.csv").write_text("x")
    _, seen = run(job)
    assert warnings(seen) == []


@pytest.mark.parametrize("first", ["reader", "writer"])
def test_a_step_that_reads_what_a_parallel_one_writes_is_a_conflict_whichever_is_first(tmp_path: Path, first: str) -> None:
    """In the notebook the reader comes after the writer; as steps it reads one or the other."""
    late = "import time, os\nwhile not os.path.exists('done'): time.sleep(0.01)\n"
    work = {"writer": "open('f.csv', 'w').write('new')", "reader": "print(open('f.csv').read())"}
    cells = {name: code + "\nopen('done', 'w').close()" if name == first else late + code for name, code in work.items()}
    job = make_job(tmp_path, {**cells, "bystander": "print(open('other.csv').read())"}, jobs=3)
    (job.workspace / "f.csv").write_text("old")
    (job.workspace / "other.csv").write_text("old")
    state, seen = run(job)
    assert state is State.SUCCEEDED
    [told] = warnings(seen)
    assert told.startswith(
        "step `reader` read f.csv, which step `writer`, that may run at the same time, changed: what it read is left to"
    )


def test_a_step_may_read_what_one_before_it_wrote_and_what_it_wrote_itself(tmp_path: Path) -> None:
    code = "open('mine-{0}', 'w').write('x'); print(open('mine-{0}').read(), open('first').read())"
    job = make_job(
        tmp_path,
        {
            "a": "open('first', 'w').write('1')",
            "b": code.format("b"),
            "c": code.format("c"),
            "d": "open('first', 'a').write('2')",
        },
        {"b": ["a"], "c": ["a"], "d": ["b", "c"]},
        jobs=2,
    )
    state, seen = run(job)
    assert state is State.SUCCEEDED
    assert warnings(seen) == []


@pytest.mark.parametrize("isolation", ["auto", "none"])
def test_two_parallel_steps_that_write_one_file_of_the_marshal_volume_are_a_conflict_too(tmp_path: Path, isolation: str) -> None:
    write = "open(os.environ['KALE_MARSHAL'] + '/same', 'w').write('{}')"
    job = make_job(tmp_path, {n: BOTH.format(n) + write.format(n) for n in ("a", "b")}, jobs=2, isolation=isolation)
    marshal = MarshalVolume(enabled=True, path="/kale-test/marshal")
    state, seen = run(replace(job, pipeline=replace(job.pipeline, marshal_volume=marshal)))
    assert state is State.SUCCEEDED
    [told] = [line for line in warnings(seen) if "same (volume marshal)" in line]
    assert "`a`" in told
    assert "`b`" in told
    assert set(did(job, "a")["volumes"]) == {"marshal"}


@pytest.mark.parametrize("size", ["300Ki", "1Mi"])
def test_a_marshal_volume_that_overflows_fails_the_step_with_size_and_use(tmp_path: Path, size: str) -> None:
    code = "import os\nopen(os.environ['KALE_MARSHAL'] + '/big', 'wb').write(os.urandom(3 << 20))"
    job = make_job(tmp_path, {"a": code, "b": "1"}, {"b": ["a"]})
    job = replace(job, pipeline=replace(job.pipeline, marshal_volume=MarshalVolume(enabled=True, size=size, path="/kale-test/m")))
    state, seen = run(job)
    assert state is State.FAILED
    failure = seen.end("a").failure
    assert failure is not None
    assert failure.kind == "marshal"
    assert "3.0 MiB" in failure.message
    assert "`a`" in failure.message
    assert seen.end("b").state is State.SKIPPED


def test_a_step_that_goes_on_filling_the_marshal_volume_is_stopped(tmp_path: Path) -> None:
    code = "import os, time\nopen(os.environ['KALE_MARSHAL'] + '/big', 'wb').write(os.urandom(3 << 20))\ntime.sleep(60)"
    job = make_job(tmp_path, {"a": code})
    job = replace(
        job, pipeline=replace(job.pipeline, marshal_volume=MarshalVolume(enabled=True, size="1Mi", path="/kale-test/m"))
    )
    state, seen = run(job)
    assert state is State.FAILED
    failure = seen.end("a").failure
    assert failure is not None
    assert failure.kind == "marshal"


def test_autosnapshot_keeps_a_snapshot_after_each_step(tmp_path: Path) -> None:
    from kale_nb.runs.store import snapshot_folder
    from kale_nb.volumes import SnapshotStore

    job = make_job(tmp_path, {"a": "open('x', 'w').write('1')", "b": "open('x', 'w').write('2')"}, {"b": ["a"]})
    job = replace(job, pipeline=replace(job.pipeline, autosnapshot=True))
    _, seen = run(job)
    store = SnapshotStore(snapshot_folder(job.directory.parent))
    after = seen.end("a").snapshots["workspace"]
    assert [entry.path for entry in store.entries(after)] == ["x"]
    assert after != seen.end("b").snapshots["workspace"]


def test_folders_that_only_mounting_made_are_no_steps_and_in_no_snapshot(tmp_path: Path) -> None:
    from kale_nb.runs.store import snapshot_folder
    from kale_nb.volumes import SnapshotStore

    job = make_job(tmp_path, {"a": "print('nothing')"})
    (job.workspace / "env/lib").mkdir(parents=True)
    (job.workspace / "env/pyvenv.cfg").touch()
    volume = Volume(name="d", mount_point=str(job.workspace / "deep/data"))
    job = replace(job, volumes=(volume,), pipeline=replace(job.pipeline, autosnapshot=True))
    _, seen = run(job)
    assert "folders" not in did(job, "a")
    entries = SnapshotStore(snapshot_folder(job.directory.parent)).entries(seen.end("a").snapshots["workspace"])
    assert "env" not in [entry.path for entry in entries]


def test_steps_find_the_virtual_environments_of_what_it_all_began_with(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "import os; open('x', 'w').close(); print(os.path.exists('env/pyvenv.cfg'))"})
    (job.workspace / "env").mkdir()
    (job.workspace / "env/pyvenv.cfg").touch()
    job = replace(job, pipeline=replace(job.pipeline, autosnapshot=True))
    _, seen = run(job)
    isolated = any(event.isolation == "mount" for event in seen if isinstance(event, StepsPlaced))
    begun = [event.snapshot for event in seen if isinstance(event, VolumeCreated)]
    second = replace(job, directory=tmp_path / "again", snapshots=seen.end("a").snapshots, origins={"workspace": begun[0]})
    second.directory.mkdir()
    run(second)
    for made in (job, second):
        assert (made.directory / "logs/a.log").read_text() == ("True\n" if isolated else "False\n")


def test_the_snapshot_after_a_step_holds_all_that_the_step_left_and_of_the_folder_itself_no_more_than_a_clone(
    tmp_path: Path,
) -> None:
    from kale_nb.runs.store import snapshot_folder
    from kale_nb.volumes import SnapshotStore

    code = "import os\nos.makedirs('cache/own'); open('cache/x', 'w').close()\nos.makedirs('env'); open('env/pyvenv.cfg', 'w').close()"
    for live in (False, True):
        (tmp_path / str(live)).mkdir()
        job = make_job(tmp_path / str(live), {"a": code}, live=live)
        (job.workspace / ".kaleignore").write_text("cache/\n")
        job = replace(job, pipeline=replace(job.pipeline, autosnapshot=True))
        _, seen = run(job)
        entries = SnapshotStore(snapshot_folder(job.directory.parent)).entries(seen.end("a").snapshots["workspace"])
        made = ["cache", "cache/own", "cache/x", "env", "env/pyvenv.cfg"]
        assert [entry.path for entry in entries] == [".kaleignore", *([] if live else made)]


def test_without_a_snapshot_steps_work_in_the_live_folder_with_a_warning(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "open('x', 'w').write('1')"}, live=True)
    _, seen = run(job)
    assert (job.workspace / "x").read_text() == "1"
    [told] = warnings(seen)
    assert "stays changed" in told


def told(
    tmp_path: Path, early: str, late: str, before: str = "1", *, volumes: tuple[Volume, ...] = (), **options: Any
) -> list[str]:
    """Run two steps after a first one, of which `late` does its work when `early` has done its own and still runs; return the warnings."""
    wait = "\nwhile not os.path.exists('{}'): time.sleep(0.01)\n"
    code = {
        "first": f"import os\n{before}",
        "late": f"import os, shutil, time{wait.format('early-did')}{late}\nos.mkdir(os.environ['KALE_WORKSPACE'] + '/late-did')",
        "early": f"import os, shutil, time\n{early}\nos.mkdir('early-did'){wait.format('late-did')}",
    }
    job = make_job(tmp_path, code, {"late": ["first"], "early": ["first"]}, jobs=2, **options)
    state, seen = run(replace(job, volumes=volumes))
    assert state is State.SUCCEEDED
    return warnings(seen)


LINK = "open('model-{0}', 'w').close(); os.symlink('model-{0}', 'link-{0}'); os.replace('link-{0}', 'latest')"


@pytest.mark.parametrize("isolation", ["auto", "none"])
def test_two_parallel_steps_that_let_one_link_lead_elsewhere_are_a_conflict(tmp_path: Path, isolation: str) -> None:
    before = "open('model', 'w').close(); os.symlink('model', 'latest')"
    [line] = told(tmp_path, LINK.format("b"), LINK.format("a"), before, isolation=isolation)
    assert "both changed latest:" in line


def test_a_step_that_reads_through_a_link_reads_the_link_too(tmp_path: Path) -> None:
    before = "os.mkdir('first'); open('first/model', 'w').close(); os.symlink('first', 'latest')"
    [line] = told(tmp_path, "open('latest/model').close()", LINK.format("a"), before)
    assert line.startswith("step `early` read latest, which step `late`, ")


def test_steps_that_each_write_through_a_link_of_their_own_to_a_file_of_their_own_are_none(tmp_path: Path) -> None:
    before = "[(open(n, 'w').close(), os.symlink(n, 'to-' + n)) for n in 'ab']"
    assert told(tmp_path, "open('to-a', 'w').write('x')", "open('to-b', 'w').write('x')", before) == []
    assert told(tmp_path / "again", "open('to-a', 'w').write('x')", "open('a', 'a').write('y')", before) != []


def test_what_is_removed_by_way_of_an_open_folder_is_noted_where_it_was(tmp_path: Path) -> None:
    before = "os.mkdir('out'); open('out/model', 'w').close(); open('model', 'w').close()"
    assert told(tmp_path, "open('model', 'w').write('x')", "shutil.rmtree('out')", before) == []
    [line] = told(tmp_path / "again", "open('out/model', 'w').write('x')", "shutil.rmtree('out')", before)
    assert "both changed out/model:" in line


def data(tmp_path: Path, **options: Any) -> tuple[Volume, ...]:
    """Make a folder with a file in it and in a folder of it; return it as the volume `d`."""
    (tmp_path / "d/.part").mkdir(parents=True)
    for name in ("f", ".part/f"):
        (tmp_path / "d" / name).write_text("0")
    return (Volume(name="d", mount_point="/kale-test/d", source=str(tmp_path / "d"), **options),)


@pytest.mark.parametrize("code", ["open({0}, 'r+').write('x')", "open({0}).read()"])
def test_a_data_volume_is_known_by_the_path_of_its_own_folder_too(tmp_path: Path, code: str) -> None:
    own = repr(str(tmp_path / "d/f"))
    [line] = told(tmp_path, code.format(own), f"open({own}, 'w').write('y')", volumes=data(tmp_path))
    assert " f (volume d)" in line


def test_a_data_volume_is_one_volume_at_its_mount_point_and_at_its_own_folder(tmp_path: Path) -> None:
    own = repr(str(tmp_path / "d/f"))
    code = f"open({own}, 'w').write('y')"
    [line] = told(tmp_path, "open(os.environ['KALE_DATA_D'] + '/f', 'w').write('x')", code, volumes=data(tmp_path))
    assert "both changed f (volume d):" in line


@pytest.mark.parametrize("isolation", ["auto", "none"])
def test_a_volume_of_which_only_a_folder_is_mounted_is_watched_too(tmp_path: Path, isolation: str) -> None:
    code = "open(os.environ['KALE_DATA_D'] + '/f', 'w').write('{}')"
    [line] = told(tmp_path, code.format("a"), code.format("bb"), volumes=data(tmp_path, sub_path=".part"), isolation=isolation)
    assert "both changed .part/f (volume d):" in line


def test_a_step_that_goes_into_another_folder_is_followed(tmp_path: Path) -> None:
    code = "open('c', 'w').close(); os.chdir('sub'); open('c', 'w').write('x')"
    [line] = told(tmp_path, "open('sub/c', 'w').write('y')", code, "os.mkdir('sub')")
    assert "both changed sub/c:" in line


def test_what_a_link_leads_to_later_is_noted_too(tmp_path: Path) -> None:
    before = "[open(name, 'w').close() for name in ('old', 'new')]; os.symlink('old', 'now')"
    code = "open('now', 'a').close(); os.symlink('new', 'next'); os.rename('next', 'now'); open('now', 'a').write('x')"
    [line] = told(tmp_path, "open('new', 'a').write('y')", code, before)
    assert "both changed new:" in line


def test_a_folder_that_is_moved_into_place_takes_all_that_is_in_it_along(tmp_path: Path) -> None:
    make = "os.mkdir('{0}'); open('{0}/model', 'w').close()"
    code = f"{make.format('new')}; os.rename('out', 'old'); os.rename('new', 'out')"
    [line] = told(tmp_path, "open('out/model', 'w').write('y')", code, make.format("out"))
    assert "both changed out/model:" in line


def test_folders_of_their_own_may_be_moved_side_by_side(tmp_path: Path) -> None:
    code = "os.mkdir('new-{0}'); open('new-{0}/model', 'w').close(); os.rename('new-{0}', 'out/{0}')"
    assert told(tmp_path, code.format("a"), code.format("ab"), "os.mkdir('out')") == []


LISTS = ("os.listdir()", "os.listdir('.')", "list(os.scandir(os.open('.', os.O_RDONLY)))", "list(os.walk('..'))[0]")


@pytest.mark.parametrize("code", LISTS)
def test_a_step_that_lists_a_folder_in_which_a_parallel_one_creates_and_removes_files_is_told(tmp_path: Path, code: str) -> None:
    before = "open('old', 'w').close(); open('same', 'w').close()"
    [line] = told(tmp_path, code, "open('new', 'w').close(); os.remove('old'); open('same', 'w').write('x')", before)
    assert line == (
        "step `early` listed a folder in which step `late`, that may run at the same time, created or removed new, old: "
        "what it found is left to chance; let `early` follow `late`, or the other way round"
    )


def test_what_is_created_in_another_folder_or_found_by_an_import_is_no_matter(tmp_path: Path) -> None:
    before = "os.mkdir('mine'); os.mkdir('other')"
    look = "import sys, importlib, importlib.metadata as m; sys.path.insert(0, '.'); importlib.invalidate_caches()\n"
    look += "m.version('dill'); import this; open('mine/b', 'w').close(); os.listdir('mine')"
    assert told(tmp_path, look, "open('new', 'w').close(); open('other/a', 'w').close()", before) == []


def test_a_step_that_read_what_a_parallel_one_writes_is_told_when_they_ran_one_after_the_other_too(tmp_path: Path) -> None:
    """With one step at a time the writer comes first, unless it is tried again."""
    flaky = "import os\nif not os.path.exists('tried'): os.mkdir('tried'); 1 / 0\nopen('f.csv', 'w').write('new')"
    retry = {"writer": StepSettings(retry=Retry(attempts=1, interval=0.01))}
    job = make_job(tmp_path, {"writer": flaky, "reader": "open('f.csv').read()"}, settings=retry, jobs=1)
    (job.workspace / "f.csv").write_text("old")
    state, seen = run(job)
    assert state is State.SUCCEEDED
    [line] = warnings(seen)
    assert line.startswith("step `reader` read f.csv, which step `writer`, that may run at the same time, changed: ")
