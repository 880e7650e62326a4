"""One ordered walk over the top-level code of a block, with definite assignment.

`read_block` takes the parsed cells of one step (or of the prelude) in order and returns its `BlockFacts`. A name is *must*-bound where
every path to that point binds it, *may*-bound where some path does: branches of `if`, `try` and `match` meet in the intersection, a loop
may run zero times unless its iterable is a non-empty literal. What a function's body reads is read when the function can be reached, so
it is recorded with the definition (`scopes`), not here; comprehensions run at once and are walked in place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from kale_nb.dataflow.facts import BlockFacts, Mutation, Place, Read, ReadKind, Scope, StateChange, Stuck
from kale_nb.dataflow.scopes import Definition, scope_of
from kale_nb.dataflow.state import state_change, stuck_kind
from kale_nb.dataflow.strings import asks_by_text, at_names, constant_text, namespace_call
from kale_nb.dataflow.text import OPAQUE_CALL, SOFT_CALL, parse_expression, parse_statements

MUTATORS = frozenset(
    "append extend insert clear sort reverse popitem setdefault appendleft extendleft popleft discard update remove pop".split()
)
_HISTORY = frozenset({"In", "Out", "_ih", "_oh", "_i", "_ii", "_iii"})


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


@dataclass(slots=True)
class _Paths:
    """What is bound where the walk stands. `must is None`: no path comes here (after raise, return, break)."""

    must: set[str] | None = field(default_factory=set)
    killed: set[str] = field(default_factory=set)

    def copy(self) -> _Paths:
        return _Paths(None if self.must is None else set(self.must), set(self.killed))


def _meet(paths: Iterable[_Paths]) -> _Paths:
    live = [p for p in paths if p.must is not None]
    if not live:
        return _Paths(None, set())
    must = set.intersection(*(p.must for p in live if p.must is not None))
    killed = set.intersection(*(p.killed for p in live))
    return _Paths(must, killed)


class _Walker(ast.NodeVisitor):
    def __init__(self, prelude_imports: Mapping[str, str]) -> None:
        self.prelude_imports = prelude_imports
        self.cell = 0
        self.here = _Paths()
        self.may: set[str] = set()
        self.binds_at: dict[str, Place] = {}
        self.reads: dict[tuple[str, ReadKind], Read] = {}
        self.mentions: set[str] = set()
        self.mutations: list[Mutation] = []
        self.scopes: dict[str, Scope] = {}
        self.classes: set[str] = set()
        self.loose = Scope()
        self.imports: dict[str, str] = {}
        self.submodules: list[str] = []
        self.stars: list[str] = []
        self.opaque_reads = False
        self.opaque_binds = False
        self.state: list[StateChange] = []
        self.stuck: dict[str, Stuck] = {}
        self.history: list[Read] = []
        self.expressions = 0
        self.conditional = 0
        self.guarded = 0
        self.hidden: list[set[str]] = []
        self.depth = 0

    def facts(self, trailing: str | None) -> BlockFacts:
        must = self.here.must if self.here.must is not None else set()
        return BlockFacts(
            reads=tuple(self.reads.values()),
            mentions=frozenset(self.mentions),
            must_bind=frozenset(must),
            may_bind=frozenset(self.may),
            kills=frozenset(self.here.killed - must),
            binds_at=self.binds_at,
            mutations=tuple(self.mutations),
            scopes=self.scopes,
            classes=frozenset(self.classes),
            loose=self.loose,
            imports=self.imports,
            submodules=tuple(dict.fromkeys(self.submodules)),
            star_imports=tuple(self.stars),
            opaque_reads=self.opaque_reads,
            opaque_binds=self.opaque_binds,
            state_changes=tuple(self.state),
            stuck=tuple(self.stuck.values()),
            history=tuple(self.history),
            trailing=trailing,
        )

    # -- places, reads, binds ---------------------------------------------------------------------------------------------

    def place(self, node: ast.AST) -> Place:
        line = getattr(node, "lineno", 1)
        end = getattr(node, "end_col_offset", None) if getattr(node, "end_lineno", line) == line else None
        column = getattr(node, "col_offset", 0)
        return Place(self.cell, line, column + 1, None if end is None else end + 1)

    def read(self, name: str, node: ast.AST, kind: ReadKind | None = None) -> None:
        if any(name in scope for scope in self.hidden):
            return
        self.mentions.add(name)
        if name in _HISTORY or (name.startswith("_") and name[1:].isdigit()):
            if name not in self.may:
                self.history.append(Read(name, ReadKind.HARD, self.place(node)))
            return
        if set(name) == {"_"} and name not in self.may:
            if not self.expressions:
                self.history.append(Read(name, ReadKind.HARD, self.place(node)))
            kind = ReadKind.SOFT
        must = self.here.must
        if must is None or name in must:
            return
        if kind is None:
            if self.guarded:
                kind = ReadKind.GUARDED
            elif self.conditional or (name in self.may and name not in self.here.killed):
                kind = ReadKind.CONDITIONAL
            else:
                kind = ReadKind.HARD
        if name in self.here.killed and kind is not ReadKind.SOFT:
            return
        self.reads.setdefault((name, kind), Read(name, kind, self.place(node)))

    def bind(self, name: str, node: ast.AST) -> None:
        for scope in reversed(self.hidden):
            scope.add(name)
            return
        self.may.add(name)
        self.binds_at.setdefault(name, self.place(node))
        if self.here.must is not None:
            self.here.must.add(name)
        self.here.killed.discard(name)
        self.stuck.pop(name, None)

    def kill(self, name: str) -> None:
        if self.hidden:
            return
        if self.here.must is not None:
            self.here.must.discard(name)
            self.here.killed.add(name)
        self.stuck.pop(name, None)

    def reach(self, scope: Scope, node: ast.AST) -> None:
        """A function of no name of its own can run from here on."""
        self.loose = self.loose | scope

    @contextmanager
    def perhaps(self, *, guarded: bool = False) -> Iterator[None]:
        self.conditional += 1
        self.guarded += guarded
        try:
            yield
        finally:
            self.conditional -= 1
            self.guarded -= guarded

    def branch(self, start: _Paths, body: Sequence[ast.stmt], *, certain: bool = False, guarded: bool = False) -> _Paths:
        """Walk `body` from `start` and return where it ends; the walk then stands there."""
        self.here = start.copy()
        if certain and not guarded:
            self.statements(body)
        else:
            with self.perhaps(guarded=guarded):
                self.statements(body)
        return self.here

    def statements(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    # -- expressions ------------------------------------------------------------------------------------------------------

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
        guarded = any(_asks_existence(v) for v in node.values)
        start = self.here.copy()
        with self.perhaps(guarded=guarded):
            for value in node.values[1:]:
                self.visit(value)
        self.here = _meet([start, self.here])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        start = self.here
        ends = []
        for value in (node.body, node.orelse):
            self.here = start.copy()
            with self.perhaps(guarded=_asks_existence(node.test)):
                self.visit(value)
            ends.append(self.here)
        self.here = _meet(ends)

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
        self.comprehension(node.generators, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self.comprehension(node.generators, [node.key, node.value])

    def comprehension(self, generators: list[ast.comprehension], values: list[ast.expr]) -> None:
        self.visit(generators[0].iter)
        certain = _runs_at_least_once(generators[0].iter) and len(generators) == 1 and not generators[0].ifs
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

    def visit_Call(self, node: ast.Call) -> None:
        if self._special_call(node):
            return
        for name in at_names(node):
            self.read(name, node, ReadKind.SOFT)
        if asks_by_text(node):
            self.opaque_reads = True
        self._mutating_call(node)
        self._note_state(node)
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
                with self.perhaps() if which == "exec" else _nothing():
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
            root = _root(func.value)
            in_place = any(
                k.arg == "inplace" and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords
            )
            if (
                root is not None
                and func.attr in MUTATORS
                and self._is_module(root)
                and isinstance(func.value, ast.Attribute | ast.Subscript)
            ):
                if state_change(node) is None:
                    self._note_module(func.value, root)
            elif root is not None and (in_place or (func.attr in MUTATORS and not self._is_module(root))):
                self._mutate(root, f"{_short(node.func)}({'inplace=True' if in_place else '...'})", node)
            if func.attr == "shuffle" and node.args and isinstance(node.args[0], ast.Name):
                self._mutate(node.args[0].id, _short(node), node)
        elif isinstance(func, ast.Name) and func.id in {"setattr", "delattr"} and node.args:
            root = _root(node.args[0])
            if root is not None:
                self._mutate(root, _short(node), node)

    def _is_module(self, name: str) -> bool:
        return self.imports.get(name, self.prelude_imports.get(name, "")).startswith("import")

    def _note_module(self, node: ast.AST, module: str) -> None:
        if not self.hidden:
            self.state.append(StateChange(f"`{_short(node)}`, a part of the module `{module}`", self.place(node)))

    def _mutate(self, name: str, how: str, node: ast.AST) -> None:
        if not any(name in scope for scope in self.hidden):
            received = not self.conditional and self.here.must is not None and name not in self.may
            self.mutations.append(Mutation(name, how, self.place(node), received))

    def _note_state(self, node: ast.AST) -> None:
        what = state_change(node)
        if what is not None and not self.hidden:
            self.state.append(StateChange(what, self.place(node)))

    # -- simple statements ------------------------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._target(target)
            self._note_stuck(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        with self.perhaps(guarded=True):
            self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self._target(node.target)
            self._note_stuck(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id, node.target)
            self.visit(node.value)
            if node.target.id not in (self.here.must or ()):
                self._mutate(node.target.id, _short(node), node)
            self.bind(node.target.id, node.target)
        else:
            self.visit(node.value)
            self._target(node.target)

    def _target(self, target: ast.expr) -> None:
        self.visit(target)
        for part in ast.walk(target):
            if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store | ast.Del):
                if isinstance(part, ast.Subscript) and namespace_call(part.value):
                    continue
                self._note_state(part)
                root = _root(part.value)
                if root is not None and self._is_module(root) and state_change(part) is None:
                    self._note_module(part, root)
                if root is not None and not self._is_module(root):
                    self._mutate(root, f"{_short(part)} = ...", part)

    def _note_stuck(self, target: ast.expr, value: ast.expr) -> None:
        kind = stuck_kind(value, self.imports)
        if kind is not None and isinstance(target, ast.Name) and not self.hidden:
            self.stuck[target.id] = Stuck(target.id, kind, self.place(target))

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._target(target)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        if node.msg is not None:
            with self.perhaps():
                self.visit(node.msg)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in {"user_ns", "user_global_ns"}:
            self.opaque_reads = self.opaque_binds = True
        self.generic_visit(node)

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
        self.here = _Paths(None, set())

    def visit_Break(self, node: ast.Break) -> None:
        self.here = _Paths(None, set())

    visit_Continue = visit_Break  # type: ignore[assignment]

    def visit_Global(self, node: ast.Global) -> None:
        return

    # -- definitions ------------------------------------------------------------------------------------------------------

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
        known = _known_truth(node.test)
        guarded = _asks_existence(node.test)
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
        self.here = _meet(ends)

    def _timeit(self, node: ast.If) -> None:
        self.hidden.append(set())
        try:
            self.statements(node.body)
        finally:
            self.hidden.pop()

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._loop(node, _runs_at_least_once(node.iter), node.target)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._loop(node, _known_truth(node.test) is True, None)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, at_least_once: bool, target: ast.expr | None) -> None:
        start = self.here.copy()
        with _nothing() if at_least_once else self.perhaps():
            if target is not None:
                self._target(target)
            entry = self.here.copy()
            self.statements(node.body)
        end = self.here
        if at_least_once:
            jumps = any(isinstance(n, ast.Break | ast.Continue) for n in ast.walk(node))
            self.here = entry if end.must is None or jumps else end
        else:
            self.here = _meet([start, end]) if end.must is not None else start
        if node.orelse:
            before = self.here
            self.here = _meet([before, self.branch(before, node.orelse)])

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        guarded = False
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._target(item.optional_vars)
            call = item.context_expr
            if isinstance(call, ast.Call) and _short(call.func).rsplit(".", 1)[-1] in {"suppress", "raises", "assertRaises"}:
                guarded = True
        if not guarded:
            self.statements(node.body)
            return
        start = self.here
        self.here = _meet([start, self.branch(start, node.body, guarded=True)])

    visit_AsyncWith = visit_With

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        start = self.here.copy()
        guarded = any(_catches_name_error(h.type) for h in node.handlers)
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
        self.here = _meet(ends)
        self.statements(node.finalbody)

    visit_TryStar = visit_Try

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        start = self.here
        ends: list[_Paths] = []
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
        self.here = _meet(ends)

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


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _root(node: ast.expr) -> str | None:
    """The name at the root of `a.b[c].d`; None when it is a call or a literal."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _short(node: ast.AST, limit: int = 40) -> str:
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _known_truth(test: ast.expr) -> bool | None:
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
    if isinstance(test, ast.Name | ast.Attribute) and _short(test).rsplit(".", 1)[-1] == "TYPE_CHECKING":
        return False
    return None


def _runs_at_least_once(iterable: ast.expr) -> bool:
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
            return _runs_at_least_once(iterable.args[0])
    return False


def _asks_existence(test: ast.expr) -> bool:
    """Tell whether a test asks if a name exists: `"x" in globals()`, `"x" not in dir()`."""
    return any(
        isinstance(n, ast.Compare) and constant_text(n.left) is not None and any(namespace_call(c) for c in n.comparators)
        for n in ast.walk(test)
    )


def _catches_name_error(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    names = {n.id for n in ast.walk(kind) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(kind) if isinstance(n, ast.Attribute)
    }
    return bool(names & {"NameError", "Exception", "BaseException", "UnboundLocalError"})
