"""Imports, functions and parameters cells: `kale_nb.lowering.prelude`."""

from __future__ import annotations

import pytest

from tests.lowering.checking import check_compiles, check_rejects


@pytest.mark.parametrize("kind", ["imports", "functions", "parameters"])
def test_a_prelude_cell_that_reads_what_a_step_makes(kind: str) -> None:
    found = check_rejects(
        f"%%step a\nn = 3\n%%{kind}\ntable = [0] * n\n%%step a\nprint(table)", "KN307", "[cell 2]:1:15", ["`n`", "`a`"]
    )
    assert "mark cell 2" in (found.hint or "")


def test_a_function_that_reads_what_a_step_makes_when_called_is_left_alone() -> None:
    check_compiles("%%functions\ndef f():\n    return n\n%%step a\nn = 3\nprint(f())")


def test_a_default_runs_with_the_definition() -> None:
    check_rejects(
        "%%step a\nn = 3\n%%functions\ndef f(k=n):\n    return k\n%%step a\nprint(f())", "KN307", "[cell 2]:1:9", ["`n`"]
    )


def test_a_prelude_cell_that_reads_what_nothing_makes() -> None:
    found = check_rejects("%%functions\nlimit = lmit + 1\n%%step a\nprint(limit)", "KN314", "[cell 1]:1:9", ["`lmit`"])
    assert found.hint == "did you mean `limit`?"


def test_a_prelude_cell_that_lacks_an_import_is_told_which() -> None:
    found = check_rejects("%%functions\nbase = np.zeros(3)\n%%step a\nprint(base)", "KN314", "[cell 1]:1:8", ["`np`"])
    assert "import numpy as np" in (found.hint or "")


def test_a_prelude_cell_that_reads_a_lower_prelude_cell() -> None:
    text = "%%imports\nlimit = 1 + base\n%%functions\nbase = 2\n%%step a\nprint(limit)"
    check_rejects(text, "KN314", "[cell 1]:1:13", ["`base`", "before it is defined (cell 2, line 1)"])


def test_parameters_may_read_what_an_imports_cell_above_binds() -> None:
    check_compiles("%%imports\nimport math\n%%parameters\nradius = math.pi\n%%step a\nprint(radius)")


def test_an_annotation_that_is_never_evaluated_is_left_alone() -> None:
    check_compiles("%%functions\ndef f(x: 'DataFrame') -> 'DataFrame':\n    return x\n%%step a\nprint(f(1))")


def test_a_prelude_cell_below_a_step_that_binds_the_same_name() -> None:
    text = "%%step a\nscale = 2\n%%functions\nscale = 5\n%%step b --after a\nprint(scale)"
    check_rejects(text, "KN308", "[cell 2]:1:1", ["cell 2", "`scale`", "`a`", "`b`"])


def test_a_step_that_binds_a_parameter_again_is_left_alone() -> None:
    check_compiles("%%parameters\nlr = 0.1\n%%step a\nlr = lr / 2\n%%step b --after a\nprint(lr)")


def test_the_same_import_below_a_step_is_left_alone() -> None:
    check_compiles(
        "%%imports\nimport math\n%%step a\nimport math\nprint(math.pi)\n%%imports\nimport math\n%%step b --after a\nprint(math.e)"
    )
