"""IPython in a terminal: plain text, and Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jupyter.kernels import save

pexpect = pytest.importorskip("pexpect")
pytestmark = [pytest.mark.kernel, pytest.mark.slow]
PROMPT = r"In \[\d+\]: "


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Any]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("JPY_")}
    env |= {"IPYTHONDIR": str(tmp_path / ".ipython"), "TERM": "dumb", "NO_COLOR": "1", "PROMPT_TOOLKIT_NO_CPR": "1"}
    words = ["-m", "IPython", "--simple-prompt", "--colors=nocolor", "--no-banner", "--no-confirm-exit"]
    child = pexpect.spawn(sys.executable, words, cwd=str(tmp_path), env=env, encoding="utf-8", timeout=120, dimensions=(40, 160))
    child.expect(PROMPT)
    yield child
    child.close(force=True)


def test_a_run_in_a_terminal_prints_lines_and_stops_on_ctrl_c(terminal: Any, tmp_path: Path) -> None:
    save(tmp_path / "quick.ipynb", "%%step a\nx = 1", "%%step b --after a\nprint(x + 1)", "%%metrics\nprint(x)")
    save(tmp_path / "long.ipynb", "%%step a\nimport time\nprint('begun', flush=True)\ntime.sleep(300)")
    terminal.sendline("%load_ext kale_nb")
    terminal.expect(PROMPT)
    terminal.sendline("%pipeline graph quick.ipynb")
    terminal.expect("●  a|● *a")
    terminal.expect(PROMPT)
    terminal.sendline("%pipeline check quick.ipynb")
    terminal.expect("quick.ipynb: no findings")
    terminal.expect(PROMPT)
    terminal.sendline("%pipeline run quick.ipynb")
    terminal.expect(r"b +succeeded in")
    terminal.expect("quick succeeded in")
    terminal.expect(r"b  x  1")
    terminal.expect(PROMPT)
    terminal.sendline("%kale_load last a")
    terminal.expect(r"x  int  1")
    terminal.expect(PROMPT)
    terminal.sendline("%pipeline run long.ipynb")
    terminal.expect(r"a +running")
    terminal.sendcontrol("c")
    terminal.expect("stopped: long was interrupted")
    terminal.expect(PROMPT)
    terminal.sendline("x + 41")
    terminal.expect("42")


def test_a_step_that_is_edited_and_run_again_replaces_what_it_was(terminal: Any, tmp_path: Path) -> None:
    terminal.sendline("%load_ext kale_nb")
    terminal.expect(PROMPT)
    for line in ("x = [1]", "x = [1, 2]", "x = [1, 2, 3]"):
        _cell(terminal, "%%step a --retries 1" if line == "x = [1]" else "%%step a", line)
        if line != "x = [1, 2, 3]":
            _cell(terminal, "%%step b --after a", "x.append(0)", "print('len', len(x))")
    terminal.sendline("%pipeline check")
    terminal.expect("of step a, which ran with several texts, the last counts: a further cell needs no mark")
    terminal.expect("this session: no findings")
    terminal.expect(PROMPT)
    terminal.sendline("%pipeline run")
    terminal.expect("notebook succeeded in")
    terminal.expect(PROMPT)
    (executed,) = tmp_path.glob(".kale/runs/*/executed/b.ipynb")
    assert "len 4" in executed.read_text()


def _cell(terminal: Any, *lines: str) -> None:
    """Type a cell and the two blank lines that end it."""
    for line in (*lines, ""):
        terminal.sendline(line)
        terminal.expect(r"\.\.\.: ")
    terminal.sendline("")
    terminal.expect(PROMPT)
