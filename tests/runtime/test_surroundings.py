"""What surrounds a step's variables: what of it goes along, and what a step says of the rest."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.steps import Run


@pytest.fixture(autouse=True)
def _own_process_state() -> Iterator[None]:
    environ, modules, path = dict(os.environ), set(sys.modules), list(sys.path)
    yield
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("beside_"):
            del sys.modules[name]


def test_a_logger_goes_along_with_its_level_and_handlers(tmp_path: Path) -> None:
    text = """
%%imports
import logging, sys
%%step a
log = logging.getLogger('kale.test.along')
log.setLevel(logging.INFO)
log.addHandler(logging.StreamHandler(sys.stdout))
%%step b --after a
log.info('seen')
"""
    run = Run(text, tmp_path)
    run.step("a")
    logger = logging.getLogger("kale.test.along")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    run.step("b")
    assert [type(h) for h in logger.handlers] == [logging.StreamHandler]
    assert logger.level == logging.INFO


def test_an_environment_variable_that_a_function_sets_is_told(tmp_path: Path) -> None:
    text = """
%%functions
import os
def choose(mode):
    os.environ['KALE_TEST_MODE'] = mode
%%step a
choose('fast')
%%step b --after a
print(1)
"""
    run = Run(text, tmp_path).all()
    assert [w for w in run.report("a")["warnings"] if "os.environ" in w and "`a`" in w]
    assert not run.report("b")["warnings"]


def test_what_the_compile_has_told_is_not_told_again(tmp_path: Path) -> None:
    text = "%%imports\nimport os\n%%step a\nos.environ['KALE_TEST_MODE'] = 'x'\n%%step b --after a\nprint(1)"
    assert not Run(text, tmp_path).all().report("a")["warnings"]


def test_the_last_step_says_nothing_of_what_it_sets(tmp_path: Path) -> None:
    text = "%%functions\nimport os\ndef f():\n    os.environ['KALE_TEST_MODE'] = 'x'\n%%step a\nf()"
    assert not Run(text, tmp_path).all().report("a")["warnings"]


def test_a_module_beside_the_notebook_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside_state.py").write_text(
        "SEEN = []\ncount = 0\ndef see(x):\n    global count\n    count += 1\n    SEEN.append(x)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = """
%%imports
import beside_state
from beside_state import see
%%step a
see('a')
mine = beside_state.SEEN
%%step b --after a
print(beside_state.SEEN, beside_state.count, mine is beside_state.SEEN)
"""
    run = Run(text, tmp_path)
    run.step("a")
    del sys.modules["beside_state"]
    run.step("b")
    assert run.printed["b"] == "['a'] 1 True\n"


def test_what_the_prelude_computes_is_that_of_the_first_step(tmp_path: Path) -> None:
    text = "%%imports\nimport uuid\nrun_id = uuid.uuid4().hex\n%%step a\nmine = run_id\n%%step b --after a\nprint(mine == run_id)"
    assert Run(text, tmp_path).all().printed["b"] == "True\n"


def test_a_method_put_on_a_prelude_class_goes_along_and_a_deleted_one_is_gone(tmp_path: Path) -> None:
    text = """
%%functions
class M:
    def f(self):
        return 1
    def g(self):
        return 2
%%step a
M.f = lambda self: 10
del M.g
%%step b --after a
print(M().f(), hasattr(M, 'g'))
"""
    assert Run(text, tmp_path).all().printed["b"] == "10 False\n"
