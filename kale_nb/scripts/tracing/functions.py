"""What the text of a step's function shows: what it changes in place, how many values it returns, which globals it sets."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from kale_nb.scripts.tracing.frames import tree_of

_CHANGERS = frozenset(
    "append extend insert pop remove clear sort reverse update setdefault popitem add discard difference_update intersection_update "
    "symmetric_difference_update appendleft extendleft popleft rotate fill resize put itemset fit partial_fit fit_transform set_params "
    "write drop_duplicates_ load_state_dict add_ mul_ sub_ zero_ shuffle __setitem__ __delitem__ __setattr__".split()
)
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def node_of(function: Callable[..., Any]) -> ast.FunctionDef | None:
    """Return the definition of a function in its file; None when there is none."""
    code = getattr(function, "__code__", None)
    tree = tree_of(code.co_filename) if code is not None else None
    if code is None or tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if code.co_firstlineno in (first, node.lineno):
                return node
    return None


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Go through a function without what is defined inside of it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _NESTED):
            yield from _walk(child)


def returned_count(node: ast.FunctionDef) -> tuple[int, int] | None:
    """Return how many values every `return` gives, and the line of the first; None when the text does not tell."""
    counts: set[int] = set()
    line = 0
    for at in _walk(node):
        if isinstance(at, ast.Return):
            if not isinstance(at.value, ast.Tuple) or any(isinstance(e, ast.Starred) for e in at.value.elts):
                return None
            counts.add(len(at.value.elts))
            line = line or at.lineno
    return (counts.pop(), line) if len(counts) == 1 else None


def changed_parameters(node: ast.FunctionDef) -> set[str]:
    """Return the parameters whose values the function's text changes in place, as far as it shows."""
    arguments = node.args
    names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    names |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
    aliases = {name: name for name in names}
    changed: set[str] = set()

    def touch(target: ast.expr, *, itself: bool = False) -> None:
        root = target
        while isinstance(root, ast.Attribute | ast.Subscript | ast.Starred):
            root = root.value
        if isinstance(root, ast.Name) and root.id in aliases and (itself or root is not target):
            changed.add(aliases[root.id])

    for at in _walk(node):
        match at:
            case ast.Assign(targets=targets, value=value):
                for target in _flat(targets):
                    touch(target)
                    _alias(target, value, aliases)
            case ast.AugAssign(target=target):
                touch(target, itself=True)
            case ast.AnnAssign(target=target):
                touch(target)
            case ast.Delete(targets=targets):
                for target in targets:
                    touch(target)
            case ast.For(target=ast.Name(id=name), iter=source):
                _alias(ast.Name(id=name), source, aliases)
                touch(at.target)
            case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=args, keywords=keywords):
                if attr in _CHANGERS or any(k.arg in ("inplace", "out") for k in keywords):
                    touch(owner, itself=True)
                    if attr == "shuffle":
                        for argument in args[:1]:
                            touch(argument, itself=True)
            case ast.Call(func=ast.Name(id="setattr" | "delattr" | "shuffle" | "heappush" | "heappop"), args=[first, *_]):
                touch(first, itself=True)
    return changed


def _flat(targets: list[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        if isinstance(target, ast.Tuple | ast.List):
            yield from _flat(target.elts)
        else:
            yield target


def _alias(target: ast.expr, value: ast.expr, aliases: dict[str, str]) -> None:
    """`b = a`, `b = a["x"]`, `for b in a`: what `b` is, changed, changes `a`."""
    root = value
    while isinstance(root, ast.Attribute | ast.Subscript):
        root = root.value
    if isinstance(target, ast.Name) and isinstance(root, ast.Name) and root.id in aliases and target.id not in aliases:
        aliases[target.id] = aliases[root.id]


def set_globals(node: ast.FunctionDef) -> list[tuple[str, int]]:
    """Return the globals that the function assigns, with the line of their declaration."""
    return [(name, at.lineno) for at in ast.walk(node) if isinstance(at, ast.Global) for name in at.names]


def identity_checks(node: ast.AST, names: set[str]) -> Iterator[ast.Compare]:
    """Find `x is ...` of the given names: a stand-in cannot notice being asked that."""
    for at in _walk(node):
        if isinstance(at, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in at.ops):
            sides = (at.left, *at.comparators)
            if any(isinstance(side, ast.Name) and side.id in names for side in sides):
                yield at


def is_none_checks_of(node: ast.FunctionDef) -> list[ast.Compare]:
    """Return the identity checks in a pipeline's body of its parameters and of what calls are assigned to."""
    arguments = node.args
    names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    for at in _walk(node):
        if isinstance(at, ast.Assign) and isinstance(at.value, ast.Call):
            names |= {t.id for t in _flat(at.targets) if isinstance(t, ast.Name)}
    return list(identity_checks(node, names))
