"""Stand-ins for what is only known when the pipeline runs: its parameters, and the results of steps.

An operation on a stand-in gives another that remembers the expression; it is evaluated in the step that takes it. What needs the value
at once (`if`, `for`, `len`, `int`) is refused. In texts a stand-in is a marker that becomes an f-string again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from kale_nb.scripts.tracing.frames import Spot, Unpack, blamed_frame, spot_of, unpacking, user_frame

_OPEN, _CLOSE, _DIGIT = "\ue0f0", "\ue0f1", 0xE100
MARKER = re.compile(f"{_OPEN}([\ue100-\ue109]+){_CLOSE}")


STARRED = (
    "KN605",
    "one of the values that a starred name took, and how many these are is only known when the pipeline runs",
    "let the step say how many values it returns, with a `return a, b, c` or `-> tuple[int, int, int]`",
)


class Refused(BaseException):
    """The body does what cannot be compiled. Not an `Exception`: the user's own `except` must not swallow it."""

    def __init__(self, code: str, message: str, hint: str | None, spot: Spot | None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.spot = spot


def refuse(code: str, message: str, hint: str | None = None, spot: Spot | None = None) -> NoReturn:
    """Stop reading the script at the user's innermost line, or at `spot`."""
    raise Refused(code, message, hint, spot if spot is not None else spot_of(blamed_frame()))


class Value:
    """A stand-in. `_kale` is what it stands for."""

    __slots__ = ("_kale",)

    def __init__(self, known: Known) -> None:
        object.__setattr__(self, "_kale", known)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        known = known_of(self)
        return known.derived(ast.Attribute(value=known.node, attr=name, ctx=ast.Load()))

    def __getitem__(self, key: Any) -> Any:
        known = known_of(self)
        parts = [_index(known, part) for part in key] if type(key) is tuple else []
        index = ast.Tuple(elts=parts, ctx=ast.Load()) if parts else _index(known, key)
        return known.derived(ast.Subscript(value=known.node, slice=index, ctx=ast.Load()), key)

    def __iter__(self) -> Iterator[Any]:
        known = known_of(self)
        frame = user_frame()
        shape = unpacking(frame) if frame is not None else None
        if shape is None:
            hint = (
                "loop over a constant, or move the loop into a step"
                if known.is_param
                else "move the loop into a step that takes it, or unpack it into a fixed number of names"
            )
            needs_value(self, "goes through", hint)
        return iter(known.unpack(self, shape, frame))

    def __str__(self) -> str:
        return known_of(self).marker("")

    def __repr__(self) -> str:
        return known_of(self).marker("!r")

    def __format__(self, spec: str) -> str:
        return known_of(self).marker(f":{spec}" if spec else "")

    @property
    def __class__(self) -> Any:
        needs_value(self, "asks for the type of", "ask for it in a step")

    @__class__.setter
    def __class__(self, other: Any) -> None:
        needs_value(self, "changes", "change it in a step that returns it")


class Known:
    """What a stand-in stands for.

    Attributes:
        node: the expression; names of results are `$n` until they get their names.
        what: for messages, such as "the result of step `load`".
        is_param: it depends on parameters only.
        convert: turns a value of the body into an expression.
        unpack: gives the values of an unpacking.
        mark: gives the number of a stand-in in a text.
    """

    __slots__ = ("convert", "is_param", "mark", "node", "unpack", "what")

    def __init__(
        self,
        node: ast.expr,
        what: str,
        is_param: bool,
        convert: Callable[[Any], ast.expr],
        unpack: Callable[[Value, Unpack, Any], list[Any]],
        mark: Callable[[ast.expr, str], int],
    ) -> None:
        self.node = node
        self.what = what
        self.is_param = is_param
        self.convert = convert
        self.unpack = unpack
        self.mark = mark

    def derived(self, node: ast.expr, *others: Any) -> Value:
        """Return a stand-in for an expression of this one and others."""
        if isinstance(self.node, ast.Starred):
            refuse(STARRED[0], f"the body uses {STARRED[1]}", STARRED[2])
        values = [known_of(o) for o in others if type(o) is Value]
        is_param = self.is_param and all(v.is_param for v in values)
        from_result = next((v for v in (self, *values) if not v.is_param), self)
        return Value(Known(node, from_result.what, is_param, self.convert, self.unpack, self.mark))

    def marker(self, form: str) -> str:
        """Return the text that stands for it inside of a text."""
        number = self.mark(self.node, form)
        return _OPEN + "".join(chr(_DIGIT + int(d)) for d in str(number)) + _CLOSE


def known_of(value: Value) -> Known:
    """Return what a stand-in stands for."""
    known: Known = object.__getattribute__(value, "_kale")
    return known


def marker_number(text: str) -> int:
    """Return the number in a marker's digits."""
    return int("".join(str(ord(c) - _DIGIT) for c in text))


def _index(known: Known, key: Any) -> ast.expr:
    if type(key) is not slice:
        return known.convert(key)
    ends = [None if end is None else known.convert(end) for end in (key.start, key.stop, key.step)]
    return ast.Slice(lower=ends[0], upper=ends[1], step=ends[2])


def needs_value(value: Value, does: str, hint: str) -> NoReturn:
    """Refuse an operation that needs the value itself."""
    known = known_of(value)
    when = "which is only set when the pipeline runs" if known.is_param else "which is only known when the pipeline runs"
    refuse("KN605", f"the pipeline's body {does} {known.what}, {when}", hint)


def _binary(operator: type[ast.operator], swapped: bool) -> Callable[[Value, Any], Value]:
    def operate(self: Value, other: Any) -> Value:
        known = known_of(self)
        mine, theirs = known.node, known.convert(other)
        left, right = (theirs, mine) if swapped else (mine, theirs)
        return known.derived(ast.BinOp(left=left, op=operator(), right=right), other)

    return operate


def _unary(operator: type[ast.unaryop]) -> Callable[[Value], Value]:
    def operate(self: Value) -> Value:
        return known_of(self).derived(ast.UnaryOp(op=operator(), operand=known_of(self).node))

    return operate


def _function(name: str) -> Callable[..., Value]:
    def operate(self: Value, *others: Any) -> Value:
        known = known_of(self)
        arguments = [known.node, *(known.convert(o) for o in others)]
        return known.derived(ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=arguments, keywords=[]), *others)

    return operate


