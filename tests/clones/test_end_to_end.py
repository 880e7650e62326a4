"""Pipelines that are submitted from a notebook server by the command, and run on clones of real snapshots at the real paths.

Kubeflow Pipelines is played by the tests' server, which has kfp's own orchestrator execute what it is sent and makes the run's claims on the
real API server; the driver makes volumes and snapshots of folders.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kale_nb.runs.record import RunRecord
from tests.clones.notebooks import HOME, RIGHTS, SNAPSHOT_GROUP, Notebook
from tests.k8s.rest import until
from tests.kfp.running import content, needs_orchestrator
from tests.kfp.sources import ROOT, write_notebook
from tests.kfp.test_execution import SCRIPT, result_of, run_locally, user_cells

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


class Done:
    """A run that has ended: its record, and the clone of its workspace.

    Attributes:
        claims: the claims that the run made, by the volume that each is a clone of.
    """

    def __init__(self, notebook: Notebook, folder: Path) -> None:
        self.record = notebook.record(folder)
        found = notebook.space.rest.items(notebook.space.claims_path)
        told = [(c, c["metadata"].get("annotations") or {}) for c in found]
        self.claims = {a["kale-nb/volume"]: c for c, a in told if a.get("kale-nb/run") == self.record["id"]}
        self.clone = notebook.driver.folder(self.claims["workspace"]["metadata"]["name"])
        [self.code] = (self.clone / ".kale" / "kfp").iterdir()

    def executed(self, step: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.code / "executed" / f"{step}.ipynb").read_text(encoding="utf-8"))
        return found

    def assert_same(self, local: RunRecord, data: Path | None = None) -> None:
        """Compare what each step printed and showed, its metrics and its result."""
        assert self.record["state"] == "succeeded"
        by_name = {step["name"]: step for step in self.record["steps"]}
        for step in local.steps:
            here = json.loads((local.directory / "executed" / f"{step.name}.ipynb").read_text(encoding="utf-8"))
            assert user_cells(self.executed(step.name)) == user_cells(here), step.name
            assert by_name[step.name].get("metrics", {}) == dict(step.metrics)
            assert result_of(data or self.code / "data", step.name) == result_of(local.directory / "data", step.name)


def without_runs(folder: Path) -> dict[str, str]:
    """Return what a volume holds, but for the records of runs, which grow while a run is followed."""
    ours = re.compile(r"(.*/)?\.kale(/runs(/.*)?|/\.gitignore)?$")
    return {name: told for name, told in content(folder).items() if not ours.match(name)}


TEXT = (
    "%pipeline --name sales\n\n%%imports\nfrom pathlib import Path\n\n%%parameters\nn = 3\n\n"
    "%%step read\nrows = [int(x) for x in Path('rows.txt').read_text().split()]\n\n"
    "%%step total --after read\ntotal = sum(rows) * n\nPath('total.txt').write_text(str(total))\nprint(total)\n\n%%metrics\nprint(total)"
)


def test_a_notebook_runs_on_a_clone_while_the_original_goes_on(notebook: Notebook, tmp_path: Path) -> None:
    needs_orchestrator()
    home = notebook.open()
    project = home / "project"
    project.mkdir()
    write_notebook(TEXT, project / "nb.ipynb")
    (project / "rows.txt").write_text("1 2 3")
    (home / "other.txt").write_text("of another project")
    account = notebook.account()
    words = notebook.command("run", "nb.ipynb", "--kfp", "-p", "n=2", account=account, cwd=f"{HOME}/project")
    process = subprocess.Popen(
        words, env=notebook.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    try:
        [snapshot] = until(
            lambda: [s for s in notebook.snapshots() if (s.get("status") or {}).get("readyToUse")], "it is ready", 120
        )
        taken = notebook.driver.snapshot_folder(snapshot["metadata"]["name"])
        picture = content(taken)
        (project / "rows.txt").write_text("1000")
        (project / "new.txt").write_text("made later")
        before = without_runs(home)
        said, _ = process.communicate(timeout=1200)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    print(said)
    assert f"snapshot {snapshot['metadata']['name']} of home: ready after" in said
    assert "create-volume-1: workspace at /home/jovyan, a clone of 1.0 GiB in" in said
    assert without_runs(home) == before, "the run has not touched the workspace"
    assert content(taken) == picture, "the run has not touched the snapshot"

    done = Done(notebook, project)
    assert (project / "rows.txt").read_text() == "1000"
    assert (done.clone / "project" / "total.txt").read_text() == "12"
    assert not (done.clone / "project" / "new.txt").exists()
    assert (done.clone / "other.txt").read_text() == "of another project"
    claim = done.claims["workspace"]
    assert claim["spec"]["dataSource"]["name"] == snapshot["metadata"]["name"]
    assert claim["metadata"]["annotations"]["app.kubernetes.io/managed-by"] == "kale-nb"
    (tmp_path / "here").mkdir()
    shutil.copy(project / "nb.ipynb", tmp_path / "here")
    (tmp_path / "here" / "rows.txt").write_text("1 2 3")
    done.assert_same(run_locally(tmp_path / "here" / "nb.ipynb", {"n": 2}))
    [volume] = done.record["volumes"]
    assert (volume["step"], volume["volume"], volume["size"]) == ("create-volume-1", "workspace", 1024**3)
    shown = notebook.run("show", account=account, cwd=f"{HOME}/project")
    assert f"{snapshot['metadata']['name']}  workspace" in shown.stdout


def test_a_claim_that_is_cloned_itself_needs_no_snapshot_and_comes_to_the_same(notebook: Notebook, tmp_path: Path) -> None:
    needs_orchestrator()
    home = notebook.open()
    write_notebook(TEXT, home / "nb.ipynb")
    (home / "rows.txt").write_text("1 2 3")
    before = without_runs(home)
    account = notebook.account([rule for rule in RIGHTS if rule[0] != SNAPSHOT_GROUP])
    command = notebook.run("run", "nb.ipynb", "--kfp", "--clone-claims", account=account)
    assert command.returncode == 0, command.stdout + command.stderr
    assert "claims are cloned when the run makes them, not now" in command.stdout + command.stderr
    staged = {name: told for name, told in without_runs(home).items() if not name.startswith(".kale/kfp")}
    assert staged == before
    assert notebook.snapshots() == []
    done = Done(notebook, home)
    source = done.claims["workspace"]["spec"]["dataSource"]
    assert (source["kind"], source["name"]) == ("PersistentVolumeClaim", "home")
    assert (done.clone / "total.txt").read_text() == "18"
    (tmp_path / "rows.txt").write_text("1 2 3")
    shutil.copy(home / "nb.ipynb", tmp_path)
    done.assert_same(run_locally(tmp_path / "nb.ipynb", {}))


@pytest.mark.parametrize(
    ("settings", "data"),
    [("", None), (', marshal_volume=True, marshal_volume_size="2Gi", marshal_path="/data/marshal"', "/data/marshal")],
    ids=["hidden folder", "marshal volume"],
)
def test_the_documented_script_on_a_workspace_and_two_data_volumes(
    settings: str, data: str | None, notebook: Notebook, tmp_path: Path
) -> None:
    needs_orchestrator()
    home = notebook.open({"home": HOME, "raw": "/data/raw", "models": "/models"}, sidecar=True)
    (notebook.driver.folder("raw") / "share.txt").write_text("0.25")
    script = SCRIPT.replace("SETTINGS", settings).replace(
        'print(f"{total:.3f}")',
        'print(f"{total:.3f}", open("/data/raw/share.txt").read())\n    open("/models/last", "w").write(str(total))',
    )
    (home / "kale_sdk.py").write_text(script)
    before = without_runs(home), content(notebook.driver.folder("raw")), content(notebook.driver.folder("models"))
    command = notebook.run("kale_sdk.py", "--kfp", "-p", "rows=40", account=notebook.account(), module="kale")
    assert command.returncode == 0, command.stdout + command.stderr
    print(command.stdout)
    made = re.findall(r"^\S+  (create-\S+): (\S+) at (\S+), ", command.stdout, re.MULTILINE)
    expected = [
        ("create-volume-1", "workspace", HOME),
        ("create-volume-2", "raw", "/data/raw"),
        ("create-volume-3", "models", "/models"),
    ]
    expected += [("create-marshal-volume", "marshal", data)] if data else []
    assert sorted(made) == sorted(expected), "each as soon as it is ready"
    staged = {name: told for name, told in without_runs(home).items() if not name.startswith(".kale/kfp")}
    assert (staged, content(notebook.driver.folder("raw")), content(notebook.driver.folder("models"))) == before

    done = Done(notebook, home)
    assert [volume["step"] for volume in done.record["volumes"]] == [step for step, _, _ in expected]
    assert (notebook.driver.folder(done.claims["models"]["metadata"]["name"]) / "last").exists()
    left = None if data is None else notebook.driver.folder(done.claims["marshal"]["metadata"]["name"]) / ".kale"
    assert (done.code / "data").exists() is (data is None)
    if data is not None:
        assert done.claims["marshal"]["spec"]["resources"]["requests"]["storage"] == "2Gi"
    here = tmp_path / "here"
    here.mkdir()
    for name in ("raw", "models"):
        (tmp_path / name).mkdir()
    (tmp_path / "raw" / "share.txt").write_text("0.25")
    local = script.replace("/data/raw/", f"{tmp_path}/raw/").replace("/models/", f"{tmp_path}/models/")
    (here / "kale_sdk.py").write_text(local)
    done.assert_same(run_locally(here / "kale_sdk.py", {"rows": 40}), left)


def test_an_example_is_submitted_with_its_folder_deep_in_the_home_folder(notebook: Notebook, tmp_path: Path) -> None:
    needs_orchestrator()
    home = notebook.open(sidecar=True, config_maps={"settings": "/etc/settings"})
    shutil.copytree(ROOT / "examples" / "tested", home / "deep" / "er" / "orders")
    where = f"{HOME}/deep/er/orders"
    words = ("run", "orders.ipynb", "--kfp", "--cleanup", "delete-on-success")
    command = notebook.run(*words, account=notebook.account(), cwd=where)
    assert command.returncode == 0, command.stdout + command.stderr
    assert "deleted: snapshot kale-" in command.stdout
    claims = notebook.space.claims_path
    until(lambda: [c["metadata"]["name"] for c in notebook.space.rest.items(claims)] == ["home"], "the clones are gone")
    until(lambda: not notebook.snapshots() or None, "the snapshots are gone")
    record = notebook.record(home / "deep" / "er" / "orders")
    shutil.copytree(ROOT / "examples" / "tested", tmp_path / "orders")
    local = run_locally(tmp_path / "orders" / "orders.ipynb", {})
    assert {s["name"]: s.get("metrics", {}) for s in record["steps"]} == {s.name: dict(s.metrics) for s in local.steps}
