"""A cell's text as Python: IPython's syntax undone, magics understood, lines kept.

`parse_cell` gives the statements that a kernel would run for a cell, as an `ast.Module` whose line numbers are those of the cell.
Plain Python is parsed as it stands. Only a cell that is not plain Python goes through IPython's own `TransformerManager`, so that the
meaning of `%`, `!` and `?` is IPython's and never a guess; then the calls it leaves behind (`run_line_magic`, `system`, ...) are opened:
code inside `%time` and `%%capture` becomes statements, `{name}` and `$name` inside commands become reads (marked soft).
"""

from __future__ import annotations

import ast
import itertools
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)

_FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
SOFT_CALL = "__kale_soft__"
"""Name of a marker call in the tree: its string arguments are names that are read if they exist."""
OPAQUE_CALL = "__kale_opaque__"
"""Name of a marker call in the tree: code that cannot be seen may read and bind any name here."""

_RUNS_BODY = frozenset({"time", "capture", "prun", "memit", "mprun", "lprun", "snakeviz", "pyinstrument", "scalene", "notify"})
_RUNS_ALONE = frozenset({"timeit"})
_CODE_LINE = frozenset({"time", "prun", "memit", "mprun", "lprun"})


@dataclass(frozen=True, slots=True)
class TextError:
    """Why a cell is not Python: the message and where, 1-based line and column."""

    message: str
    line: int
    column: int
    end_column: int | None = None


def parse_cell(code: str) -> ast.Module | TextError:
    """Parse a cell as the kernel would run it.

    >>> [type(s).__name__ for s in parse_cell("%time x = 1").body]
    ['Assign']
    """
    plain = _parse(code)
    if isinstance(plain, ast.Module):
        return _OpenMagics().visit(plain) if "get_ipython" in code else plain
    magic = _cell_magic(code)
    if magic is not None:
        return _open_cell_magic(*magic)
    from kale_nb.dataflow.ipython import transform

    changed = transform(code)
    if changed is None or changed == code:
        return plain
    tree = _parse(changed)
    if isinstance(tree, TextError):
        return tree if changed.count("\n") != code.count("\n") + (not code.endswith("\n")) else _nearer(plain, tree)
    return _OpenMagics().visit(tree)  # type: ignore[no-any-return]


def _nearer(plain: TextError, transformed: TextError) -> TextError:
    """The error of the transformed text is the true one; the plain one only complains about the magic."""
    return transformed if transformed.line else plain


def _parse(code: str) -> ast.Module | TextError:
    try:
        tree = compile(code, "<cell>", "exec", flags=_FLAGS, dont_inherit=True)
    except SyntaxError as error:
        return TextError(error.msg or "invalid syntax", error.lineno or 1, error.offset or 1, error.end_offset)
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return TextError(str(error) or type(error).__name__, 1, 1)
    assert isinstance(tree, ast.Module)
    return tree


def _cell_magic(code: str) -> tuple[int, str, str, str] | None:
    """Split a cell that starts with a cell magic into lines above, magic name, its line and its body."""
    lines = code.split("\n")
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        if line.startswith("%%") and not line.startswith("%%%") and len(line) > 2:
            name, _, rest = line[2:].partition(" ")
            return number + 1, name.strip(), rest.strip(), "\n".join(lines[number + 1 :])
        return None
    return None


def _open_cell_magic(above: int, name: str, line: str, body: str) -> ast.Module | TextError:
    statements: list[ast.stmt] = list(_soft_reads(line, above))
    if name in _RUNS_BODY or name in _RUNS_ALONE:
        inner = parse_cell(body)
        if isinstance(inner, TextError):
            return TextError(inner.message, inner.line + above, inner.column, inner.end_column)
        for statement in inner.body:
            ast.increment_lineno(statement, above)
        if name in _RUNS_ALONE:
            statements.append(_as_function(_option_free(line), inner.body, above))
        else:
            statements += inner.body
        if name == "capture":
            target = next((word for word in line.split() if word.isidentifier()), None)
            if target is not None:
                statements.append(_bind(target, above))
    elif name in {"bash", "sh", "script", "perl", "ruby"}:
        words = line.split()
        for option, value in itertools.pairwise(words):
            if option in {"--out", "--err", "--proc"} and value.isidentifier():
                statements.append(_bind(value, above))
    elif name in {
        "python",
        "python3",
        "pypy",
        "html",
        "HTML",
        "javascript",
        "js",
        "latex",
        "markdown",
        "svg",
        "SVG",
        "writefile",
        "file",
    }:
        pass
    else:
        statements.append(opaque(above))
    return ast.Module(body=statements, type_ignores=[])


