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
