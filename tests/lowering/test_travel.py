"""Values and state that stay in their step: `kale_nb.lowering.travel`."""

from __future__ import annotations

import pytest

from kale_nb.diagnostics import Severity
from tests.lowering.checking import check_compiles, check_rejects, check_text, rendered, underlined

IMPORTS = "%%imports\nimport os, sys, threading, sqlite3, socket, subprocess, gzip\nfrom threading import Lock\n"
STUCK = {
    "(i for i in range(3))": "a generator",
    "open('data.csv')": "an open file",
    "gzip.open('data.gz')": "an open file",
    "threading.Lock()": "a lock",
    "Lock()": "a lock",
    "sqlite3.connect('db.sqlite')": "a database connection",
    "socket.socket()": "a socket",
    "subprocess.Popen(['ls'])": "a running process",
}


@pytest.mark.parametrize(("value", "kind"), STUCK.items())
def test_a_value_that_cannot_travel_and_is_read_later(value: str, kind: str) -> None:
    text = f"{IMPORTS}%%step a\nthing = {value}\n%%step b --after a\nprint(thing)"
    found = check_rejects(text, "KN401", "[cell 2]:1:1", ["`thing`", kind, "`a`", "`b`"])
    assert underlined(found) == "thing"
    assert found.hint


@pytest.mark.parametrize("value", list(STUCK))
def test_a_value_that_cannot_travel_and_stays_is_left_alone(value: str) -> None:
    check_compiles(f"{IMPORTS}%%step a\nthing = {value}\nprint(thing)\nx = 1\n%%step b --after a\nprint(x)")


@pytest.mark.parametrize(
    "code",
    [
        "rows = (r for r in range(3))\nrows = list(rows)",
        "with open('f') as rows:\n    pass\nrows = 1",
        "rows = open('f').read()",
        "rows = sum(i for i in range(3))",
        "rows = [threading.Lock is None]",
        "rows = len(list(open('f')))",
    ],
)
def test_a_name_that_ends_with_a_value_that_travels_is_left_alone(code: str) -> None:
    check_compiles(f"{IMPORTS}%%step a\n{code}\n%%step b --after a\nprint(rows)")


def test_a_value_that_cannot_travel_but_is_perhaps_replaced_is_not_refused_for_sure() -> None:
    text = "%%step a\nimport random\nf = open('f')\nif random.random() > 2:\n    f = 1\n%%step b --after a\nprint(f)"
    assert "KN401" not in {d.rule.code for d in check_text(text).diagnostics}


@pytest.mark.parametrize(
    "code",
    [
        "os.chdir('data')",
        "os.environ['MODE'] = 'fast'",
        "sys.path.append('lib')",
        "%cd data",
        "%env MODE=fast",
    ],
)
def test_state_of_the_process_that_a_later_step_would_miss_is_a_warning(code: str) -> None:
    text = f"{IMPORTS}%%step a\n{code}\nx = 1\n%%step b --after a\nprint(x, os.getcwd(), sys.path)"
    check_rejects(text, "KN402", "[cell 2]:1:1", ["`a`"], level=Severity.WARNING)


@pytest.mark.parametrize(
    "code", ["print(os.environ['HOME'])", "print(os.getcwd(), sys.path)", "environ = {}\nenviron['a'] = 1", "%env HOME"]
)
def test_reading_state_is_left_alone(code: str) -> None:
    found = check_text(f"{IMPORTS}%%step a\n{code}\n%%step b --after a\nprint(1)").diagnostics
    assert not found, rendered(found)


def test_state_set_in_an_imports_cell_or_in_the_last_step_is_left_alone() -> None:
    check_compiles(
        "%%imports\nimport os\nos.environ['MODE'] = 'fast'\n%%step a\nx = 1\n%%step b --after a\nos.chdir('.')\nprint(x)"
    )


PLOT = "%%imports\nimport matplotlib.pyplot as plt\n%%step a\nplt.style.use('ggplot')\nplt.plot([1])\nx = 1\n%%step b --after a\n"


def test_the_look_of_plots_matters_to_a_later_step_that_draws() -> None:
    check_rejects(f"{PLOT}plt.plot([x])", "KN402", "[cell 2]:1:1", ["matplotlib's style", "`b`"], level=Severity.WARNING)
    drawing = PLOT.replace("%%step a", "%%functions\ndef draw(y):\n    plt.plot(y)\n%%step a", 1)
    check_rejects(f"{drawing}draw(x)", "KN402", "[cell 3]:1:1", level=Severity.WARNING)


def test_the_look_of_plots_does_not_matter_to_a_later_step_that_draws_nothing() -> None:
    check_compiles(f"{PLOT}print(x)")
