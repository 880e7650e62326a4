"""Parameters cells as `Param`s.

Takes the marked cells, gives every assignment in a parameters cell whose value is a literal (see `pipeline.literals`), with type,
default and description. What is no such literal is simply no parameter. Because a run's values are injected after the cell, what the
cell computes from a parameter keeps the value computed from the default: that is reported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kale_nb.annotations.asks import Place
from kale_nb.annotations.lines import dedented, statement_starts
from kale_nb.annotations.marks import MarkedCell, Role
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.location import Location
from kale_nb.pipeline.literals import NotLiteral, evaluate
from kale_nb.pipeline.params import TYPES, Param, to_source, type_name

NOT_RECOMPUTED = rule(
    "KN510",
    "param-not-recomputed",
    Severity.WARNING,
    what="A parameters cell computes a value from a parameter.",
    why="`-p name=value` sets the parameter after the cell, so the computed value stays what the default made of it.",
    example="%%parameters\nepochs = 3\nsteps = [e * 100 for e in range(epochs)]\n\n%%step train\nprint(steps)",
    mend="Compute it in a step, or in an imports or functions cell.",
)

_IPYTHON = re.compile(r"^(\s*)[%!?]")
_UNTYPED_NAMES = {"Any": "any", "object": "any", "None": "None", "NoneType": "None"}
_CAPITALS = {"List": "list", "Tuple": "tuple", "Dict": "dict", "Set": "set", "FrozenSet": "frozenset", "Mapping": "dict"}
_ABSTRACT = {"Sequence": "list", "MutableMapping": "dict", "MutableSequence": "list", "AbstractSet": "set"}
_WRAPPERS = ("Final", "Annotated", "ClassVar")


def read_params(cells: Sequence[MarkedCell], path: str) -> tuple[tuple[Param, ...], tuple[Diagnostic, ...]]:
    """Read the parameters of a notebook; cells of other roles are only looked at for the names of `datetime`.

    Of two assignments to one name the last counts. A cell that is no Python gives nothing: its syntax error is reported elsewhere.
    """
    reader = _Reader(path)
    for cell in cells:
        if cell.role in (Role.PARAMETERS, Role.IMPORTS):
            reader.read(cell)
    return tuple(reader.params.values()), tuple(reader.found)


@dataclass(frozen=True, slots=True)
class _Typed:
    name: str
    optional: bool


class _Reader:
    def __init__(self, path: str) -> None:
        self.path = path
        self.params: dict[str, Param] = {}
        self.values: dict[str, object] = {}
        self.computed: set[str] = set()
        self.modules: dict[str, str] = {}
        self.found: list[Diagnostic] = []
        self.cell: MarkedCell | None = None
        self.lines: list[str] = []
        self.indent = ""

    def read(self, cell: MarkedCell) -> None:
        self.cell = cell
        self.lines = dedented(cell.code).split("\n")
        self.indent = _taken_off(cell.code, self.lines)
        starts = statement_starts(self.lines)
        plain = [_IPYTHON.sub(r"\1pass #", line) if s else line for s, line in zip(starts, self.lines, strict=True)]
        try:
            tree = ast.parse("\n".join(plain))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for statement in tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imported(statement)
            elif cell.role is Role.PARAMETERS:
                self.statement(statement)

    def imported(self, statement: ast.Import | ast.ImportFrom) -> None:
        module = f"{statement.module}." if isinstance(statement, ast.ImportFrom) else ""
        for alias in statement.names:
            full = f"{module}{alias.name}"
            name = alias.asname or alias.name
            if full.partition(".")[0] in ("datetime", "zoneinfo"):
                self.modules[name] = full
            elif self.cell is not None and self.cell.role is Role.PARAMETERS:
                self.forget(name.split(".")[0])

    def statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=targets, value=value):
                self.assign(targets, value, None, statement)
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value, annotation=annotation):
                self.assign([target], value, annotation, statement)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                grown = ast.BinOp(left=ast.Name(id=name, ctx=ast.Load()), op=op, right=value)
                ast.copy_location(grown, statement)
                ast.copy_location(grown.left, statement)
                self.assign([target], grown, None, statement, own=name)
            case _:
                for name in _bound(statement):
                    self.forget(name)

    def assign(
        self, targets: list[ast.expr], value: ast.expr, annotation: ast.expr | None, statement: ast.stmt, own: str | None = None
    ) -> None:
        itself = {own, *(target.id for target in targets if isinstance(target, ast.Name))}
        from_params = [n for n in _read_names(value) if (n in self.params or n in self.computed) and n not in itself]
        try:
            result = evaluate(value, self.values, self.modules)
            to_source(result)
        except (NotLiteral, ValueError):
            for target in targets:
                for name in _bound(target):
                    self.forget(name)
                    self.stale(name, from_params, statement, Severity.WARNING)
            return
        for target in targets:
            self.bind(target, result, annotation, statement, from_params)

    def bind(
        self, target: ast.expr, value: object, annotation: ast.expr | None, statement: ast.stmt, from_params: list[str]
    ) -> None:
        match target:
            case ast.Name(id=name):
                self.add(name, value, annotation, statement, target)
                self.stale(name, from_params, statement, Severity.NOTE)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                items = list(value) if isinstance(value, tuple | list | str) else []
                if len(items) == len(parts) and not any(isinstance(part, ast.Starred) for part in parts):
                    for part, item in zip(parts, items, strict=True):
                        self.bind(part, item, None, statement, from_params)
                else:
                    for name in _bound(target):
                        self.forget(name)
            case _:
                for name in _read_names(target):
                    self.forget(name)

    def add(self, name: str, value: object, annotation: ast.expr | None, statement: ast.stmt, target: ast.expr) -> None:
        typed = _annotated(annotation, self.modules)
        kind = typed.name if typed is not None else type_name(value)
        if kind == "None" and typed is not None and value is not None:
            kind = type_name(value)
        before = self.params.pop(name, None)
        optional = (typed is not None and typed.optional) or (value is None and kind not in ("None", "any"))
        if typed is None and before is not None and before.type not in ("None", "any") and kind == "None":
            kind, optional = before.type, True
        self.values[name] = value
        self.computed.discard(name)
        self.params[name] = Param(
            name=name,
            type=kind,
            default=value,
            optional=optional,
            description=self.description(statement) or (before.description if before is not None else None),
            location=self.location(target.lineno, target.col_offset),
        )

    def forget(self, name: str) -> None:
        self.params.pop(name, None)
        self.values.pop(name, None)

    def stale(self, name: str, from_params: list[str], statement: ast.stmt, severity: Severity) -> None:
        if not from_params:
            return
        self.computed.add(name) if severity is Severity.WARNING else None
        source = "`, `".join(dict.fromkeys(from_params))
        first = from_params[0]
        own = f", or set it too: `-p {name}=...`" if severity is Severity.NOTE else ""
        place = self.place(statement)
        self.found.append(
            place.report(
                NOT_RECOMPUTED,
                f"`{name}` is computed from `{source}` here; a run with `-p {first}=...` does not compute it again",
                f"compute `{name}` in a step{own}",
                severity,
            )
        )

    def location(self, line: int, offset: int) -> Location:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        column = len(self.indent + text.encode()[:offset].decode(errors="ignore")) + 1
        return Location(path=self.path, cell=self.cell.cell.index if self.cell else None, line=line, column=column)

    def place(self, statement: ast.stmt) -> Place:
        start = self.location(statement.lineno, statement.col_offset)
        text = self.indent + self.lines[statement.lineno - 1]
        end = len(text.rstrip()) + 1
        if statement.end_lineno == statement.lineno and statement.end_col_offset is not None:
            end = self.location(statement.lineno, statement.end_col_offset).column or end
        return Place(location=start, source_line=text, end_column=end)

    def description(self, statement: ast.stmt) -> str | None:
        """Return the comment at the end of the statement, else the one on the line above when it heads no further statement."""
        last = statement.end_lineno or statement.lineno
        line = self.lines[last - 1]
        tail = line.encode()[statement.end_col_offset or 0 :].decode(errors="ignore")
        match = re.match(r"[\s;]*#+\s*(.*)", tail)
        if match is not None:
            return _comment(match.group(1))
        above = self.lines[statement.lineno - 2].strip() if statement.lineno > 1 else ""
        below = self.lines[last].strip() if last < len(self.lines) else ""
        if above.startswith("#") and not re.match(r"#\s*%", above) and (not below or below.startswith("#")):
            return _comment(above.lstrip("#"))
        return None


def _taken_off(code: str, lines: Sequence[str]) -> str:
    """Return the indent that the lines of a cell have no more."""
    before, after = next(((b, a) for b, a in zip(code.split("\n"), lines, strict=True) if a.strip()), ("", ""))
    return before[: len(before) - len(after)]


def _comment(text: str) -> str | None:
    text = re.sub(r"^type:\s*\S+\s*#?", "", text.strip().lstrip(":")).strip()
    return None if not text or text.lower() in ("parameters", "params", "noqa") or not any(c.isalnum() for c in text) else text


def _read_names(node: ast.AST) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement or target may bind, change or remove."""
    for child in ast.walk(node):
        match child:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name.split(".")[0]
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in _CHANGING:
                yield name
            case _:
                pass


