"""`%pipeline run --kfp` in a live notebook on a notebook server."""

from __future__ import annotations

import json

import pytest

from tests.clones.notebooks import Notebook
from tests.clones.submitting import Here
from tests.jupyter.kernels import kernel, save

pytestmark = pytest.mark.kernel


def test_a_live_notebook_submits_itself_and_shows_the_run(here: Here, notebook: Notebook) -> None:
    (notebook.folder / "home").mkdir()  # HOME of the tests
    folder = notebook.open_here() / "project"
    folder.mkdir()
    cells = ("%load_ext kale_nb", "%pipeline --name small", "%%step one\nx = 1", "%%step two --after one\nprint(x)")
    save(folder / "small.ipynb", *cells)
    here.enter(notebook.account())
    tasks = dict.fromkeys(("create-volume-1", "one", "two"), "SUCCEEDED")
    going = ("RUNNING", {"create-volume-1": "SUCCEEDED", "one": "RUNNING"})
    notebook.server.deployment.scripts = [[going, ("SUCCEEDED", tasks)], [going]]
    words = f"--kfp --host {notebook.server.url} --namespace {notebook.space.name}"
    with kernel(folder, notebook=folder / "small.ipynb") as live:
        for number, text in enumerate(cells, 1):
            live.good(text, cell=f"cell-{number}")
        reply = live.good(f"%pipeline run {words}", cell="other")
        run = notebook.server.deployment.runs[0]["run_id"]
        [snapshot] = notebook.snapshots()
        table = next(bundle for bundle in reply.shown if "2/2 steps, succeeded" in bundle["text/plain"])
        assert f"{notebook.server.url}/#/runs/details/{run}" in table["text/html"]
        [record] = (folder / ".kale" / "runs").glob("*/run.json")
        assert json.loads(record.read_text())["remote"]["snapshot workspace"] == snapshot["metadata"]["name"]
        left = live.good(f"%pipeline run {words} --no-wait", cell="other")
        assert "it goes on: `!kale show" in left.text + left.stdout
        refused = live.run("%pipeline run --no-snapshot", cell="other")
        assert "--no-snapshot is for Kubeflow Pipelines here" in refused.error
        refused = live.run("%pipeline run --one-node", cell="other")
        assert "--one-node is for Kubeflow Pipelines" in refused.error
