"""Files, pulling, repeating, comparing, snapshots and collecting as a user meets them: the real command on real runs."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.driving import ended, kale, latest, record, write_cells

pytestmark = pytest.mark.kernel

NOTEBOOK = """
### parameters
scale = 2.0
offset = 0
### imports
import pathlib
### step:load
rows = [float(line) * scale for line in open("in.csv")]
pathlib.Path("models").mkdir(exist_ok=True)
open("models/rows.txt", "w").write(str(rows))
### step:fit prev:load
total = sum(rows) + offset
open("in.csv", "a").write("99\\n")
### step:report prev:fit
pathlib.Path("old.txt").unlink(missing_ok=True)
print("total", total)
### pipeline-metrics
print(total)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "my work"
    work.mkdir()
    write_cells(work / "nb.ipynb", NOTEBOOK)
    (work / "in.csv").write_text("1\n2\n")
    (work / "old.txt").write_text("old")
    return work


def run(folder: Path, *words: str, code: int = 0) -> str:
    done = ended(*words, cwd=folder)
    assert done.code == code, done.out + done.err
    return done.out + done.err


def metric(folder: Path) -> float:
    found = [step["metrics"]["total"] for step in record(folder)["steps"] if step.get("metrics")]
    assert len(found) == 1
    return float(found[0])


def test_from_a_run_to_its_files_and_into_the_workspace(folder: Path) -> None:
    run(folder, "run", "nb.ipynb", "--quiet")
    said = run(folder, "show")
    for part in ("snapshot", "python", "distributions"):
        assert part in said
    told = {f["name"]: (f["what"], f["steps"]) for f in json.loads(run(folder, "files", "--json"))}
    assert told == {
        "in.csv": ("changed", ["fit"]), "models/rows.txt": ("created", ["load"]), "old.txt": ("deleted", ["report"]),
    }  # fmt: skip
    assert "rows.txt" in run(folder, "files", "latest", "--step", "load")
    (folder / "in.csv").write_text("mine\n")
    said = run(folder, "pull", "latest", "--delete", code=1)
    assert "! refused" in said
    assert "--force" in said
    assert (folder / "models" / "rows.txt").read_text() == "[2.0, 4.0]"
    assert (folder / "in.csv").read_text() == "mine\n"
    assert not (folder / "old.txt").exists()
    assert "! refused" in run(folder, "pull", "latest", "--dry-run", "in.csv", code=1)
    run(folder, "pull", "latest", "--force", "in.csv")
    assert (folder / "in.csv").read_text() == "1\n2\n99\n"
    assert "no file" in run(folder, "pull", "latest", "nothing", code=2)
    assert "kale pull latest 'models/*'" in run(folder, "pull", "models/*", code=2)


def test_a_run_is_done_again_and_from_a_step_on_and_a_notebook_at_a_snapshot(folder: Path) -> None:
    run(folder, "run", "nb.ipynb", "--quiet", "--autosnapshot")
    first = record(folder)
    (folder / "in.csv").write_text("7\n")
    write_cells(folder / "nb.ipynb", NOTEBOOK.replace("sum(rows)", "-sum(rows)"))
    run(folder, "run", "--from", "latest", "--quiet")
    assert metric(folder) == 6
    assert record(folder)["repeats"] == first["id"]
    assert record(folder)["snapshots"] == first["snapshots"]
    run(folder, "run", "--from", first["id"], "-p", "scale=1.0", "--quiet")
    assert metric(folder) == 3

    said = run(folder, "run", "--from", first["id"], "--step", "fit", "-p", "offset=10")
    assert metric(folder) == 16
    assert f"taken from {first['id']}" in said
    assert {f["name"] for f in json.loads(run(folder, "files", "--json"))} == {"in.csv", "models/rows.txt", "old.txt"}
    assert "reads parameter scale" in run(folder, "run", "--from", first["id"], "--step", "fit", "-p", "scale=1.0", code=2)

    snapshot = first["snapshots"]["workspace"]
    run(folder, "run", "nb.ipynb", "--at", snapshot[:10], "--quiet")
    assert metric(folder) == 6
    assert record(folder)["snapshots"] == first["snapshots"]
    run(folder, "run", "nb.ipynb", "--quiet")
    assert metric(folder) == -14

    said = run(folder, "diff", first["id"], code=1)
    for part in ("total = sum(rows)", "~ in.csv", "load.rows", "report.total", "-14"):
        assert part in said, said
    assert "no difference" in run(folder, "diff", "latest", "latest")
    assert json.loads(run(folder, "diff", first["id"], "--json", code=1))["metrics"] == {"report.total": ["6.0", "-14.0"]}


