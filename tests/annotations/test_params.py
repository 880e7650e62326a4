"""Parameters cells: what is a parameter, of which type, and what is said of the rest."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kale_nb.annotations.params import read_params
from kale_nb.annotations.reading import read_marks
from kale_nb.diagnostics import Diagnostic, Severity
from kale_nb.location import Location
from kale_nb.pipeline.params import Param
from tests.annotations.marking import source


def read(text: str, *others: tuple[str, ...]) -> tuple[dict[str, Param], tuple[Diagnostic, ...]]:
    marked, _ = read_marks(source(*others, (text, "parameters"), ("x", "step:a")))
    params, found = read_params(marked.cells, "nb.ipynb")
    return {p.name: p for p in params}, found


def one(text: str) -> Param:
    params, found = read(text)
    assert not found
    assert len(params) == 1
    return next(iter(params.values()))


@pytest.mark.parametrize(
    ("text", "kind", "default"),
    [
        ("x = 1", "int", 1),
        ("x = -1", "int", -1),
        ("x = 1.5", "float", 1.5),
        ("x = 1e-4", "float", 1e-4),
        ("x = 'a'", "str", "a"),
        ("x = 'it\\'s \"q\"'", "str", 'it\'s "q"'),
        ("x = True", "bool", True),
        ("x = not True", "bool", False),
        ("x = None", "None", None),
        ("x = [1, 'a', None]", "list", [1, "a", None]),
        ("x = (1, 2)", "tuple", (1, 2)),
        ("x = 1, 2", "tuple", (1, 2)),
        ("x = {'a': {'b': [1]}}", "dict", {"a": {"b": [1]}}),
        ("x = {1, 2}", "set", {1, 2}),
        ("x = set()", "set", set()),
        ("x = frozenset({1})", "frozenset", frozenset({1})),
        ("x = b'a'", "bytes", b"a"),
        ("x = 1 + 2j", "complex", 1 + 2j),
        ("x = 60 * 60", "int", 3600),
        ("x = 2 ** 10 - 1", "int", 1023),
        ("x = 'a' + 'b'", "str", "ab"),
        ("x = '-' * 3", "str", "---"),
        ("x = [0] * 3", "list", [0, 0, 0]),
        ("x = [*(1, 2), 3]", "list", [1, 2, 3]),
        ("x = {**{'a': 1}, 'b': 2}", "dict", {"a": 1, "b": 2}),
        ("x = float('inf')", "float", float("inf")),
        ("x = dict(a=1)", "dict", {"a": 1}),
        ("x = datetime.date(2024, 1, 31)", "date", dt.date(2024, 1, 31)),
        ("x = date(2024, 1, 31)", "date", dt.date(2024, 1, 31)),
        ("x = datetime.datetime(2024, 1, 31, 12)", "datetime", dt.datetime(2024, 1, 31, 12)),
        ("x = datetime(2024, 1, 31)", "datetime", dt.datetime(2024, 1, 31)),
        ("x = datetime.fromisoformat('2024-01-31')", "datetime", dt.datetime(2024, 1, 31)),
        ("x = timedelta(hours=1)", "timedelta", dt.timedelta(hours=1)),
        ("x = 2 * timedelta(hours=1)", "timedelta", dt.timedelta(hours=2)),
        ("import datetime as d\nx = d.date(2024, 1, 31)", "date", dt.date(2024, 1, 31)),
        ("from datetime import date as D\nx = D(2024, 1, 31)", "date", dt.date(2024, 1, 31)),
        ("x: int = 1", "int", 1),
        ("x: float = 1", "float", 1),
        ("x: 'int' = 1", "int", 1),
        ("x: list[int] = [1]", "list", [1]),
        ("x: typing.List[int] = [1]", "list", [1]),
        ("x: dict[str, list[int]] = {}", "dict", {}),
        ("x: Sequence[int] = [1]", "list", [1]),
        ("x: Any = 1", "any", 1),
        ("x: int | str = 1", "any", 1),
        ("x: int | float = 1", "float", 1),
        ("x: Literal['a', 'b'] = 'a'", "str", "a"),
        ("x: Final[int] = 1", "int", 1),
        ("x: Annotated[int, 'rate'] = 1", "int", 1),
        ("x: MyType = 1", "int", 1),
        ("x: (1)[0] = 1", "int", 1),
    ],
)
def test_type_and_default(text: str, kind: str, default: Any) -> None:
    found = one(text)
    assert (found.type, found.default, type(found.default)) == (kind, default, type(default))
    assert not found.optional or kind in ("any", "None")


@pytest.mark.parametrize(
    "text", ["int | None", "None | int", "Optional[int]", "typing.Optional[int]", "Union[int, None]", "'int | None'"]
)
def test_annotations_that_allow_none(text: str) -> None:
    assert (one(f"x: {text} = 3").type, one(f"x: {text} = 3").optional) == ("int", True)
    assert (one(f"x: {text} = None").type, one(f"x: {text} = None").optional) == ("int", True)


def test_none_as_default_of_another_type_allows_none() -> None:
    assert one("x: int = None").optional


@pytest.mark.parametrize(
    "text",
    [
        "x = f()",
        "x = y",
        "x = [i for i in y]",
        "x = os.environ['A']",
        "x = 10**10**10",
        "x = 'a' * 10**10",
        "x = 1 / 0",
        "x = f'{1}'",
        "x = lambda: 1",
        "x = ...",
        "x = 1 if y else 2",
        "x: int",
        "x.y = 1",
        "x[0] = 1",
        "print(1)",
        "if y:\n    x = 1",
        "for x in (1, 2): pass",
        "def x(): ...",
        "import x",
        "x = 1\nx = f()",
        "x = 1\ndel x",
        "x = 1\nif y: x = 2",
        "x = 1\nimport x",
        "x = []\nx.append(f())",
        "x = (",
        "x = 1 2",
        "a, b = f()",
        "a, *b = 1, 2, 3",
        "",
    ],
)
def test_what_is_no_literal_is_no_parameter_and_no_error(text: str) -> None:
    assert read(text) == ({}, ())


def test_ipython_lines_do_not_hide_the_rest() -> None:
    assert set(read("%matplotlib inline\nx = 1\n!ls\n%pipeline --name a\ny = 2")[0]) == {"x", "y"}


def test_tuples_and_chains_of_targets() -> None:
    params, _ = read("a, b = 1, 'x'\nc = d = 2.5\n(e, [f, g]) = (1, (2, 3))")
    assert {n: p.default for n, p in params.items()} == {"a": 1, "b": "x", "c": 2.5, "d": 2.5, "e": 1, "f": 2, "g": 3}


def test_the_last_assignment_counts() -> None:
    assert one("x = 1\nx = 'a'").default == "a"
    assert one("x = 1\nx += 2").default == 3
    assert one("x: int = 1\nx = None").type == "int"


def test_parameters_of_several_cells_come_in_order() -> None:
    marked, _ = read_marks(source(("b = 1", "parameters"), "a = 2", ("b = 3", "injected-parameters"), ("x", "step:a")))
    params, _ = read_params(marked.cells, "nb.ipynb")
    assert {p.name: p.default for p in params} == {"a": 2, "b": 3}


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("x = 1  # how many", "how many"),
        ("# how many\nx = 1", "how many"),
        ("# above\nx = 1  # beside", "beside"),
        ("x = 1", None),
        ("x = '# no'", None),
        ("x = (1,  # first\n     2)  # both", "both"),
        ("x = 'größe'  # wie groß", "wie groß"),
        ("x = 1  # type: int", None),
        ("x = 1  #: doc", "doc"),
        ("# ------\nx = 1", None),
        ("# how many\nx = 1\n# how fast\n", "how many"),
        ("# Parameters\nx = 1", None),
        ("# %%parameters\nx = 1", None),
    ],
)
def test_the_comment_describes(text: str, description: str | None) -> None:
    assert one(text).description == description


def test_a_comment_above_several_assignments_describes_none() -> None:
    assert [p.description for p in read("# of training\na = 1\nb = 2")[0].values()] == [None, None]


def test_a_mark_line_describes_nothing() -> None:
    marked, _ = read_marks(source("%%parameters\nx = 1", ("y", "step:a")))
    assert read_params(marked.cells, "nb.ipynb")[0][0].description is None


def test_a_parameter_knows_its_place() -> None:
    assert str(read("a = 1\nü, b = 1, 2")[0]["b"].location) == "nb.ipynb[cell 1]:2:4"


def test_names_of_datetime_may_come_from_an_imports_cell() -> None:
    params, _ = read("x = uhr.time(3)", ("import datetime as uhr", "imports"))
    assert params["x"].default == dt.time(3)


def test_a_value_computed_from_a_parameter_is_warned_of() -> None:
    params, found = read("n = 3\nxs = [i for i in range(n)]")
    assert set(params) == {"n"}
    assert [(d.rule.code, d.level, str(d.location)) for d in found] == [("KN510", Severity.WARNING, "nb.ipynb[cell 1]:2:1")]
    assert found[0].source_line == "xs = [i for i in range(n)]"


def test_so_is_one_computed_from_that() -> None:
    _, found = read("n = 3\nm = f(n)\nk = g(m)")
    assert len(found) == 2


def test_a_parameter_computed_from_a_parameter_is_noted() -> None:
    params, found = read("n = 3\nm = n * 2")
    assert params["m"].default == 6
    assert [(d.rule.code, d.level) for d in found] == [("KN510", Severity.NOTE)]


def test_a_parameter_changed_by_itself_is_not() -> None:
    assert read("n = 3\nn = n + 1\nn *= 2")[1] == ()


def test_a_cell_of_many_parameters_is_read_at_once() -> None:
    text = "\n".join(f"p{i} = {i}" for i in range(3000))
    assert len(read(text)[0]) == 3000


def test_a_cell_that_is_indented_as_a_whole_is_read_as_ipython_runs_it() -> None:
    params, found = read(
        "  lr = 0.1  # learning rate\n  if True:\n      %time\n\n  text = '''a\n  b'''\n  twice = [e * 2 for e in range(lr)]"
    )
    assert {name: param.default for name, param in params.items()} == {"lr": 0.1, "text": "a\nb"}
    assert params["lr"].description == "learning rate"
    assert params["lr"].location == Location(path="nb.ipynb", cell=1, line=1, column=3)
    [stale] = found
    assert (stale.location.line, stale.location.column) == (7, 3)
    assert stale.source_line == "  twice = [e * 2 for e in range(lr)]"
    assert stale.end_column == len(stale.source_line) + 1
