"""Literal values: the part of Python that a parameter's value may be written in, read without running anything.

Takes an expression node and the values of names known so far, gives the value. Refuses with `NotLiteral` whatever could do more than
build a value, and expressions whose value would be huge (`10**10**10`).
"""

from __future__ import annotations

import ast
import datetime as dt
import operator
from collections.abc import Callable, Mapping
from typing import Any

MAX_BITS = 16_384
MAX_LENGTH = 1_000_000

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_MAKERS: Mapping[str, Callable[..., Any]] = {
    "set": set,
    "frozenset": frozenset,
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "int": int,
    "float": float,
    "complex": complex,
    "bool": bool,
    "str": str,
}
_DATE_TYPES = ("date", "datetime", "time", "timedelta", "timezone")
_DATE_READERS = ("fromisoformat",)


class NotLiteral(Exception):
    """The expression is no literal that a parameter may have."""


def evaluate(node: ast.expr, names: Mapping[str, object] | None = None, modules: Mapping[str, str] | None = None) -> object:
    """Return the value of a literal expression.

    Args:
        names: values that a name may stand for.
        modules: what names of the `datetime` module are called here, such as `{"dt": "datetime", "D": "datetime.date"}`. Without
            an entry the usual spellings are understood.

    Raises:
        NotLiteral: it is not one, it fails, or its value would be huge.

    >>> evaluate(ast.parse("60 * 60", mode="eval").body)
    3600
    """
    try:
        return _Evaluator(names or {}, modules or {}).value(node)
    except NotLiteral:
        raise
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RecursionError, MemoryError) as error:
        raise NotLiteral(f"{type(error).__name__}: {error}") from error


def parse_literal(text: str) -> object:
    """Return the value of literal source text; NotLiteral when it is none.

    >>> parse_literal("(1, -2.5, {'a': set()})")
    (1, -2.5, {'a': set()})
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotLiteral(str(error)) from error
    return evaluate(tree.body)


class _Evaluator:
    def __init__(self, names: Mapping[str, object], modules: Mapping[str, str]) -> None:
        self.names = names
        self.modules = modules

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                if value is Ellipsis:
                    raise NotLiteral("... is no value of a parameter")
                return value
            case ast.Name(id=name):
                if name not in self.names:
                    raise NotLiteral(f"{name} is not a literal")
                return self.names[name]
            case ast.List(elts=items):
                return self.items(items)
            case ast.Tuple(elts=items):
                return tuple(self.items(items))
            case ast.Set(elts=items):
                return set(self.items(items))
            case ast.Dict(keys=keys, values=values):
                return self.mapping(keys, values)
            case ast.UnaryOp(op=op, operand=operand):
                return _UNARY[type(op)](self.value(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(op, self.value(left), self.value(right))
            case ast.Call():
                return self.call(node)
            case _:
                raise NotLiteral(f"{type(node).__name__} is not a literal")

    def items(self, nodes: list[ast.expr]) -> list[Any]:
        out: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                out.extend(self.value(node.value))
            else:
                out.append(self.value(node))
            if len(out) > MAX_LENGTH:
                raise NotLiteral("too long")
        return out

    def mapping(self, keys: list[ast.expr | None], values: list[ast.expr]) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        for key, value in zip(keys, values, strict=True):
            if key is None:
                out.update(self.value(value))
            else:
                out[self.value(key)] = self.value(value)
        return out

    def binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        if type(op) not in _BINARY:
            raise NotLiteral("not an operation of literals")
        _refuse_huge(op, left, right)
        return _BINARY[type(op)](left, right)

    def call(self, node: ast.Call) -> Any:
        maker = self.maker(node.func)
        if any(keyword.arg is None for keyword in node.keywords):
            raise NotLiteral("** in a call")
        arguments = self.items(node.args)
        keywords = {str(keyword.arg): self.value(keyword.value) for keyword in node.keywords}
        return maker(*arguments, **keywords)

    def maker(self, func: ast.expr) -> Callable[..., Any]:
        dotted = self.dotted(func)
        if dotted in _MAKERS and dotted not in self.names:
            return _MAKERS[dotted]
        head, *rest = dotted.split(".")
        path = [*self.modules[head].split("."), *rest] if head in self.modules else _usual_spelling(head, rest)
        match path:
            case ["datetime", kind] if kind in _DATE_TYPES:
                return getattr(dt, kind)  # type: ignore[no-any-return]
            case ["datetime", kind, reader] if kind in _DATE_TYPES and reader in _DATE_READERS:
                return getattr(getattr(dt, kind), reader)  # type: ignore[no-any-return]
            case ["zoneinfo", "ZoneInfo"]:
                import zoneinfo

                return zoneinfo.ZoneInfo
            case _:
                raise NotLiteral(f"{dotted}() is not a literal")

    def dotted(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=value, attr=attr):
                return f"{self.dotted(value)}.{attr}"
            case ast.Call(
                func=ast.Name(id="__import__"), args=[ast.Constant(value="datetime" | "zoneinfo" as module)], keywords=[]
            ):
                return f"{module}"
            case _:
                raise NotLiteral("a call of something computed")


def _usual_spelling(head: str, rest: list[str]) -> list[str]:
    """Read `date(...)`, `datetime.date(...)`, `dt.date(...)`, `datetime(...)`, `datetime.fromisoformat(...)`."""
    if head in ("dt", "datetime") and rest and rest[0] in _DATE_TYPES:
        return ["datetime", *rest]
    if head in _DATE_TYPES:
        return ["datetime", head, *rest]
    return [head, *rest]


def _refuse_huge(op: ast.operator, left: Any, right: Any) -> None:
    if isinstance(op, ast.Mod) and isinstance(left, str | bytes):
        raise NotLiteral("text formatting is not a literal")
    if isinstance(left, int) and isinstance(right, int):
        bits = max(left.bit_length(), 1)
        grown = {ast.Pow: bits * max(right, 0), ast.LShift: bits + max(right, 0), ast.Mult: bits + right.bit_length()}
        if grown.get(type(op), 0) > MAX_BITS:
            raise NotLiteral("the number would be huge")
    if isinstance(op, ast.Mult | ast.Add):
        for one, other in ((left, right), (right, left)):
            if hasattr(one, "__len__"):
                times = other if isinstance(other, int) and isinstance(op, ast.Mult) else 1
                more = len(other) if hasattr(other, "__len__") else 0
                if len(one) * times + more > MAX_LENGTH:
                    raise NotLiteral("the value would be huge")
