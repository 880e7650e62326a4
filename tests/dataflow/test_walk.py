"""Definite assignment: every kind of statement and expression (`kale_nb.dataflow.walk`)."""

from __future__ import annotations

import ast
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_nb.dataflow.facts import ReadKind
from kale_nb.dataflow.walk import read_block
from tests.dataflow.blocks import facts, reads

HARD, CONDITIONAL, GUARDED, SOFT = ReadKind.HARD, ReadKind.CONDITIONAL, ReadKind.GUARDED, ReadKind.SOFT

STATEMENTS = [
    # code, surely bound, perhaps bound too, hard reads, reads on some path
    ("x = a", "x", "", "a", ""),
    ("x = y = a", "x y", "", "a", ""),
    ("x, (y, *z) = a", "x y z", "", "a", ""),
    ("x: int = a", "x", "", "a", ""),
    ("x: int", "", "", "", ""),
    ("x += a", "x", "", "x a", ""),
    ("x[i] = a", "", "", "x i a", ""),
    ("x.y = a", "", "", "x a", ""),
    ("x[i] += a", "", "", "x i a", ""),
    ("del x", "", "", "x", ""),
    ("x = 1\ndel x", "", "x", "", ""),
    ("del x[i]", "", "", "x i", ""),
    ("import x", "x", "", "", ""),
    ("import x.y", "x", "", "", ""),
    ("import x.y as z", "z", "", "", ""),
    ("from x import y, z as w", "y w", "", "", ""),
    ("def f(p=a, *, q=b): return c", "f", "", "a b", ""),
    ("@d\ndef f(): pass", "f", "", "d", ""),
    ("async def f(): pass", "f", "", "", ""),
    ("class C(B, metaclass=M):\n    x = a\n    y = x", "C", "", "B M a", ""),
    ("@d\nclass C: pass", "C", "", "d", ""),
    ("if a: x = b", "", "x", "a", "b"),
    ("if a: x = 1\nelse: x = 2", "x", "", "a", ""),
    ("if a: x = 1\nelif b: x = 2\nelse: x = 3", "x", "", "a", "b"),
    ("if a: x = 1\nelif b: x = 2", "", "x", "a", "b"),
    ("if a: raise b\nelse: x = 1", "x", "", "a", "b"),
    ("if a: x = 1\nprint(x)", "", "x", "a print", "x"),
    ("if True: x = 1", "x", "", "", ""),
    ("if __name__ == '__main__': x = a", "x", "", "__name__ a", ""),
    ("for i in a: x = i", "", "i x", "a", ""),
    ("for i in [1, 2]: x = i", "i x", "", "", ""),
    ("for i in range(3): x = a", "i x", "", "range a", ""),
    ("for i in a: pass\nelse: x = 1", "", "i x", "a", ""),
    ("for i in [1]:\n    if a: break\n    x = 1", "i", "x", "a", ""),
    ("while a: x = b", "", "x", "a", "b"),
    ("while True:\n    x = a\n    break", "", "x", "a", ""),
    ("with a as x: y = b", "x y", "", "a b", ""),
    ("with a as (x, y), b(x) as z: pass", "x y z", "", "a b", ""),
    ("try: x = a\nfinally: y = b", "x y", "", "a b", ""),
    ("try: x = a\nexcept E: x = b", "x", "", "a", "E b"),
    ("try: x = a\nexcept E: pass", "", "x", "a", "E"),
    ("try: x = a\nexcept E as e: raise", "x", "e", "a", "E"),
    ("try: x = a\nexcept E: x = 1\nelse: y = 2", "x", "y", "a", "E"),
    ("raise a", "", "", "a", ""),
    ("assert a, b", "", "", "a", "b"),
    ("match a:\n    case 1: x = 1\n    case _: x = 2", "x", "", "a", ""),
    ("match a:\n    case [p, *q]: x = p\n    case {'k': v, **r}: x = v\n    case C(m=n): x = n", "", "p q v r n x", "a", "C"),
    ("match a:\n    case b.c if d: x = 1", "", "x", "a", "b d"),
    ("print(x := a)", "x", "", "print a", ""),
    ("a and (x := b)", "", "x", "a", "b"),
    ("x if a else b", "", "", "a", "x b"),
    ("[i for i in a]", "", "", "a", ""),
    ("[b for i in a]", "", "", "a", "b"),
    ("[b for i in [1]]", "", "", "b", ""),
    ("{i: j for i, j in a if c}", "", "", "a", "c"),
    ("any((x := i) for i in a)", "", "x", "any a", ""),
    ("f'{a:{b}}'", "", "", "a b", ""),
    ("lambda: a", "", "", "", ""),
    ("lambda p=a: p", "", "", "a", ""),
    ("x = await a", "x", "", "a", ""),
    ("f(*a, **b)[c:d]", "", "", "f a b c d", ""),
    ("global x\nx = 1", "x", "", "", ""),
    ("pass", "", "", "", ""),
    ("[(x := i) for i in [1]]", "x", "", "", ""),
    ("globals()['x'] = a", "x", "", "a", ""),
    ("print(globals()['x'])", "", "", "print x", ""),
]


