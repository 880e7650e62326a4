"""Compiled pipelines, executed by kfp's own orchestrator on clones at the real paths, come to what a local run comes to, and leave the
notebook server's volume and its snapshot as they were."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kale_nb.compiler import compile_path
from kale_nb.engines.kfp.target import Cleanup, Target
from kale_nb.planning import RunOptions
from kale_nb.runner import run
from kale_nb.runs.events import State
from kale_nb.runs.record import RunRecord
from kale_nb.verify.outputs import said
from tests.kfp.running import Ran, Server, content
from tests.kfp.sources import EXAMPLES, write_notebook

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

IMAGE = Target(image="python:3.11")
PARAMS: dict[str, dict[str, Any]] = {"compare_models": {"trees": 10}, "forecast": {"weeks": 104}}


def user_cells(notebook: Mapping[str, Any]) -> list[Any]:
    """Return what each cell of the user said."""
    return [
        said(cell.get("outputs", ()))
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and cell["id"].startswith(("cell-", "kale-call"))
    ]


def result_of(data: Path, step: str) -> Any:
    return json.loads((data / step / "step.json").read_text(encoding="utf-8")).get("result")


def run_locally(path: Path, params: dict[str, Any]) -> RunRecord:
    record = run(compile_path(path), RunOptions(params=params))
    assert record.state is State.SUCCEEDED, record.error
    return record


def assert_same(ran: Ran, record: RunRecord, data: Path) -> None:
    """Compare what every step printed and showed, its metrics and its result."""
    assert ran.problem is None, ran.tasks[-1]
    for step in record.steps:
        task = ran.task(ran.package.plan.tasks[step.name])
        assert task["code"] == 0
        here = json.loads((record.directory / "executed" / f"{step.name}.ipynb").read_text(encoding="utf-8"))
        assert user_cells(ran.executed(step.name)) == user_cells(here), step.name
        assert task["outputs"]["metrics"]["metadata"] == dict(step.metrics)
        assert result_of(data, step.name) == result_of(record.directory / "data", step.name)
        report = Path(task["outputs"]["report"]["path"]).read_text(encoding="utf-8")
        assert report.lstrip().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_comes_to_the_same_on_clones(example: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "cluster")
    (server.home / "project").mkdir()
    (server.home / "other.txt").write_text("of another project")
    shutil.copy(example, server.home / "project")
    params = PARAMS.get(example.stem, {})
    package = server.compile(f"project/{example.name}", IMAGE)
    snapshot = server.snapshot("home")
    before = content(server.home)
    assert content(snapshot) == before
    ran = server.run(package, params)
    assert content(server.home) == before
    assert content(snapshot) == before
    (tmp_path / "here").mkdir()
    shutil.copy(example, tmp_path / "here")
    assert_same(ran, run_locally(tmp_path / "here" / example.name, params), ran.code / "data")
    assert (ran.claim() / "other.txt").read_text() == "of another project"


SCRIPT = '''"""Train on numbers and tell how well."""

from kale.sdk import pipeline, step


@step(name="data_loading")
def load(start: int, end: int) -> list[float]:
    """Load the data."""
    return [float(x) for x in range(start, end)]


@step(name="data_split")
def split(data: list[float], share: float):
    """Split it."""
    cut = int(len(data) * share)
    return data[:cut], data[cut:]


@step(name="model_training")
def train(rows: list[float], rate: float) -> float:
    """Train the model."""
    total = sum(rows) * rate
    print(f"{total:.3f}")
    return total


@pipeline(name="binary-classification", experiment="kale-tutorial"SETTINGS)
def ml_pipeline(rows: int = 123, share: float = 0.5, rate: float = 0.1):
    """Run the ML pipeline."""
    data = load(0, rows)
    first, second = split(data, share=share)
    train(first, rate)
    train(second, rate)


if __name__ == "__main__":
    ml_pipeline(rows=200)
'''


@pytest.mark.parametrize(
    ("settings", "data"),
    [("", None), (', marshal_volume=True, marshal_volume_size="10Gi", marshal_path="/data/marshal"', "/data/marshal")],
    ids=["hidden folder", "marshal volume"],
)
def test_the_documented_script_comes_to_the_same_on_clones(settings: str, data: str | None, tmp_path: Path) -> None:
    server = Server(tmp_path / "cluster")
    (server.home / "kale.py.txt").write_text("x")
    script = SCRIPT.replace("SETTINGS", settings)
    (server.home / "kale_sdk.py").write_text(script)
    package = server.compile("kale_sdk.py", IMAGE)
    snapshot = server.snapshot("home")
    before = content(server.home)
    ran = server.run(package, {"rows": 40})
    assert (content(server.home), content(snapshot)) == (before, before)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "kale_sdk.py").write_text(script)
    left = ran.code / "data" if data is None else ran.claim("marshal-volume") / ".kale"
    assert_same(ran, run_locally(tmp_path / "here" / "kale_sdk.py", {"rows": 40}), left)
    assert (ran.code / "data").exists() is (data is None)
    if data is not None:
        assert "10Gi" in [task["arguments"].get("size") for task in ran.tasks]
        assert package.plan.mounts[1].path == data


CHAIN = "%pipeline --name chain\n\n%%parameters\nn = 3\n\n%%step one\nx = [n]\n\n%%step two --after one\nx.append(len(x))\nprint(x)\n\n%%step three --after two\nprint(sum(x))"


@pytest.mark.parametrize("cleanup", Cleanup, ids=lambda c: c.value)
def test_volumes_are_kept_or_deleted_as_asked(cleanup: Cleanup, tmp_path: Path) -> None:
    server = Server(tmp_path)
    text = CHAIN.replace("--name chain", "--name chain --marshal-volume --volume scratch:/scratch:1Gi")
    write_notebook(text, server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", Target(image="python:3.11", cleanup=cleanup))
    server.snapshot("home")
    ran = server.run(package, {"n": 5})
    assert ran.problem is None, ran.tasks[-1]
    assert ran.task("three")["stdout"] == "6\n"
    deleted = sum(name == "delete-volume" for name in ran.names())
    assert deleted == (0 if cleanup is Cleanup.KEEP else 3)
    assert len(list((server.cluster / "claims").iterdir())) == 3 - deleted


@pytest.mark.parametrize("cleanup", Cleanup, ids=lambda c: c.value)
def test_a_failure_leaves_the_executed_notebook_and_only_delete_deletes(cleanup: Cleanup, tmp_path: Path) -> None:
    server = Server(tmp_path)
    write_notebook(CHAIN.replace("print(x)", "y = 1\nprint(y / 0)"), server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", Target(image="python:3.11", cleanup=cleanup))
    server.snapshot("home")
    ran = server.run(package)
    assert ran.problem is not None
    assert "three" not in ran.names()
    failed = ran.task("two")
    assert failed["code"] == 1
    assert "kale: step two failed:" in failed["stderr"]
    assert "nb.ipynb[cell 4]:4: ZeroDivisionError: division by zero" in failed["stderr"]
    assert failed["stdout"].startswith("")
    if cleanup is Cleanup.DELETE:
        assert list((server.cluster / "claims").iterdir()) == []
        assert "delete-volume" in ran.names()
        return
    assert "delete-volume" not in ran.names()
    errors = [o for c in ran.executed("two")["cells"] for o in c.get("outputs", ()) if o["output_type"] == "error"]
    assert [e["ename"] for e in errors] == ["ZeroDivisionError"]
    assert (
        f"the executed notebook is on the run's workspace volume: {(ran.code / 'executed/two.ipynb').relative_to(ran.claim())}"
        in failed["stderr"]
    )


def test_a_backend_that_ignores_the_snapshot_is_found_out(tmp_path: Path) -> None:
    server = Server(tmp_path)
    write_notebook(CHAIN, server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", IMAGE)
    server.snapshot("home")
    ran = server.run(package, old_backend=True)
    assert ran.names() == ["create-volume", "one"]
    assert ran.task("one")["code"] == 2
    assert "the workspace at /home/jovyan is empty: the volume was made without its snapshot" in ran.task("one")["stderr"]
    assert "2.17" in ran.task("one")["stderr"]


def test_a_snapshot_of_another_moment_is_found_out(tmp_path: Path) -> None:
    server = Server(tmp_path)
    write_notebook(CHAIN, server.home / "nb.ipynb")
    server.snapshot("early")
    package = server.compile("nb.ipynb", IMAGE)
    late = server.snapshot("late")
    book = late / ".kale" / "kfp" / package.plan.code.digest / "steps" / "one.ipynb"
    book.write_text(book.read_text() + " ")
    assert "does not hold the code of this pipeline" in server.run(package, source="early").task("one")["stderr"]
    assert "is not the one that was compiled: its SHA-256" in server.run(package, source="late").task("one")["stderr"]


def test_a_step_is_tried_again_on_a_clean_folder(tmp_path: Path) -> None:
    server = Server(tmp_path)
    text = (
        "%%imports\nimport os\n\n%%step one --retries 2 --retry-interval 1s\nopen('tries', 'a').write('x')\n"
        "tries = os.path.getsize('tries')\nassert tries > 1\n\n%%step two --after one\nprint(tries)"
    )
    write_notebook(text, server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", IMAGE)
    server.snapshot("home")
    ran = server.run(package)
    assert ran.problem is None
    assert ran.task("two")["stdout"] == "2\n"


DATA = (
    '# notebook metadata: {"kubeflow_notebook": {"volumes": ['
    '{"name": "raw", "mount_point": "/data/raw", "type": "pvc", "sub_path": "2024"},'
    '{"name": "model", "mount_point": "/models", "type": "clone"},'
    '{"name": "kept", "mount_point": "/kept", "type": "snap", "size": "1Gi", "storage_class": "fast"},'
    '{"name": "scratch", "mount_point": "/scratch", "size": "1Gi"}]}}\n\n'
    "%%imports\nimport os\n\n%%step one\nprint(open('/data/raw/a.csv').read(), open(f\"{os.environ['KALE_DATA_MODEL']}/m\").read(), open('/kept/k').read())\n"
    "open('/models/m', 'w').write('changed')\nopen('/kept/k', 'w').write('changed')\nopen('/scratch/s', 'w').write('new')\n"
    "open('/data/raw/b.csv', 'w').write('b')\n\n"
    "%%step two --after one\nprint(open('/models/m').read(), open('/scratch/s').read(), open('/data/raw/b.csv').read())"
)


def test_data_volumes_are_what_their_kind_says(tmp_path: Path) -> None:
    server = Server(tmp_path)
    write_notebook(DATA, server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", IMAGE)
    server.snapshot("home")
    raw = server.cluster / "claims" / "raw" / "2024"
    raw.mkdir(parents=True)
    (raw / "a.csv").write_text("rows")
    for name, file in (("model", "m"), ("kept", "k")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(name)
        server.snapshot(name, tmp_path / name)
    ran = server.run(package)
    assert ran.problem is None, ran.tasks[-1]
    assert ran.task("one")["stdout"] == "rows model kept\n"
    assert ran.task("two")["stdout"] == "changed new b\n"
    assert (server.cluster / "snapshots" / "model" / "m").read_text() == "model"
    assert (server.cluster / "snapshots" / "kept" / "k").read_text() == "kept"
    assert (raw / "b.csv").read_text() == "b", "an existing claim is mounted itself"
    kept = next(t for t in ran.tasks if t["task"] == "create-volume" and t["arguments"]["storage_class_name"] == "fast")
    assert kept["arguments"]["data_source"]["name"] == "kept"


@pytest.mark.parametrize("marshal", ["", " --marshal-volume"], ids=["artifacts", "marshal volume"])
def test_without_a_snapshot_code_is_in_the_pipeline_and_values_pass(marshal: str, tmp_path: Path) -> None:
    server = Server(tmp_path)
    text = (
        f"%pipeline --name diamond{marshal}\n\n%%step a\nrows = [1, 2]\nkept = 'far'\n\n%%step b --after a\nleft = sum(rows)\n\n"
        "%%step c --after a\nright = max(rows)\n\n%%step d --after b,c\nprint(left, right, kept)\n\n%%step e --after d\nprint(kept)"
    )
    write_notebook(text, server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", Target(image="python:3.11", snapshot=False))
    assert not (server.home / ".kale").exists()
    ran = server.run(package)
    assert ran.problem is None, ran.tasks[-1]
    assert ran.task("d")["stdout"] == "3 2 far\n"
    assert ran.task("e")["stdout"] == "far\n"
    assert ran.names().count("create-volume") == (1 if marshal else 0)


def test_names_texts_and_types_that_meet_in_kubeflow_arrive_as_in_a_local_run(tmp_path: Path) -> None:
    server = Server(tmp_path)
    text = (
        "%pipeline --name odd\n\n%%parameters\ntrain = 1\nepochs: float = 3\n\n%%step train --env WHERE=$(HOME)/x --env PASS=a$$b\n"
        "import os\nx = [n for n in range(epochs)]\nprint(os.environ['WHERE'], os.environ['PASS'])\n\n%%step show --after train\nprint(x, train, epochs)"
    )
    write_notebook(text, server.home / "nb.ipynb")
    ran = server.run(server.compile("nb.ipynb", Target(image="python:3.11", snapshot=False)))
    assert ran.problem is None, ran.tasks[-1]
    assert ran.task("train")["stdout"] == "$(HOME)/x a$$b\n"
    assert ran.task("show")["stdout"] == "[0, 1, 2] 1 3\n"


def test_parameters_arrive_as_what_they_were_declared(tmp_path: Path) -> None:
    server = Server(tmp_path)
    text = (
        "%%imports\nimport datetime\n\n%%parameters\nn = 3\nratio = 2.0\nname = 'x'\nflag = True\nlayers = [64, 32]\nrates = [0.5, 1.0]\n"
        "grid = {'depth': 3, 'rate': 1.0, 'names': ['a']}\npair = (1, 2.0)\nday = datetime.date(2024, 1, 31)\nbig = 2**60 + 1\nopt: int | None = None\n\n"
        "%%step one\nprint(repr([n, ratio, name, flag, layers, rates, grid, pair, day, big, opt]))"
    )
    write_notebook(text, server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", IMAGE)
    server.snapshot("home")
    plain = server.run(package).task("one")["stdout"]
    assert plain == (
        "[3, 2.0, 'x', True, [64, 32], [0.5, 1.0], {'depth': 3, 'rate': 1.0, 'names': ['a']}, (1, 2.0), datetime.date(2024, 1, 31), "
        "1152921504606846977, None]\n"
    )
    given = {
        "n": 4, "ratio": 3.0, "name": "3.0", "flag": False, "layers": [8, 8, 8], "rates": [1.0, 2.0, 3.0],
        "grid": {"depth": 5.0, "rate": 2.0, "more": 1.0}, "pair": (3, 4.0), "day": date(2024, 2, 29), "big": 7, "opt": 5,
    }  # fmt: skip
    assert server.run(package, given).task("one")["stdout"] == (
        "[4, 3.0, '3.0', False, [8, 8, 8], [1.0, 2.0, 3.0], {'depth': 5, 'rate': 2.0, 'more': 1}, (3, 4.0), datetime.date(2024, 2, 29), 7, 5]\n"
    )
