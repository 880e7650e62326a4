"""Which parameters steps may have read that are not run again: in doubt they have."""

from __future__ import annotations

from pathlib import Path

import pytest

from kale_nb.compiler import compile_path
from kale_nb.names import StepName
from kale_nb.results.reading import Reads, reads_of
from tests.cli.driving import write_cells


def read(folder: Path, prelude: str, step: str) -> tuple[Reads, Reads]:
    """Return what the prelude and the step `a` may read; the parameters are `k` and `free`."""
    cells = f"### parameters\nk = 1\nfree = 2\n{prelude}\n### step:a\n{step}\n### step:b prev:a\nprint(k, free)\n"
    compiled = compile_path(write_cells(folder / "nb.ipynb", cells))
    own, steps = reads_of(compiled.pipeline, compiled.stepbooks)
    return own, steps[StepName("a")]


@pytest.mark.parametrize(
    "prelude",
    [
        "m = k * 2",
        "### imports\nm = k * 2",
        "### functions\ndef f(n=k): return n",
        "### imports\nimport types\nconf = types.SimpleNamespace()\nconf.m = k * 2",
        "### functions\ndef f(): return k\nm = f()",
        "### functions\ndef f(): return k\ng = f",
        "### functions\n@print\ndef f(): return k",
        "### functions\nclass C:\n    m = k",
        "### functions\nclass C:\n    def v(self): return k\nc = C()",
        "### functions\nf = lambda: k",
        "### imports\nimport numexpr\nm = numexpr.evaluate('k * 2')",
        "### imports\n%env K=$k",
        "### imports\nif k:\n    m = 1",
    ],
)
def test_what_imports_functions_and_parameters_cells_make_of_a_parameter_counts(tmp_path: Path, prelude: str) -> None:
    own, _ = read(tmp_path, prelude, "x = 1")
    assert "k" in own.names
    assert "free" not in own.names
    assert not own.anything


@pytest.mark.parametrize(
    ("prelude", "step"),
    [
        ("", "x = k"),
        ("", "x = f'{k}'"),
        ("", "t = !echo {k}"),
        ("", "!echo $k"),
        ("", "x = eval('k')"),
        ("", "x = globals()['k']"),
        ("", "import patsy\nx = patsy.dmatrix('y ~ k')"),
        ("### functions\ndef f(): return k", "x = f()"),
        ("### functions\ndef g(): return k\ndef f(): return g()", "x = f()"),
        ("### functions\nclass C:\n    def v(self): return k", "x = C().v()"),
        (
            "### functions\nimport pickle\nclass C:\n    def v(self): return k",
            "import pickle\nx = pickle.load(open('c', 'rb')).v()",
        ),
    ],
)
def test_what_a_step_and_functions_that_it_can_reach_read_counts(tmp_path: Path, prelude: str, step: str) -> None:
    own, mine = read(tmp_path, prelude, step)
    assert "k" in mine.names
    assert "free" not in mine.names
    assert "k" not in own.names


@pytest.mark.parametrize(
    ("prelude", "step"),
    [
        ("", "n = 'k'\nx = globals()[n]"),
        ("", "x = get_ipython().user_ns['k']"),
        ("", "x = get_ipython().ev('k')"),
        ("", "ip = get_ipython()\nip.run_cell('x = k')"),
        ("", "import __main__\nx = __main__.k"),
        ("", "import sys\nx = sys.modules[__name__].k"),
        ("", "import sys\nx = sys._getframe().f_globals['k']"),
        ("", "%run -i s.py"),
        ("", "%sql select :k"),
        ("", "r = %sql select 1"),
        ("", "%%mine\nk"),
        ("", "exec(open('s.py').read())"),
        ("", "e = eval\nx = e('k')"),
        ("### functions\ndef f(n): return globals()[n]", "x = f('k')"),
        ("### functions\ndef f(n): return eval(n)", "x = f('k')"),
    ],
)
def test_code_that_looks_names_up_as_it_runs_counts_as_reading_all(tmp_path: Path, prelude: str, step: str) -> None:
    own, mine = read(tmp_path, prelude, step)
    assert mine.anything
    assert not own.anything


@pytest.mark.parametrize("prelude", ["### imports\n%run -i s.py", "### functions\ndef f(n): return globals()[n]\nm = f('k')"])
def test_so_do_imports_and_functions_cells(tmp_path: Path, prelude: str) -> None:
    own, _ = read(tmp_path, prelude, "x = 1")
    assert own.anything


@pytest.mark.parametrize(
    ("prelude", "step"),
    [
        ("### imports\n%matplotlib inline\n%load_ext autoreload\n%autoreload 2\nimport os, sys\nfrom math import *", "x = 1"),
        ("### imports\nget_ipython().run_line_magic('matplotlib', 'inline')", "x = 1"),
        ("### functions\ndef f(a): return a + k", "x = 1"),
        ("### functions\nclass C:\n    def v(self, n=free): return k", "print('k')"),
        ("### functions\nif __name__ == '__main__':\n    print('main')", "k = 3"),
        ("", "%%time\nx = 1"),
        ("", "x = ('%s %s'\n    % (1, 2))"),
        ("", "!ls"),
        ("", "model = print\nmodel.eval = print\nmodel.eval()"),
        ("", "%%bash\necho $k"),
    ],
)
def test_what_is_only_near_does_not_count(tmp_path: Path, prelude: str, step: str) -> None:
    for found in read(tmp_path, prelude, step):
        assert "k" not in found.names
        assert not found.anything
