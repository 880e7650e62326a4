"""Failures of real runs, told in the user's terms: the cell and line of the notebook, no frame of ours, and what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driving import ended, failures, latest, record, write_cells

pytestmark = pytest.mark.kernel

OURS = re.compile(r"kale_nb/|IPython/core|ipykernel|In \[|Cell In|kale_data")


def failed(folder: Path, text: str, *words: str) -> dict[str, dict[str, Any]]:
    """Run a notebook that fails; return its failures by step and assert that none shows anything of ours."""
    write_cells(folder / "nb.ipynb", text)
    done = ended("run", "nb.ipynb", "-q", *words)
    assert done.code == 1, done.err
    assert not OURS.search(done.err), done.err
    assert "Traceback (most recent call last)\n  File" not in done.err
    return failures(folder)


def test_failures_are_placed_in_the_cells_of_the_notebook(folder: Path) -> None:
    found = failed(
        folder,
        "### functions\nimport json\n\ndef boom(text):\n    return json.loads(text)\n"
        "### step:a\ndef mine(text):\n    return boom(text)\nhelper = mine\n"
        "### step:deep prev:a\nx = 1\nhelper('{bad')\n"
        "### step:syntax prev:a\nx = 2\neval('1 +')\n"
        "### step:metrics prev:a\nx = 3\n### pipeline-metrics\nprint(x)\nprint(x / 0)\n"
        "### step:group prev:a\nx = 1\nraise ExceptionGroup('many', [ValueError('one'), TypeError('two')])\n"
        "### step:endless prev:a\ndef f(n): return f(n + 1)\nf(0)\n"
        "### step:chained prev:a\ntry:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('first\\nsecond') from error\n"
        "### step:magic prev:a\n%nosuchmagic x\n",
    )
    told = {
        step: (f["kind"], f["message"].splitlines()[0].partition(":")[0], f["cell"], f.get("line")) for step, f in found.items()
    }
    assert told == {
        "deep": ("exception", "JSONDecodeError", 3, 2),
        "syntax": ("exception", "SyntaxError", 4, 2),
        "metrics": ("exception", "ZeroDivisionError", 6, 2),
        "group": ("exception", "ExceptionGroup", 7, None),
        "endless": ("exception", "RecursionError", 8, 1),
        "chained": ("exception", "ValueError", 9, 4),
        "magic": ("exception", "UsageError", 10, None),
    }
    deep = found["deep"]["traceback"]
    assert (
        deep.index("nb.ipynb[cell 3]:2")
        < deep.index("nb.ipynb[cell 2]:2, in mine(text)")
        < deep.index("nb.ipynb[cell 1]:4, in boom")
    )
    assert "----> 2     return boom(text)" in deep
    assert "nb.ipynb[cell 7]:2, in <module>" in found["group"]["traceback"]
    assert "ValueError: one" in found["group"]["traceback"]
    assert "more frames like this one" in found["endless"]["traceback"]
    assert len(found["endless"]["traceback"]) < 2000
    assert "direct cause" in found["chained"]["traceback"]


def test_an_import_that_fails_is_placed_in_the_imports_cell(folder: Path) -> None:
    found = failed(folder, "### imports\nimport json\nimport nosuchmodule_xyz\n### step:a\nx = 1\n")
    assert (found["a"]["cell"], found["a"]["line"]) == (1, 2)
    assert found["a"]["message"] == "ModuleNotFoundError: No module named 'nosuchmodule_xyz'"


def test_a_name_error_says_who_has_the_name(folder: Path) -> None:
    found = failed(
        folder,
        "### step:a\nimport random, sqlite3\nconnection = sqlite3.connect(':memory:')\nw = 5\nif random.random() > 2:\n    v = 1\n"
        "### step:beside prev:a\nlonely = 1\n"
        "### step:missing prev:a\nname = 'lone' + 'ly'\nprint(eval(name))\n"
        "### step:stuck prev:a\nprint(eval('connec' + 'tion'))\n"
        "### step:path prev:a\nprint(v if w else 3)\n"
        "### step:deleter prev:a\ndel w\n"
        "### step:deleted prev:deleter\ndef late(): return w\nlate()\n"
        "### step:own prev:a\nprint(eval('no' + 'body'))\n",
    )
    hints = {step: failure.get("hint") for step, failure in found.items()}
    assert hints == {
        "missing": "`lonely` is assigned in step `beside`, which `missing` does not wait for: "
        "add the tag `prev:beside` (or `--after`) to `missing`",
        "stuck": "step `a` made `connection`, but it could not travel: connection is a database connection, "
        "which cannot travel to another step",
        "path": "step `a` assigns `v` on some path only, and had not when it ended",
        "deleted": "step `deleter` deleted `w`",
        "own": None,
    }


def test_a_value_that_cannot_travel_fails_the_step_that_made_it_with_the_way_to_the_culprit(folder: Path) -> None:
    (folder / "in.txt").write_text("")
    found = failed(
        folder, "### step:a\nstate = {'f': [open('in.txt')]}\nunread = open('in.txt')\n### step:b prev:a\nprint(state)\n"
    )
    assert list(found) == ["a"]
    assert found["a"]["kind"] == "marshal"
    for part in ("step `a`", "`state`", "`b`", "state['f'][0]", "open file"):
        assert part in found["a"]["message"]
    assert found["a"]["hint"].startswith("make state again") or "state" in found["a"]["hint"]
    assert found["a"].get("traceback", "") == ""
    executed = json.loads((latest(folder) / "executed" / "a.ipynb").read_text())
    shown = "\n".join(
        o["traceback"][-1] for cell in executed["cells"] for o in cell.get("outputs", ()) if o["output_type"] == "error"
    )
    assert shown.startswith("hint: ")


PARALLEL = """### functions
class Bag:
    def __init__(self): self.rows = []
    def put(self, row): self.rows = [*self.rows, row]