_OPERATORS: dict[str, type[ast.operator]] = {
    "add": ast.Add, "sub": ast.Sub, "mul": ast.Mult, "truediv": ast.Div, "floordiv": ast.FloorDiv, "mod": ast.Mod, "pow": ast.Pow,
    "lshift": ast.LShift, "rshift": ast.RShift, "and": ast.BitAnd, "or": ast.BitOr, "xor": ast.BitXor, "matmul": ast.MatMult,
}  # fmt: skip
_IN_STEP = "do that in a step, which takes it and returns what comes out"
_CHOICE = "let a step decide: it takes the value and does both ways"
_REFUSED = {
    "__bool__": ("decides by", _CHOICE),
    "__len__": ("takes the length of", _IN_STEP),
    "__contains__": ("looks into", _IN_STEP),
    "__int__": ("makes a number of", "pass it on as it is and convert it in the step, or declare its type in the step: `n: int`"),
    "__float__": (
        "makes a number of",
        "pass it on as it is and convert it in the step, or declare its type in the step: `x: float`",
    ),
    "__complex__": ("makes a number of", _IN_STEP),
    "__index__": ("uses as a number", "use a constant here, or do it in a step"),
    "__call__": ("calls", _IN_STEP),
    "__next__": ("takes the next value of", _IN_STEP),
    "__reversed__": ("goes through", _IN_STEP),
    "__setitem__": ("changes", "change it in a step that returns it"),
    "__delitem__": ("changes", "change it in a step that returns it"),
    "__setattr__": ("changes", "change it in a step that returns it"),
    "__delattr__": ("changes", "change it in a step that returns it"),
    "__enter__": ("enters", _IN_STEP),
    "__exit__": ("enters", _IN_STEP),
    "__await__": ("waits for", _IN_STEP),
    "__array__": ("calculates with", _IN_STEP),
    "__bytes__": ("makes bytes of", _IN_STEP),
    "__fspath__": ("opens", "make paths in a step"),
    "__trunc__": ("rounds", _IN_STEP),
    "__floor__": ("rounds", _IN_STEP),
    "__ceil__": ("rounds", _IN_STEP),
    "__reduce_ex__": ("copies or writes", _IN_STEP),
    **dict.fromkeys(("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"), ("compares", _CHOICE)),
}


def _refusal(does: str, hint: str) -> Callable[..., NoReturn]:
    def operate(self: Value, *_others: Any, **_named: Any) -> NoReturn:
        needs_value(self, does, hint)

    return operate


for _name, _operator in _OPERATORS.items():
    setattr(Value, f"__{_name}__", _binary(_operator, False))
    setattr(Value, f"__r{_name}__", _binary(_operator, True))
for _name, _sign in {"neg": ast.USub, "pos": ast.UAdd, "invert": ast.Invert}.items():
    setattr(Value, f"__{_name}__", _unary(_sign))
for _name in ("abs", "round", "divmod"):
    setattr(Value, f"__{_name}__", _function(_name))
for _name, (_does, _hint) in _REFUSED.items():
    setattr(Value, _name, _refusal(_does, _hint))


def _hash(self: Value) -> int:
    """A result may be a key, or in a set, that a step takes; of a parameter it would look for what is not there yet."""
    if known_of(self).is_param:
        needs_value(self, "looks for", _CHOICE)
    return object.__hash__(self)


setattr(Value, "__hash__", _hash)  # noqa: B010 - as the others above
