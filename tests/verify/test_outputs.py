"""What counts as the same output, and what does not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kale_nb.names import StepName
from kale_nb.verify.compare import Answer, compare_step
from kale_nb.verify.outputs import Said, said, steady


def stream(text: str | list[str], name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def result(text: str, count: int = 1, **data: Any) -> dict[str, Any]:
    return {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": {"text/plain": text, **data}}


SAME = {
    "an execution count": ([result("1", 3)], [result("1", 8)]),
    "the chunks of a stream": ([stream("a\nb\n")], [stream("a\n"), stream(["b", "\n"])]),
    "an address": ([result("<x.A at 0x7f3a2b4c5d6e>")], [result("<x.A at 0x7fffffffffff>")]),
    "colours": ([stream("\x1b[31mred\x1b[0m\n")], [stream("red\n")]),
    "the time of %%time": (
        [stream("CPU times: user 3 µs, sys: 0 ns, total: 3 µs\nWall time: 5.48 µs\n")],
        [stream("CPU times: user 12 ms, sys: 1 ms, total: 13 ms\nWall time: 1min 2s\n")],
    ),
    "the time of %%timeit": (
        [stream("1.2 µs ± 3.4 ns per loop (mean ± std. dev. of 7 runs, 1,000,000 loops each)\n")],
        [stream("987 ns ± 30 ns per loop (mean ± std. dev. of 7 runs, 100 loops each)\n")],
    ),
    "the bytes of a picture": (
        [result("<Figure size 640x480 with 1 Axes>", **{"image/png": "AAAA"})],
        [result("<Figure size 640x480 with 1 Axes>", **{"image/png": "BBBB"})],
    ),
    "the rate of a progress bar": (
        [stream("\r 50%|#####| 5/10 [00:01<00:01, 4.95it/s]\r100%|##########| 10/10 [00:02<00:00, 4.9it/s]", "stderr")],
        [stream("\r100%|##########| 10/10 [00:03<00:00, 3.2it/s]", "stderr")],
    ),
    "the kernel's temporary file": (
        [stream("/tmp/ipykernel_12/345.py:1: UserWarning: w\n", "stderr")],
        [stream("/tmp/ipykernel_99/777.py:1: UserWarning: w\n", "stderr")],
    ),
    "when the two streams arrived": (
        [stream("a\n"), stream("w\n", "stderr"), stream("b\n")],
        [stream("w\n", "stderr"), stream("a\nb\n")],
    ),
}

DIFFERENT = {
    "a number": ([stream("0.5\n")], [stream("0.25\n")]),
    "a missing line": ([stream("a\nb\n")], [stream("a\n")]),
    "a result": ([result("1")], [result("2")]),
    "a result in place of a print": ([stream("1\n"), result("2")], [result("2"), stream("1\n")]),
    "a short hex number": ([stream("0x12\n")], [stream("0x13\n")]),
    "a time that the user prints": ([stream("took 3 s\n")], [stream("took 4 s\n")]),
    "a picture that is missing": ([result("f", **{"image/png": "A"})], [result("f")]),
    "an exception": (
        [{"output_type": "error", "ename": "ValueError", "evalue": "a", "traceback": ["x"]}],
        [{"output_type": "error", "ename": "ValueError", "evalue": "b", "traceback": ["x"]}],
    ),
    "a warning": ([stream("w\n", "stderr")], []),
    "space within a line": ([stream("a  b\n")], [stream("a b\n")]),
    "an empty line": ([stream("a\n\nb\n")], [stream("a\nb\n")]),
}


@pytest.mark.parametrize("what", SAME)
def test_is_no_difference(what: str) -> None:
    one, other = SAME[what]
    assert said(one) == said(other)


@pytest.mark.parametrize("what", DIFFERENT)
def test_is_a_difference(what: str) -> None:
    one, other = DIFFERENT[what]
    assert said(one) != said(other)


def test_the_place_of_the_clone_is_no_difference() -> None:
    one = said([stream("/a/work/data.csv\n")], {"/a/work": "<workspace>"})
    assert one == said([stream("/b/clone/data.csv\n")], {"/b/clone": "<workspace>"})
    assert one.shown == ("<workspace>/data.csv",)


@pytest.mark.parametrize(
    "odd", [{}, {"output_type": "stream"}, {"output_type": "display_data", "data": None}, {"output_type": "new"}]
)
def test_odd_outputs_are_nothing(odd: dict[str, Any]) -> None:
    assert said([odd]) == Said()


STEP = StepName("s")


def test_the_first_cell_that_differs_is_named_with_a_small_difference() -> None:
    same, a, b = Said(shown=("x",)), Said(shown=("1", "2", "3")), Said(shown=("1", "5", "3"))
    verdict = compare_step(STEP, [3, 4, 6], {3: same, 4: a, 6: same}, {3: same, 4: b, 6: a})
    assert (verdict.answer, verdict.cell) == (Answer.DIFFERENT, 4)
    assert verdict.diff == (" 1", "-2", "+5", " 3")


def test_a_flood_of_differences_is_cut() -> None:
    one, other = Said(shown=tuple("ab" * 500)), Said(shown=tuple("cd" * 500))
    assert len(compare_step(STEP, [1], {1: one}, {1: other}).diff) < 40


def test_standard_error_alone_may_differ() -> None:
    verdict = compare_step(STEP, [1], {1: Said(shown=("x",))}, {1: Said(shown=("x",), errors=("careful",))})
    assert verdict.diff == ("+careful",)


def test_a_cell_that_only_one_way_ran_is_not_the_same() -> None:
    verdict = compare_step(STEP, [1, 2], {1: Said(), 2: Said()}, {1: Said()})
    assert (verdict.answer, verdict.cell) == (Answer.NOT_RUN, 2)
    assert verdict.reason is not None
    assert "notebook" in verdict.reason


def test_cells_that_said_nothing_are_the_same() -> None:
    assert compare_step(STEP, [1], {1: Said()}, {1: Said()}).answer is Answer.SAME
    assert compare_step(STEP, [], {}, {}).answer is Answer.SAME


@pytest.mark.parametrize(
    "text", ["x" * 300_000, "1" * 300_000, "1:" * 150_000, "1.5 " * 75_000, "/a" * 150_000], ids=lambda t: t[:3]
)
def test_a_long_line_is_read_in_one_go(text: str) -> None:
    began = time.process_time()
    assert steady(text) == text
    assert time.process_time() - began < 2
