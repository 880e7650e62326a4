"""Cells as Python: magics opened, lines kept (`kale_nb.dataflow.text`, `kale_nb.dataflow.broken`)."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_nb.dataflow.broken import stand_in, words_of
from kale_nb.dataflow.facts import ReadKind
from kale_nb.dataflow.text import TextError, parse_cell
from kale_nb.dataflow.walk import read_block
from tests.dataflow.blocks import facts, reads, tree_of


@pytest.mark.parametrize(
    ("code", "binds", "hard"),
    [
        ("%time x = f(1)", {"x"}, {"f"}),
        ("%%time\nx = f(1)", {"x"}, {"f"}),
        ("%%capture out\nx = f(1)\nprint(x)", {"x", "out"}, {"f"}),
        ("%prun x = f(1)", {"x"}, {"f"}),
        ("%%prun -s cumtime\nx = f(1)", {"x"}, {"f"}),
        ("%timeit -n 10 x = f(1)", set(), {"f"}),
        ("%%timeit\nx = f(1)", set(), {"f"}),
        ("r = %timeit -o f(1)", {"r"}, set()),
        ("x = %time f(1)", {"x"}, {"f"}),
        ("files = !ls", {"files"}, set()),
        ("!ls", set(), set()),
        ("!ls {folder}", set(), set()),
        ("%matplotlib inline\nx = y", {"x"}, {"y"}),
        ("%%bash\necho $x", set(), set()),
        ("%%bash --out text\nls", {"text"}, set()),
        ("%%html\n<b>{x}</b>", set(), set()),
        ("%%writefile f.txt\n{x} y", set(), set()),
        ("?f", set(), set()),
        ("f?", set(), set()),
        ("x = await f()", {"x"}, {"f"}),
        ("async for i in f():\n    pass", {"i"}, {"f"}),
        ("with open('f') as g:\n    %time x = g", {"g", "x"}, set()),
        ("%load_ext autoreload\n%autoreload 2\nx = 1", {"x"}, set()),
        ("get_ipython().run_line_magic('time', 'x = f(1)')", {"x"}, {"f"}),
        ("", set(), set()),
        ("# only a comment", set(), set()),
    ],
)
def test_what_a_cell_with_magics_binds_and_reads(code: str, binds: set[str], hard: set[str]) -> None:
    found = facts(code)
    assert found.may_bind == binds
    known = {r.name for r in found.reads if r.kind is ReadKind.HARD} - {"open", "print", "get_ipython"}
    assert known == hard


@pytest.mark.parametrize("code", ["!echo {x}", "!echo $x", "%cd {x}", "y = !cat {x}", "%env A={x}", "%%bash -s {x}\nls"])
def test_names_that_ipython_fills_in_are_soft_reads(code: str) -> None:
    assert "x" in reads(code, ReadKind.SOFT)


@pytest.mark.parametrize(
    "code", ["%run other.py", "%load other.py", "%%unknown_magic\nx = 1", "%pylab", "get_ipython().run_cell('x = 1')"]
)
def test_code_that_cannot_be_seen_may_bind_anything(code: str) -> None:
    assert facts(code).opaque_binds


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("x = 1\ny = 2", [1, 2]),
        ("%%time\nx = 1\ny = 2", [2, 3]),
        ("\n\n%%time\n\nx = 1", [5]),
        ("%%capture\n%%time\nx = 1", [3]),
        ("%time x = 1\n\ny = 2", [1, 3]),
        ("x = 1\n%time y = 2\nz = 3", [1, 2, 3]),
        ("x = (1,\n     2)\n%time y = 3\nz = 4", [1, 3, 4]),
        ("!ls\nx = 1", [2]),
        ("x = '''\n%time\n'''\ny = 2", [1, 4]),
        ("# %%step a\nx = 1", [2]),
    ],
)
def test_lines_are_those_of_the_cell(code: str, lines: list[int]) -> None:
    assert [s.lineno for s in tree_of(code).body if isinstance(s, ast.Assign)] == lines


@pytest.mark.parametrize(
    ("code", "line", "column"),
    [
        ("x = (1,", 1, 5),
        ("x = 1\ny = = 2", 2, 5),
        ("%%time\nx = 1\ny = = 2", 3, 5),
        ("%matplotlib inline\nx = = 1", 2, 5),
        ("def f():\nreturn 1", 2, 1),
        ("!ls\nx = 'a", 2, 5),
        ("for i in [1]\n    pass", 1, 13),
    ],
)
def test_a_syntax_error_stands_at_its_place_in_the_cell(code: str, line: int, column: int) -> None:
    found = parse_cell(code)
    assert isinstance(found, TextError)
    assert (found.line, found.column) == (line, column)


@pytest.mark.parametrize("code", ["x\x00y", "(" * 2000, "x = " + "-" * 50_000 + "1", "\ud800"])
def test_text_that_python_cannot_even_read_is_an_error_like_any_other(code: str) -> None:
    assert isinstance(parse_cell(code), TextError)


@given(st.text(alphabet="%!?{}$ab=().,:\n '\"#\\1é", max_size=40))
def test_any_text_is_parsed_or_refused(code: str) -> None:
    found = parse_cell(code)
    if isinstance(found, ast.Module):
        read_block([(1, found)])
    else:
        assert found.line >= 1
        read_block([(1, stand_in(code))])


def test_a_broken_cell_may_read_and_bind_its_words() -> None:
    assert words_of("for größe in (1, x_1") == {"größe", "x_1"}
    found = read_block([(3, stand_in("total = (limit,"))])
    assert found.may_bind == {"total", "limit"}
    assert not found.must_bind
    assert {r.name for r in found.reads if r.kind is ReadKind.SOFT} == {"total", "limit"}
    assert not found.opaque_binds
    assert found.binds_at["total"].cell == 3


def test_a_broken_cell_that_may_run_other_code_may_bind_anything() -> None:
    assert read_block([(1, stand_in("from x import *\ny = ("))]).opaque_binds
