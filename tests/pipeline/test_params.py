"""Values of parameters: reading what a user gives, and writing them exactly."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import math
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_nb.errors import UsageError
from kale_nb.pipeline.durations import parse_duration
from kale_nb.pipeline.literals import NotLiteral, parse_literal
from kale_nb.pipeline.params import Param, check_value, from_json, parse_value, to_json, to_source, type_name


def param(default: Any, kind: str | None = None, *, optional: bool = False) -> Param:
    return Param(name="x", type=kind or type_name(default), default=default, optional=optional)


offsets = st.integers(-1439, 1439).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
zones = st.none() | st.just(dt.UTC) | offsets | st.just(zoneinfo.ZoneInfo("UTC"))
_SCALARS = (
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.complex_numbers(allow_nan=False),
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(),
    st.timedeltas(),
)


@st.composite
def scalars(draw: st.DrawFn) -> Any:
    """One plain value; a function of its own keeps the representation of what is built on it short."""
    return draw(st.sampled_from(_SCALARS).flatmap(lambda kind: kind))


hashables = st.recursive(
    scalars(), lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=3
)
values = st.recursive(
    hashables | st.sets(hashables, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(hashables, inner, max_size=3),
    max_leaves=8,
)


def alike(one: Any, other: Any) -> bool:
    """Equal, of the same types all through, zeros of the same sign."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, list | tuple):
        return all(map(alike, one, other))
    if isinstance(one, dict):
        return all(map(alike, one, other)) and all(map(alike, one.values(), other.values()))
    return not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other)


@given(values)
@settings(max_examples=300, deadline=None)
def test_source_of_a_value_evaluates_to_it(value: Any) -> None:
    assert alike(eval(to_source(value), {}), value)


@given(values)
@settings(max_examples=300, deadline=None)
def test_what_to_json_writes_from_json_reads_without_running_it(value: Any) -> None:
    assert alike(from_json(to_json(value)), value)


@given(
    st.text(max_size=40), st.sampled_from(["int", "float", "bool", "list", "dict", "set", "date", "timedelta", "bytes", "any"])
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_value_or_a_usage_error(text: str, kind: str) -> None:
    with contextlib.suppress(UsageError):
        to_source(parse_value(Param(name="x", type=kind, default=None), text))


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_odd_floats_survive(text: str) -> None:
    again = eval(to_source(float(text)), {})
    assert repr(again) == text


def test_nan_inside_a_complex_survives() -> None:
    again = eval(to_source(complex(math.nan, -0.0)), {})
    assert math.isnan(again.real)
    assert math.copysign(1, again.imag) == -1


def test_an_int_of_many_digits_survives() -> None:
    assert eval(to_source(-(1 << 40_000)), {}) == -(1 << 40_000)


@pytest.mark.parametrize(
    ("value", "source"), [(set(), "set()"), (frozenset(), "frozenset()"), ((1,), "(1,)"), ((), "()"), ({}, "{}")]
)
def test_small_containers_are_spelled_as_themselves(value: Any, source: str) -> None:
    assert to_source(value) == source


class Colour(enum.IntEnum):
    RED = 1


def test_what_is_no_plain_value_has_no_source() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (object(), Colour.RED, loop, range(3), Ellipsis, [object()], type("S", (str,), {})("a")):
        with pytest.raises(ValueError, match=r"cannot be a parameter|contains itself"):
            to_source(value)


@pytest.mark.parametrize(
    "text", ["__import__('os').getcwd()", "open('x')", "().__class__", "x", "1 if True else 2", "lambda: 1", ""]
)
def test_from_json_reads_nothing_but_literals(text: str) -> None:
    with pytest.raises(ValueError, match="not a parameter"):
        from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "10**10**10",
        "1 << 10**9",
        "'a' * 10**9",
        "[0] * 10**9",
        "10**9 * [0]",
        "(1,) * 10**9",
        "'%1000000000d' % 1",
        "9**9**9**9",
        "1/0",
    ],
)
def test_huge_or_failing_expressions_are_no_literals(text: str) -> None:
    with pytest.raises(NotLiteral):
        parse_literal(text)


def test_nested_growth_is_no_literal_either() -> None:
    with pytest.raises(NotLiteral):
        parse_literal("[[[[0] * 1000] * 1000] * 1000] * 10000000")


def test_deep_nesting_is_no_literal() -> None:
    with pytest.raises(NotLiteral):
        parse_literal("[" * 5000 + "]" * 5000)
    with pytest.raises(NotLiteral):
        parse_literal("-" * 50_000 + "1")


