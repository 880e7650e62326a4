"""Numbers that a metrics cell prints become metrics, and what it prints stays as it is (`kale_nb.runtime.metrics`)."""

from __future__ import annotations

import ast
import contextlib
import io
import math
from fractions import Fraction

import numpy
import pytest

from kale_nb.runtime.metrics import MetricsRecorder, as_number


class Shell:
    """The part of IPython's shell that the recorder uses: a list of transformers that each cell's tree goes through."""

    def __init__(self, namespace: dict[str, object]) -> None:
        self.ast_transformers: list[ast.NodeTransformer] = []
        self.namespace = namespace

    def run_cell(self, code: str) -> str:
        """Run a cell as IPython does: a trailing expression is shown. Return what was printed."""
        tree = ast.parse(code)
        for transformer in list(self.ast_transformers):
            tree = transformer.visit(tree)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "<cell>", "exec"), self.namespace)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), self.namespace)
                if value is not None:
                    print(repr(value))
        return out.getvalue()


def record(code: str, **names: object) -> tuple[dict[str, float], str]:
    """Return the metrics of a cell and what it printed."""
    namespace: dict[str, object] = dict(names)
    shell = Shell(namespace)
    recorder = MetricsRecorder()
    recorder.arm(shell, namespace)
    printed = shell.run_cell(code)
    assert not shell.ast_transformers
    return recorder.values, printed


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("print(acc)", {"acc": 0.5}),
        ("acc", {"acc": 0.5}),
        ("print(acc)\nprint(loss)", {"acc": 0.5, "loss": 2.0}),
        ("acc, loss", {"acc": 0.5, "loss": 2.0}),
        ("[acc, loss]", {"acc": 0.5, "loss": 2.0}),
        ("print(acc, loss)", {"acc": 0.5, "loss": 2.0}),
        ("print('accuracy', acc)", {"acc": 0.5}),
        ("print(1 - acc)", {"1 - acc": 0.5}),
        ("print(scores['a'])", {"scores['a']": 3.0}),
        ("max(acc, loss)", {"max(acc, loss)": 2.0}),
        ("if True:\n    print(acc)", {"acc": 0.5}),
        ("for x in [1, 2]:\n    print(x)", {"x": 2.0}),
        ("print(f'{acc:.2f}')", {}),
        ("print('text')", {}),
        ("print(flag)", {}),
        ("flag", {}),
        ("print(name, None, [acc])", {}),
        ("print(3)", {}),
        ("print(*[acc])", {}),
        ("print()", {}),
        ("x = acc", {}),
        ("", {}),
        ("print(acc, sep='', end='')", {"acc": 0.5}),
    ],
)
def test_metrics_of_a_cell(code: str, values: dict[str, float]) -> None:
    assert record(code, acc=0.5, loss=2, flag=True, name="n", scores={"a": 3})[0] == values


@pytest.mark.parametrize(
    "code", ["print(acc, 'x', sep='-')", "acc", "acc, loss", "print(f'{acc}')\nloss", "print(*[acc, loss])", "print(print(acc))"]
)
def test_what_is_printed_stays_as_it_is(code: str) -> None:
    plain = Shell({"acc": 0.5, "loss": 2}).run_cell(code)
    assert record(code, acc=0.5, loss=2)[1] == plain


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (-0.5, -0.5),
        (numpy.float32(0.5), 0.5),
        (numpy.int64(3), 3.0),
        (numpy.array(2.5), 2.5),
        (Fraction(1, 2), 0.5),
        (math.inf, math.inf),
        (True, None),
        (numpy.bool_(True), None),
        ("1", None),
        (1j, None),
        (numpy.complex128(1), None),
        (None, None),
        (numpy.array([1.0, 2.0]), None),
        ([1], None),
        (10**400, math.inf),
    ],
)
def test_what_counts_as_a_number(value: object, number: float | None) -> None:
    assert as_number(value) == number


def test_nan_is_a_number() -> None:
    found = as_number(math.nan)
    assert found is not None
    assert math.isnan(found)


def test_only_the_next_cell_is_watched() -> None:
    namespace: dict[str, object] = {"a": 1, "b": 2}
    shell = Shell(namespace)
    recorder = MetricsRecorder()
    recorder.arm(shell, namespace)
    shell.run_cell("print(a)")
    shell.run_cell("print(b)")
    assert recorder.values == {"a": 1.0}
    recorder.arm(shell, namespace)
    recorder.arm(shell, namespace)
    shell.run_cell("print(b)")
    assert recorder.values == {"a": 1.0, "b": 2.0}