### step:a
bag, other = Bag(), 1
### step:FIRST prev:a
import time
time.sleep(WAIT)
bag.put(3)
### step:SECOND prev:a
print(bag.rows)
### step:apart prev:a
print(other)
"""


@pytest.mark.parametrize(("wait", "loser"), [("0", "lower"), ("0.8", "upper")])
def test_a_change_in_place_that_a_parallel_step_below_should_have_seen_is_a_conflict(folder: Path, wait: str, loser: str) -> None:
    text = PARALLEL.replace("FIRST", "upper").replace("SECOND", "lower").replace("WAIT", wait)
    if loser == "lower":
        text = text.replace("print(bag.rows)", "import time\ntime.sleep(0.8)\nprint(bag.rows)")
    found = failed(folder, text, "--jobs", "2")
    assert list(found) == [loser]
    assert found[loser]["kind"] == "conflict"
    assert "step `upper` changed `bag` in place while step `lower`" in found[loser]["message"]
    assert "`prev:upper`" in found[loser]["hint"]


def test_a_setting_changed_by_one_branch_and_read_by_a_lower_one_is_a_conflict(folder: Path) -> None:
    found = failed(
        folder,
        "### functions\nsettings = {'n': 1}\nclass Model:\n    made = 0\n    def fit(self): Model.made = Model.made + 1\n"
        "def configure(key, value): settings.update({key: value})\ndef show(): print(settings)\n"
        "### step:a\nx = 1\n### step:b prev:a\nconfigure('n', 5)\n### step:c prev:a\nimport time\ntime.sleep(0.5)\nshow()\n"
        "### step:d prev:a\nModel().fit()\n### step:e prev:a\nModel().fit()\nprint(x)\n",
        "--jobs",
        "2",
    )
    assert list(found) == ["c"]
    assert "step `b` changed `settings` in place while step `c`" in found["c"]["message"]


def test_a_change_in_place_below_its_parallel_readers_is_what_the_notebook_does(folder: Path) -> None:
    text = PARALLEL.replace("FIRST", "upper").replace("SECOND", "lower").replace("WAIT", "0")
    text = text.replace("bag.put(3)", "print(len(bag.rows))").replace("print(bag.rows)", "bag.put(4)\nprint(bag.rows)")
    write_cells(folder / "nb.ipynb", text)
    done = ended("run", "nb.ipynb", "-q")
    assert (done.code, done.err) == (0, "")


def test_branches_that_both_change_what_a_join_reads_are_a_conflict(folder: Path) -> None:
    found = failed(
        folder,
        "### step:a\nrows = [1]\nback = rows\n### step:b prev:a\ngetattr(rows, 'app' + 'end')(2)\n"
        "### step:c prev:a\nprint(1)\n### step:d prev:b\ngetattr(rows, 'app' + 'end')(3)\n"
        "### step:e prev:c\ngetattr(rows, 'app' + 'end')(4)\n### step:f prev:d prev:e\nprint(rows, back)\n",
    )
    assert [f["kind"] for f in found.values()] == ["conflict"]
    (message,) = [f["message"] for f in found.values()]
    assert "`rows`" in message or "`back`" in message


def test_kernels_that_die_and_loops_without_end_are_told(folder: Path) -> None:
    found = failed(
        folder,
        "### step:a\nprint('begun')\n"
        "### step:exit prev:a\nimport os\nos._exit(3)\n"
        "### step:segv prev:a\nimport ctypes\nctypes.string_at(0)\n"
        "### step:kill prev:a\nimport os\nos.kill(os.getpid(), 9)\n"
        "### step:mem prev:a\nimport resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\nz = bytearray(4 << 30)\n"
        "### step:ask prev:a\nx = input('name? ')\n"
        "### step:loop prev:a timeout:1s\nwhile True:\n    try:\n        while True: pass\n    except BaseException:\n        pass\n"
        "### step:leave prev:a\nimport sys\nsys.exit('enough')\n",
    )
    told = {step: (f["kind"], f["cell"]) for step, f in found.items()}
    assert told == {
        "exit": ("died", 2),
        "segv": ("died", 3),
        "kill": ("died", 4),
        "mem": ("exception", 5),
        "ask": ("exception", 6),
        "loop": ("timeout", 7),
        "leave": ("exception", 8),
    }
    assert "exit code 3" in found["exit"]["message"]
    assert "SIGSEGV" in found["segv"]["message"]
    assert "memory" in found["kill"]["hint"]
    assert "parameter" in found["ask"]["hint"]
    assert "1 s" in found["loop"]["message"]
    assert record(folder)["steps"][0]["state"] == "succeeded"


def test_a_flood_of_output_is_kept_in_the_log_and_cut_in_the_notebook(folder: Path) -> None:
    write_cells(
        folder / "nb.ipynb",
        "### step:a\nfor i in range(200):\n    print(f'{i:05d}' * 20_000)\nx = 1\n### step:b prev:a\nprint(x)\n",
    )
    done = ended("run", "nb.ipynb")
    assert done.code == 0, done.err
    assert len(done.out) < 10_000
    assert (latest(folder) / "logs/a.log").stat().st_size > 15_000_000
    assert (latest(folder) / "executed/a.ipynb").stat().st_size < 15_000_000


@pytest.mark.parametrize(
    ("kernel", "code", "told"),
    [
        ({"name": "nosuch", "display_name": "N", "language": "python"}, 1, "there is no kernel called 'nosuch'"),
        ({"name": "ir", "display_name": "R", "language": "R"}, 2, "only Python notebooks"),
    ],
)
def test_a_kernel_that_cannot_run_it_is_told_before_anything_runs(
    folder: Path, kernel: dict[str, str], code: int, told: str
) -> None:
    write_cells(folder / "nb.ipynb", "### step:a\nx = 1\n", {"kernelspec": kernel})
    done = ended("run", "nb.ipynb")
    assert done.code == code
    assert told in done.err
    assert "Traceback" not in done.err
