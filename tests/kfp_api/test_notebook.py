"""`%pipeline run --kfp` in a live kernel: the same submission as `kale run --kfp`, followed in the output area."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jupyter.kernels import Kernel, Reply, kernel, save
from tests.kfp.running import needs_orchestrator
from tests.kfp_api.server import Server

pytestmark = pytest.mark.kernel
CELLS = (
    "%load_ext kale_nb",
    "%%parameters\nn = 3",
    "%%step one\nx = [n]",
    "%%step two --after one\nx.append(n)\nprint(x)",
    "%%metrics\nprint(sum(x))",
)
RUN = "%pipeline run --kfp --no-snapshot --image python:3.11"


@pytest.fixture(autouse=True)
def home(bare: None, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()


@pytest.fixture
def live(server: Server, tmp_path: Path) -> Iterator[Kernel]:
    folder = tmp_path / "work"
    folder.mkdir()
    with kernel(folder, notebook=save(folder / "nb.ipynb", *CELLS)) as started:
        started.good("%load_ext kale_nb")
        yield started


def record(tmp_path: Path) -> dict[str, object]:
    [file] = (tmp_path / "work").glob(".kale/runs/*/run.json")
    read: dict[str, object] = json.loads(file.read_text())
    return read


@pytest.mark.slow
def test_a_run_on_the_cluster_is_followed_to_its_end(live: Kernel, server: Server, tmp_path: Path) -> None:
    needs_orchestrator()
    reply = live.good(f"{RUN} -p n=4 --host {server.url}")
    progress, end = reply.shown
    assert "nb: 2/2 steps, succeeded" in progress["text/plain"]
    assert "sum(x)" in end["text/plain"]
    assert "8" in end["text/plain"]
    assert f'<a href="{server.url}/#/runs/details/' in end["text/html"]
    assert record(tmp_path)["state"] == "succeeded"


def test_a_run_that_is_not_waited_for_goes_on(live: Kernel, server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [[("RUNNING", {"one": "RUNNING"})]]
    reply = live.good(f"{RUN} --host {server.url} --no-wait")
    assert "it goes on: `!kale show " in reply.stdout
    assert "!kale stop" in reply.stdout
    assert "goes on" in reply.shown[0]["text/html"]
    assert record(tmp_path)["state"] == "running"


def test_an_interrupt_leaves_it_going_and_says_how_to_stop_it(live: Kernel, server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [[("RUNNING", {"one": "RUNNING"})] * 2000]
    sent = threading.Event()

    def interrupt(reply: Reply) -> None:
        if not sent.is_set() and "#/runs/details/" in "".join(b.get("text/html", "") for b in reply.shown):
            sent.set()
            live.interrupt()

    reply = live.run(f"{RUN} --host {server.url}", after=interrupt)
    assert sent.is_set()
    assert reply.error.startswith("PipelineStopped: nb goes on on the cluster: http")
    assert "!kale stop" in reply.traceback
    assert "kale_nb/" not in reply.traceback
    assert record(tmp_path)["state"] == "running"
    assert live.good("1 + 1").text == "2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--image python:3.11", "is for Kubeflow Pipelines"),
        ("--engine nowhere", "there is no engine called 'nowhere'"),
        ("--kfp --no-snapshot --image i --host ftp://x", "ftp://x"),
        ("--kfp --engine local", "not allowed with"),
        ("--kfp --cleanup sometimes", "invalid choice"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(words: str, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with kernel(folder, notebook=save(folder / "nb.ipynb", *CELLS)) as live:
        live.good("%load_ext kale_nb")
        reply = live.run(f"%pipeline run {words}")
        assert said in reply.error
        assert "kale_nb/" not in reply.traceback
