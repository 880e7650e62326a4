"""The real command on real notebooks, from the path to what is left on the disk."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import child_environment
from tests.cli.driving import ended, failures, kale, latest, printed, record, write_cells

pytestmark = pytest.mark.kernel

TYPED = """### imports
import datetime
### parameters
lr: float = 0.1
shape = (1, 2)
tags = {'a', 'b'}
when = datetime.date(2024, 1, 2)
opt: int | None = None
conf = {'a': {'b': [1, (2, 3)]}}
flag = True
text = "it's"
neg = -3
### step:a
print([lr, shape, tags, when, opt, conf, flag, text, neg])
"""


def test_defaults_arrive_as_they_stand_in_the_notebook(folder: Path) -> None:
    write_cells(folder / "nb.ipynb", TYPED)
    assert ended("run", "nb.ipynb", "-q").code == 0
    assert printed(folder, "a").startswith("[0.1, (1, 2), {")
    assert "datetime.date(2024, 1, 2), None, {'a': {'b': [1, (2, 3)]}}, True, \"it's\", -3]" in printed(folder, "a")


def test_given_parameters_arrive_with_their_exact_types(folder: Path) -> None:
    write_cells(folder / "nb.ipynb", TYPED)
    (folder / "p.yaml").write_text("shape: [9, x]\nneg: 4\nconf: {k: {l: [1]}}\n")
    given = [
        "-p",
        "lr=2",
        "-p",
        "tags={'z'}",
        "-p",
        "when=2025-12-31",
        "-p",
        "opt=5",
        "-p",
        "flag=no",
        "-p",
        "text=a \"b\" 'c' \\ ü",
    ]
    done = ended("run", "nb.ipynb", "-q", "--params-file", "p.yaml", "-p", "neg=-7", *given)
    assert (done.code, done.err) == (0, "")
    expected = [2.0, (9, "x"), {"z"}, None, 5, {"k": {"l": [1]}}, False, "a \"b\" 'c' \\ ü", -7]
    got = printed(folder, "a").strip().replace("datetime.date(2025, 12, 31)", "None")
    assert ast.literal_eval(got) == expected
    assert isinstance(ast.literal_eval(got)[0], float)


def test_names_and_paths_of_any_kind_work(tmp_path: Path) -> None:
    folder = tmp_path / "päth with späce" / "日本"
    folder.mkdir(parents=True)
    write_cells(
        folder / "mein nötebook (1).ipynb",
        "### step:Straße\nx = 1\nopen('daten ü.txt', 'w').write('geschrieben')\n"
        "### step:a-b prev:Straße\ny = 1\n### step:a_c prev:Straße\nz = 2\n"
        "### step:变量 prev:a-b prev:a_c\nprint(x, y, z, open('daten ü.txt').read())\n",
    )
    done = ended("run", "mein nötebook (1).ipynb", "--output-dir", "öut put", cwd=folder)
    assert done.code == 0, done.err
    assert printed(folder, "变量") == "1 1 2 geschrieben\n"
    assert sorted(os.listdir(folder)) == sorted([".kale", "mein nötebook (1).ipynb", "öut put"])
    assert sorted(os.listdir(folder / "öut put")) == sorted(f"{s}.ipynb" for s in ("Straße", "a-b", "a_c", "变量"))


@pytest.mark.parametrize(("one", "other"), [("Train", "train"), ("a-b", "a_b"), ("Straße", "strasse")])
def test_step_names_that_kubernetes_cannot_tell_apart_are_refused(folder: Path, one: str, other: str) -> None:
    write_cells(folder / "nb.ipynb", f"### step:{one}\nx = 1\n### step:{other} prev:{one}\nprint(x)\n")
    done = ended("run", "nb.ipynb")
    assert done.code == 2
    assert "step-names-collide" in done.err
    assert not (folder / ".kale").exists()


CHAIN = """### parameters
lr = 0.1
### step:a
x = [lr]
print('a')
### step:b prev:a
x.append(2)
x
### pipeline-metrics
print(len(x))
lr
### step:c prev:b
print(x)
"""


def test_what_was_compiled_runs_from_anywhere_without_the_compiler(folder: Path, tmp_path: Path) -> None:
    write_cells(folder / "nb.ipynb", CHAIN)
    assert ended("compile", "nb.ipynb", "-o", "made").code == 0
    done = ended("run", str(folder / "made"), "-p", "lr=5", "-q", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert printed(folder, "c") == "[5.0, 2]\n"
    assert record(folder)["steps"][1]["metrics"] == {"len(x)": 2.0, "lr": 5.0}


def test_a_stepbook_runs_by_hand_with_papermill(folder: Path, tmp_path: Path) -> None:
    write_cells(folder / "nb.ipynb", CHAIN)
    assert ended("compile", "nb.ipynb", "-o", "made").code == 0

    def papermill(step: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "papermill",
            str(folder / "made" / "steps" / f"{step}.ipynb"),
            str(tmp_path / f"{step}.ipynb"),
        ]
        return subprocess.run(
            [*command, "-p", "_kale_data", str(tmp_path / "data"), *words],
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    missing = papermill("b")
    assert missing.returncode != 0
    assert "MarshalError: there is no output of step `a`" in missing.stderr
    assert "hint: give the folder" in missing.stderr
    assert "session.py" not in missing.stderr
    assert papermill("a", "-p", "lr", "0.25").returncode == 0
    done = papermill("b")
    assert done.returncode == 0, done.stderr
    outputs = [o for cell in json.loads((tmp_path / "b.ipynb").read_text())["cells"] for o in cell.get("outputs", ())]
    assert "[0.25, 2]" in json.dumps(outputs)


def test_until_runs_what_a_step_needs_and_nothing_else(folder: Path) -> None:
    write_cells(folder / "nb.ipynb", CHAIN)
    assert ended("run", "nb.ipynb", "-q", "--until", "b").code == 0
    assert [step.get("state", "pending") for step in record(folder)["steps"]] == ["succeeded", "succeeded", "skipped"]


def test_two_runs_at_once_do_not_meet(folder: Path) -> None:
    write_cells(
        folder / "nb.ipynb",
        "### parameters\nn = 0\n### step:a\nimport time\nopen('same.txt', 'a').write(f'{n} ')\ntime.sleep(0.4)\n"
        "### step:b prev:a\nprint(n, open('same.txt').read())\n",
    )
    both = [kale("run", "nb.ipynb", "-q", "-p", f"n={n}") for n in (1, 2)]
    assert [process.communicate(timeout=60)[1] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    logs = sorted((run / "logs/b.log").read_text() for run in (folder / ".kale/runs").iterdir())
    assert logs == ["1 1 \n", "2 2 \n"]
    assert not (folder / "same.txt").exists()


RETRIED = """### step:flaky retries:2 retry-interval:0.2s
import os
n = len([name for name in os.listdir('.') if not name.startswith('.')])
open(f'try{n}', 'w').close()
if n < NEEDED: raise RuntimeError(f'try {n}')
### step:after prev:flaky
print(n)
"""


@pytest.mark.parametrize(("needed", "code", "attempts"), [(3, 0, 3), (9, 1, 3)])
def test_retries_wait_longer_each_time(folder: Path, needed: int, code: int, attempts: int) -> None:
    write_cells(folder / "nb.ipynb", RETRIED.replace("NEEDED", str(needed)))
    done = ended("run", "nb.ipynb")
    assert done.code == code, done.err
    assert done.out.index("next attempt in 0.20 s") < done.out.index("next attempt in 0.40 s")
    flaky, after = record(folder)["steps"]
    assert flaky["attempt"] == attempts
    assert after["state"] == ("succeeded" if code == 0 else "skipped")
    assert len(flaky["retried"]) == 2


FORK = """### step:bad
raise ValueError('no')
### step:slow
import time
time.sleep(1.5)
### step:next prev:slow
1
"""


@pytest.mark.parametrize(
    ("option", "states"),
    [("--keep-going", ["failed", "succeeded", "succeeded"]), ("--fail-fast", ["failed", "cancelled", "skipped"])],
)
def test_what_a_failure_does_to_the_other_branches(folder: Path, option: str, states: list[str]) -> None:
    write_cells(
        folder / "nb.ipynb",
        FORK.replace("step:slow", "step:slow prev:root").replace("### step:bad", "### step:root\n1\n### step:bad prev:root"),
    )
    assert ended("run", "nb.ipynb", "-q", "--jobs", "2", option).code == 1
    assert [step["state"] for step in record(folder)["steps"]] == ["succeeded", *states]


def test_nothing_but_our_own_words_on_the_terminal(folder: Path) -> None:
    write_cells(
        folder / "nb.ipynb",
        "### step:a\nimport sys, warnings, os\nprint('err', file=sys.stderr)\nwarnings.warn('w')\nos.write(2, b'raw\\n')\n"
        "### step:b prev:a\nimport subprocess\nsubprocess.run(['sh', '-c', 'echo out; echo err >&2'])\n",
    )
    done = ended("run", "nb.ipynb", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert "raw" in printed(folder, "a")


def test_the_users_folder_is_as_it_was(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "in.txt").write_text("42")
    write_cells(
        folder / "nb.ipynb",
        "### step:a\nimport os\nx = int(open('data/in.txt').read())\nopen('data/in.txt', 'w').write('changed')\nos.mkdir('new')\n"
        "### step:b prev:a\nimport os\nprint(x, open('data/in.txt').read(), os.path.isdir('new'))\nos.remove('data/in.txt')\n",
    )
    before = (folder / "nb.ipynb").read_bytes()
    assert ended("run", "nb.ipynb", "-q").code == 0
    assert printed(folder, "b") == "42 changed True\n"
    assert (folder / "data" / "in.txt").read_text() == "42"
    assert sorted(os.listdir(folder)) == [".kale", "data", "nb.ipynb"]
    assert (folder / "nb.ipynb").read_bytes() == before


def test_a_notebook_of_50_mb_runs_and_its_old_outputs_do_not_matter(folder: Path) -> None:
    path = write_cells(folder / "nb.ipynb", CHAIN)
    content = json.loads(path.read_text())
    content["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 1_000_000} for _ in range(50)]
    path.write_text(json.dumps(content))
    done = ended("run", "nb.ipynb", "-q")
    assert (done.code, done.err) == (0, "")
    assert (latest(folder) / "executed" / "a.ipynb").stat().st_size < 100_000
    assert failures(folder) == {}
