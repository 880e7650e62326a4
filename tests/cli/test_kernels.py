"""What needs kernels: signals, the live display on a terminal, and `kale verify`."""

from __future__ import annotations

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

from tests.cli.conftest import WriteNotebook, child_environment

pytestmark = pytest.mark.kernel

SLOW = ("step:slow", "import time\nprint('begun', flush=True)\ntime.sleep(60)")


def kale(*words: str, **options: object) -> subprocess.Popen[str]:
    env = {**child_environment(), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "kale_nb", *words]
    return subprocess.Popen(command, env=env, text=True, **options)  # type: ignore[call-overload,no-any-return]


def finished(*words: str) -> tuple[int, str, str]:
    process = kale(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def record_of(folder: Path) -> dict[str, object]:
    (run,) = (folder / ".kale" / "runs").iterdir()
    value: dict[str, object] = json.loads((run / "run.json").read_text())
    return value


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_the_run_leaves_its_record_and_gives_its_exit_code(
    number: signal.Signals, code: int, folder: Path, write_notebook: WriteNotebook
) -> None:
    write_notebook(SLOW)
    process = kale("run", "nb.ipynb", "--json-events", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if "begun" in line:
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "stopped by" in err
    assert record_of(folder)["state"] == "cancelled"


def test_kill_9_leaves_a_record_that_reads_as_interrupted(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(SLOW)
    process = kale("run", "nb.ipynb", "--json-events", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    for line in process.stdout:
        if "begun" in line:
            break
    process.kill()
    process.communicate(timeout=60)
    code, out, _ = finished("runs")
    assert code == 0
    assert "interrupted" in out


def test_the_live_display_is_drawn_on_a_terminal_and_gone_at_the_end(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(("step:one", "import time\nprint('epoch 1', flush=True)\ntime.sleep(1)"), ("step:two prev:one", "x = 1\nx"))
    ours, theirs = pty.openpty()
    process = kale("run", "nb.ipynb", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
        elif process.poll() is not None:
            break
    os.close(ours)
    assert process.wait(30) == 0
    text = seen.decode()
    assert "epoch 1" in text
    assert "waits for one" in text
    assert "\x1b[?25h" in text[text.index("waits for one") :]  # the cursor is shown again
    assert "succeeded" in text[-600:]


def test_verify_says_same_and_exits_0(folder: Path, write_notebook: WriteNotebook) -> None:
    (folder / "data.txt").write_text("5")
    write_notebook(
        ("parameters", "factor = 2"),
        ("step:a", "import os\nx = int(open('data.txt').read()) * factor\nprint(x, os.getcwd())\n{'b', 'a', 'c'}"),
        ("step:b prev:a", "x + 1"),
        ("skip", "x = 'changed by a cell that is left out'"),
        ("step:c prev:a", "print(object())\nx - 1"),
    )
    code, out, err = finished("verify", "nb.ipynb", "-p", "factor=3")
    assert (code, "same: all 3 steps" in out) == (0, True), out + err


def test_verify_shows_the_first_difference_of_each_step_and_exits_1(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(("step:a", "import os\nprint('same')\nprint(os.getpid())"), ("step:b prev:a", "print('equal')"))
    code, out, err = finished("verify", "nb.ipynb", "--quiet")
    assert code == 1, err
    assert "different  a in cell 1" in out
    assert "     same\n    -" in out
    assert "same  b" in out
    code, out, _ = finished("verify", "nb.ipynb", "--format", "json")
    value = json.loads(out)
    assert (code, value["same"]) == (1, False)
    assert [step["answer"] for step in value["steps"]] == ["different", "same"]


def test_verify_of_a_notebook_that_fails_says_so(folder: Path, write_notebook: WriteNotebook) -> None:
    write_notebook(("step:a", "print(1)"), ("step:b prev:a", "1 / 0"))
    code, out, _ = finished("verify", "nb.ipynb", "--quiet")
    assert code == 1
    assert "the notebook itself fails" in out
    assert "the pipeline fails in step b" in out
