"""Functions, lambdas and classes: which top-level names their bodies read and bind.

The rules of Python's scopes (nonlocal, global, comprehensions, name mangling, class bodies that functions cannot see into) are those of
the interpreter's own `symtable`, run on the definition alone.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable

from kale_nb.dataflow.facts import Scope
from kale_nb.dataflow.strings import UNPICKLED, asks_by_text, unpickles
from kale_nb.dataflow.text import OPAQUE_CALL, SOFT_CALL

OPAQUE_FUNCTIONS = frozenset({"exec", "eval", "globals", "locals", "vars", "dir", OPAQUE_CALL})
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def scope_of(node: Definition) -> Scope:
    """Return what the body of a definition does with top-level names.

    >>> scope_of(ast.parse("def f(a): return a + b").body[0]).reads
    frozenset({'b'})
    """
    bare = _without_def_time_parts(node)
    try:
        table = symtable.symtable(ast.unparse(bare), "<definition>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return _by_mention(node)
    reads: set[str] = set()
    binds: set[str] = set()
    for child in table.get_children():
        _collect(child, reads, binds)
    strings = _names_in_strings(node)
    if any(isinstance(n, ast.Call) and unpickles(n, {}) for n in ast.walk(node)):
        strings.add(UNPICKLED)
    opaque = bool((reads | {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}) & {"exec", "globals"}) or _calls_opaque(
        node
    )
    return Scope(frozenset((reads | strings) - {SOFT_CALL, OPAQUE_CALL}), frozenset(binds), opaque)


def _calls_opaque(node: ast.AST) -> bool:
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in {"eval", "__main__", OPAQUE_CALL}:
            return True
        if isinstance(part, ast.Attribute) and part.attr in {"user_ns", "user_global_ns"}:
            return True
        if isinstance(part, ast.Constant) and part.value == "__main__" and not isinstance(node, ast.ClassDef):
            return True
        if isinstance(part, ast.Call) and asks_by_text(part):
            return True
    return False


def _without_def_time_parts(node: Definition) -> ast.stmt:
    """Keep the body alone: decorators, defaults, bases and annotations run, or not, when the definition does."""
    if isinstance(node, ast.Lambda):
        bare_args = _bare_arguments(node.args)
        return ast.fix_missing_locations(
            ast.copy_location(ast.Expr(value=ast.copy_location(ast.Lambda(args=bare_args, body=node.body), node)), node)
        )
    if isinstance(node, ast.ClassDef):
        kept: ast.stmt = ast.ClassDef(name=node.name, bases=[], keywords=[], body=node.body, decorator_list=[])
    else:
        kept = type(node)(name=node.name, args=_bare_arguments(node.args), body=node.body, decorator_list=[], returns=None)
    if hasattr(node, "type_params"):
        kept.type_params = node.type_params  # type: ignore[attr-defined]
    return ast.fix_missing_locations(ast.copy_location(kept, node))


def _bare_arguments(args: ast.arguments) -> ast.arguments:
    def bare(items: Iterable[ast.arg]) -> list[ast.arg]:
        return [ast.arg(arg=a.arg) for a in items]

    none: ast.expr = ast.Constant(value=None)
    return ast.arguments(
        posonlyargs=bare(args.posonlyargs),
        args=bare(args.args),
        vararg=ast.arg(arg=args.vararg.arg) if args.vararg else None,
        kwonlyargs=bare(args.kwonlyargs),
        kw_defaults=[None if d is None else none for d in args.kw_defaults],
        kwarg=ast.arg(arg=args.kwarg.arg) if args.kwarg else None,
        defaults=[none for _ in args.defaults],
    )


def _collect(table: symtable.SymbolTable, reads: set[str], binds: set[str]) -> None:
    in_class = table.get_type() == "class"
    for symbol in table.get_symbols():
        name = symbol.get_name()
        if symbol.is_declared_global():
            if symbol.is_assigned() or symbol.is_imported():
                binds.add(name)
            reads.add(name)
        elif symbol.is_global() and symbol.is_referenced() or in_class and symbol.is_referenced() and symbol.is_local():
            reads.add(name)
    for child in table.get_children():
        _collect(child, reads, binds)


def _names_in_strings(node: ast.AST) -> set[str]:
    """Names that pandas looks up in the calling frame: `df.query("a > @limit")`."""
    from kale_nb.dataflow.strings import at_names

    return {name for call in ast.walk(node) if isinstance(call, ast.Call) for name in at_names(call)}


def _by_mention(node: ast.AST) -> Scope:
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return Scope(frozenset(names), frozenset(), bool(names & OPAQUE_FUNCTIONS))
