"""Whole notebooks in one kernel: what nbclient's machinery makes of outputs, other kernels, odd content."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines.local.execution import Outcome, run_notebook
from kale_nb.errors import EngineError
from tests.engines.making import code, no_process_left, notebook

pytestmark = pytest.mark.kernel


def run(folder: Path, *cells: dict[str, Any] | str, kernel: str = "python3", **options: Any) -> Outcome:
    with no_process_left():
        outcome = run_notebook(
            notebook(*cells),
            kernel=kernel,
            cwd=folder,
            output=folder / "executed.ipynb",
            log=folder / "log",
            source="nb.ipynb",
            **options,
        )
    assert json.loads((folder / "executed.ipynb").read_text())["cells"]
    return outcome


def outputs(outcome: Outcome, cell: int) -> list[Any]:
    return list(outcome.notebook["cells"][cell]["outputs"])


def texts(outcome: Outcome, cell: int) -> list[str]:
    return [output.get("text") or output.get("data", {}).get("text/plain") for output in outputs(outcome, cell)]


def test_outputs_come_in_order_and_texts_of_one_stream_are_joined(tmp_path: Path) -> None:
    told: list[str] = []
    outcome = run(
        tmp_path,
        "import sys\nprint('a'); print('b')\nsys.stdout.flush()\nprint('e', file=sys.stderr)\nsys.stderr.flush()\nprint('c')\n1 + 1",
        tell=lambda stream, text: told.append(text),
    )
    assert outcome.failure is None
    assert texts(outcome, 0) == ["a\nb\n", "e\n", "c\n", "2"]
    assert told


def test_displays_updates_and_clearing_are_kept_as_jupyter_shows_them(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        "from IPython.display import display, clear_output, HTML\nh = display('one', display_id=True)\nprint('x')\nh.update('two')",
        "print('gone')\nclear_output(wait=True)\nprint('stays')",
        "print('gone')\nclear_output()\ndisplay(HTML('<b>h</b>'))",
        "h.update('three')",
    )
    assert texts(outcome, 0) == ["'three'", "x\n"]
    assert texts(outcome, 1) == ["stays\n"]
    assert [output["data"].get("text/html") for output in outputs(outcome, 2)] == ["<b>h</b>"]


def test_await_threads_and_pools_work(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        "import asyncio\nawait asyncio.sleep(0.01)\nprint('awaited')",
        "import threading, time\ndef late():\n    time.sleep(0.2)\n    print('from a thread')\nt = threading.Thread(target=late); t.start()",
        "t.join()",
        "import multiprocessing\ndef square(x):\n    return x * x\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n    print(pool.map(square, range(4)))",
        "import subprocess\n!echo shell\nprint(subprocess.check_output(['echo', 'child'], text=True).strip())",
    )
    assert outcome.failure is None
    assert texts(outcome, 0) == ["awaited\n"]
    assert "from a thread\n" in texts(outcome, 1) + texts(outcome, 2)
    assert texts(outcome, 3) == ["[0, 1, 4, 9]\n"]
    assert "".join(texts(outcome, 4)).split() == ["shell", "child"]


def test_figures_are_shown_inline(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    outcome = run(tmp_path, "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    assert any("image/png" in output.get("data", {}) for output in outputs(outcome, 0))


def test_parameters_follow_the_last_parameters_cell_or_come_first(tmp_path: Path) -> None:
    outcome = run(tmp_path, code("a = 1", "pipeline-parameters", cell=1), "print(a, type(b))", params={"a": (1,), "b": {1}})
    assert outcome.failure is None
    assert texts(outcome, 2) == ["(1,) <class 'set'>\n"]
    outcome = run(tmp_path, "print(a)", params={"a": 5})
    assert outcome.failure is None
    assert texts(outcome, -1) == ["5\n"]


def test_an_empty_notebook_and_cells_without_source_run(tmp_path: Path) -> None:
    assert (
        run(tmp_path, "", "  \n", {"cell_type": "markdown", "metadata": {}, "source": ["# a\n", "b"], "id": "m"}).failure is None
    )


def test_sources_given_as_lines_run(tmp_path: Path) -> None:
    cell = {**code("", cell=1), "source": ["x = 1\n", "print(x)"]}
    assert texts(run(tmp_path, cell), 0) == ["1\n"]


def test_a_failure_is_told_and_what_ran_is_kept(tmp_path: Path) -> None:
    outcome = run(tmp_path, "print('ran')", "undefined", "print('not')")
    assert outcome.failure is not None
    assert (outcome.error, outcome.failure.cell, outcome.failure.line) == ("NameError", 3, 1)
    assert texts(outcome, 0) == ["ran\n"]
    assert outputs(outcome, 2) == []


def test_a_notebook_of_50_mb_runs(tmp_path: Path) -> None:
    cell = code(f"x = {'y' * 25_000_000!r}", cell=1)
    image = {
        **code("1", cell=2),
        "outputs": [{"output_type": "display_data", "metadata": {}, "data": {"image/png": "A" * 25_000_000}}],
    }
    began = time.monotonic()
    assert run(tmp_path, cell, image, "print(len(x))").failure is None
    assert time.monotonic() - began < 90


def other_kernel(folder: Path, monkeypatch: pytest.MonkeyPatch, *argv: str, env: dict[str, str] | None = None) -> str:
    spec = folder / "jupyter/kernels/other"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        json.dumps({"argv": list(argv), "display_name": "o", "language": "python", "env": env or {}})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
    return "other"


def test_another_kernel_is_started_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALE_A", "a")
    argv = [sys.executable, "-X", "utf8", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    name = other_kernel(tmp_path, monkeypatch, *argv, env={"B": "${KALE_A}b"})
    source = (
        "import os, sys\nprint(sys.flags.utf8_mode, os.environ['B'])\nimport subprocess; p = subprocess.Popen(['sleep', '300'])"
    )
    outcome = run(tmp_path, source, "1/0", kernel=name)
    assert outcome.failure is not None
    assert outcome.failure.message == "ZeroDivisionError: division by zero"
    assert texts(outcome, 0) == ["1 ab\n"]
    assert "WARNING" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["/no/such/python", "-f", "{connection_file}"], "No such file"),
        ([sys.executable, "-c", "import sys; sys.exit('broken kernel')", "{connection_file}"], "exit code 1"),
    ],
)
def test_a_kernel_that_does_not_start_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], told: str
) -> None:
    name = other_kernel(tmp_path, monkeypatch, *argv)
    began = time.monotonic()
    failure = run(tmp_path, "1", kernel=name).failure
    assert failure is not None
    assert told in failure.message
    assert time.monotonic() - began < 60  # not the two minutes that a kernel has to answer in


def test_a_kernel_that_never_answers_meets_the_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = other_kernel(tmp_path, monkeypatch, sys.executable, "-c", "import time; time.sleep(60)", "{connection_file}")
    failure = run(tmp_path, "1", kernel=name, timeout=1.0).failure
    assert failure is not None
    assert failure.kind == "timeout"


def test_a_working_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    outcome = run_notebook(
        notebook("1"), kernel="python3", cwd=tmp_path / "no", output=tmp_path / "o.ipynb", log=tmp_path / "log"
    )
    assert outcome.failure is not None
    assert str(tmp_path / "no") in outcome.failure.message


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    outcome = run_notebook(notebook("1"), kernel="python3", cwd=tmp_path, output=tmp_path / "no/o.ipynb", log=tmp_path / "log")
    assert outcome.failure is not None
    assert str(tmp_path / "no/o.ipynb") in outcome.failure.message
    assert outcome.executed is None


def test_a_missing_kernel_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="python3"):
        run_notebook(notebook("1"), kernel="nope", cwd=tmp_path, output=tmp_path / "o", log=tmp_path / "log")
