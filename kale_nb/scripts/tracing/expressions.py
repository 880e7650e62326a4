"""Values of the pipeline's body as expressions that a step's notebook can evaluate.

Takes constants, containers, stand-ins and what can be imported; refuses the rest, since a value that was made while the pipeline was read
does not exist when it runs.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import pathlib
import sys
import types
from collections.abc import Iterable
from typing import Any

from kale_nb.pipeline.params import to_source
from kale_nb.scripts.tracing.values import MARKER, STARRED, Value, known_of, marker_number, refuse

IMPORT = "$i"
_DEFINITIONS = (type, types.FunctionType, types.BuiltinFunctionType)


class Converter:
    """Turns values into expressions; collects the imports that these need, as `module, name` (`name` empty: the module)."""

    def __init__(self, script: types.ModuleType) -> None:
        self.script = script
        self.imports: dict[tuple[str, str], int] = {}
        self.texts: list[tuple[ast.expr, str]] = []
        self.subject = "a value"

    def mark(self, node: ast.expr, form: str) -> int:
        """Note a stand-in that is put into a text; return its number."""
        self.texts.append((node, form))
        return len(self.texts) - 1

    def reference(self, module: str, name: str) -> ast.expr:
        """Return an expression for something that is imported."""
        number = self.imports.setdefault((module, name), len(self.imports))
        return ast.Name(id=f"{IMPORT}{number}", ctx=ast.Load())

    def argument(self, value: Any, subject: str, *, spread: bool = False) -> ast.expr:
        """Convert an argument of a step; `subject` names it in messages. `spread`: the call spreads a list, `f(*rest)`."""
        self.subject = subject
        return self.convert(value, inside=spread)

    def convert(self, value: Any, *, inside: bool = False) -> ast.expr:
        """Return the expression of a value. `inside`: it stands in a list or the like, where a starred rest may be spread."""
        kind = type(value)
        if kind is Value:
            node = known_of(value).node
            if isinstance(node, ast.Starred) and not inside:
                refuse(STARRED[0], f"{self.subject} is {STARRED[1]}", STARRED[2])
            return node
        if kind is str:
            return self.text(value)
        if kind in (list, tuple, set, frozenset, dict):
            return self.container(value)
        try:
            return ast.parse(to_source(value), mode="eval").body
        except ValueError:
            pass
        found = self.importable(value) or self.built(value)
        if found is not None:
            return found
        return refuse(
            "KN610",
            f"{self.subject} is {_described(value)} that the pipeline's body made: it is not there when the pipeline runs",
            "make it in a step, or at the top level of the script under a name of its own",
        )

    def text(self, value: str) -> ast.expr:
        """Convert a text, in which markers become the expressions that they stand for."""
        if MARKER.search(value) is None:
            return self.constant_text(value)
        parts: list[ast.expr] = []
        at = 0
        for found in MARKER.finditer(value):
            if found.start() > at:
                parts.append(ast.Constant(value=value[at : found.start()]))
            node, form = self.texts[marker_number(found[1])]
            conversion = ord("r") if form.startswith("!r") else -1
            spec = form.partition(":")[2]
            shape = ast.JoinedStr(values=[ast.Constant(value=spec)]) if spec else None
            parts.append(ast.FormattedValue(value=node, conversion=conversion, format_spec=shape))
            at = found.end()
        if at < len(value):
            parts.append(ast.Constant(value=value[at:]))
        return ast.JoinedStr(values=parts)

    def constant_text(self, value: str) -> ast.expr:
        folder = str(pathlib.Path(self.script.__file__ or "").parent)
        if folder in value and len(folder) > 1:
            found = self.by_identity(value)  # a path of this folder: in the run it is that of the clone
            if found is not None:
                return found
        return ast.Constant(value=value)

    def container(self, value: Any) -> ast.expr:
        """Convert a list, tuple, set, frozenset or dict."""
        kind = type(value)
        if kind is dict:
            keys: list[ast.expr | None] = [self.convert(k) for k in value]
            return ast.Dict(keys=keys, values=[self.convert(v) for v in value.values()])
        items = [self.convert(v, inside=True) for v in value]
        if kind is list:
            return ast.List(elts=items, ctx=ast.Load())
        if kind is tuple:
            return ast.Tuple(elts=items, ctx=ast.Load())
        made = ast.Set(elts=items) if items else _call(ast.Name(id="set", ctx=ast.Load()), ())
        return made if kind is set else _call(ast.Name(id="frozenset", ctx=ast.Load()), [made] if items else [])

    def importable(self, value: Any) -> ast.expr | None:
        """Return an expression for a module, or for what is in one under its name."""
        if type(value) is types.ModuleType:
            return self.reference(value.__name__, "")
        if isinstance(value, enum.Enum):
            owner = self.importable(type(value))
            return None if owner is None else ast.Attribute(value=owner, attr=value.name, ctx=ast.Load())
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        module = getattr(value, "__module__", None)
        if isinstance(name, str) and isinstance(module, str) and not isinstance(value, types.MethodType):
            found = _attribute(module, name)
            if found is value:
                first, *rest = name.split(".")
                node = self.reference(module, first) if module != "builtins" else ast.Name(id=first, ctx=ast.Load())
                for part in rest:
                    node = ast.Attribute(value=node, attr=part, ctx=ast.Load())
                return node
        return self.by_identity(value)

    def by_identity(self, value: Any) -> ast.expr | None:
        """Return an expression for a value that a module of the user's holds under some name."""
        where = {self.script.__name__: self.script}
        home = getattr(value, "__module__", None)
        if isinstance(home, str) and isinstance(sys.modules.get(home), types.ModuleType):
            where[home] = sys.modules[home]
        for module, held in where.items():
            for name, other in vars(held).items():
                if other is value and name.isidentifier() and not name.startswith("__"):
                    return self.reference(module, name)
        return None

    def built(self, value: Any) -> ast.expr | None:
        """Return an expression that builds a value of a simple type again: a path, a range, a named tuple, a dataclass."""
        kind = type(value)
        if kind is slice:
            return _call(ast.Name(id="slice", ctx=ast.Load()), [self.convert(a) for a in (value.start, value.stop, value.step)])
        if kind is range:
            arguments = [value.start, value.stop, value.step] if value.step != 1 else [value.start, value.stop]
            return _call(ast.Name(id="range", ctx=ast.Load()), [self.convert(a) for a in arguments])
        owner = self.importable(kind)
        if owner is None:
            return None
        if isinstance(value, pathlib.PurePath):
            owner = self.reference("pathlib", "PurePath" if not isinstance(value, pathlib.Path) else "Path")
            return _call(owner, [self.convert(str(value))])
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return _call(owner, [], zip(kind._fields, (self.convert(v) for v in value), strict=True))
        if dataclasses.is_dataclass(value) and "__post_init__" not in vars(kind):
            fields = dataclasses.fields(value)
            if all(f.init for f in fields) and set(getattr(value, "__dict__", {})) <= {f.name for f in fields}:
                return _call(owner, [], [(f.name, self.convert(getattr(value, f.name))) for f in fields])
        return None


def _call(func: ast.expr, args: Iterable[ast.expr], keywords: Iterable[tuple[str, ast.expr]] = ()) -> ast.expr:
    return ast.Call(func=func, args=list(args), keywords=[ast.keyword(arg=k, value=v) for k, v in keywords])


def _attribute(module: str, path: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _described(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, types.FunctionType):
        return "a lambda" if value.__name__ == "<lambda>" else f"the function {value.__name__}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"an object of type {kind}"
