"""The last part of reading: everything that was noted gets its name and becomes text."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterator
from typing import Any

from kale_nb.scripts.tracing.calls import PARAMETER, VARIABLE, Call, Tracer, Variable
from kale_nb.scripts.tracing.expressions import IMPORT

_TAKEN = {
    *dir(builtins),
    *keyword.kwlist,
    *keyword.softkwlist,
    "_kale",
    "_kale_data",
    "get_ipython",
    "exit",
    "quit",
    "In",
    "Out",
    "_",
}


class Names:
    """Names for parameters, imports and variables that do not get into each other's way in any step's notebook."""

    def __init__(self, tracer: Tracer, params: list[str]) -> None:
        self.tracer = tracer
        self.taken = {*_TAKEN, *params}
        self.imports = [self._free(name or module.partition(".")[0]) for module, name in tracer.converter.imports]
        self.used = {int(n.id[2:]) for call in tracer.calls for n in _names_in(call) if n.id.startswith(VARIABLE)}
        self.variables: dict[int, str] = {}
        for call in tracer.calls:
            if call.whole is not None:
                self._name(call.whole)

    def _name(self, variable: Variable) -> None:
        step = re.sub(r"\W", "_", variable.call.name)
        asked = variable.asked
        if asked in (None, "_") and (variable.number in self.used or variable.shapes):
            asked = f"{step}_result"
        if asked is not None:
            self.variables[variable.number] = "_" if asked == "_" else self._free(asked)
        for _, parts, _ in variable.shapes:
            for position, part in enumerate(parts):
                if part.asked is None or (part.asked == "_" and (part.number in self.used or part.shapes)):
                    part.asked = f"{step}_{position}"
                self._name(part)

    def _free(self, asked: str) -> str:
        if asked[:1].isdigit():
            asked = f"step_{asked}"
        name, number = asked, 1
        while name in self.taken:
            number += 1
            name = f"{asked}_{number}"
        self.taken.add(name)
        return name

    def of(self, node: ast.Name) -> str:
        """Return the final name of a placeholder; of another name itself."""
        kind, rest = node.id[:2], node.id[2:]
        if kind == VARIABLE:
            return self.variables[int(rest)]
        if kind == PARAMETER:
            return rest
        return self.imports[int(rest)] if kind == IMPORT else node.id

    def text(self, node: ast.expr) -> str:
        """Return an expression as source."""
        return ast.unparse(_Renamed(self).visit(_copied(node)))


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: Names) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(id=self.names.of(node), ctx=ast.Load())


def _copied(node: ast.expr) -> ast.expr:
    """Copy a tree: parts of it stand in several expressions."""
    import copy

    return copy.deepcopy(node)


def _names_in(call: Call) -> Iterator[ast.Name]:
    for tree in (*call.args, *(v for _, v in call.kwargs)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                yield node


def steps_of(tracer: Tracer, names: Names) -> list[dict[str, Any]]:
    """Return the steps as JSON values: source of the call, names taken and made, order."""
    made: list[dict[str, Any]] = []
    changed: dict[int, list[int]] = {}  # number of the maker's call -> calls that change what it made
    for call in tracer.calls:
        placeholders = list(_names_in(call))
        taken = dict.fromkeys(int(n.id[2:]) for n in placeholders if n.id.startswith(VARIABLE))
        makers = {number: tracer.variables[number].call.index for number in taken}
        order = {*makers.values(), *(c.index for c in call.after)}
        order |= {index for maker in makers.values() for index in changed.get(maker, ())}
        needs = {names.variables[n]: [(changed.get(m) or [m])[-1]] for n, m in makers.items()}
        imports = {int(n.id[2:]) for n in (*placeholders, *_reference_names(call)) if n.id.startswith(IMPORT)}
        statements, result = _statements(call, names)
        made.append(
            {
                "name": call.name,
                "function": _function(call, tracer),
                "settings": _plain_settings(call.mark.settings),
                "artifacts": call.mark.artifacts,
                "spot": _spot(call.spot),
                "marked": [call.mark.path, call.mark.line],
                "after": sorted(order - {call.index}),
                "needs": needs,
                "binds": [names.variables[n] for n in _bound(call) if n in names.variables and names.variables[n] != "_"],
                "imports": [[*list(tracer.converter.imports)[i], names.imports[i]] for i in sorted(imports)],
                "params": sorted({n.id[2:] for n in placeholders if n.id.startswith(PARAMETER)}),
                "statements": statements,
                "unpacks": _unpacks(call),
                "result": result,
            }
        )
        for variable in call.changes:
            changed.setdefault(variable.call.index, []).append(call.index)
    return made


def _reference_names(call: Call) -> Iterator[ast.Name]:
    for node in ast.walk(call.reference) if call.reference is not None else ():
        if isinstance(node, ast.Name):
            yield node


def _function(call: Call, tracer: Tracer) -> dict[str, Any]:
    code = getattr(call.mark.function, "__code__", None)
    docs = (call.mark.function.__doc__ or "").strip().splitlines()
    return {
        "name": getattr(call.mark.function, "__name__", call.name),
        "path": code.co_filename if code is not None else call.mark.path,
        "line": call.line,
        "doc": docs[0] if docs else None,
    }


def _plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k not in ("name", "after") and v is not None}


def _spot(spot: Any) -> list[Any] | None:
    return None if spot is None else [spot.path, spot.line, spot.column, spot.end]


def _bound(call: Call) -> Iterator[int]:
    def inside(variable: Variable) -> Iterator[int]:
        yield variable.number
        for _, parts, _ in variable.shapes:
            for part in parts:
                yield from inside(part)

    if call.whole is not None:
        yield from inside(call.whole)


def _statements(call: Call, names: Names) -> tuple[list[str], str | None]:
    """Return the cell's statements: the call with what it is assigned to, further unpackings; and the name of a single result."""
    assert call.whole is not None
    assert call.reference is not None
    keywords = [ast.keyword(arg=k, value=v) for k, v in call.kwargs]
    source = names.text(ast.Call(func=call.reference, args=list(call.args), keywords=keywords))
    whole = call.whole
    if not whole.shapes:
        name = names.variables.get(whole.number)
        return [f"{name} = {source}" if name else source], name if whole.asked not in (None, "_") else None
    lines: list[str] = []
    first, *others = whole.shapes
    if whole.number in names.used or others:
        lines.append(f"{names.variables[whole.number]} = {source}")
        source = names.variables[whole.number]
        others = list(whole.shapes)
    else:
        lines.append(f"{_target(first[0], first[1], names, lines)} = {source}")
        _further(first[1], names, lines)
    for shape, parts, _ in others:
        lines.append(f"{_target(shape, parts, names, lines)} = {source}")
        _further(parts, names, lines)
    return lines, None


def _target(shape: Any, parts: list[Variable], names: Names, lines: list[str]) -> str:
    texts = []
    for position, part in enumerate(parts):
        inner = part.shapes[0] if len(part.shapes) == 1 and part.number not in names.used else None
        star = "*" if shape.starred and position == shape.before else ""
        texts.append(f"{star}({_target(inner[0], inner[1], names, lines)})" if inner else f"{star}{names.variables[part.number]}")
    return ", ".join(texts) + ("," if len(texts) == 1 else "") if texts else "[]"


def _further(parts: list[Variable], names: Names, lines: list[str]) -> None:
    """Unpack the parts that the body takes whole as well."""
    for part in parts:
        if len(part.shapes) == 1 and part.number not in names.used:
            _further(part.shapes[0][1], names, lines)
            continue
        for shape, inner, _ in part.shapes:
            lines.append(f"{_target(shape, inner, names, lines)} = {names.variables[part.number]}")
            _further(inner, names, lines)


def _unpacks(call: Call) -> list[Any] | None:
    """How the whole result is unpacked: number of values, whether more may come, place; None when it is not."""
    if call.whole is None or not call.whole.shapes:
        return None
    shape, _, spot = call.whole.shapes[0]
    return [shape.values, shape.starred, _spot(spot)]