class _OpenMagics(ast.NodeTransformer):
    """Replace the calls that IPython's transformer leaves by the statements and reads they stand for."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        call = _ipython_call(node.value)
        if call is None:
            self.generic_visit(node)
            return node
        method, args = call
        if method == "run_line_magic" and len(args) == 2:
            return self._line_magic(args[0], args[1], node)
        if method in {"system", "getoutput"} and args:
            return list(_soft_reads(args[0], node.lineno)) or node
        if method in {"run_cell", "run_code", "ex", "ev", "safe_execfile", "push", "run_cell_magic", "magic", "run_cell_async"}:
            return [opaque(node.lineno), node]
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        call = _ipython_call(node.value)
        if call is None:
            self.generic_visit(node)
            return node
        method, args = call
        before: list[ast.stmt] = []
        if method == "run_line_magic" and len(args) == 2 and args[0] in _RUNS_ALONE:
            inner = _parse(_option_free(args[1]))
            if isinstance(inner, ast.Module):
                names = sorted({n.id for n in ast.walk(inner) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)})
                before = [soft_read(names, node.lineno)] if names else []
        elif method == "run_line_magic" and len(args) == 2 and args[0] in _CODE_LINE:
            inner = _parse(_option_free(args[1]))
            if isinstance(inner, ast.Module) and len(inner.body) == 1 and isinstance(inner.body[0], ast.Expr):
                node.value = ast.copy_location(inner.body[0].value, node.value)
                _place(node.value, node.lineno)
        elif args:
            before = list(_soft_reads(args[-1], node.lineno))
        return [*before, node]

    def _line_magic(self, name: str, line: str, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        reads = list(_soft_reads(line, node.lineno))
        if name in _CODE_LINE or name in _RUNS_ALONE:
            inner = _parse(_option_free(line))
            if isinstance(inner, TextError):
                return reads or node
            for statement in inner.body:
                _place(statement, node.lineno, node.col_offset)
            if name in _RUNS_ALONE:
                return [_as_function("", inner.body, node.lineno)]
            return inner.body
        if name in {"run", "load", "pylab", "store", "recall", "rerun", "macro", "edit"}:
            return [*reads, opaque(node.lineno)]
        if name in {"pinfo", "pinfo2", "psource", "pdoc", "pdef"}:
            return [soft_read([line.strip().split(".")[0]], node.lineno)] if line.strip() else node
        if name in {"who", "who_ls", "whos"}:
            reading: ast.expr = ast.Call(func=ast.Name(id="globals", ctx=ast.Load()), args=[], keywords=[])
            return [_place(ast.Expr(value=reading), node.lineno), node]
        if name == "reset":
            return [*reads, node]
        return reads or node


def _ipython_call(node: ast.expr) -> tuple[str, list[str]] | None:
    """Recognise `get_ipython().METHOD('...', ...)` with constant arguments."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call)):
        return None
    inner = node.func.value.func
    if not (isinstance(inner, ast.Name) and inner.id == "get_ipython"):
        return None
    args = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return (node.func.attr, args) if len(args) == len(node.args) else None


def parse_statements(code: str) -> list[ast.stmt] | None:
    """Parse constant code as statements; None when it is not Python."""
    tree = _parse(code)
    return tree.body if isinstance(tree, ast.Module) else None


def parse_expression(code: str) -> list[ast.stmt] | None:
    """Parse constant code as one expression; None when it is not one."""
    body = parse_statements(code.strip())
    return body if body is not None and len(body) == 1 and isinstance(body[0], ast.Expr) else None


_SHELL_NAME = re.compile(r"\$(\w+)")


def _interpolated(text: str) -> Iterator[str]:
    """Yield the names that IPython would fill in: those in `{expression}` and after `$`."""
    try:
        fields = [f for _, f, _, _ in string.Formatter().parse(text) if f]
    except ValueError:
        fields = []
    for expression in fields:
        tree = _parse(expression)
        if isinstance(tree, ast.Module):
            yield from (n.id for n in ast.walk(tree) if isinstance(n, ast.Name))
    for match in _SHELL_NAME.finditer(text):
        if match.group(1).isidentifier():
            yield match.group(1)


def _soft_reads(text: str, line: int) -> Iterator[ast.stmt]:
    names = list(dict.fromkeys(_interpolated(text)))
    if names:
        yield soft_read(names, line)


def soft_read(names: list[str], line: int, column: int = 0) -> ast.stmt:
    """Make a statement that reads `names` if they exist."""
    arguments: list[ast.expr] = [ast.Constant(value=n) for n in names]
    call = ast.Call(func=ast.Name(id=SOFT_CALL, ctx=ast.Load()), args=arguments, keywords=[])
    return _place(ast.Expr(value=call), line, column)


def opaque(line: int) -> ast.stmt:
    call = ast.Call(func=ast.Name(id=OPAQUE_CALL, ctx=ast.Load()), args=[], keywords=[])
    return _place(ast.Expr(value=call), line)


def _bind(name: str, line: int) -> ast.stmt:
    made = ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=ast.Constant(value=None))
    return _place(made, line)


def _as_function(setup: str, body: list[ast.stmt], line: int) -> ast.stmt:
    """`%timeit` compiles its body as a function: names bound inside stay there, names read are read now."""
    before = _parse(setup)
    statements = ([*before.body] if isinstance(before, ast.Module) else []) + body
    call: ast.stmt = ast.If(test=ast.Constant(value=True), body=statements or [ast.Pass()], orelse=[])
    call.kale_scope = True  # type: ignore[attr-defined]
    return _place(call, line) if not body else ast.fix_missing_locations(ast.copy_location(call, body[0]))


def _option_free(line: str) -> str:
    """Drop the options in front of the code of a `%time`-like magic (`-n 10 -r3 code` becomes `code`)."""
    words = line.split(" ")
    while words and words[0].startswith("-") and len(words[0]) > 1 and not words[0][1:2].isspace():
        option = words.pop(0)
        if option in {"-n", "-r", "-p", "-s", "-T", "-D", "-l"} and words:
            words.pop(0)
    return " ".join(words).strip()


def _place(node: Node, line: int, column: int = 0) -> Node:
    """Give every node of a made tree the place of the line it stands for."""
    for child in ast.walk(node):
        if "lineno" in child._attributes:
            child.lineno = line  # type: ignore[attr-defined]
            child.end_lineno = line  # type: ignore[attr-defined]
            child.col_offset = column  # type: ignore[attr-defined]
            child.end_col_offset = column + 1  # type: ignore[attr-defined]
    return node
