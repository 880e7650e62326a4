"""The commands that the guide shows for a notebook server do there what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.clones.notebooks import Notebook
from tests.clones.test_end_to_end import Done
from tests.kfp.running import needs_orchestrator
from tests.kfp.sources import ROOT
from tests.kfp.test_execution import run_locally

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
PAGE = ROOT / "docs" / "guide" / "kubeflow.md"
BLOCK = re.compile(
    r"<!-- not run: it takes a notebook server, which tests/clones has -->\n```console\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
VARYING = [
    (re.compile(r"\d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"\d{8}-\d{6}-quickstart-\w+(-\w+)?"), "RUN"),
    (re.compile(r"(\d+ min )?\d+(\.\d+)? (ms|s)\b"), "TOOK"),
]


def normal(text: str) -> str:
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return " ".join(text.split())


def test_the_commands_of_the_page_do_what_it_says(notebook: Notebook, tmp_path: Path) -> None:
    needs_orchestrator()
    home = notebook.open()
    shutil.copytree(ROOT / "examples" / "quickstart", home / "quickstart")
    account = notebook.account()
    [block] = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    where = ""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        where = command.partition(" && ")[0] if command.startswith("cd ") else where
        done = notebook.shell(command if command.startswith("cd ") else f"{where} && {command}", account)
        assert done.returncode == 0, done.stdout + done.stderr
        said = [normal(line) for line in done.stdout.splitlines()]
        for line in shown.splitlines():
            if line.strip() != "...":
                start = normal(line.removesuffix("..."))
                assert any(each.startswith(start) if line.endswith("...") else each == start for each in said), (
                    line,
                    done.stdout,
                )
    shutil.copytree(ROOT / "examples" / "quickstart", tmp_path / "here")
    Done(notebook, home / "quickstart").assert_same(run_locally(tmp_path / "here" / "quickstart.ipynb", {"count": 500}))
