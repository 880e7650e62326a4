"""What bodies of functions, lambdas and classes read from the top level (`kale_nb.dataflow.scopes`)."""

from __future__ import annotations

import ast

import pytest

from kale_nb.dataflow.facts import Scope
from kale_nb.dataflow.scopes import Definition, scope_of


def _scope(code: str) -> Scope:
    node = next(n for n in ast.walk(ast.parse(code)) if isinstance(n, Definition))
    return scope_of(node)


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("def f(a): return a + b", {"b"}),
        ("def f():\n    b = 1\n    return b", set()),
        ("def f():\n    def g():\n        return b\n    return g", {"b"}),
        ("def f():\n    b = 1\n    def g():\n        return b\n    return g", set()),
        ("def f():\n    b = 1\n    def g():\n        nonlocal b\n        b = 2\n    return g", set()),
        ("lambda a: a + b", {"b"}),
        ("def f(): return [x + b for x in c]", {"b", "c"}),
        ("def f(): return [b for b in c]", {"c"}),
        ("def f(): return (y := b) + y", {"b"}),
        ("class C:\n    def m(self):\n        return b", {"b"}),
        ("class C:\n    b = 1\n    def m(self):\n        return b", {"b"}),
        ("class C:\n    def m(self):\n        return self.__b", set()),
        ("class C:\n    def m(self):\n        return super().m()", {"super"}),
        ("def f(a=d): return a", set()),
        ("def f(a: T) -> U: return a", set()),
        ("def f():\n    import b\n    return b", set()),
        ("async def f():\n    async with b as c:\n        await c", {"b"}),
        ("def f():\n    try:\n        pass\n    except b as e:\n        return e", {"b"}),
        ("def f():\n    global b\n    return b", {"b"}),
        ("def f():\n    yield from b", {"b"}),
        ("def f(df): return df.query('a > @limit')", {"limit"}),
        ("def f(x):\n    match x:\n        case b.C(): return 1", {"b"}),
    ],
)
def test_names_read_from_the_top_level(code: str, reads: set[str]) -> None:
    assert _scope(code).reads == reads


def test_names_bound_by_global() -> None:
    found = _scope("def f():\n    global n, m\n    n = 1\n    import m")
    assert found.binds == {"n", "m"}
    assert not _scope("def f():\n    global n\n    return n").binds
    assert _scope("def f():\n    def g():\n        global n\n        n += 1").binds == {"n"}


@pytest.mark.parametrize("body", ["exec(code)", "eval(code)", "globals()['x']", "__main__.x", "get_ipython().user_ns['x']"])
def test_bodies_that_may_use_any_name_are_opaque(body: str) -> None:
    assert _scope(f"def f(code):\n    return {body}").opaque


@pytest.mark.parametrize("body", ["a.evaluate(1)", "locals_of(a)", "'exec'", "a.query('b > 1')"])
def test_bodies_that_only_look_alike_are_not_opaque(body: str) -> None:
    assert not _scope(f"def f(a):\n    return {body}").opaque
