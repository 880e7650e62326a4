"""A notebook's functions in the process of the test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kale_nb.errors import UsageError
from kale_nb.testing import kale_functions

Nb = Callable[..., Path]


def test_imports_parameters_and_functions_run_and_steps_do_not(nb: Nb) -> None:
    notebook = nb(
        "%%imports\n%matplotlib inline\nimport math\n%%parameters\nlr = 2\n%%functions\n!touch made\ndef f(x):\n    return x * lr\n"
        "%%step a\nraise SystemExit\n"
    )
    ns = kale_functions(notebook)
    assert ns.f(3) == 6
    assert ns.math.pi > 3
    assert not hasattr(ns, "_kale_data")
    assert [p.name for p in notebook.parent.iterdir()] == ["nb.ipynb"]


def test_parameters_are_set_for_the_functions_that_read_them(nb: Nb) -> None:
    notebook = nb("%%parameters\nlr = 2\n%%functions\nbase = lr * 10\ndef f(x):\n    return x * lr + base\n%%step a\nf(1)\n")
    assert kale_functions(notebook).f(1) == 22
    assert kale_functions(notebook, params={"lr": 3}).f(1) == 33
    assert kale_functions(notebook) is kale_functions(notebook), "so that its classes are the same"
    with pytest.raises(UsageError, match="no parameter 'lx'"):
        kale_functions(notebook, params={"lx": 3})


def test_modules_beside_the_notebook_are_found_and_no_bytecode_is_left(nb: Nb) -> None:
    notebook = nb(
        "%%workspace beside_the_notebook.py\nx = 5\n%%imports\nimport beside_the_notebook\n%%step a\nprint(beside_the_notebook.x)\n"
    )
    before = sys.dont_write_bytecode
    assert kale_functions(notebook).beside_the_notebook.x == 5
    assert sys.dont_write_bytecode == before
    assert sorted(p.name for p in notebook.parent.iterdir()) == ["beside_the_notebook.py", "nb.ipynb"]


def test_an_error_in_a_cell_is_shown_with_its_line(nb: Nb) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        kale_functions(nb("%%functions\ndef f():\n    return 1 / 0\ny = f()\n%%step a\ny\n"))
    entry = caught.traceback[-1]
    assert str(entry.path).endswith("nb.ipynb[cell 1]")
    assert "return 1 / 0" in str(entry.statement)


def test_cells_may_await(nb: Nb) -> None:
    notebook = nb("%%functions\nasync def f():\n    return 4\nx = await f()\n%%step a\nprint(x)\n")
    assert kale_functions(notebook).x == 4
