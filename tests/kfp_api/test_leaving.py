"""A run that is not followed to its end: Ctrl-C, SIGTERM, --no-wait, a process that was killed; found again by `kale show`, ended by `kale stop`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kale_nb.cli.command import main
from kale_nb.runs.events import State
from kale_nb.runs.record import RunRecord
from kale_nb.runs.store import known_store
from tests.kfp_api.server import Server
from tests.kfp_api.submitting import notebook
from tests.kfp_api.test_following import PLAYED

GOING = [[("RUNNING", {"one": "RUNNING"})]]


def words(server: Server, *more: str) -> list[str]:
    return [sys.executable, "-m", "kale_nb", "run", "nb.ipynb", "--kfp", "--no-snapshot", "--host", server.url, *more]


def record_of(folder: Path) -> RunRecord:
    [record] = known_store(folder).records()
    return record


def until(what: str, holds: object, within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.02)


def started(folder: Path) -> bool:
    with contextlib.suppress(Exception):
        return record_of(folder).step("one").state is State.RUNNING
    return False


@pytest.fixture
def folder(tmp_path: Path, server: Server) -> Path:
    server.deployment.scripts = [list(GOING[0])]
    return notebook(tmp_path / "ws").parent


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.screen, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - nothing else runs here
        )
        os.close(theirs)
        self.text = ""

    def see(self, text: str, within: float = 30.0) -> None:
        end = time.monotonic() + within
        while text not in self.text:
            assert time.monotonic() < end, self.text
            self.read(0.1)

    def read(self, wait: float) -> bool:
        if not select.select([self.screen], [], [], wait)[0]:
            return True
        try:
            data = os.read(self.screen, 65536)
        except OSError:
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def type(self, keys: str) -> None:
        os.write(self.screen, keys.encode())

    def end(self, within: float = 30.0) -> int:
        end = time.monotonic() + within
        while self.process.poll() is None:
            assert time.monotonic() < end, self.text
            self.read(0.1)
        while self.read(0.1) and select.select([self.screen], [], [], 0.1)[0]:
            pass
        os.close(self.screen)
        return self.process.returncode


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_an_interrupt_asks_once_and_yes_stops_the_run_there(server: Server, folder: Path) -> None:
    terminal = Terminal(words(server), folder)
    until("step one runs", lambda: started(folder))
    terminal.type("\x03")
    terminal.see("stop the run on the cluster too? [y/N]")
    terminal.type("y\n")
    assert terminal.end() == 130
    assert server.deployment.runs[0]["state"] == "CANCELED"
    record = record_of(folder)
    assert record.state is State.CANCELLED
    assert [step.state for step in record.steps] == [State.CANCELLED, State.CANCELLED]


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x03"], ids=["no", "nothing", "a second interrupt"])
def test_an_interrupt_without_a_yes_leaves_the_run_going(answer: str, server: Server, folder: Path) -> None:
    terminal = Terminal(words(server), folder)
    until("step one runs", lambda: started(folder))
    terminal.type("\x03")
    terminal.see("[y/N]")
    terminal.type(answer)
    assert terminal.end() == 130
    assert server.deployment.runs[0]["state"] == "RUNNING"
    assert record_of(folder).left
    assert "kale stop" in terminal.text


def test_without_a_terminal_an_interrupt_leaves_the_run_going_and_says_how_to_stop_it(server: Server, folder: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(words(server), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until("step one runs", lambda: started(folder))
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 128 + number
        record = record_of(folder)
        assert record.left
        assert f"kale stop {record.id}" in errors
        assert server.deployment.runs[-1]["state"] == "RUNNING"
        subprocess.run(["rm", "-r", str(record.directory)], check=True)
        server.deployment.scripts = [list(GOING[0])]


def test_a_run_that_was_left_is_looked_at_again_by_show(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    server.deployment.scripts = [[PLAYED[0], PLAYED[3], PLAYED[4]]]
    assert main(words(server, "--no-wait")[3:]) == 0
    assert "kale show" in capsys.readouterr().out
    states = []
    for _ in range(3):
        assert main(["show", "--format", "json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        states.append((shown["state"], [step.get("state", "pending") for step in shown["steps"]]))
    assert states[-2:] == [("running", ["succeeded", "running"]), ("succeeded", ["succeeded", "succeeded"])]
    server.stop()
    assert main(["show"]) == 0
    assert capsys.readouterr().err == "", "a run that has ended is not asked after"


def test_a_server_that_is_away_does_not_keep_show_from_what_is_known(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(words(server, "--no-wait")[3:]) == 0
    server.stop()
    assert main(["show"]) == 0
    told = capsys.readouterr()
    assert "chain running" in told.out
    assert "this is what was known last" in told.err


def test_a_killed_process_leaves_a_run_that_show_finds_again(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen(words(server), cwd=folder, stdout=subprocess.DEVNULL)
    until("step one runs", lambda: started(folder))
    process.kill()
    process.wait()
    assert record_of(folder).state is State.INTERRUPTED
    server.deployment.players[server.deployment.runs[0]["run_id"]] = [PLAYED[4]]
    monkeypatch.chdir(folder)
    assert main(["show"]) == 0
    assert "chain succeeded" in capsys.readouterr().out
    assert record_of(folder).state is State.SUCCEEDED


def test_stop_stops_the_run_there(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(words(server, "--no-wait")[3:]) == 0
    assert main(["stop"]) == 0
    assert "chain cancelled" in capsys.readouterr().out
    assert server.deployment.runs[0]["state"] == "CANCELED"
    assert main(["stop"]) == 2
    assert "nothing to stop" in capsys.readouterr().err


def test_options_of_the_cluster_are_refused_for_runs_on_this_machine(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["run", "nb.ipynb", "--experiment", "mine"]) == 2
    assert "--experiment is for Kubeflow Pipelines" in capsys.readouterr().err
