"""What an expression surely is, as far as its text shows: whether a test is known, a loop runs, a name's absence is provided for."""

from __future__ import annotations

import ast

from kale_nb.dataflow.strings import constant_text, namespace_call


def root_name(node: ast.AST) -> str | None:
    """The name at the root of `a.b[c].d`; None when it is a call or a literal."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def short(node: ast.AST, limit: int = 40) -> str:
    """The text of a node on one line, for messages."""
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= limit else text[: limit - 3] + "..."


def is_plain(value: ast.expr) -> bool:
    """Tell whether an expression surely gives something that cannot change in place: a number, a text, a tuple of such.

    >>> [is_plain(ast.parse(code, mode="eval").body) for code in ("-1.5", "(1, 'a')", "f'{x}'", "[1]", "x")]
    [True, True, True, False, False]
    """
    match value:
        case ast.Constant() | ast.JoinedStr():
            return True
        case ast.UnaryOp(operand=operand):
            return is_plain(operand)
        case ast.BinOp(left=left, right=right):
            return is_plain(left) and is_plain(right)
        case ast.Tuple(elts=parts):
            return all(is_plain(p) for p in parts)
        case ast.Call(func=ast.Name(id=name)):
            return name in {"int", "float", "str", "bool", "len", "repr", "round"}
        case _:
            return False


def is_fixed(value: ast.expr) -> bool:
    """Tell whether an expression gives the same in every process: literals, containers of them, functions.

    >>> [is_fixed(ast.parse(code, mode="eval").body) for code in ("-1.5", "[1, {'a': 2}]", "lambda x: x", "f'{x}'", "time()")]
    [True, True, True, False, False]
    """
    match value:
        case ast.Constant() | ast.Lambda():
            return True
        case ast.UnaryOp(operand=operand):
            return is_fixed(operand)
        case ast.BinOp(left=left, right=right):
            return is_fixed(left) and is_fixed(right)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return all(is_fixed(p) for p in parts)
        case ast.Dict(keys=keys, values=values):
            return all(k is not None and is_fixed(k) for k in keys) and all(is_fixed(v) for v in values)
        case _:
            return False


def known_truth(test: ast.expr) -> bool | None:
    """Tell whether a test is true or false whenever it runs; None when that depends.

    >>> known_truth(ast.parse("__name__ == '__main__'", mode="eval").body)
    True
    """
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and len(test.ops) == 1
        and constant_text(test.comparators[0]) == "__main__"
    ):
        return isinstance(test.ops[0], ast.Eq)
    if isinstance(test, ast.Name | ast.Attribute) and short(test).rsplit(".", 1)[-1] == "TYPE_CHECKING":
        return False
    return None


def runs_at_least_once(iterable: ast.expr) -> bool:
    """Tell whether a loop over `iterable` surely runs: a literal that holds something, `range(3)`."""
    if isinstance(iterable, ast.List | ast.Tuple | ast.Set):
        return any(not isinstance(e, ast.Starred) for e in iterable.elts)
    if isinstance(iterable, ast.Dict):
        return any(k is not None for k in iterable.keys)
    if isinstance(iterable, ast.Constant):
        return isinstance(iterable.value, str | bytes) and bool(iterable.value)
    if isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Name) and not iterable.keywords:
        values = [a.value for a in iterable.args if isinstance(a, ast.Constant) and isinstance(a.value, int)]
        if iterable.func.id == "range" and values and len(values) == len(iterable.args):
            try:
                return len(range(*values)) > 0
            except (TypeError, ValueError, OverflowError):
                return False
        if iterable.func.id in {"enumerate", "sorted", "list", "reversed"} and len(iterable.args) == 1:
            return runs_at_least_once(iterable.args[0])
    return False


def asks_existence(test: ast.expr) -> bool:
    """Tell whether a test asks if a name exists: `"x" in globals()`, `"x" not in dir()`."""
    return any(
        isinstance(n, ast.Compare) and constant_text(n.left) is not None and any(namespace_call(c) for c in n.comparators)
        for n in ast.walk(test)
    )


def catches_name_error(kind: ast.expr | None) -> bool:
    """Tell whether `except kind` catches a NameError; None is the bare `except`."""
    if kind is None:
        return True
    names = {n.id for n in ast.walk(kind) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(kind) if isinstance(n, ast.Attribute)
    }
    return bool(names & {"NameError", "Exception", "BaseException", "UnboundLocalError"})