@pytest.mark.parametrize(("code", "must", "may", "hard", "some"), STATEMENTS)
def test_a_statement(code: str, must: str, may: str, hard: str, some: str) -> None:
    found = facts(code)
    assert found.must_bind == set(must.split())
    assert found.may_bind == {*must.split(), *may.split()}
    assert {r.name for r in found.reads if r.kind is HARD} == set(hard.split())
    assert {r.name for r in found.reads if r.kind in (CONDITIONAL, GUARDED)} >= set(some.split())


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    x\nexcept NameError:\n    x = 1",
        "try:\n    x\nexcept (KeyError, NameError):\n    pass",
        "try:\n    x\nexcept:\n    pass",
        "if 'x' in globals():\n    x",
        "'x' in dir() and x",
        "globals().get('x')",
        "from contextlib import suppress\nwith suppress(NameError):\n    x",
    ],
)
def test_reads_whose_failure_is_provided_for_are_guarded(code: str) -> None:
    assert "x" in reads(code, GUARDED)
    assert "x" not in reads(code, HARD)


def test_a_read_after_a_binding_is_no_read_of_the_block() -> None:
    assert not facts("x = 1\nprint(x)", "print(x)").reads[1:]


def test_cells_of_a_block_are_one_text() -> None:
    found = facts("x = 1", "y = x + z")
    assert [(r.name, r.place.cell, r.place.line, r.place.column) for r in found.reads] == [("z", 2, 1, 9)]


@pytest.mark.parametrize(
    "code", ["x.append(1)", "x[0] = 1", "x.a = 1", "x += [1]", "del x[0]", "x.drop(1, inplace=True)", "x.a.b.sort()"]
)
def test_a_change_in_place_is_noted(code: str) -> None:
    assert [(m.name, m.certain) for m in facts(code).mutations] == [("x", True)]


@pytest.mark.parametrize("code", ["if a: x.append(1)", "for i in a: x.append(i)", "x = []\nx.append(1)"])
def test_a_change_that_may_not_happen_or_of_an_own_value_is_not_certain(code: str) -> None:
    assert [m.certain for m in facts(code).mutations] == [False]


@pytest.mark.parametrize(
    "code", ["x.copy()", "y = x + [1]", "sorted(x)", "x.drop(1, inplace=False)", "import os\nos.remove('f')"]
)
def test_what_changes_nothing_is_not_noted(code: str) -> None:
    assert not facts(code).mutations


@pytest.mark.parametrize(
    ("code", "plain"),
    [
        ("x = 1", True),
        ("x = 'a'\nx += 'b'", True),
        ("x = (1, 'a')", True),
        ("x = [1]", False),
        ("x = f()", False),
        ("x = 1\nx = []", False),
        ("for x in a: pass", False),
        ("x += 1", False),
        ("class C:\n    x = 1\n    x += 1\nx = 1", True),
    ],
)
def test_names_that_only_hold_what_cannot_change(code: str, plain: bool) -> None:
    assert ("x" in facts(code).plain) is plain


@pytest.mark.parametrize(
    ("code", "name"), [("1\nx", "x"), ("x;", "x"), ("x.y", None), ("x = 1", None), ("print(x)", None), ("", None)]
)
def test_the_name_that_a_block_ends_with(code: str, name: str | None) -> None:
    assert facts(code).trailing == name


NAMES = ("a", "b", "c", "d")


@st.composite
def straight_lines(draw: st.DrawFn) -> str:
    """Programs without branches, over four names."""
    lines = []
    for _ in range(draw(st.integers(1, 8))):
        x, y, z = (draw(st.sampled_from(NAMES)) for _ in range(3))
        lines.append(
            draw(
                st.sampled_from(
                    [
                        f"{x} = {y}",
                        f"{x} = {y}, {z}",
                        f"{x} = [{y} for {z} in (1, 2)]",
                        f"{x} = [{z} for {z} in ({y},)]",
                        f"{x} = ({y} := 1)",
                        f"def {x}(p={y}): return {z}",
                        f"{x} = lambda: {y}",
                        f"class {x}:\n    {y} = {z}",
                        f"for {x} in ({y},): {z} = {x}",
                        f"({x}, {y}) = (1, 2)",
                        f"del {x}",
                        f"import os as {x}",
                        f"if True: {x} = {y}",
                        f"{x} = {{{y!r}: 1}}",
                        f"{x} = f'{{{y}}}'",
                        f"with nothing() as {x}: {y} = 1",
                        f"try: {x} = {y}\nfinally: {z} = 1",
                        f"assert [{x}, {y}]",
                    ]
                )
            )
        )
    return "\n".join(lines)


@settings(max_examples=120, deadline=None)
@given(straight_lines())
def test_hard_reads_are_the_names_whose_absence_raises(code: str) -> None:
    """A name is a hard read if and only if the program fails on it when all other names are there."""
    found = read_block([(1, ast.parse(code))])
    hard = {r.name for r in found.reads if r.kind is HARD} - {"nothing"}

    if _fails_on(code, absent=None) is not None:
        return  # it reads what it has deleted: nothing that it could receive would mend that
    for name in NAMES:
        assert (_fails_on(code, absent=name) == name) is (name in hard), (name, hard)


def _fails_on(code: str, absent: str | None) -> str | None:
    """Run the program with all names there but one; return the name that it fails on."""
    namespace: dict[str, object] = {"nothing": contextlib.nullcontext, **{n: 0 for n in NAMES if n != absent}}
    try:
        exec(code, namespace)
    except NameError as error:
        return error.name
    return None


@settings(max_examples=120, deadline=None)
@given(straight_lines())
def test_what_is_surely_bound_is_there_at_the_end(code: str) -> None:

    found = read_block([(1, ast.parse(code))])
    namespace: dict[str, object] = {"nothing": contextlib.nullcontext, **dict.fromkeys(NAMES, 0)}
    try:
        exec(code, namespace)
    except NameError:
        return
    assert found.must_bind <= namespace.keys()
    assert found.kills.isdisjoint(namespace)
    unchanged = {n for n in NAMES if n in namespace and n not in found.may_bind}
    assert all(namespace[n] == 0 for n in unchanged)
