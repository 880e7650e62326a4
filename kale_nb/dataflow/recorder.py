"""The notes that a walk takes: where each name is read, bound and killed, on which paths.

`Recorder` holds them and knows no syntax; `expressions` and `walk` tell it what the code does, in the order in which it does it.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from kale_nb.dataflow.facts import BlockFacts, Mutation, Place, Read, ReadKind, Scope, StateChange, Stuck
from kale_nb.dataflow.shapes import root_name, short
from kale_nb.dataflow.state import state_change

_HISTORY = frozenset({"In", "Out", "_ih", "_oh", "_i", "_ii", "_iii"})


@dataclass(slots=True)
class Paths:
    """What is bound where the walk stands. `must is None`: no path comes here (after raise, return, break)."""

    must: set[str] | None = field(default_factory=set)
    killed: set[str] = field(default_factory=set)

    def copy(self) -> Paths:
        return Paths(None if self.must is None else set(self.must), set(self.killed))


def meet(paths: Iterable[Paths]) -> Paths:
    """Join paths: bound, and killed, is what all of those that come here agree on."""
    live = [p for p in paths if p.must is not None]
    if not live:
        return Paths(None, set())
    must = set.intersection(*(p.must for p in live if p.must is not None))
    killed = set.intersection(*(p.killed for p in live))
    return Paths(must, killed)


class Recorder(ast.NodeVisitor):
    """The facts of one block while they are gathered. `hidden`: the scopes of comprehensions and class bodies that the walk is in."""

    def __init__(self, prelude_imports: Mapping[str, str]) -> None:
        self.prelude_imports = prelude_imports
        self.cell = 0
        self.here = Paths()
        self.may: set[str] = set()
        self.binds_at: dict[str, Place] = {}
        self.bindings: Counter[str] = Counter()
        self.plain_bindings: Counter[str] = Counter()
        self.fixed_bindings: Counter[str] = Counter()
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
            plain=frozenset(n for n, count in self.plain_bindings.items() if count == self.bindings[n]),
            fixed=frozenset(n for n, count in self.fixed_bindings.items() if count == self.bindings[n]),
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
        self.bindings[name] += 1
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

    def branch(self, start: Paths, body: Sequence[ast.stmt], *, certain: bool = False, guarded: bool = False) -> Paths:
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

    def is_module(self, name: str) -> bool:
        return self.imports.get(name, self.prelude_imports.get(name, "")).startswith("import")

    def note_module(self, node: ast.AST, module: str) -> None:
        if not self.hidden:
            self.state.append(StateChange(f"`{short(node)}`, a part of the module `{module}`", self.place(node)))

    def mutate(self, name: str, how: str, node: ast.AST, *, augmented: bool = False) -> None:
        if not any(name in scope for scope in self.hidden):
            received = not self.conditional and self.here.must is not None and name not in self.may
            self.mutations.append(Mutation(name, how, self.place(node), received, augmented))

    def note_state(self, node: ast.AST) -> None:
        what = state_change(node)
        root = root_name(node.func if isinstance(node, ast.Call) else node)
        own = root in self.may and root not in self.imports
        if what is not None and not own and not self.hidden:
            self.state.append(StateChange(what, self.place(node)))


@contextmanager
def nothing() -> Iterator[None]:
    """Enter and leave; the other side of `perhaps`."""
    yield