class TestParseValue:
    @pytest.mark.parametrize(
        ("default", "text", "value"),
        [
            (1, "3", 3),
            (1, "-3", -3),
            (1, " 1_000 ", 1000),
            (1, "0x10", 16),
            (1, "60*60", 3600),
            (1.5, "2", 2.0),
            (1.5, "1e-3", 0.001),
            (1.5, "-inf", -math.inf),
            (True, "false", False),
            (True, "False", False),
            (False, "TRUE", True),
            (False, "yes", True),
            (True, "0", False),
            ("a", "1", "1"),
            ("a", "", ""),
            ("a", " b=c:d ", " b=c:d "),
            ("a", "None", "None"),
            ("a", "'quoted'", "'quoted'"),
            ([1], "[1, 2]", [1, 2]),
            ([1], '[true, null, "a"]', [True, None, "a"]),
            ([1], "(1, 2)", [1, 2]),
            ((1,), "[1, 2]", (1, 2)),
            ((1,), "1, 2", (1, 2)),
            ({1}, "{1, 2}", {1, 2}),
            ({1}, "[1, 2, 2]", {1, 2}),
            ({1}, "set()", set()),
            (frozenset({1}), "{1}", frozenset({1})),
            ({"a": 1}, '{"a": true}', {"a": True}),
            ({"a": 1}, "{'a': (1, 2)}", {"a": (1, 2)}),
            (b"a", "b'\\x00'", b"\x00"),
            (b"a", "grö", "grö".encode()),
            (1 + 2j, "3", 3 + 0j),
            (1 + 2j, "1+2j", 1 + 2j),
            (dt.date(2024, 1, 1), "2024-02-03", dt.date(2024, 2, 3)),
            (dt.datetime(2024, 1, 1), "2024-02-03T04:05:06", dt.datetime(2024, 2, 3, 4, 5, 6)),
            (dt.datetime(2024, 1, 1), "2024-02-03", dt.datetime(2024, 2, 3)),
            (dt.datetime(2024, 1, 1), "2024-02-03T04:05:06Z", dt.datetime(2024, 2, 3, 4, 5, 6, tzinfo=dt.UTC)),
            (dt.time(1), "04:05", dt.time(4, 5)),
            (dt.timedelta(1), "1h30m", dt.timedelta(minutes=90)),
            (dt.timedelta(1), "90", dt.timedelta(seconds=90)),
            (dt.timedelta(1), "-90s", dt.timedelta(seconds=-90)),
            (dt.timedelta(1), "timedelta(days=2)", dt.timedelta(days=2)),
            (None, "3", 3),
            (None, "abc", "abc"),
            (None, "true", True),
            (None, "None", None),
        ],
    )
    def test_what_fits(self, default: Any, text: str, value: Any) -> None:
        found = parse_value(param(default), text)
        assert alike(found, value)

    @pytest.mark.parametrize(
        ("default", "text"),
        [
            (1, "1.5"),
            (1, "true"),
            (1, "True"),
            (1, "one"),
            (1, ""),
            (1, "'1'"),
            (1, "10**10**10"),
            (1.5, "True"),
            (1.5, "fast"),
            (1.5, "None"),
            (1.5, "1" + "0" * 400 + "*1"),
            (True, "2"),
            (True, "maybe"),
            ([1], "1"),
            ([1], "abc"),
            ([1], "'abc'"),
            ([1], "{1: 2}"),
            ({1}, "[[1]]"),
            ({"a": 1}, "[1]"),
            (dt.date(2024, 1, 1), "yesterday"),
            (dt.date(2024, 1, 1), "2024-13-01"),
            (dt.date(2024, 1, 1), "'2024-01-01'"),
            (dt.timedelta(1), "soon"),
            (dt.timedelta(1), "9" * 30),
        ],
    )
    def test_what_does_not_fit_is_refused_with_all_that_helps(self, default: Any, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse_value(param(default), text)
        assert "parameter x takes" in caught.value.message
        assert type_name(default) in caught.value.message
        assert "default" in caught.value.message

    def test_a_type_that_may_be_none_takes_none(self) -> None:
        assert parse_value(param(3, optional=True), "None") is None
        assert parse_value(param("a", optional=True), "null") is None


class TestCheckValue:
    @pytest.mark.parametrize(
        ("default", "given", "value"),
        [
            (1.0, 2, 2.0),
            ((1,), [1, 2], (1, 2)),
            ({1}, [1], {1}),
            (1.0, "1e-3", 0.001),
            (dt.datetime(2024, 1, 1), dt.date(2024, 2, 3), dt.datetime(2024, 2, 3)),
            (dt.timedelta(1), 90, dt.timedelta(seconds=90)),
            (dt.date(2024, 1, 1), "2024-02-03", dt.date(2024, 2, 3)),
            (None, [1], [1]),
        ],
    )
    def test_what_fits(self, default: Any, given: Any, value: Any) -> None:
        assert alike(check_value(param(default), given), value)

    @pytest.mark.parametrize(
        ("default", "given"),
        [
            (1, True),
            (1.0, True),
            (1, 1.0),
            ("a", 1),
            ("a", True),
            ("a", None),
            ([1], {1: 2}),
            (1, None),
            (1.0, 10**400),
            (True, 1),
            (None, object()),
            ([1], [object()]),
            (dt.date(2024, 1, 1), dt.datetime(2024, 1, 1)),
        ],
    )
    def test_what_does_not(self, default: Any, given: Any) -> None:
        with pytest.raises(UsageError, match="parameter x takes"):
            check_value(param(default), given)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("1h 30m", 5400),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10x", "m10", "-5", "1h30", "٣m", "1e3", "inf", "9" * 400])
def test_no_durations(text: str) -> None:
    assert parse_duration(text) is None
