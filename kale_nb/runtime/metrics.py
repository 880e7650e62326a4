"""Metrics: the numbers that a metrics cell prints, each under the name or expression that was printed.

The next cell's tree is changed before it runs, by IPython's own hook (`ast_transformers`): each argument of a `print` or `display` call,
and each part of the trailing expression, goes through a recorder that hands the value on. What the cell prints stays as it is.
"""

from __future__ import annotations

import ast
import math
import numbers
from typing import Any

_RECORDER = "__kale_metric__"


class MetricsRecorder(ast.NodeTransformer):
    """Collects the numbers of one run. `arm` makes it look at the next cell."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._shell: Any = None

    def arm(self, shell: Any, namespace: dict[str, object]) -> None:
        """Record the cell that runs next in `shell`."""
        self._shell = shell
        namespace[_RECORDER] = self.record
        if self not in shell.ast_transformers:
            shell.ast_transformers.append(self)

    def record(self, name: str, value: object) -> object:
        """Note `value` under `name` if it is a number; return it."""
        number = as_number(value)
        if number is not None:
            self.values[name] = number
        return value

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Module):
            self._shell.ast_transformers.remove(self)
            self.generic_visit(node)
            if node.body and isinstance(node.body[-1], ast.Expr) and not _is_output_call(node.body[-1].value):
                last = node.body[-1]
                last.value = self._watched_parts(last.value)
            return ast.fix_missing_locations(node)
        if _is_output_call(node):
            assert isinstance(node, ast.Call)
            node.args = [self._watched(a) for a in node.args]
            return node
        return self.generic_visit(node)

    def _watched_parts(self, value: ast.expr) -> ast.expr:
        if isinstance(value, ast.Tuple | ast.List):
            value.elts = [self._watched(e) for e in value.elts]
            return value
        return self._watched(value)

    def _watched(self, value: ast.expr) -> ast.expr:
        if isinstance(value, ast.Constant | ast.JoinedStr | ast.Starred):
            return value
        call = ast.Call(
            func=ast.Name(id=_RECORDER, ctx=ast.Load()), args=[ast.Constant(value=ast.unparse(value)), value], keywords=[]
        )
        return ast.copy_location(call, value)


def _is_output_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "display"}


def as_number(value: object) -> float | None:
    """Return a number as a float; None for what is none: booleans, complex numbers, texts, arrays of more than one element.

    >>> as_number(3), as_number(True), as_number("3")
    (3.0, None, None)
    """
    if isinstance(value, bool):
        return None
    if not isinstance(value, numbers.Real):
        item = getattr(value, "item", None)
        if item is None or getattr(value, "ndim", None) != 0 and not isinstance(value, numbers.Number):
            return None
        try:
            value = item()
        except Exception:  # noqa: BLE001 - a foreign object's method: whatever it raises, it is no number
            return None
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return math.inf
    return number
