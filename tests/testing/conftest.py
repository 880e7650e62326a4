"""A notebook for each test, and pytest as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.differential.notebooks import parse_notebook, write_notebook


@pytest.fixture
def nb(tmp_path: Path) -> Callable[[str], Path]:
    """Write a notebook given as text; return its path, in a folder of its own."""

    def make(text: str, name: str = "nb.ipynb") -> Path:
        (tmp_path / "user").mkdir(exist_ok=True)
        return write_notebook(parse_notebook(text), tmp_path / "user" / name)

    return make


def run_pytest(folder: Path, *words: str, code: int | None = None) -> str:
    """Run pytest in a folder as a user does; return what it prints."""
    env = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST_", "COV_"))} | {"COLUMNS": "160", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert code is None or done.returncode == code, done.stdout
    return done.stdout