def test_from_a_step_on_finds_what_the_steps_before_left_in_the_marshal_volume(folder: Path) -> None:
    place = "os.environ['KALE_MARSHAL'] + '/own.txt'"
    cells = f"### imports\nimport os\n### step:a\nopen({place}, 'w').write('of a')\n### step:b prev:a\nprint('found', open({place}).read())\n"
    write_cells(folder / "nb.ipynb", cells, {"kubeflow_notebook": {"marshal_volume": True}})
    run(folder, "run", "nb.ipynb", "--quiet")
    assert "no snapshot was taken after it" in run(folder, "run", "--from", "latest", "--step", "b", code=2)
    run(folder, "run", "nb.ipynb", "--quiet", "--autosnapshot")
    said = run(folder, "run", "--from", "latest", "--step", "b")
    assert "found of a" in run(folder, "show", "latest", "b")
    assert "marshal at /marshal, 1 file" in said
    run(folder, "run", "--from", "latest", "--step", "b", "--quiet")
    assert "found of a" in run(folder, "show", "latest", "b")


def test_from_a_step_on_finds_what_the_steps_before_left_in_a_volume_that_began_empty(folder: Path) -> None:
    place = "os.environ['KALE_DATA_SCRATCH'] + '/own.txt'"
    cells = f"### imports\nimport os\n### step:a\nopen({place}, 'w').write('of a')\n### step:b prev:a\nprint('found', os.path.exists({place}) and open({place}).read())\n"
    write_cells(folder / "nb.ipynb", cells)
    run(folder, "run", "nb.ipynb", "--quiet", "--volume", "scratch:/kale-test/scratch")
    said = run(folder, "run", "--from", "latest", "--step", "b", code=2)
    assert "step a" in said
    assert "wrote files or made folders in the volume scratch, and no snapshot was taken after it" in said
    run(folder, "run", "nb.ipynb", "--quiet", "--autosnapshot", "--volume", "scratch:/kale-test/scratch")
    for _ in range(2):
        said = run(folder, "run", "--from", "latest", "--step", "b")
        assert "scratch at /kale-test/scratch, 1 file" in said
        assert "found of a" in run(folder, "show", "latest", "b")
        assert [f["name"] for f in json.loads(run(folder, "files", "--json"))] == ["scratch:own.txt"]


def test_pulling_after_a_run_does_not_hide_what_was_refused(folder: Path) -> None:
    assert "+ copied" in run(folder, "run", "nb.ipynb", "--pull", "models")
    events = [json.loads(line) for line in run(folder, "run", "nb.ipynb", "--json-events", "--pull", "models").splitlines()]
    assert [(e["name"], e["action"]) for e in events if e["event"] == "file-pulled"] == [], "it is as it was"
    (folder / "models" / "rows.txt").write_text("mine")
    events = [json.loads(line) for line in run(folder, "run", "nb.ipynb", "--json-events", "--pull", "models").splitlines()]
    assert [(e["name"], e["action"]) for e in events if e["event"] == "file-pulled"] == [("models/rows.txt", "replaced")]
    assert "no file" in run(folder, "run", "nb.ipynb", "--quiet", "--pull", "nothing", code=1)


def test_what_does_not_go_together_is_refused_before_anything_runs(folder: Path) -> None:
    for words in (
        ["run"],
        ["run", "nb.ipynb", "--from", "latest"],
        ["run", "nb.ipynb", "--step", "fit"],
        ["run", "--from", "none"],
    ):
        assert "hint" in run(folder, *words, code=2)
    assert not (folder / ".kale").exists()


