"""Expressions in the order in which they run: reads, bindings by `:=`, comprehensions, and calls that reach the namespace by name."""

from __future__ import annotations

import ast

from kale_nb.dataflow.facts import ReadKind
from kale_nb.dataflow.recorder import Recorder, meet, nothing
from kale_nb.dataflow.scopes import Definition, scope_of
from kale_nb.dataflow.shapes import asks_existence, root_name, runs_at_least_once, short
from kale_nb.dataflow.state import state_change
from kale_nb.dataflow.strings import UNPICKLED, asks_by_text, at_names, constant_text, namespace_call, unpickles
from kale_nb.dataflow.text import OPAQUE_CALL, SOFT_CALL, parse_expression, parse_statements

MUTATORS = frozenset(
    "append extend insert clear sort reverse popitem setdefault appendleft extendleft popleft discard update remove pop".split()
)


class ExpressionWalker(Recorder):
    """Walks expressions; `statements` of code given to `exec` go back to the whole walk."""

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read(node.id, node)
        elif isinstance(node.ctx, ast.Store):
            self.bind(node.id, node)
        else:
            self.read(node.id, node)
            self.kill(node.id)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
            if node.value.func.id == SOFT_CALL:
                for arg in node.value.args:
                    self.read(constant_text(arg) or "", node, ReadKind.SOFT)
                return
            if node.value.func.id == OPAQUE_CALL:
                self.opaque_reads = self.opaque_binds = True
                return
        self.visit(node.value)
        self.expressions += 1

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        hidden, self.hidden = self.hidden, []
        self.visit(node.target)
        self.hidden = hidden

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        guarded = any(asks_existence(v) for v in node.values)
        start = self.here.copy()
        with self.perhaps(guarded=guarded):
            for value in node.values[1:]:
                self.visit(value)
        self.here = meet([start, self.here])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        start = self.here
        ends = []
        for value in (node.body, node.orelse):
            self.here = start.copy()
            with self.perhaps(guarded=asks_existence(node.test)):
                self.visit(value)
            ends.append(self.here)
        self.here = meet(ends)

    def visit_Compare(self, node: ast.Compare) -> None:
        text = constant_text(node.left)
        if text is not None and len(node.comparators) == 1 and namespace_call(node.comparators[0]):
            self.read(text, node, ReadKind.GUARDED)
            return
        self.generic_visit(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.definition_time(node)
        self.reach(scope_of(node), node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self.comprehension(node.generators, [node.elt])

    visit_SetComp = visit_ListComp  # type: ignore[assignment]

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self.comprehension(node.generators, [node.elt], lazy=True)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self.comprehension(node.generators, [node.key, node.value])

    def comprehension(self, generators: list[ast.comprehension], values: list[ast.expr], *, lazy: bool = False) -> None:
        """Walk a comprehension in place. What it binds by `:=` is only sure where it surely runs, and at once."""
        self.visit(generators[0].iter)
        certain = runs_at_least_once(generators[0].iter) and len(generators) == 1 and not generators[0].ifs
        start = self.here.copy()
        self.hidden.append(set())
        try:
            if not certain:
                self.conditional += 1
            for number, generator in enumerate(generators):
                if number:
                    self.visit(generator.iter)
                self.visit(generator.target)
                for test in generator.ifs:
                    self.visit(test)
            for value in values:
                self.visit(value)
        finally:
            if not certain:
                self.conditional -= 1
            self.hidden.pop()
        if not certain or lazy:
            self.here = meet([start, self.here])

    def visit_Subscript(self, node: ast.Subscript) -> None:
        text = constant_text(node.slice)
        if text is not None and namespace_call(node.value):
            if isinstance(node.ctx, ast.Load):
                self.read(text, node)
            elif isinstance(node.ctx, ast.Store):
                self.bind(text, node)
            else:
                self.kill(text)
            return
        if namespace_call(node.value) and not isinstance(node.ctx, ast.Load):
            self.opaque_binds = True
        if text == "__main__":
            self.opaque_reads = self.opaque_binds = True
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in {"user_ns", "user_global_ns"}:
            self.opaque_reads = self.opaque_binds = True
        self.generic_visit(node)

    def definition_time(self, node: Definition) -> None:
        """Visit what runs when the definition does: decorators, defaults, bases."""
        if not isinstance(node, ast.Lambda):
            for decorator in node.decorator_list:
                self.visit(decorator)
        if isinstance(node, ast.ClassDef):
            for part in (*node.bases, *(k.value for k in node.keywords)):
                self.visit(part)
            return
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        if not isinstance(node, ast.Lambda):
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
            annotations = [a.annotation for a in arguments if a is not None and a.annotation is not None]
            with self.perhaps(guarded=True):
                for annotation in (*annotations, *([node.returns] if node.returns is not None else ())):
                    self.visit(annotation)

    def visit_Call(self, node: ast.Call) -> None:
        if self._special_call(node):
            return
        for name in at_names(node):
            self.read(name, node, ReadKind.SOFT)
        if asks_by_text(node):
            self.opaque_reads = True
        if unpickles(node, {**self.prelude_imports, **self.imports}):
            self.mentions.add(UNPICKLED)
        self._mutating_call(node)
        self.note_state(node)
        self.generic_visit(node)

    def _special_call(self, node: ast.Call) -> bool:
        """Understand calls that reach the namespace by name; True when the call needs no further visit."""
        func = node.func
        if namespace_call(node) and isinstance(func, ast.Name) and func.id not in self.may:
            self.opaque_reads = True
            return False
        if isinstance(func, ast.Attribute) and namespace_call(func.value) and node.args:
            text = constant_text(node.args[0])
            if func.attr in {"get", "setdefault", "pop", "__contains__", "__getitem__"} and text is not None:
                self.read(text, node, ReadKind.GUARDED)
                if func.attr == "setdefault":
                    self.may.add(text)
                for arg in node.args[1:]:
                    self.visit(arg)
                return True
            if func.attr in {"update", "__setitem__", "setdefault", "pop"}:
                self.opaque_binds = True
        if isinstance(func, ast.Name) and func.id in {"exec", "eval"} and func.id not in self.may and node.args:
            return self._code_call(func.id, node)
        return False

    def _code_call(self, which: str, node: ast.Call) -> bool:
        text = constant_text(node.args[0])
        if len(node.args) == 1 and text is not None:
            body = parse_statements(text) if which == "exec" else parse_expression(text)
            if body is not None:
                for statement in body:
                    for child in ast.walk(statement):
                        if hasattr(child, "lineno"):
                            ast.copy_location(child, node)
                with self.perhaps() if which == "exec" else nothing():
                    self.statements(body)
                if which == "exec":
                    names = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
                    for name in sorted(names & self.may):
                        self.bind(name, node)
                return True
        own_namespace = len(node.args) > 1 and not namespace_call(node.args[1])
        if not own_namespace:
            self.opaque_reads = True
            self.opaque_binds = self.opaque_binds or which == "exec"
        return False

    def _mutating_call(self, node: ast.Call) -> None:
        func = node.func
        if isinstance(func, ast.Attribute):
            root = root_name(func.value)
            in_place = any(
                k.arg == "inplace" and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords
            )
            if (
                root is not None
                and func.attr in MUTATORS
                and self.is_module(root)
                and isinstance(func.value, ast.Attribute | ast.Subscript)
            ):
                if state_change(node) is None:
                    self.note_module(func.value, root)
            elif root is not None and (in_place or (func.attr in MUTATORS and not self.is_module(root))):
                self.mutate(root, f"{short(node.func)}({'inplace=True' if in_place else '...'})", node)
            if func.attr == "shuffle" and node.args and isinstance(node.args[0], ast.Name):
                self.mutate(node.args[0].id, short(node), node)
        elif isinstance(func, ast.Name) and func.id in {"setattr", "delattr"} and node.args:
            root = root_name(node.args[0])
            if root is not None:
                self.mutate(root, short(node), node)
