"""Loading must not be felt: CPU time in fresh processes, and what must not be imported for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "papermill",
    "nbformat",
    "nbclient",
    "nbconvert",
    "dill",
    "rich",
    "kfp",
    "kubernetes",
    "yaml",
    "numpy",
    "pandas",
    "psutil",
    "zmq",
    "jupyter_client",
    "pathspec",
)

_LOAD = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
start = time.process_time()
shell.run_line_magic("load_ext", "kale_nb")
took = time.process_time() - start
print(json.dumps([took, sorted(set(sys.modules) - before)]))
"""
_IMPORT = """
import json, sys, time
before = set(sys.modules)
start = time.process_time()
import kale_nb
took = time.process_time() - start
print(json.dumps([took, sorted(set(sys.modules) - before)]))
"""


def measured(code: str) -> tuple[float, list[str]]:
    """CPU seconds and the modules that came in, the best of three processes."""
    found = []
    for _ in range(3):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        took, modules = json.loads(out.splitlines()[-1])
        found.append((took, modules))
    return min(found)


@pytest.mark.parametrize(("code", "most"), [(_IMPORT, 0.050), (_LOAD, 0.150)], ids=["import kale_nb", "%load_ext kale_nb"])
def test_it_takes_no_time_worth_noticing(code: str, most: float) -> None:
    took, modules = measured(code)
    assert took < most, modules


def test_importing_the_package_imports_nothing_else() -> None:
    assert measured(_IMPORT)[1] == ["kale_nb"]


def test_loading_the_extension_imports_nothing_heavy() -> None:
    modules = measured(_LOAD)[1]
    assert [name for name in modules if name.partition(".")[0] in HEAVY] == []
    ours = [name for name in modules if name.startswith("kale_nb.")]
    assert [
        name
        for name in ours
        if name != "kale_nb.errors" and name != "kale_nb.location" and not name.startswith("kale_nb.jupyter")
    ] == []
