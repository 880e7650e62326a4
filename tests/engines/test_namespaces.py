"""What steps see and cannot reach, with real namespaces; skipped with the reason where the machine allows none."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kale_nb.engines import engine
from kale_nb.pipeline.model import MarshalVolume, Volume
from kale_nb.runs.events import State, StepsPlaced, VolumeCreated
from tests.engines.making import Seen, make_job, no_process_left

pytestmark = pytest.mark.kernel

TRIAL = """
import os, sys
sys.path.insert(0, {root!r})
from kale_nb.engines.local.namespace import enter
enter({view!r})
os.execvp("sh", ["sh", "-c", {command!r}])
"""


def run(job: object) -> tuple[State, Seen]:
    seen = Seen()
    with no_process_left():
        return engine("local").run(job, seen), seen  # type: ignore[arg-type]


def allowed() -> str:
    """Return why this machine gives steps no view of their own; empty when it does."""
    if sys.platform != "linux":
        return "not Linux"
    script = "from kale_nb.engines.local.namespace import enter; enter({'mounts': [], 'covers': [], 'root': ''})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


needs_namespaces = pytest.mark.skipif(bool(allowed()), reason=f"no namespaces here: {allowed()}")


def picture(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return every entry's mode, time and content."""
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".kale"]
        for name in (*folders, *files):
            path = Path(root, name)
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, hashlib.sha256(content).hexdigest())
    return found


HOSTILE = """
import os, shutil, subprocess, mmap
w = {workspace!r}
for root, folders, files in os.walk(w):
    for name in files:
        path = os.path.join(root, name)
        os.chmod(path, 0o777)
        with open(path, 'r+b') as f:
            f.write(b'XX'); f.truncate(1)
os.truncate(os.path.join(w, 'sub/b.bin'), 8)
with open(os.path.join(w, 'sub/b.bin'), 'r+b') as f:
    with mmap.mmap(f.fileno(), 8) as m: m[0:4] = b'evil'
os.link(os.path.join(w, 'a.txt'), os.path.join(w, 'hard')); open(os.path.join(w, 'hard'), 'w').write('through a link')
os.symlink(w, os.path.join(w, 'self')); open(os.path.join(w, 'self', 'a.txt'), 'w').write('y')
os.rename(os.path.join(w, 'sub'), os.path.join(w, 'renamed'))
for command in ('umount ' + w, 'umount -l ' + w, 'mount --bind / ' + w, 'unshare -Urm umount -l ' + w, 'unshare -m umount -l ' + w,
                'nsenter -t {driver} -m rm -rf ' + w + '/sub', 'rm -rf /proc/{driver}/root' + w + '/sub', 'rm -rf /proc/{driver}/cwd/sub',
                'rm -rf ' + w):
    subprocess.run(command, shell=True, capture_output=True)
print(sorted(os.listdir(w)) if os.path.isdir(w) else 'gone')
"""


@needs_namespaces
def test_a_step_that_destroys_the_workspace_in_every_way_it_can_destroys_only_the_clone(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": HOSTILE.format(workspace=str(tmp_path / "workspace"), driver=os.getpid())}, isolation="mount")
    (job.workspace / "sub/deep").mkdir(parents=True)
    (job.workspace / "a.txt").write_text("a")
    (job.workspace / "sub/b.bin").write_bytes(bytes(range(256)) * 64)
    (job.workspace / "sub/deep/c").write_text("c")
    (job.workspace / "sub/deep/c").chmod(0o444)
    before = picture(job.workspace)
    run(job)
    assert picture(job.workspace) == before
    assert not (job.directory / "work" / "sub").exists()


@needs_namespaces
def test_steps_see_the_workspace_at_its_own_path_as_the_same_user(tmp_path: Path) -> None:
    job = make_job(
        tmp_path,
        {"a": f"import os; open({str(tmp_path / 'workspace/made')!r}, 'w').write(os.getcwd()); print(os.getuid(), os.getgid())"},
    )
    state, seen = run(job)
    assert state is State.SUCCEEDED
    assert (job.directory / "work/made").read_text() == str(job.workspace)
    assert os.listdir(job.workspace) == []
    assert (job.directory / "logs/a.log").read_text() == f"{os.getuid()} {os.getgid()}\n"
    assert [e.isolation for e in seen if isinstance(e, StepsPlaced)] == ["mount"]


@needs_namespaces
def test_data_volumes_and_the_marshal_volume_stand_at_their_mount_points_and_originals_stay(tmp_path: Path) -> None:
    data, models = tmp_path / "some data", tmp_path / "models"
    data.mkdir()
    models.mkdir()
    (data / "x").write_text("x")
    (models / "m").write_text("m")
    code = """
import os
print(open('/kale-test/data/x').read(), open('/kale-test/models/m').read(), os.listdir('/kale-test/empty'))
open('/kale-test/data/x', 'w').write('changed')
open('/kale-test/empty/new', 'w').write('new')
try:
    open('/kale-test/models/m', 'w')
except OSError as error:
    print(error.strerror)
print(os.environ['KALE_WORKSPACE'] == os.getcwd(), os.environ['KALE_DATA_MY_DATA'], os.environ['KALE_MARSHAL'])
open('/kale-test/marshal/mine', 'w').write('of the user')
"""
    job = make_job(
        tmp_path,
        {"a": code, "b": "print(open('/kale-test/data/x').read(), open('/kale-test/marshal/mine').read())"},
        {"b": ["a"]},
    )
    volumes = (
        Volume(name="my-data", mount_point="/kale-test/data", kind="clone", source=str(data)),
        Volume(name="models", mount_point="/kale-test/models", source=str(models), read_only=True),
        Volume(name="empty", mount_point="/kale-test/empty"),
    )
    marshal = MarshalVolume(enabled=True, size="1Mi", path="/kale-test/marshal")
    state, seen = run(replace(job, volumes=volumes, pipeline=replace(job.pipeline, marshal_volume=marshal)))
    assert state is State.SUCCEEDED, seen
    said = (job.directory / "logs/a.log").read_text().splitlines()
    assert said == ["x m []", "Read-only file system", "True /kale-test/data /kale-test/marshal"]
    assert (job.directory / "logs/b.log").read_text() == "changed of the user\n"
    assert ((data / "x").read_text(), (models / "m").read_text()) == ("x", "m")
    assert (job.directory / "volumes/my-data/x").read_text() == "changed"
    made = [(e.step, e.volume, e.mechanism) for e in seen if isinstance(e, VolumeCreated)]
    assert [m[0] for m in made] == ["create-volume-1", "create-volume-2", "create-volume-3", "create-marshal-volume"]
    assert [m[1] for m in made] == ["workspace", "my-data", "empty", "marshal"]
    assert not Path("/kale-test").exists()


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_is_mounted_inside_a_volume_that_is_only_read_is_only_read_too(tmp_path: Path) -> None:
    data = tmp_path / "some data"
    inside = data / "in side"
    inside.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "nosuid,nodev", "none", inside], capture_output=True, check=False
    ).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (inside / "f").write_text("original")
        code = """
for path in ('/kale-test/data/in side/f', '/kale-test/data/new', PLACE):
    try:
        open(path, 'w').write('changed')
    except OSError as error:
        print(error.strerror)
""".replace("PLACE", repr(f"{inside}/f"))
        job = make_job(tmp_path, {"a": code})
        volumes = (Volume(name="data", mount_point="/kale-test/data", source=str(data), read_only=True),)
        state, seen = run(replace(job, volumes=volumes))
        assert state is State.SUCCEEDED, seen
        assert (job.directory / "logs/a.log").read_text().splitlines() == ["Read-only file system"] * 3
        assert (inside / "f").read_text() == "original"
    finally:
        subprocess.run(["umount", "-l", inside], check=True)


