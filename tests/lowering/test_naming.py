"""Names that a step reads and nothing before it provides: `kale_nb.lowering.naming`."""

from __future__ import annotations

import pytest

from kale_nb.diagnostics import Severity
from tests.lowering.checking import check_compiles, check_rejects, check_text, rendered, underlined

AFTER = "%%step a\nx = 1\n%%step b --after a\n"


def test_a_name_never_defined() -> None:
    found = check_rejects("%%step a\ntotal = 1\nprint(totl)", "KN301", "[cell 1]:2:7", ["`a`", "`totl`", "nothing defines"])
    assert underlined(found) == "totl"
    assert found.hint == "did you mean `total`?"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("np", "add `import numpy as np` to an imports cell"),
        ("pd", "add `import pandas as pd` to an imports cell"),
        ("json", "add `import json` to an imports cell"),
        ("Path", "add `from pathlib import Path` to an imports cell"),
        ("prnt", "did you mean `print`?"),
        ("score", "define `score` in this step, in one that it comes after, or in an imports or functions cell"),
    ],
)
def test_the_hint_on_an_undefined_name_fits_the_name(name: str, hint: str) -> None:
    found = check_rejects(f"%%step a\nvalue = {name}(1)", "KN301", "[cell 1]:1:9", [f"`{name}`"])
    assert (found.hint or "").startswith(hint)


def test_a_name_read_before_its_own_step_assigns_it() -> None:
    check_rejects("%%step a\nprint(x)\nx = 1", "KN301", "[cell 1]:1:7", ["before it assigns it", "cell 1, line 2"])


@pytest.mark.parametrize(
    "code",
    [
        "for row in []:\n    last = row\nprint(last)",
        "if input:\n    y = 1\nprint(y)",
    ],
)
def test_a_name_bound_on_some_path_is_at_most_a_warning(code: str) -> None:
    assert all(d.level is not Severity.ERROR for d in check_text(f"%%step a\n{code}").diagnostics)


@pytest.mark.parametrize(
    "code",
    [
        "print(len([1]), __name__, In, get_ipython)",
        "try:\n    print(nowhere)\nexcept NameError:\n    nowhere = 1",
        "if 'nowhere' in globals():\n    print(nowhere)",
        "def f():\n    return nowhere",
        "f = lambda: nowhere",
        "class C:\n    def m(self):\n        return nowhere",
        "print([i for i in range(3)])",
        "import os.path\nprint(os.sep)",
        "from numpy import *\nprint(zeros(3))",
        "exec(open('more.py').read())\nprint(nowhere)",
        "%run other.py\nprint(nowhere)",
        "with open('f') as f:\n    text = f.read()\nprint(text)",
        "match [1]:\n    case [first]:\n        print(first)\n    case _:\n        first = 0\nprint(first)",
        "print((n := 3), n)",
        "x: int = 1\nprint(x)",
        "!echo {nowhere}",
        "del_me = 1\ndel del_me",
    ],
)
def test_left_alone(code: str) -> None:
    found = [d for d in check_text(f"%%step a\n{code}").diagnostics if d.rule.code in ("KN301", "KN302", "KN313")]
    assert not found, rendered(found)


def test_a_name_of_a_step_that_is_not_an_ancestor_asks_for_the_prev() -> None:
    text = "%%step a\nx = 1\n%%step b --after a\ny = 2\n%%step c --after a\nprint(x + y)"
    found = check_rejects(text, "KN302", "[cell 3]:1:11", ["`c`", "`y`", "`b`", "cell 2, line 1"])
    assert underlined(found) == "y"
    assert "prev:b" in (found.hint or "")


def test_of_several_defining_steps_the_nearest_above_is_proposed() -> None:
    text = "%%step a\ny = 1\n%%step b\ny = 2\n%%step c\nprint(y)\n%%step d --after a\nz = 1"
    found = check_rejects(text, "KN302", "[cell 3]:1:7", ["`a` and `b`"])
    assert "prev:b" in (found.hint or "")


def test_a_name_that_only_a_descendant_defines_is_to_be_moved() -> None:
    found = check_rejects("%%step a\nprint(y)\n%%step b --after a\ny = 1", "KN302", "[cell 1]:1:7", ["`b`"])
    assert "runs after" in (found.hint or "")


def test_a_name_that_only_a_skip_cell_defines() -> None:
    found = check_rejects("%%skip\nx = 1\n%%step a\nprint(x)", "KN303", "[cell 2]:1:7", ["`a`", "`x`", "cell 1", "skip"])
    assert "mark cell 1" in (found.hint or "")


