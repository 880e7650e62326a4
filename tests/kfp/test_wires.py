"""Parameters come back from JSON as what they were declared."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_nb.engines.kfp.wires import restore, to_wire, told, wire_of
from kale_nb.errors import UsageError
from kale_nb.pipeline.params import Param, to_source, type_name


def param(default: object, **more: Any) -> Param:
    return Param(name="p", type=more.pop("type", type_name(default)), default=default, **more)


def doubles(value: Any) -> Any:
    """What a protobuf Value makes of JSON: every number a double, objects in another order."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, list):
        return [doubles(v) for v in value]
    if isinstance(value, dict):
        return {k: doubles(v) for k, v in sorted(value.items(), reverse=True)}
    return value


def there_and_back(one: Param, value: object) -> object:
    return restore("p", json.loads(json.dumps(told(one))), doubles(json.loads(json.dumps(to_wire(one, value)))))


@pytest.mark.parametrize(
    ("default", "kind"),
    [
        (3, "NUMBER_INTEGER"),
        (2**53 + 1, "STRING"),
        (0.5, "NUMBER_DOUBLE"),
        (math.inf, "STRING"),
        ("x", "STRING"),
        (True, "BOOLEAN"),
        ([1, 2.0, "a"], "LIST"),
        ([1, (2,)], "STRING"),
        ({"a": {"b": [1.0]}}, "STRUCT"),
        ({1: "a"}, "STRING"),
        ((1, 2), "STRING"),
        ({1, 2}, "STRING"),
        (b"ab", "STRING"),
        (dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC), "STRING"),
        (None, "STRING"),
    ],
)
def test_a_default_comes_back_as_it_is(default: object, kind: str) -> None:
    one = param(default)
    assert wire_of(one).kind == kind
    back = restore("p", told(one), doubles(wire_of(one).default))
    assert to_source(back) == to_source(default)


@pytest.mark.parametrize(
    ("default", "value"),
    [
        (3, 4),
        (1.0, 2.0),
        ("3", "4.0"),
        ([1], [2, 3]),
        ([1.0, 2.0], [2.0, 3.0, 4.0]),
        ([], [1, 2]),
        ({"depth": 1, "rate": 1.0}, {"depth": 2, "rate": 2.0}),
        ({"a": 1.0}, {"a": 2.0, "b": 3.0}),
        ((1, 2.0), (3, 4.0)),
        (dt.date(2024, 1, 31), dt.date(2025, 1, 1)),
        (2**60, 5),
    ],
)
def test_another_value_comes_back_as_it_is(default: object, value: object) -> None:
    assert to_source(there_and_back(param(default), value)) == to_source(value)


def test_a_parameter_that_may_be_none_can_be_set_and_unset() -> None:
    one = param(None, type="int", optional=True)
    assert there_and_back(one, 5) == 5
    assert there_and_back(one, None) is None
    text = param(None, type="str", optional=True)
    assert there_and_back(text, "5") == "5"


def test_text_that_looks_like_another_type_stays_text() -> None:
    assert there_and_back(param("x"), "None") == "None"
    assert there_and_back(param("x"), "3") == "3"


def test_what_json_cannot_hold_is_refused_before_it_is_sent() -> None:
    for value in (2**60, "three"):
        with pytest.raises(UsageError):
            there_and_back(param(3), value)


VALUES = st.recursive(
    st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.booleans()
    | st.none()
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(VALUES)
def test_every_default_comes_back_as_it_is(default: object) -> None:
    one = param(default)
    assert to_source(restore("p", told(one), doubles(wire_of(one).default))) == to_source(default)


@pytest.mark.parametrize(
    ("kind", "default"),
    [("float", 3), ("complex", 1), ("int", 3.5), ("float", True), ("bool", 1), ("str", 5), ("list", (1, 2)), ("tuple", [1])],
)
def test_a_default_stays_what_it_is_whatever_type_is_declared(kind: str, default: object) -> None:
    one = Param(name="p", type=kind, default=default)
    arrived = restore("p", json.loads(json.dumps(told(one))), doubles(json.loads(json.dumps(wire_of(one).default))))
    assert (type(arrived), arrived) == (type(default), default)


def test_a_float_that_is_given_is_one_though_its_default_is_an_integer() -> None:
    arrived = there_and_back(param(3, type="float"), 4)
    assert (type(arrived), arrived) == (float, 4.0)


@pytest.mark.parametrize("value", ["{{$}}", ["a", {"k": "{{$.inputs.parameters['q']}}"}], b"{{$"])
def test_what_kubeflow_would_replace_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="puts other text in its place"):
        to_wire(param("x", type="any"), value)


@pytest.mark.parametrize("text", ["~", "null", "None"])
def test_a_text_that_would_mean_none_is_refused(text: str) -> None:
    one = param(None, type="str", optional=True)
    with pytest.raises(UsageError, match="where it means None"):
        to_wire(one, text)
    assert there_and_back(one, "x") == "x"
    assert there_and_back(one, None) is None