def test_without_namespaces_variables_tell_the_paths_and_a_warning_says_so(tmp_path: Path) -> None:
    data = tmp_path / "d"
    data.mkdir()
    (data / "x").write_text("x")
    code = "import os\nprint(open(os.environ['KALE_DATA_D'] + '/x').read(), os.environ['KALE_WORKSPACE'] == os.getcwd())"
    job = make_job(tmp_path, {"a": code}, isolation="none")
    volumes = (Volume(name="d", mount_point="/kale-test/d", kind="clone", source=str(data)),)
    state, _ = run(replace(job, volumes=volumes))
    assert state is State.SUCCEEDED
    assert (job.directory / "logs/a.log").read_text() == "x True\n"


@needs_namespaces
def test_the_folder_of_a_data_volume_means_the_clone_by_its_own_path_too(tmp_path: Path) -> None:
    data, models = tmp_path / "data", tmp_path / "models"
    for folder in (data, models):
        folder.mkdir()
        (folder / "x").write_text("x")
    code = f"""
open('{data}/x', 'w').write('changed')
print(open('/kale-test/data/x').read())
try:
    open('{models}/x', 'w')
except OSError as error:
    print(error.strerror)
"""
    volumes = (
        Volume(name="data", mount_point="/kale-test/data", source=str(data)),
        Volume(name="models", mount_point="/kale-test/models", source=str(models), read_only=True),
    )
    job = replace(make_job(tmp_path, {"a": code}), volumes=volumes)
    state, seen = run(job)
    assert state is State.SUCCEEDED, seen
    assert (job.directory / "logs/a.log").read_text() == "changed\nRead-only file system\n"
    assert ((data / "x").read_text(), (models / "x").read_text()) == ("x", "x")


@needs_namespaces
def test_an_environment_in_the_workspace_is_there_for_reading(tmp_path: Path) -> None:
    job = make_job(
        tmp_path,
        {"a": "print(open('.venv/lib/mod.py').read())\ntry:\n open('.venv/x', 'w')\nexcept OSError as e: print(e.strerror)"},
    )
    (job.workspace / ".venv/lib").mkdir(parents=True)
    (job.workspace / ".venv/pyvenv.cfg").touch()
    (job.workspace / ".venv/lib/mod.py").write_text("module")
    state, seen = run(job)
    assert state is State.SUCCEEDED, seen
    assert (job.directory / "logs/a.log").read_text() == "module\nRead-only file system\n"


@needs_namespaces
def test_a_workspace_that_holds_the_temporary_folder_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tmp_path, {"a": "open('x', 'w').close()", "b": "print(open('x').read())"}, {"b": ["a"]})
    short = Path("/tmp") / f"kw{os.getpid()}"
    (short / "t").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(short / "t"))
    monkeypatch.setattr("tempfile.tempdir", None)
    try:
        state, seen = run(replace(job, workspace=short))
        assert state is State.SUCCEEDED, seen
        assert not (short / "x").exists()
    finally:
        shutil.rmtree(short)
