"""Sets come back in the order in which they were iterated."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kale_nb import marshal


def _union(xs: list[int]) -> set[int]:
    return set(xs[::2]) | set(xs[1::2])


def _after_removals(xs: list[int]) -> set[int]:
    made = set(xs)
    for x in xs[::3]:
        made.discard(x)
    return made


def _common(xs: list[int]) -> set[int]:
    return set(xs[: len(xs) // 2 + 2]) & set(xs)


@pytest.mark.parametrize("make", [set, _union, _after_removals, _common])
@pytest.mark.parametrize("size", [3, 5, 12, 40, 300])
def test_a_set_is_iterated_as_before(make: Callable[[list[int]], set[int]], size: int, tmp_path: Path) -> None:
    draw = random.Random(size)
    made = {f"s{n}": make([draw.randrange(10**6) for _ in range(size)]) for n in range(20)}
    marshal.save(made, tmp_path / "b", main={}, by_reference=())
    found = marshal.load(tmp_path / "b", list(made), main={})
    assert [list(v) for v in found.values()] == [list(v) for v in made.values()]  # type: ignore[call-overload]


def test_a_set_in_an_object_graph_stays_one_object(tmp_path: Path) -> None:
    inner = set(range(100))
    for n in range(90):
        inner.discard(n)
    value = {"a": inner, "b": [inner]}
    marshal.save({"v": value}, tmp_path / "b", main={}, by_reference=())
    found: Any = marshal.load(tmp_path / "b", ["v"], main={})["v"]
    assert found == value
    assert found["a"] is found["b"][0]
    assert list(found["a"]) == list(range(90, 100))


def test_elements_of_the_users_own_classes_are_not_hashed_again(tmp_path: Path) -> None:
    hashed = []

    class Counted(str):
        __slots__ = ()

        def __hash__(self) -> int:
            hashed.append(1)
            return 1

    made = {Counted("a"), Counted("b"), Counted("c")}
    hashed.clear()
    marshal.save({"s": made}, tmp_path / "b", main={}, by_reference=())
    assert not hashed
