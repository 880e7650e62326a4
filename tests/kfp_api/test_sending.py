"""A pipeline is uploaded once, its experiment made once, its run started once, whatever becomes of the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kale_nb.diagnostics import CompileError
from kale_nb.engines.kfp.submission.problems import ServerError
from kale_nb.errors import UsageError
from kale_nb.runs.events import State
from tests.kfp_api.deployment import Fault
from tests.kfp_api.server import Server
from tests.kfp_api.submitting import CHAIN, Submitted, engine, notebook
from tests.kfp_api.test_following import PLAYED


def test_the_same_pipeline_is_uploaded_once_and_a_changed_one_becomes_a_version(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED] * 4
    path = notebook(tmp_path / "ws")
    for _ in range(2):
        Submitted(path, engine(server.url), params={"n": 7})
    assert (len(server.deployment.pipelines), len(server.deployment.versions), len(server.deployment.runs)) == (1, 1, 2)
    for text in (CHAIN.replace("[n]", "[n, n]"), CHAIN):
        Submitted(notebook(tmp_path / "ws", text), engine(server.url))
    assert (len(server.deployment.pipelines), len(server.deployment.versions), len(server.deployment.runs)) == (1, 2, 4)
    used = [run["pipeline_version_reference"]["pipeline_version_id"] for run in server.deployment.runs]
    assert used[0] == used[1] == used[3] != used[2]
    assert server.deployment.runs[0]["runtime_config"]["parameters"] == {"n": 7}


def test_a_version_is_found_again_among_many(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED] * 6
    for n in (1, 2, 3, 4, 5, 1):
        Submitted(notebook(tmp_path / "ws", CHAIN.replace("[n]", f"[n, {n}]")), engine(server.url))
    assert len(server.deployment.versions) == 5


def test_the_experiment_is_the_one_asked_for_the_pipelines_own_or_the_default(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED] * 4
    path = notebook(tmp_path / "ws")
    Submitted(path, engine(server.url))
    Submitted(path, engine(server.url, experiment="mine"))
    Submitted(path, engine(server.url, experiment="mine"))
    Submitted(notebook(tmp_path / "ws", CHAIN.replace("--name chain", "--name chain --experiment theirs")), engine(server.url))
    assert [experiment["display_name"] for experiment in server.deployment.experiments] == ["Default", "mine", "theirs"]


def test_with_several_users_everything_is_in_the_namespace(server: Server, tmp_path: Path) -> None:
    server.deployment.several = True
    server.deployment.namespaces = ("ana",)
    server.deployment.scripts = [PLAYED]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url, asked={"namespace": "ana"}))
    assert ran.record.state is State.SUCCEEDED
    assert [e["namespace"] for e in server.deployment.experiments] == ["ana"]


@pytest.mark.parametrize("action", ["drop", "lose", 503, "hang"])
@pytest.mark.parametrize("what", ["POST .*/pipelines$", "POST .*/upload_version", "POST .*/experiments$", "POST .*/runs$"])
def test_nothing_is_made_twice_when_an_answer_is_lost(what: str, action: str | int, server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED] * 2
    server.deployment.faults = [Fault(what, action)]
    within = 0.6 if action == "hang" else 5.0
    if "upload" in what and action == "hang":
        pytest.skip("uploads have two minutes")
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url, within=within))
    assert ran.record.state is State.SUCCEEDED
    known = server.deployment
    assert [len(rows) for rows in (known.pipelines, known.versions, known.experiments, known.runs)] == [1, 1, 1, 1]


def test_a_refused_run_leaves_a_record_that_says_why(server: Server, tmp_path: Path) -> None:
    server.deployment.faults = [Fault("POST .*/runs$", 400, message="Invalid input error: unknown template format")]
    path = notebook(tmp_path / "ws")
    with pytest.raises(ServerError, match="unknown template format"):
        Submitted(path, engine(server.url))
    from kale_nb.runs.store import known_store

    [record] = known_store(path.parent).records()
    assert record.state is State.FAILED
    assert "unknown template format" in (record.error or "")


def test_only_the_steps_asked_for_are_submitted(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [[("SUCCEEDED", {"one": "SUCCEEDED"})]]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url), until=("one",))
    assert ran.record.state is State.SUCCEEDED
    assert [step.state for step in ran.record.steps] == [State.SUCCEEDED, State.SKIPPED]
    spec = server.deployment.versions[0]["pipeline_spec"]
    assert list(spec["root"]["dag"]["tasks"]) == ["one"]


def test_what_a_cluster_cannot_do_is_refused_before_anything_is_sent(server: Server, tmp_path: Path) -> None:
    path = notebook(tmp_path / "ws")
    with pytest.raises(UsageError, match="snapshots of this machine"):
        Submitted(path, engine(server.url), snapshots={"workspace": "abc"})
    scratch = notebook(tmp_path / "ws", CHAIN.replace("--name chain", "--name chain --volume scratch:/scratch:1Gi"))
    with pytest.raises(UsageError, match="of which storage class"):
        Submitted(scratch, engine(server.url))
    with pytest.raises(CompileError):
        Submitted(
            notebook(tmp_path / "ws", CHAIN.replace("--name chain", "--name chain --volume scratch:/scratch")), engine(server.url)
        )
    assert not any(request.startswith("POST") for request in server.deployment.requests)