_CHANGING = frozenset(
    {
        "append",
        "extend",
        "insert",
        "remove",
        "pop",
        "clear",
        "sort",
        "reverse",
        "update",
        "add",
        "discard",
        "setdefault",
        "popitem",
    }
)


def _annotated(annotation: ast.expr | None, modules: dict[str, str]) -> _Typed | None:
    """Return the type that an annotation names, None when it is no type that a parameter can be checked against."""
    match annotation:
        case None:
            return None
        case ast.Constant(value=None):
            return _Typed("None", True)
        case ast.Constant(value=str() as text):
            try:
                return _annotated(ast.parse(text, mode="eval").body, modules)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([left, right], modules)
        case ast.Subscript(value=base, slice=inner):
            return _subscripted(_last_name(base), inner, modules)
        case ast.Name() | ast.Attribute():
            return _named(_last_name(annotation), modules)
        case _:
            return None


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _named(name: str, modules: dict[str, str]) -> _Typed | None:
    name = modules[name].split(".")[-1] if name in modules else name
    name = _CAPITALS.get(name) or _ABSTRACT.get(name) or _UNTYPED_NAMES.get(name, name)
    return _Typed(name, name in ("any", "None")) if name in TYPES or name in ("any", "None") else None


def _subscripted(base: str, inner: ast.expr, modules: dict[str, str]) -> _Typed | None:
    parts = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
    if base == "Optional":
        found = _annotated(inner, modules)
        return _Typed(found.name, True) if found is not None else None
    if base == "Union":
        return _union(parts, modules)
    if base in _WRAPPERS:
        return _annotated(parts[0], modules)
    if base == "Literal":
        kinds = {type_name(part.value) for part in parts if isinstance(part, ast.Constant)}
        named = kinds - {"None"}
        return _Typed(named.pop(), "None" in kinds) if len(named) == 1 else _Typed("any", True)
    return _named(base, modules)


def _union(parts: Sequence[ast.expr], modules: dict[str, str]) -> _Typed | None:
    found = [_annotated(part, modules) for part in parts]
    if any(one is None for one in found):
        return None
    optional = any(one.optional for one in found if one is not None)
    names = {one.name for one in found if one is not None} - {"None"}
    if len(names) == 1:
        return _Typed(names.pop(), optional)
    if names == {"int", "float"}:
        return _Typed("float", optional)
    return _Typed("any", True)
