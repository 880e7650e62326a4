"""All findings at once: one mistake hides no other, and says nothing that only follows from it."""

from __future__ import annotations

from pathlib import Path

from kale_nb.compiler import check_source
from kale_nb.diagnostics import Severity
from tests.lowering.checking import check_text, rendered, source_of_example

TWELVE = """\
import numpy as np

# tags: imports
import math

# tags: step:load
rows = [1, 2]
total = np.mean(rows)
squares = (r * r for r in rows)

# tags: step:clean, prev:load
rows.append(len(missing_name))
best = 1

# tags: step:split, prev:load
print(rows)
best = 2

# tags: step:compare, prev:clean, prev:split
print(best)
print(list(squares))

# tags: step:plot, prev:comparee
plt.plot([1])

# tags: step:left, prev:right
x = (1,

# tags: step:right, prev:left
print(never_there)

# tags: skip
hidden = 1

# tags: step:left
print(hidden)

# tags: stp:report
print(Out[3])

# tags: step:both, step:other, prev:load, prev:load
print(rows)
"""


def test_a_notebook_with_many_mistakes_tells_them_all_in_order_of_place(update_goldens: bool) -> None:
    found = check_source(source_of_example(TWELVE)).diagnostics
    assert [(d.rule.code, d.location.cell) for d in found] == [
        ("KN105", 1),  # code before any mark
        ("KN401", 3),  # a generator that a later step reads
        ("KN301", 4),  # a name that is never defined
        ("KN305", 5),  # changed in place by a step beside
        ("KN304", 6),  # two branches rebind
        ("KN201", 7),  # unknown prev
        ("KN301", 7),  # plt, never imported
        ("KN204", 8),  # a circle
        ("KN001", 8),  # syntax
        ("KN301", 9),  # never defined, in a step of the circle
        ("KN303", 11),  # only in a skip cell
        ("KN109", 12),  # stp:report
        ("KN312", 12),  # the kernel's history
        ("KN101", 13),  # two steps on one cell
        ("KN305", 13),  # it runs beside `clean` too
    ], rendered(found)
    kept = Path(__file__).parent / "snapshots" / "together.txt"
    text = rendered(found) + "\n"
    if update_goldens:
        kept.write_text(text, encoding="utf-8")
    assert kept.read_text(encoding="utf-8") == text


def _codes(text: str) -> list[str]:
    return [d.rule.code for d in check_text(text).diagnostics if d.level is not Severity.NOTE]


def test_a_syntax_error_does_not_hide_findings_elsewhere() -> None:
    assert _codes("%%step a\nx = (1,\n%%step b --after a\nprint(totl)\n%%step c --after d\ny = 1") == ["KN001", "KN301", "KN201"]


def test_names_of_a_broken_cell_are_not_reported_as_undefined() -> None:
    assert _codes("%%imports\nimport numpy as np\nfrom os import (path\n%%step a\nprint(np.pi, path.sep)") == ["KN001"]
    assert _codes("%%step a\nx = (1,\n%%step b --after a\nprint(x)") == ["KN001"]
    assert _codes("%%step a\nx = (1,\n%%step b\nz = 1\n%%step c --after b\nprint(x)") == ["KN001"]


def test_names_read_by_a_broken_cell_are_not_reported() -> None:
    assert _codes("%%step a\nprint(nowhere\n%%step b --after a\ny = 1\nprint(y)") == ["KN001"]


def test_a_broken_cell_that_may_run_foreign_code_hides_names() -> None:
    assert _codes("%%step a\nfrom numpy import *\nx = (1,\n%%step b --after a\nprint(zeros(3))") == ["KN001"]


def test_a_broken_skip_cell_says_nothing() -> None:
    assert _codes("%%skip\nx = (1,\n%%step a\nprint(1)") == []


def test_an_unknown_prev_does_not_make_names_of_other_steps_missing() -> None:
    assert _codes("%%step load\nx = 1\n%%step train --after laod\nprint(x)\n%%step show --after train\nprint(x)") == ["KN201"]


def test_a_circle_does_not_make_names_of_its_steps_missing() -> None:
    assert _codes(
        "%%step a --after c\nx = 1\n%%step b --after a\ny = x\n%%step c --after b\nprint(y)\n%%step d --after c\nprint(x)"
    ) == ["KN204"]


def test_code_before_the_first_mark_does_not_make_its_names_missing() -> None:
    found = check_source(
        source_of_example("import pandas as pd\n\n%%step a\ndf = pd.DataFrame()\n\n%%step b --after a\nprint(df, pd)")
    )
    assert [d.rule.code for d in found.diagnostics] == ["KN105"]


def test_the_second_step_of_a_cell_is_not_unknown_too() -> None:
    found = check_source(source_of_example("# tags: step:a, step:b\nx = 1\n\n# tags: step:c, prev:b\nprint(x)"))
    assert [d.rule.code for d in found.diagnostics] == ["KN101"]


def test_one_name_is_reported_once_a_step() -> None:
    assert _codes("%%step a\nprint(totl)\nprint(totl)\ntotl2 = totl\n%%step b --after a\nprint(totl)") == ["KN301", "KN301"]


def test_a_broken_graph_has_no_pipeline_and_a_broken_cell_has_one() -> None:
    assert check_text("%%step a --after b\nx = 1").pipeline is None
    assert check_text("%%step a\nx = (").pipeline is not None


def test_no_note_on_order_where_there_are_errors() -> None:
    assert [d.rule.code for d in check_text("%%step a\nx = 1\n%%step b\nprint(y)").diagnostics] == ["KN301"]
