"""Submitted pipelines that are really executed: from the notebook to metrics, reports and failures in the run's record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kale_nb.cli.command import main
from kale_nb.runs.events import State
from tests.kfp.running import needs_orchestrator
from tests.kfp_api.server import Server
from tests.kfp_api.submitting import CHAIN, Submitted, engine, notebook

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_metrics_reports_and_logs_are_fetched_into_the_record(server: Server, tmp_path: Path) -> None:
    needs_orchestrator()
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url, every=0.2), params={"n": 5})
    assert ran.record.state is State.SUCCEEDED, ran.record
    assert ran.record.metrics == {"two": {"total": 6.0}}
    report = (ran.record.directory / "reports" / "two.html").read_text(encoding="utf-8")
    assert "[5, 1]" in report
    assert "one has [5]" in (ran.record.directory / "logs" / "one.log").read_text(encoding="utf-8")
    assert [step.state for step in ran.record.steps] == [State.SUCCEEDED, State.SUCCEEDED]


def test_a_failure_is_told_with_cell_line_traceback_and_message(server: Server, tmp_path: Path) -> None:
    needs_orchestrator()
    path = notebook(tmp_path / "ws", CHAIN.replace("print(x)\n\n%%metrics", "y = 1\ny / 0\n\n%%metrics"))
    ran = Submitted(path, engine(server.url, every=0.2))
    assert ran.record.state is State.FAILED
    failure = ran.record.step("two").failure
    assert failure is not None
    assert failure.message == "ZeroDivisionError: division by zero"
    assert (failure.cell, failure.line) == (4, 4)
    assert "y / 0" in failure.traceback


def test_the_command_shows_the_same_as_for_a_local_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_orchestrator()
    folder = notebook(tmp_path / "ws").parent
    monkeypatch.chdir(folder)
    assert main(["run", "nb.ipynb", "--no-snapshot"]) == 0
    here = capsys.readouterr().out
    assert main(["run", "nb.ipynb", "--kfp", "--no-snapshot", "--host", server.url, "-p", "n=3"]) == 0
    there = capsys.readouterr().out
    for line in ("chain succeeded", "metrics", "total"):
        assert line in here
        assert line in there
    run = server.deployment.runs[0]["run_id"]
    assert f"{server.url}/#/runs/details/{run}" in there
    assert main(["show", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["engine"] == "kfp"
    assert shown["state"] == "succeeded"
    assert [step["state"] for step in shown["steps"]] == ["succeeded", "succeeded"]
