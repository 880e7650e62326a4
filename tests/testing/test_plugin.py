"""The plugin as pytest's users meet it: what it costs, what it collects, how a failure reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.testing.conftest import run_pytest

Nb = Callable[..., Path]

GOOD = "%%step a\nx = 1\nprint(x)\n%%step b --after a\nprint(x + 1)\n"
DIFFERS = "%%imports\nimport os\n%%step a\nprint('hello')\n%%step b --after a\nprint('process', os.getpid())\n"
PROBE = """\
def pytest_sessionfinish():
    import sys
    print("LOADED", sorted(m for m in sys.modules if m.partition(".")[0] in ("kale_nb", "kale", "IPython", "zmq", "dill", "nbformat")))
"""


def test_loading_the_plugin_takes_under_10_ms_and_imports_nothing_of_ours() -> None:
    code = (
        "import sys, time, pytest; before = set(sys.modules); began = time.process_time(); import kale_nb.testing.plugin;"
        "took = time.process_time() - began; print(took, *sorted(set(sys.modules) - before))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.split()
        for _ in range(3)
    ]
    assert min(float(run[0]) for run in runs) < 0.010
    assert runs[0][1:] == ["kale_nb", "kale_nb.testing", "kale_nb.testing.plugin"]


def test_a_run_of_tests_without_notebooks_loads_nothing_of_ours(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(PROBE)
    (tmp_path / "test_plain.py").write_text("def test_nothing():\n    pass\n")
    out = run_pytest(tmp_path, "-s", code=0)
    assert "LOADED ['kale_nb', 'kale_nb.testing', 'kale_nb.testing.plugin']" in out


def test_notebooks_are_left_alone_unless_they_are_asked_for(nb: Nb) -> None:
    assert "no tests ran" in run_pytest(nb(GOOD).parent, code=5)


def test_the_fixtures_are_described(tmp_path: Path) -> None:
    out = run_pytest(tmp_path, "--fixtures")
    assert "kale_step" in out
    assert "Run one step of a notebook" in out
    assert "kale_functions" in out


@pytest.mark.kernel
def test_a_notebook_that_says_the_same_passes(nb: Nb) -> None:
    folder = nb(GOOD).parent
    out = run_pytest(folder, "-v", "--kale-verify", "nb.ipynb", code=0)
    assert "nb.ipynb::kale-verify PASSED" in out
    assert [p.name for p in folder.iterdir()] == ["nb.ipynb"]


@pytest.mark.kernel
def test_a_notebook_that_differs_fails_with_the_report_and_no_traceback(nb: Nb) -> None:
    out = run_pytest(nb(DIFFERS).parent, "--kale-verify", "nb.ipynb", code=1)
    assert "same  a\n" in out
    assert "different  b in cell 3" in out
    assert "- notebook, + pipeline" in out
    assert "different: 1 of 2 steps say what the notebook says" in out
    assert "Traceback" not in out
    assert "verifying.py" not in out


@pytest.mark.kernel
def test_a_notebook_that_does_not_compile_fails_with_its_diagnostics(nb: Nb) -> None:
    out = run_pytest(nb("%%step a\nprint(nothing)\n").parent, "--kale-verify", "nb.ipynb", code=1)
    assert "nb.ipynb[cell 1]:1:7: error KN301 undefined-name" in out
    assert "Traceback" not in out


def collected(folder: Path, *words: str) -> list[str]:
    out = run_pytest(folder, "--collect-only", "-q", *words, code=0)
    return sorted(line.partition("::")[0] for line in out.splitlines() if "::" in line)


def test_notebooks_are_collected_next_to_tests(nb: Nb) -> None:
    folder = nb(GOOD, "one.ipynb").parent
    nb(GOOD, "two.ipynb")
    (folder / "test_it.py").write_text("def test_it():\n    pass\n")
    two = ["--kale-verify", "one.ipynb", "--kale-verify", "two.ipynb"]
    assert collected(folder, *two) == ["one.ipynb", "two.ipynb"], "only these are meant"
    assert collected(folder, *two, "test_it.py") == ["one.ipynb", "test_it.py", "two.ipynb"]
    assert collected(folder, *two, ".") == ["one.ipynb", "test_it.py", "two.ipynb"], "each once"
    assert collected(folder, "--kale-verify", "one.ipynb", "two.ipynb") == ["one.ipynb", "two.ipynb"]


def test_a_list_in_the_ini_file_is_collected_in_every_whole_run(nb: Nb) -> None:
    folder = nb(GOOD, "one.ipynb").parent
    nb(GOOD, "two.ipynb")
    nb(GOOD, "other.ipynb")
    (folder / "pytest.ini").write_text("[pytest]\nkale_verify =\n    one.ipynb\n    t*.ipynb\n")
    (folder / "test_it.py").write_text("def test_it():\n    pass\n")
    whole = ["one.ipynb", "test_it.py", "two.ipynb"]
    assert collected(folder) == whole
    assert collected(folder, ".") == whole
    assert collected(folder, "test_it.py") == ["test_it.py"]
    assert collected(folder, "one.ipynb") == ["one.ipynb"]
    assert collected(folder, "-m", "not kale_verify") == ["test_it.py"]


@pytest.mark.kernel
def test_notebooks_and_steps_spread_over_processes(nb: Nb) -> None:
    folder = nb(GOOD, "one.ipynb").parent
    test = "def test_it(kale_step):\n    assert kale_step('one.ipynb', 'b', inputs={'x': 5}).stdout == '6\\n'\n"
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\nkale_verify = *.ipynb\n")
    assert "2 passed" in run_pytest(folder, "-n", "2", code=0)
    assert "2 passed" in run_pytest(folder, "-n", "2", "--kale-verify", "one.ipynb", "test_it.py", code=0)


def test_a_name_that_is_no_file_is_told(tmp_path: Path) -> None:
    out = run_pytest(tmp_path, "--kale-verify", "nb.ipynb", code=4)
    assert "--kale-verify: there is no" in out
    assert "Traceback" not in out
    (tmp_path / "pytest.ini").write_text("[pytest]\nkale_verify = *.ipynb\n")
    assert "kale_verify: no file matches *.ipynb" in run_pytest(tmp_path, code=4)


def test_a_folder_is_told_with_what_to_give(tmp_path: Path) -> None:
    out = run_pytest(tmp_path, "--kale-verify", ".", code=4)
    assert f"--kale-verify: {tmp_path} is a folder" in out
    assert "hint: it takes notebooks and scripts: --kale-verify FOLDER/NAME.ipynb" in out
    (tmp_path / "pytest.ini").write_text("[pytest]\nkale_verify = .\n")
    out = run_pytest(tmp_path, code=4)
    assert f"kale_verify: {tmp_path} is a folder" in out
    assert "kale_verify = FOLDER/*.ipynb" in out


def test_a_name_that_pytest_takes_for_parameters_is_told_and_goes_with_its_folder(nb: Nb) -> None:
    folder = nb(GOOD, "x [1].ipynb").parent
    out = run_pytest(folder, "--kale-verify", "x [1].ipynb", code=4)
    assert f"pytest takes no file with `[` in its path: {folder}/x [1].ipynb" in out
    assert "hint: name its folder too" in out
    assert collected(folder, "--kale-verify", "x [1].ipynb", ".") == ["x [1].ipynb"]
    (folder / "pytest.ini").write_text("[pytest]\nkale_verify = *.ipynb\n")
    assert collected(folder) == ["x [1].ipynb"]


@pytest.mark.kernel
def test_a_failing_step_reads_well(nb: Nb) -> None:
    folder = nb(
        "%%functions\ndef half(x):\n    return 1 / x\n%%step a\nx = 1\n%%step b --after a\nprint('so far')\ny = half(x)\n"
    ).parent
    (folder / "test_it.py").write_text("def test_it(kale_step):\n    kale_step('nb.ipynb', 'b', inputs={'x': 0})\n")
    out = run_pytest(folder, code=1)
    assert "StepFailed: nb.ipynb[cell 3]:2: step `b` failed: ZeroDivisionError: division by zero" in out
    assert "E       ----> 2 y = half(x)" in out
    assert "----> 2     return 1 / x" in out
    assert "Captured stdout of step b call" in out
    assert "so far" in out
    assert "stepping.py" not in out
