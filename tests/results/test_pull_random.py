"""Pulling under random trees, links and edits: nothing outside changes, nothing of the user's is lost, what is told is true."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from kale_nb.results.pull import pull
from tests.results.making import finished_run, tree, write

NAMES = ("a", "b", "dir", "dir/a", "dir/deep/b", "c d", "dir2/\udcff")


def scramble(folder: Path, chance: random.Random, outside: Path, times: int) -> None:
    """Do random things to a folder: write, remove, link out, link within, change modes."""
    for _ in range(times):
        path = Path(os.path.join(folder, chance.choice(NAMES)))
        action = chance.choice(["write", "write", "write", "remove", "link out", "link in", "mode"])
        try:
            if action == "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                if _is_inside(path.parent, folder) and not path.is_symlink():
                    path.write_text(f"{folder.name} {chance.random()}")
            elif action == "remove":
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif _is_inside(path.parent, folder):
                    path.unlink()
            elif action == "mode":
                if path.is_file() and not path.is_symlink() and _is_inside(path.parent, folder):
                    path.chmod(chance.choice([0o600, 0o644, 0o755]))
            elif _is_inside(path.parent, folder):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                path.unlink(missing_ok=True)
                path.symlink_to(outside if action == "link out" else chance.choice(["a", "dir", "../a", str(folder / "b")]))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError):
            continue
        except OSError as error:
            if error.errno != 40:  # too many links
                raise


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


@pytest.mark.parametrize("seed", range(80))
def test_nothing_is_lost_or_led_out(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    outside, work = tmp_path / "outside", tmp_path / "ws"
    write(outside, {"a": "theirs", "deep/b": "theirs"})
    work.mkdir()
    scramble(work, chance, outside, 6)
    record = finished_run(work, lambda clone: scramble(clone, chance, outside, 8))
    then = tree(work)
    scramble(work, chance, outside, chance.choice([0, 4]))
    now, kept_outside, clone = tree(work), tree(outside), tree(record.directory / "work")
    force, delete = chance.random() < 0.3, chance.random() < 0.5
    done = pull(record, force=force, delete=delete)
    after = tree(work)
    assert tree(outside) == kept_outside
    for p in done:
        name = p.file.path
        if p.action in ("copied", "replaced") and not str(clone[name]).startswith("->"):
            assert after[name] == clone[name], p
        if p.action == "deleted":
            assert after.get(name) in (None, "/"), "a folder may have taken its place"
    moved = {p.file.path for p in done if p.action in ("copied", "replaced", "deleted")}
    for name, content in now.items():
        if name not in moved and content != "/":
            assert after.get(name) == content, "only what is told has changed"
        if not force and content != then.get(name) and content != "/":
            assert after.get(name) == content, "what the user changed stays"
    assert not [name for name in after if ".kale-pull-" in name]