def test_a_name_that_a_skip_cell_defines_too_is_left_alone() -> None:
    check_compiles("%%skip\nx = 1\n%%step a\nx = 2\nprint(x)")


def test_a_deleted_name_is_told_with_the_step_that_deletes_it() -> None:
    found = check_rejects(
        "%%step a\nx = 1\n%%step b --after a\ndel x\n%%step c --after b\nprint(x)", "KN309", "[cell 3]:1:7", ["`b`"]
    )
    assert "del x" in (found.hint or "")


def test_a_deleted_name_that_is_bound_again_is_left_alone() -> None:
    check_compiles("%%step a\nx = 1\n%%step b --after a\ndel x\nx = 2\n%%step c --after b\nprint(x)")


def test_a_deleted_shadow_of_a_builtin_is_left_alone() -> None:
    check_compiles("%%step a\nmax = 1\n%%step b --after a\ndel max\n%%step c --after b\nprint(max([1]))")


def test_a_name_on_some_path_only_that_nothing_defines_is_a_warning() -> None:
    check_rejects(f"{AFTER}if x > 5:\n    print(nowhere)", "KN313", "[cell 2]:2:11", ["`b`", "`nowhere`"], level=Severity.WARNING)


def test_a_function_of_the_functions_cell_whose_name_is_made_beside_is_a_warning_at_its_use() -> None:
    text = "%%functions\ndef rate():\n    return base * 2\n%%step a\nbase = 1\n%%step b\nprint(rate())\n%%step c --after a,b\nprint(base)"
    found = check_rejects(text, "KN311", "[cell 3]:1:7", ["`b`", "`rate`", "`base`", "`a`"], level=Severity.WARNING)
    assert underlined(found) == "rate"
    assert "prev:a" in (found.hint or "")


def test_a_function_whose_name_an_ancestor_makes_is_left_alone() -> None:
    check_compiles("%%functions\ndef rate():\n    return base * 2\n%%step a\nbase = 1\n%%step b --after a\nprint(rate())")


def test_a_function_that_is_not_used_is_left_alone() -> None:
    check_compiles(
        "%%functions\ndef rate():\n    return base * 2\n%%step a\nbase = 1\n%%step b\ny = 1\n%%step c --after a\nprint(rate())"
    )


@pytest.mark.parametrize(
    ("statement", "use"), [("import math", "math.pi"), ("import numpy as np", "np.pi"), ("from math import pi", "pi")]
)
def test_an_import_that_only_another_step_makes_is_a_warning(statement: str, use: str) -> None:
    found = check_rejects(
        f"%%step a\n{statement}\n%%step b --after a\nprint({use})",
        "KN306",
        "[cell 2]:1:7",
        [f"`{statement}`", "`a`", "`b`"],
        level=Severity.WARNING,
    )
    assert statement in (found.hint or "")


def test_an_import_in_the_imports_cell_or_in_the_step_is_left_alone() -> None:
    check_compiles("%%imports\nimport math\n%%step a\nx = math.pi\n%%step b --after a\nprint(math.e, x)")
    check_compiles("%%step a\nimport math\nx = math.pi\n%%step b --after a\nimport math\nprint(math.e, x)")


@pytest.mark.parametrize("read", ["_", "__", "Out[1]", "In[1]", "_5", "_i"])
def test_the_history_of_the_kernel_is_refused(read: str) -> None:
    check_rejects(f"%%step a\n1 + 1\n%%step b --after a\nprint({read})", "KN312", "[cell 2]:1:7", ["`b`"])


@pytest.mark.parametrize(
    "code", ["1 + 1\nprint(_)", "for _ in range(3):\n    print(_)", "_, y = 1, 2\nprint(_)", "_5 = 1\nprint(_5)"]
)
def test_an_underscore_of_the_step_itself_is_left_alone(code: str) -> None:
    check_compiles(f"%%step a\n{code}")


def test_an_import_used_in_many_steps_is_told_once() -> None:
    text = "%%step a\nimport math\n" + "".join(f"%%step s{i} --after a\nprint(math.pi)\n" for i in range(5))
    found = check_rejects(text, "KN306", "[cell 2]:1:7", ["`s0`, `s1` and `s2` and 2 more use"], level=Severity.WARNING)
    assert found.location.cell == 2
