"""Tracebacks in the user's terms, from what IPython reports; no kernel here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kale_nb.engines.local.failures import Place, died, from_reply, timed_out
from tests.engines.making import code

PLACE = Place(source="my nb.ipynb", clone=Path("/w/.kale/runs/r1/work"))


def cells(*made: dict[str, Any]) -> list[dict[str, Any]]:
    for count, cell in enumerate(made, 1):
        cell["execution_count"] = count
    return list(made)


BOOK = cells(
    code("_kale_data = '.'", "parameters"),
    code("def f(x):\n    return 1 / x", "functions", cell=2),
    code("from kale_nb import runtime as _kale\n_kale.load()", "kale-load"),
    code("y = 0\nf(y)", cell=6),
    code("_kale.save()", "kale-save"),
)


def reply(ename: str, evalue: str, *lines: str) -> dict[str, Any]:
    return {"ename": ename, "evalue": evalue, "traceback": list(lines)}


def test_frames_in_cells_become_places_in_the_notebook() -> None:
    failure = from_reply(
        BOOK,
        3,
        reply(
            "ZeroDivisionError",
            "division by zero",
            "\x1b[31m-----------------------------------------------------------------\x1b[39m",
            "\x1b[31mZeroDivisionError\x1b[39m                 Traceback (most recent call last)",
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[4]\x1b[39m\x1b[32m, line 2\x1b[39m\n      1 y = 0\n----> 2 f(y)\n",
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[2]\x1b[39m\x1b[32m, line 2\x1b[39m, in f(x)\n      1 def f(x):\n----> 2     return 1 / x\n",
            "\x1b[31mZeroDivisionError\x1b[39m: division by zero",
        ),
        PLACE,
    )
    assert (failure.kind, failure.message, failure.cell, failure.line) == (
        "exception",
        "ZeroDivisionError: division by zero",
        6,
        2,
    )
    assert failure.traceback.splitlines() == [
        "ZeroDivisionError                 Traceback (most recent call last)",
        "my nb.ipynb[cell 6]:2",
        "      1 y = 0",
        "----> 2 f(y)",
        "",
        "my nb.ipynb[cell 2]:2, in f(x)",
        "      1 def f(x):",
        "----> 2     return 1 / x",
        "",
        "ZeroDivisionError: division by zero",
    ]


def test_frames_of_ours_and_of_ipython_are_dropped_and_the_message_stays() -> None:
    failure = from_reply(
        BOOK,
        3,
        reply(
            "KeyError",
            "'k'",
            "----------------------\nKeyError   Traceback (most recent call last)",
            "Cell In[4], line 1\n----> 1 get_ipython().run_line_magic('x', '')\n",
            "File /site/IPython/core/interactiveshell.py:2488, in InteractiveShell.run_line_magic(self)\n   2486 x\n-> 2488 fn()\n",
            "File /w/.kale/runs/r1/work/lib/mine.py:3, in g()\n----> 3 d['k']\n",
            "File /site/kale_nb/runtime.py:9, in hook()\n      8 a\n----> 9 raise\n\nKeyError: 'k'",
        ),
        PLACE,
    )
    assert "IPython/core" not in failure.traceback
    assert "kale_nb" not in failure.traceback
    assert "File lib/mine.py:3, in g()" in failure.traceback
    assert failure.traceback.endswith("KeyError: 'k'")


def test_a_syntax_error_is_placed() -> None:
    failure = from_reply(
        BOOK,
        3,
        reply("SyntaxError", "invalid syntax", "  Cell In[4], line 2\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n"),
        PLACE,
    )
    assert (failure.cell, failure.line) == (6, 2)
    assert "my nb.ipynb[cell 6]:2" in failure.traceback


def test_errors_of_load_and_save_show_only_their_message() -> None:
    for index, name, kind in ((4, "MarshalError", "marshal"), (2, "ConflictError", "conflict")):
        failure = from_reply(BOOK, index, reply(name, "step 'a': `m` cannot travel", "Cell In[5], line 1", "File kale"), PLACE)
        assert (failure.kind, failure.message, failure.traceback, failure.cell) == (kind, "step 'a': `m` cannot travel", "", None)


def test_the_users_own_error_of_that_name_is_an_exception() -> None:
    assert from_reply(BOOK, 3, reply("MarshalError", "mine", "Cell In[4], line 1"), PLACE).kind == "exception"


def test_a_huge_traceback_is_cut_in_the_middle() -> None:
    failure = from_reply(BOOK, 3, reply("ValueError", "x", "Cell In[4], line 1\n" + "y" * 5_000_000 + "\nValueError: end"), PLACE)
    assert len(failure.traceback) < 300_000
    assert failure.traceback.endswith("ValueError: end")


def test_a_reply_without_anything_does_not_crash() -> None:
    assert from_reply(BOOK, 0, {}, PLACE).message == "Error"


def test_deaths_and_timeouts_say_what_to_do() -> None:
    assert "SIGKILL" in died(-9, None, BOOK[3]).message
    assert "memory" in (died(-9, None, BOOK[3]).hint or "")
    assert died(-9, None, BOOK[3]).cell == 6
    assert "exit code 0" in died(0, None, None).message
    assert "signal 99" in died(-99, None, None).message
    assert died(None, "no such file", None).kind == "engine"
    assert "2.5 s" in timed_out(2.5, "", BOOK[3]).message
