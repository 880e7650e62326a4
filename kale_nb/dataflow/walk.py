"""One ordered walk over the top-level code of a block, with definite assignment.

`read_block` takes the parsed cells of one step (or of the prelude) in order and returns its `BlockFacts`. A name is *must*-bound where
every path to that point binds it, *may*-bound where some path does: branches of `if`, `try` and `match` meet in the intersection, a loop
may run zero times unless its iterable is a non-empty literal. What a function's body reads is read when the function can be reached, so
it is recorded with the definition (`scopes`), not here; comprehensions run at once and are walked in place.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from kale_nb.dataflow.expressions import ExpressionWalker
from kale_nb.dataflow.facts import BlockFacts, ReadKind, Scope, Stuck
from kale_nb.dataflow.recorder import Paths, meet, nothing
from kale_nb.dataflow.scopes import scope_of
from kale_nb.dataflow.shapes import (
    asks_existence,
    catches_name_error,
    is_fixed,
    is_plain,
    known_truth,
    root_name,
    runs_at_least_once,
    short,
)
from kale_nb.dataflow.state import state_change, stuck_kind
from kale_nb.dataflow.strings import namespace_call


def read_block(cells: Sequence[tuple[int, ast.Module]], prelude: BlockFacts | None = None) -> BlockFacts:
    """Walk the cells of a block in order; `cells` are (cell index, tree). `prelude`: the facts of the cells that run before a step."""
    walker = _Walker({} if prelude is None else prelude.imports)
    trailing: str | None = None
    for index, tree in cells:
        walker.cell = index
        walker.statements(tree.body)
        if tree.body:
            last = tree.body[-1]
            bare = isinstance(last, ast.Expr) and isinstance(last.value, ast.Name)
            trailing = last.value.id if bare else None  # type: ignore[attr-defined]
    return walker.facts(trailing)


class _Walker(ExpressionWalker):
    # -- simple statements ------------------------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._target(target)
            self._note_value(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        with self.perhaps(guarded=True):
            self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self._target(node.target)
            self._note_value(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id, node.target)
            self.visit(node.value)
            if node.target.id not in (self.here.must or ()):
                self.mutate(node.target.id, short(node), node, augmented=True)
            self.bind(node.target.id, node.target)
            self.bindings[node.target.id] -= not self.hidden
        else:
            self.visit(node.value)
            self._target(node.target)

    def _target(self, target: ast.expr) -> None:
        self.visit(target)
        for part in ast.walk(target):
            if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store | ast.Del):
                if isinstance(part, ast.Subscript) and namespace_call(part.value):
                    continue
                self.note_state(part)
                root = root_name(part.value)
                if root is not None and self.is_module(root) and state_change(part) is None:
                    self.note_module(part, root)
                if root is not None and not self.is_module(root):
                    self.mutate(root, f"{short(part)} = ...", part)

    def _note_value(self, target: ast.expr, value: ast.expr) -> None:
        """Note what the text tells of a value that a name is bound to."""
        if not isinstance(target, ast.Name) or self.hidden:
            return
        self.plain_bindings[target.id] += is_plain(value)
        self.fixed_bindings[target.id] += is_fixed(value)
        kind = stuck_kind(value, {**self.prelude_imports, **self.imports})
        if kind is not None:
            self.stuck[target.id] = Stuck(target.id, kind, self.place(target))

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._target(target)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        if node.msg is not None:
            with self.perhaps():
                self.visit(node.msg)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name == "__main__":
                self.opaque_reads = self.opaque_binds = True
            name = alias.asname or alias.name.split(".")[0]
            self.bind(name, node)
            self.imports[name] = f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
            if "." in alias.name:
                self.submodules.append(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
                self.opaque_binds = True
                continue
            name = alias.asname or alias.name
            self.bind(name, node)
            if module != "__future__":
                self.imports[name] = f"from {module} import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")

    def visit_Raise(self, node: ast.Raise) -> None:
        self.generic_visit(node)
        self.here = Paths(None, set())

    def visit_Break(self, node: ast.Break) -> None:
        self.here = Paths(None, set())

    visit_Continue = visit_Break  # type: ignore[assignment]

    def visit_Global(self, node: ast.Global) -> None:
        return

    # -- definitions ------------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.definition_time(node)
        self._define(node.name, scope_of(node), node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _define(self, name: str, scope: Scope, node: ast.AST) -> None:
        if self.hidden:
            self.loose = self.loose | scope
        else:
            self.scopes[name] = self.scopes.get(name, Scope()) | scope
        self.bind(name, node)
        self.binds_at.setdefault(name, self.place(node))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.definition_time(node)
        self.hidden.append(set())
        try:
            for statement in node.body:
                if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    self.definition_time(statement)
                    self.hidden[-1].add(statement.name)
                else:
                    self.visit(statement)
        finally:
            self.hidden.pop()
        self._define(node.name, scope_of(node), node)
        if not self.hidden:
            self.classes.add(node.name)

    # -- compound statements ----------------------------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        if getattr(node, "kale_scope", False):
            self._timeit(node)
            return
        self.visit(node.test)
        known = known_truth(node.test)
        guarded = asks_existence(node.test)
        start = self.here
        if known is not None:
            self.branch(start, node.body if known else node.orelse, certain=True)
            end = self.here
            other = node.orelse if known else node.body
            if other:
                self.branch(start, other)
            self.here = end
            return
        ends = [self.branch(start, node.body, guarded=guarded), self.branch(start, node.orelse, guarded=guarded)]
        self.here = meet(ends)

    def _timeit(self, node: ast.If) -> None:
        self.hidden.append(set())
        try:
            self.statements(node.body)
        finally:
            self.hidden.pop()

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._loop(node, runs_at_least_once(node.iter), node.target)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._loop(node, known_truth(node.test) is True, None)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, at_least_once: bool, target: ast.expr | None) -> None:
        start = self.here.copy()
        with nothing() if at_least_once else self.perhaps():
            if target is not None:
                self._target(target)
            entry = self.here.copy()
            self.statements(node.body)
        end = self.here
        if at_least_once:
            jumps = any(isinstance(n, ast.Break | ast.Continue) for n in ast.walk(node))
            self.here = entry if end.must is None or jumps else end
        else:
            self.here = meet([start, end]) if end.must is not None else start
        if node.orelse:
            before = self.here
            self.here = meet([before, self.branch(before, node.orelse)])

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        guarded = False
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._target(item.optional_vars)
            call = item.context_expr
            if isinstance(call, ast.Call) and short(call.func).rsplit(".", 1)[-1] in {"suppress", "raises", "assertRaises"}:
                guarded = True
        if not guarded:
            self.statements(node.body)
            return
        start = self.here
        self.here = meet([start, self.branch(start, node.body, guarded=True)])

    visit_AsyncWith = visit_With

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        start = self.here.copy()
        guarded = any(catches_name_error(h.type) for h in node.handlers)
        body_end = self.branch(start, [*node.body, *node.orelse], certain=not node.handlers or not guarded, guarded=guarded)
        ends = [body_end]
        for handler in node.handlers:
            self.here = start.copy()
            if handler.type is not None:
                with self.perhaps():
                    self.visit(handler.type)
            with self.perhaps():
                if handler.name:
                    self.read(handler.name, handler, ReadKind.SOFT)
                    self.bind(handler.name, handler)
                self.statements(handler.body)
                if handler.name:
                    self.kill(handler.name)
                    self.here.killed.discard(handler.name)
            ends.append(self.here)
        self.here = meet(ends)
        self.statements(node.finalbody)

    visit_TryStar = visit_Try

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        start = self.here
        ends: list[Paths] = []
        for case in node.cases:
            self.here = start.copy()
            with self.perhaps():
                self.visit(case.pattern)
                if case.guard is not None:
                    self.visit(case.guard)
                self.statements(case.body)
            ends.append(self.here)
        last = node.cases[-1]
        if not (isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None and last.guard is None):
            ends.append(start)
        self.here = meet(ends)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.pattern is not None:
            self.visit(node.pattern)
        if node.name is not None:
            self.bind(node.name, node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name is not None:
            self.bind(node.name, node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest is not None:
            self.bind(node.rest, node)