def test_collecting_beside_a_live_run_leaves_it_and_its_snapshot_alone(folder: Path) -> None:
    run(folder, "run", "nb.ipynb", "--quiet")
    old = record(folder)
    wait = "import os, time\nopen('here', 'w').close()\nwhile not os.path.exists('../go'):\n    time.sleep(0.05)\n"
    write_cells(folder / "nb.ipynb", NOTEBOOK.replace("total = sum", f"{wait}total = sum"))
    (folder / "in.csv").write_text("5\n")
    live = kale("run", "nb.ipynb", "--quiet", cwd=folder)
    runs = folder / ".kale" / "runs"
    deadline = time.monotonic() + 60
    while not list(runs.glob("*/work/here")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (directory,) = (path.parents[1] for path in runs.glob("*/work/here"))
    said = run(folder, "gc", "--keep", "0")
    assert "stays: it runs" in said
    assert [path.name for path in runs.iterdir()] == [directory.name]
    for place in (directory, folder.parent):  # beside the clone, wherever the step sees it
        (place / "go").touch()
    out, err = live.communicate(timeout=60)
    assert live.returncode == 0, out + err
    assert metric(folder) == 10
    run(folder, "run", "--from", "latest", "--quiet", "--dry-run")
    assert old["id"] in run(folder, "run", "--from", old["id"], code=2)
    assert "whole" in run(folder, "snapshots", "verify")


def test_a_run_that_was_killed_can_be_looked_at_and_collected(folder: Path) -> None:
    write_cells(folder / "nb.ipynb", NOTEBOOK.replace("total = sum", "import time; time.sleep(600)\ntotal = sum"))
    process = kale("run", "nb.ipynb", "--quiet", cwd=folder)
    runs = folder / ".kale" / "runs"
    deadline = time.monotonic() + 60
    while not list(runs.glob("*/data/load/step.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert "interrupted" in run(folder, "runs")
    assert "models/rows.txt" in run(folder, "files")
    run(folder, "pull", "latest", "models")
    assert (folder / "models" / "rows.txt").exists()
    run(folder, "gc", "--keep", "0")
    assert list(runs.iterdir()) == []
    assert "no snapshots" in run(folder, "snapshots")


def test_a_damaged_content_is_told_with_its_snapshots_and_runs(folder: Path) -> None:
    run(folder, "run", "nb.ipynb", "--quiet")
    used = record(folder)
    damaged = next(
        path for path in (folder / ".kale" / "store" / "objects").rglob("*") if path.is_file() and path.read_bytes() == b"1\n2\n"
    )
    damaged.chmod(0o644)
    damaged.write_bytes(b"2\n1\n")
    (folder / "in.csv").write_text("other\n")
    said = run(folder, "snapshots", "verify", code=1)
    assert used["id"] in said
    assert used["snapshots"]["workspace"][:12] in said
    (told,) = json.loads(run(folder, "snapshots", "verify", "--json", code=1))
    assert (told["healed"], told["runs"]) == (False, [used["id"]])
    (folder / "in.csv").write_text("1\n2\n")
    assert "healed" in run(folder, "snapshots", "verify")


def test_snapshots_are_listed_shown_and_pinned_by_run_or_id(folder: Path) -> None:
    run(folder, "run", "nb.ipynb", "--quiet")
    used = record(folder)
    (listed,) = json.loads(run(folder, "snapshots", "--json"))
    assert (listed["runs"], listed["pinned"]) == ([used["id"]], False)
    assert "in.csv" in run(folder, "snapshots", "show", "latest")
    run(folder, "snapshots", "pin", "latest")
    assert "stays: pinned" in run(folder, "gc", "--keep", "0")
    run(folder, "snapshots", "unpin", listed["id"][:8])
    assert "stays: pinned" in run(folder, "gc", "--keep", "0"), "the run itself is still pinned"
    run(folder, "snapshots", "unpin", used["id"])
    run(folder, "gc", "--keep", "0")
    assert not latest_exists(folder)
    assert "needs the id" in run(folder, "snapshots", "pin", code=2)


def latest_exists(folder: Path) -> bool:
    try:
        return latest(folder).is_dir()
    except ValueError:
        return False
