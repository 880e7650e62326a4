"""The environment and the git state of a run: what is read, what is unknown, and how two environments differ."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kale_nb.runs.environment import (
    FILE,
    Environment,
    Surroundings,
    drift,
    environment_of,
    installed,
    note_environment,
    noted,
    read_surroundings,
    this_environment,
    write_surroundings,
)
from kale_nb.runs.git import ChangesAsked, GitState, git_state

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
HERE = Environment(
    python="3.11.2", implementation="cpython", system="linux", machine="x86_64", distributions={"a": "1", "b": "2"}
)


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_this_environment_knows_the_distributions_that_importlib_knows() -> None:
    from importlib.metadata import distributions

    known = this_environment().distributions
    theirs = {d.metadata["Name"].lower().replace("_", "-").replace(".", "-") for d in distributions()}
    assert "papermill" in known
    assert theirs - set(known) <= {"kale-nb"}, "the checkout itself may be on the path without metadata of its own"


def test_the_first_place_on_the_path_wins_and_odd_names_are_read(tmp_path: Path) -> None:
    for place, name in (("one", "Foo.Bar-1.0.dist-info"), ("two", "foo_bar-2.0.dist-info"), ("two", "old-3.1-py3.11.egg-info")):
        (tmp_path / place / name).mkdir(parents=True)
    assert installed([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "gone")]) == {"foo-bar": "1.0", "old": "3.1"}


def test_equal_environments_have_equal_fingerprints_wherever_the_interpreter_lies() -> None:
    moved = dataclasses.replace(HERE, executable="/elsewhere/python", distributions={"b": "2", "a": "1"})
    assert moved.fingerprint == HERE.fingerprint
    assert dataclasses.replace(HERE, distributions={"a": "1"}).fingerprint != HERE.fingerprint


def test_drift_names_what_changed() -> None:
    now = dataclasses.replace(HERE, python="3.12.0", distributions={"a": "1.1", "c": "3"})
    found = drift(HERE, now)
    assert found.sentences() == [
        "python: 3.11.2 -> 3.12.0", "other versions: a 1 -> 1.1", "not installed any more: b 2", "newly installed: c 3",
    ]  # fmt: skip
    assert not drift(HERE, HERE)
    many = drift(HERE, dataclasses.replace(HERE, distributions={str(i): "1" for i in range(30)}))
    assert "and 22 more" in many.sentences()[-1]


def test_surroundings_come_back_from_their_file(tmp_path: Path) -> None:
    told = Surroundings(environment=HERE, git=GitState(commit="ab" * 20, branch="größe\udcff", changed=0, untracked=3))
    write_surroundings(tmp_path, told)
    read = read_surroundings(tmp_path)
    assert read is not None
    assert read.environment == HERE
    assert read.git is not None
    assert (read.git.commit, read.git.changed, read.git.untracked) == ("ab" * 20, 0, 3)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "python": "3"}', "\0"])
def test_a_damaged_file_tells_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    assert read_surroundings(tmp_path) is None


@needs_git
def test_commit_branch_and_changes_are_those_that_git_tells(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    state = git_state(repository)
    assert state == GitState(commit=commit, branch="main")
    assert state.dirty is None
    assert ChangesAsked(repository).answer(state, 30) == dataclasses.replace(state, changed=0, untracked=0)
    (repository / "code.py").write_text("2\n")
    (repository / "new\nline").write_text("")
    answered = ChangesAsked(repository).answer(state, 30)
    assert (answered.changed, answered.untracked, answered.dirty) == (1, 1, True)


@needs_git
def test_packed_refs_detached_heads_worktrees_and_folders_below_are_read(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    (repository / "deep" / "down").mkdir(parents=True)
    assert git_state(repository / "deep" / "down") == GitState(commit=commit, branch="main")
    git(repository, "worktree", "add", "-q", "-b", "feature/x", "deep/tree")
    assert git_state(repository / "deep" / "tree") == GitState(commit=commit, branch="feature/x")
    git(repository, "checkout", "-q", "--detach")
    assert git_state(repository) == GitState(commit=commit)


@needs_git
def test_a_repository_without_a_commit_and_a_folder_without_a_repository(tmp_path: Path) -> None:
    bare = tmp_path / "plain"
    bare.mkdir()
    git(tmp_path, "init", "-q", "fresh")
    assert git_state(tmp_path / "fresh") == GitState(branch="main")
    if not any((above / ".git").exists() for above in tmp_path.parents):
        assert git_state(bare) is None


@needs_git
def test_asking_writes_nothing_into_the_repository(repository: Path) -> None:
    (repository / "code.py").touch()
    before = (repository / ".git" / "index").read_bytes()
    assert ChangesAsked(repository).answer(GitState(), 30).changed == 0
    assert (repository / ".git" / "index").read_bytes() == before


def test_without_git_the_changes_stay_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ChangesAsked(tmp_path).answer(GitState(branch="main"), 30) == GitState(branch="main")


def test_a_git_that_never_answers_delays_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    asked = ChangesAsked(tmp_path)
    began = time.monotonic()
    assert asked.answer(GitState(branch="main"), 0.1).changed is None
    assert time.monotonic() - began < 50


@needs_git
def test_a_run_notes_its_surroundings_also_when_it_dies(repository: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    with pytest.raises(KeyboardInterrupt), noted(HERE, repository, directory):
        early = read_surroundings(directory)
        assert early is not None
        assert early.git is not None
        assert early.git.branch == "main"
        raise KeyboardInterrupt
    late = read_surroundings(directory)
    assert late is not None
    assert late.git is not None
    assert late.environment == HERE


def test_another_interpreter_is_known_by_its_folders_without_starting_it(tmp_path: Path) -> None:
    packages = tmp_path / "env" / "lib" / "python3.9" / "site-packages"
    (packages / "numpy-1.0.dist-info").mkdir(parents=True)
    python = tmp_path / "env" / "bin" / "python"
    found = environment_of(str(python))
    assert found is not None
    assert (found.python, dict(found.distributions), found.executable) == ("3.9", {"numpy": "1.0"}, str(python))
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.18\n")
    again = environment_of(str(python))
    assert again is not None
    assert again.python == "3.9.18"
    assert environment_of(str(tmp_path / "nothing" / "bin" / "python")) is None


def test_what_git_says_at_the_end_does_not_undo_what_was_noted_meanwhile(tmp_path: Path) -> None:
    other = dataclasses.replace(HERE, python="3.9")
    work = tmp_path / "work"
    work.mkdir()
    directory = tmp_path / "run"
    directory.mkdir()
    if shutil.which("git"):
        git(work, "init", "-q")
    with noted(HERE, work, directory):
        note_environment(directory, other)
    read = read_surroundings(directory)
    assert read is not None
    assert read.environment == other
