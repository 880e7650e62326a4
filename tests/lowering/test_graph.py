"""The order that marks ask for: `kale_nb.lowering.graph`."""

from __future__ import annotations

import pytest

from kale_nb.compiler import check_source
from kale_nb.diagnostics import Severity
from tests.lowering.checking import check_compiles, check_rejects, check_text, rendered, source_of_example, underlined


def _example(text: str) -> list[str]:
    return [d.render() for d in check_source(source_of_example(text)).diagnostics]


def test_an_unknown_prev_in_a_tag_names_the_cell_and_the_nearest_step() -> None:
    found = check_rejects("%%step load\nx = 1\n%%tags step:train prev:laod\nprint(1)", "KN201", "[cell 2]", ["`train`", "`laod`"])
    assert found.hint == "did you mean `load`?"


def test_an_unknown_prev_in_a_magic_is_underlined() -> None:
    found = check_source(source_of_example("%%step load\nx = 1\n\n%%step train --after load,cleen\nprint(x)")).diagnostics
    assert [d.rule.code for d in found] == ["KN201"]
    assert underlined(found[0]) == "cleen"


def test_with_nothing_near_the_hint_lists_the_steps() -> None:
    assert check_rejects("%%step a\nx = 1\n%%step b --after zzz\ny = 1", "KN201", "[cell 2]").hint == "the steps are `a`, `b`"


def test_the_case_of_a_name_matters_and_the_hint_says_so() -> None:
    assert check_rejects("%%step Load\nx = 1\n%%step b --after load\ny = 1", "KN201", "[cell 2]").hint == "did you mean `Load`?"


def test_a_prev_of_a_later_step_is_fine() -> None:
    pipeline = check_compiles("%%step b --after a\nprint(x)\n%%step a\nx = 1")
    assert [(s.name, s.after) for s in pipeline.steps] == [("b", ("a",)), ("a", ())]


def test_a_prev_may_stand_on_any_cell_of_the_step() -> None:
    pipeline = check_compiles("%%step a\nx = 1\n%%step b\ny = 1\n%%step b --after a\nprint(x)")
    assert pipeline.steps[1].after == ("a",)


def test_a_step_that_waits_for_itself() -> None:
    check_rejects("%%step a\nx = 1\n%%step b --after a,b\nprint(x)", "KN202", "[cell 2]", ["`b`"])


def test_a_prev_twice_on_one_cell_is_a_warning() -> None:
    found = check_source(source_of_example("%%step a\nx = 1\n\n%%step b --after a,a\nprint(x)")).diagnostics
    assert [(d.rule.code, d.level) for d in found] == [("KN203", Severity.WARNING)]


def test_a_prev_on_two_cells_of_a_step_is_left_alone() -> None:
    check_compiles("%%step a\nx = 1\n%%step b --after a\ny = x\n%%step b --after a\nprint(x)")


def test_a_circle_names_all_members_and_the_mark_that_closes_it() -> None:
    found = check_rejects(
        "%%step a --after c\nx = 1\n%%step b --after a\ny = 1\n%%step c --after b\nz = 1",
        "KN204",
        "[cell 1]",
        ["step `a` waits for `c`, which waits for `b`, which waits for `a`"],
    )
    assert found.hint == "drop one of these 3 marks"


def test_a_circle_of_two_is_underlined_in_a_magic() -> None:
    found = check_source(source_of_example("%%step a --after b\nx = 1\n\n%%step b --after a\ny = 2")).diagnostics
    assert [d.rule.code for d in found] == ["KN204"]
    assert underlined(found[0]) == "b"


def test_two_circles_are_two_findings() -> None:
    text = "%%step a --after b\nx = 1\n%%step b --after a\ny = 1\n%%step c --after d\nz = 1\n%%step d --after c\nw = 1"
    found = check_text(text).diagnostics
    assert [(d.rule.code, d.location.cell) for d in found] == [("KN204", 1), ("KN204", 3)], rendered(found)


def test_a_step_behind_a_circle_is_not_part_of_it() -> None:
    text = "%%step a --after b\nx = 1\n%%step b --after a\ny = 1\n%%step c --after b\nz = 1"
    assert "`c`" not in check_rejects(text, "KN204", "[cell 1]").message


@pytest.mark.parametrize("count", [2, 5])
def test_steps_without_any_order_are_a_chain_and_say_so(count: int) -> None:
    text = "\n".join(f"%%step s{i}\nprint({i})" for i in range(count))
    found = check_text(text)
    assert [(d.rule.code, d.level) for d in found.diagnostics] == [("KN205", Severity.NOTE)]
    assert "prev:NAME" in (found.diagnostics[0].hint or "")
    assert found.pipeline is not None
    assert [s.after for s in found.pipeline.steps] == [(), *((f"s{i}",) for i in range(count - 1))]
    assert not found.pipeline.explicit_order


def test_a_single_step_has_no_order_to_speak_of() -> None:
    check_compiles("%%step a\nx = 1\nprint(x)")


def test_one_prev_anywhere_makes_the_order_explicit() -> None:
    pipeline = check_compiles("%%step a\nx = 1\n%%step b\ny = 1\n%%step c --after a,b\nprint(x, y)")
    assert [s.after for s in pipeline.steps] == [(), (), ("a", "b")]
    assert pipeline.explicit_order


def test_predecessors_stand_in_source_order_however_they_are_marked() -> None:
    assert check_compiles("%%step a\nx = 1\n%%step b\ny = 1\n%%step c --after b,a\nprint(x, y)").steps[2].after == ("a", "b")


def test_a_cell_that_changes_what_a_follower_above_it_read() -> None:
    text = "%%step a\nx = [1]\n%%step b --after a\nprint(x)\n%%step a\nx.append(2)"
    check_rejects(text, "KN315", "[cell 3]:1:1", ["`a`", "cell 2", "`b`", "`x`"])


def test_a_cell_that_reads_what_a_follower_above_it_changed() -> None:
    check_rejects("%%step a\nx = [1]\n%%step b --after a\nx.append(2)\n%%step a\nprint(x)", "KN315", "[cell 3]:1:7", ["`x`"])


@pytest.mark.parametrize("cell", ["y = 2", "print(x)", "for i in range(3):\n    pass", "def f():\n    return 1"])
def test_a_step_that_goes_on_below_with_something_else_is_left_alone(cell: str) -> None:
    check_compiles(f"%%step a\nx = [1]\n%%step b --after a\nfor i in x:\n    print(i, x)\n%%step a\n{cell}")


def test_a_step_that_goes_on_below_one_beside_it_is_left_alone() -> None:
    check_compiles("%%step r\nr = 0\n%%step a --after r\nx = 1\n%%step b --after r\ny = r\n%%step a\nx = 2\nprint(x)")
