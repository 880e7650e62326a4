"""The decorators as plain Python: they change nothing, cost little, and keep signatures."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

from kale.sdk import artifact, log_metric, pipeline, step

HEAVY = (
    "numpy",
    "pandas",
    "dill",
    "IPython",
    "papermill",
    "nbformat",
    "rich",
    "yaml",
    "asyncio",
    "kale_nb.compiler",
    "kale_nb.runtime",
)


@step(name="adding")
def add(a: int, b: int = 2, *, c: int = 3) -> int:
    """Add three."""
    return a + b + c


@artifact("table", "table.csv")
@step
def bare(x: int) -> int:
    return x


@pipeline
def flow(n: int = 1) -> int:
    """Run."""
    return add(n, c=bare(4))


def test_a_step_called_runs_its_function() -> None:
    assert add(1) == 6
    assert add(1, 1, c=1) == 3
    assert flow(2) == 8


def test_a_decorated_function_keeps_name_documentation_and_signature() -> None:
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add three.", __name__)
    assert str(inspect.signature(add)) == "(a: 'int', b: 'int' = 2, *, c: 'int' = 3) -> 'int'"
    assert inspect.signature(flow).parameters["n"].default == 1


def test_a_decorated_function_can_be_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(add)) is add


def test_after_is_taken_off_a_plain_call() -> None:
    assert add(1, after=[bare]) == 6  # type: ignore[call-arg]


def test_a_metric_of_plain_python_says_and_keeps_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    log_metric("score", 0.5)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("decorate", "says"),
    [
        (lambda: step(nmae="x"), "@step has no argument `nmae`; did you mean `name`?"),  # type: ignore[call-overload]
        (lambda: step(retries=2), "@step has no argument `retries`"),  # type: ignore[call-overload]
        (lambda: pipeline(experimant="x"), "did you mean `experiment`?"),  # type: ignore[call-overload]
        (lambda: step(name="x")(3), "@step takes a function, not a int"),  # type: ignore[arg-type]
        (lambda: step(add), "add is a step already"),
        (lambda: pipeline(add), "add is a step and cannot be a pipeline as well"),
        (lambda: artifact("", "x"), "@artifact takes a name and a path"),
    ],
)
def test_a_wrong_use_of_a_decorator_says_what_it_takes(decorate: object, says: str) -> None:
    with pytest.raises(TypeError, match=says.replace("?", r"\?")):
        decorate()  # type: ignore[operator]


def test_importing_the_decorators_is_cheap_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; began = time.process_time(); import kale.sdk; spent = time.process_time() - began;"
        f"print(spent, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    best = 1.0
    for _ in range(5):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        spent, _, heavy = out.partition(" ")
        assert heavy.strip() == "[]"
        best = min(best, float(spent))
    assert best < 0.030


TYPED = """
from kale.sdk import pipeline, step

@step(name="load", retry_count=2, timeout="5m")
def load(n: int) -> tuple[int, str]:
    return n, "x"

@step
def show(text: str, times: int = 1) -> None:
    print(text * times)

@pipeline(name="p", experiment="e", marshal_volume=True, marshal_volume_size="10Gi")
def flow(n: int = 3) -> None:
    number, text = load(n)
    reveal_type(number)
    reveal_type(load)
    show(text, times=number)
    show(number)
    show(txt="a")
    load("a")

flow(n="x")
step(nmae="x")
"""


def test_mypy_keeps_the_signatures(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    root = str(Path(__file__).parents[2])
    out, errors, _ = api.run(
        [
            "--strict",
            "--config-file=",
            "--no-incremental",
            f"--cache-dir={tmp_path}",
            "--no-error-summary",
            str(tmp_path / "typed.py"),
        ]
    )
    lines = [line.split("typed.py:")[1] for line in out.splitlines() if "typed.py:" in line]
    assert errors == "", root
    assert lines[0] == '15: note: Revealed type is "int"' or lines[0] == '15: note: Revealed type is "builtins.int"'
    assert "def (n:" in lines[1]
    assert [line.partition(":")[0] for line in lines[2:] if "error" in line] == ["18", "19", "20", "22", "23"]
