"""What the server says of a run becomes the events of a run, whatever it says and whatever happens to it meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from kale_nb.runs.events import (
    RunFinished,
    RunLeft,
    RunNote,
    RunSubmitted,
    RunWarning,
    State,
    StepFinished,
    StepRetrying,
    StepStarted,
    VolumeCreated,
)
from tests.kfp_api.deployment import Fault
from tests.kfp_api.server import Server
from tests.kfp_api.submitting import CHAIN, Submitted, engine, notebook, record_file

PLAYED = [
    ("PENDING", {}),
    ("RUNNING", {"one": "PENDING"}),
    ("RUNNING", {"one": "RUNNING"}),
    ("RUNNING", {"one": "SUCCEEDED", "two": "RUNNING"}),
    ("SUCCEEDED", {"one": "SUCCEEDED", "two": "SUCCEEDED"}),
]


def test_a_run_that_goes_well_gives_the_events_of_a_run(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url))
    told = [(type(e).__name__, getattr(e, "step", ""), getattr(e, "state", "")) for e in ran.events]
    told = [each for each in told if each[0] not in ("RunWarning", "RunNote")]
    assert told == [
        ("RunStarted", "", ""),
        ("RunSubmitted", "", ""),
        ("StepStarted", "one", ""),
        ("StepFinished", "one", State.SUCCEEDED),
        ("StepStarted", "two", ""),
        ("StepFinished", "two", State.SUCCEEDED),
        ("RunFinished", "", State.SUCCEEDED),
    ]
    assert ran.record.state is State.SUCCEEDED
    assert ran.record.engine == "kfp"
    [run] = server.deployment.runs
    assert ran.record.remote["run_id"] == run["run_id"]
    assert ran.record.remote["run"] == f"{server.url}/#/runs/details/{run['run_id']}"
    assert run["display_name"] == f"chain {ran.record.id}"


def test_a_failed_step_leaves_those_that_need_it_skipped(server: Server, tmp_path: Path) -> None:
    task = {
        "state": "FAILED",
        "error": {"code": 13, "message": "This step is in Failed state with this message: Error (exit code 1)"},
    }
    server.deployment.scripts = [[("RUNNING", {"one": "RUNNING"}), ("FAILED", {"one": task})]]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url))
    assert ran.record.state is State.FAILED
    assert [step.state for step in ran.record.steps] == [State.FAILED, State.SKIPPED]
    assert ran.record.steps[0].failure is not None
    assert "exit code 1" in ran.record.steps[0].failure.message


@pytest.mark.parametrize(("said", "state"), [("CANCELED", State.CANCELLED), ("SKIPPED", State.SKIPPED), ("FAILED", State.FAILED)])
def test_every_final_state_ends_the_wait(said: str, state: State, server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [
        [("RUNNING", {"one": "RUNNING"}), ("CANCELING", {"one": "RUNNING"}), (said, {"one": "CANCELED"})]
    ]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url))
    assert ran.record.state is state
    assert ran.record.steps[0].state is State.CANCELLED
    assert isinstance(ran.events[-1], RunFinished)


def test_a_paused_run_is_waited_for_and_an_unknown_state_is_told_once(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [[("PAUSED", {}), ("PAUSED", {}), ("RUNNING", {}), *PLAYED]]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url))
    assert ran.record.state is State.SUCCEEDED
    assert [w.message for w in ran.all(RunWarning) if "paused" in w.message] == [
        "the run is paused on the server: it goes on when it is resumed there"
    ]


def test_a_step_that_was_tried_again_is_told_with_its_attempts(server: Server, tmp_path: Path) -> None:
    error = {"code": 1, "message": "Error (exit code 1)"}
    again = {
        "state": "RUNNING",
        "state_history": [{"state": "RUNNING"}, {"state": "FAILED", "error": error}, {"state": "RUNNING"}],
    }
    server.deployment.scripts = [
        [("RUNNING", {"one": "RUNNING"}), ("RUNNING", {"one": again}), ("SUCCEEDED", {"one": {**again, "state": "SUCCEEDED"}})]
    ]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url))
    assert [e.attempt for e in ran.all(StepStarted) if e.step == "one"] == [1, 2]
    assert [e.failure.message for e in ran.all(StepRetrying)] == ["Error (exit code 1)"]
    assert ran.record.step("one").attempt == 2
    assert ran.record.step("one").retried == ("Error (exit code 1)",)


def test_a_cached_step_succeeded_and_says_so(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [[("SUCCEEDED", {"one": "SKIPPED", "two": "SUCCEEDED"})]]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url))
    assert ran.record.step("one").state is State.SUCCEEDED
    assert "cache" in ran.record.step("one").warnings[0]


def test_volumes_are_told_as_those_of_a_local_run(server: Server, tmp_path: Path) -> None:
    text = CHAIN.replace("--name chain", "--name chain --marshal-volume --volume scratch:/scratch:2Gi")
    tasks = {"create-volume-1": "SUCCEEDED", "create-marshal-volume": "SUCCEEDED", "one": "SUCCEEDED", "two": "SUCCEEDED"}
    server.deployment.scripts = [[("SUCCEEDED", tasks)]]
    ran = Submitted(notebook(tmp_path / "ws", text), engine(server.url, storage_class="fast"))
    assert [(v.step, v.volume, str(v.mount_point), v.mechanism) for v in ran.all(VolumeCreated)] == [
        ("create-volume-1", "scratch", "/scratch", "empty"),
        ("create-marshal-volume", "marshal", "/marshal", "empty"),
    ]
    given = server.deployment.runs[0]["runtime_config"]["parameters"]
    assert [value for name, value in given.items() if name.endswith("_class")] == ["fast", "fast"]
    assert ran.record.clone is None


@pytest.mark.parametrize("action", ["drop", "lose", 500, 502, 503, 504, 429])
def test_passing_trouble_in_the_middle_of_a_wait_is_waited_out(action: str | int, server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED]
    server.deployment.faults = [Fault("GET .*/runs/", action, times=2)]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url))
    assert ran.record.state is State.SUCCEEDED
    notes = [note.message for note in ran.all(RunNote)]
    assert any(note.endswith("trying on") for note in notes)
    assert any(note.startswith("the server answers again") for note in notes)


def test_a_server_that_restarts_in_the_middle_of_a_wait_is_found_again(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [[*PLAYED[:3], *[PLAYED[2]] * 10, *PLAYED[3:]]]

    def restart() -> None:
        while not server.deployment.runs:
            time.sleep(0.01)
        server.stop()
        time.sleep(0.7)
        server.start()

    thread = threading.Thread(target=restart)
    thread.start()
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url, lost_after=20.0))
    thread.join()
    assert ran.record.state is State.SUCCEEDED
    assert any("answers again" in note.message for note in ran.all(RunNote))


def test_a_server_that_stays_away_leaves_the_run_going(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED]
    server.deployment.faults = [Fault("GET .*/runs/", 503, times=1000)]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url, lost_after=0.5))
    assert ran.record.left
    assert isinstance(ran.events[-1], RunLeft)
    assert record_file(ran.record)["state"] == "running"
    assert not ran.all(RunFinished)


def test_a_run_that_was_deleted_there_is_told(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED]
    server.deployment.faults = [Fault("GET .*/runs/", 404, message="Run not found.")]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url))
    assert ran.record.left
    assert "no such run" in ran.all(RunLeft)[0].reason


def test_an_answer_that_takes_too_long_is_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED]
    server.deployment.faults = [Fault("GET .*/runs/", "hang")]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url, within=0.5))
    assert ran.record.state is State.SUCCEEDED
    assert any("does not answer in time" in note.message for note in ran.all(RunNote))


def test_without_waiting_the_record_says_that_it_goes_on(server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED]
    ran = Submitted(notebook(tmp_path / "ws"), engine(server.url, wait=False))
    assert ran.record.left
    assert ran.record.state is State.RUNNING
    assert ran.all(RunSubmitted)
    assert not ran.all(StepFinished)
    assert "writer" not in record_file(ran.record)
