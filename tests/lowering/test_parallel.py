"""What steps beside each other do to one name: `kale_nb.lowering.parallel`."""

from __future__ import annotations

import pytest

from kale_nb.diagnostics import Severity
from tests.lowering.checking import check_compiles, check_rejects, underlined

FORK = "%%step a\nx = [0]\n%%step b --after a\n{}\n%%step c --after a\n{}\n"


def test_a_join_that_reads_what_two_branches_rebind() -> None:
    text = FORK.format("x = 1", "x = 2") + "%%step d --after b,c\nprint(x)"
    found = check_rejects(text, "KN304", "[cell 4]:1:7", ["`d`", "`x`", "`b` (cell 2, line 1)", "`c` (cell 3, line 1)"])
    assert "`x_b` and `x_c`" in (found.hint or "")
    assert underlined(found) == "x"


def test_the_hint_of_a_join_proposes_names_that_can_be_written() -> None:
    text = "%%step a\nx = 0\n%%step b-1 --after a\nx = 1\n%%step c-2 --after a\nx = 2\n%%step d --after b-1,c-2\nprint(x)"
    assert "`x_b_1` and `x_c_2`" in (check_rejects(text, "KN304", "[cell 4]:1:7").hint or "")


def test_a_join_of_three_names_all() -> None:
    text = FORK.format("x = 1", "x = 2") + "%%step e --after a\nx = 3\n%%step d --after b,c,e\nprint(x)"
    check_rejects(text, "KN304", "[cell 5]:1:7", ["`b`", "`c`", "`e`"])


def test_a_join_that_does_not_read_the_name_is_left_alone() -> None:
    check_compiles(FORK.format("x = 1\ny = x", "x = 2\nz = x") + "%%step d --after b,c\nprint(y, z)")


def test_a_join_that_binds_the_name_first_is_left_alone() -> None:
    check_compiles(FORK.format("x = 1", "x = 2") + "%%step d --after b,c\nx = 3\nprint(x)")


def test_branches_with_names_of_their_own_are_left_alone() -> None:
    check_compiles(FORK.format("x_b = x[0]", "x_c = x[0] + 1") + "%%step d --after b,c\nprint(x_b, x_c)")


def test_one_branch_after_the_other_is_left_alone() -> None:
    check_compiles("%%step a\nx = 0\n%%step b --after a\nx = 1\n%%step c --after b\nx = 2\n%%step d --after b,c\nprint(x)")


@pytest.mark.parametrize(
    "change",
    [
        "x.append(1)",
        "x[0] = 5",
        "x += [1]",
        "x.sort()",
        "del x[0]",
        "x.name = 1",
        "x.loc[0, 'a'] = 1",
        "x.fillna(0, inplace=True)",
    ],
)
def test_a_change_in_place_of_what_a_step_beside_reads(change: str) -> None:
    found = check_rejects(FORK.format(change, "print(x)"), "KN305", "[cell 3]:1:7", ["`c`", "`x`", "`b`", "cell 2, line 1"])
    assert "prev:b" in (found.hint or "")
    assert underlined(found) == "x"


@pytest.mark.parametrize(
    "change", ["y = x + [1]", "y = sorted(x)", "x = sorted(x)[:1]\nx.append(1)", "def f():\n    x = []\n    x.append(1)"]
)
def test_a_change_of_a_copy_is_not_a_change_in_place(change: str) -> None:
    codes = {"KN310"} if "x = sorted" in change else set()
    check_compiles(FORK.format(change, "print(x)"), notes=codes)


def test_a_change_below_the_reader_is_left_alone() -> None:
    check_compiles(FORK.format("print(x)", "x.append(1)"))


def test_a_rebinding_beside_a_reader_is_a_warning() -> None:
    found = check_rejects(
        FORK.format("x = 1", "print(x)"), "KN310", "[cell 3]:1:7", ["`b`", "`c`", "cell 2, line 1"], level=Severity.WARNING
    )
    assert "prev:b" in (found.hint or "")


@pytest.mark.parametrize(
    ("start", "change"), [("1", "x += 1"), ("'log'", "x += '!'"), ("0.5", "x *= 2"), ("(1, 2)", "x += (3,)")]
)
def test_augmented_assignment_of_a_number_or_text_is_a_rebinding(start: str, change: str) -> None:
    text = f"%%step a\nx = {start}\n%%step b --after a\n{change}\nprint(x)\n%%step c --after a\nprint(x)"
    check_rejects(text, "KN310", "[cell 3]:1:7", level=Severity.WARNING)


def test_the_same_import_in_two_branches_is_left_alone() -> None:
    check_compiles(
        "%%step a\ny = 1\n%%step b --after a\nimport math\nprint(math.pi)\n%%step c --after a\nimport math\nprint(math.e)"
    )


def test_loop_variables_of_two_branches_are_left_alone() -> None:
    check_compiles(FORK.format("for i in x:\n    print(i)", "for i in x:\n    print(i)"))


def test_branches_that_fill_one_container_are_told_once_at_the_join() -> None:
    text = FORK.format("x['b'] = 1", "x['c'] = 2") + "%%step d --after b,c\nprint(x)"
    check_rejects(text, "KN304", "[cell 4]:1:7", ["`b`", "`c`"])


def test_a_name_that_a_function_reads_and_a_step_beside_binds_is_a_warning_at_its_use() -> None:
    text = "%%functions\ndef f():\n    return g()\n\ndef g():\n    return x\n" + FORK.format("x = 1", "print(f())")
    found = check_rejects(text, "KN310", "[cell 4]:1:7", ["`c`", "uses `f`", "`x`", "`b`"], level=Severity.WARNING)
    assert underlined(found) == "f"
    check_rejects(text.replace("x = 1", "x.append(1)"), "KN305", "[cell 4]:1:7", ["uses `f`"], level=Severity.WARNING)


def test_a_name_that_only_a_function_not_used_reads_is_left_alone() -> None:
    check_compiles("%%functions\ndef f():\n    return x\n" + FORK.format("x = 1", "print(2)"))


def test_branches_that_set_a_name_for_a_common_function_are_left_alone() -> None:
    text = "%%functions\ndef f():\n    return model\n%%step a\ny = 0\n%%step b --after a\nmodel = 1\nprint(f())\n%%step c --after a\nmodel = 2\nprint(f())"
    check_compiles(text)
