"""What the code of one block (a step, or the prelude) does with names, as frozen facts.

`walk.read_block` makes them from trees; `flow` combines them along the graph. A *name* here is always one of the notebook's
top-level namespace.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class ReadKind(enum.IntEnum):
    """How a name is read, the surest first."""

    HARD = 0
    """Whenever the block runs, before the block has bound it."""
    CONDITIONAL = 1
    """On some path: under an `if`, in a loop that may run zero times, after a binding that may not have happened."""
    GUARDED = 2
    """Under `except NameError` or a test such as `"x" in globals()`: its absence is provided for."""
    SOFT = 3
    """By a function that the block can reach, or by text filled in by a magic: its absence may never be noticed."""


@dataclass(frozen=True, slots=True)
class Place:
    """A range of the source: cell index, 1-based line and columns."""

    cell: int
    line: int
    column: int
    end_column: int | None = None


@dataclass(frozen=True, slots=True)
class Read:
    name: str
    kind: ReadKind
    place: Place


@dataclass(frozen=True, slots=True)
class Mutation:
    """An in-place change that is certain from the text: `x[...] = `, `x.a = `, `x.append(...)`, `inplace=True`.

    Attributes:
        how: the text of it, for messages.
        certain: it happens whenever the block runs, to a value that the block received.
        augmented: it is `x += ...`, which changes a list in place and binds a number again.
    """

    name: str
    how: str
    place: Place
    certain: bool
    augmented: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """A function, lambda or class: what its body will do with top-level names when it runs.

    Attributes:
        reads: names that it, or anything nested in it, reads from the top level.
        binds: names that it declares `global` and binds.
        opaque: it calls exec, eval, globals() and the like.
    """

    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    opaque: bool = False

    def __or__(self, other: Scope) -> Scope:
        return Scope(self.reads | other.reads, self.binds | other.binds, self.opaque or other.opaque)


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of process-wide state that stays in the step: `os.chdir`, `pd.set_option`, `os.environ[...] = `."""

    what: str
    place: Place


@dataclass(frozen=True, slots=True)
class Stuck:
    """A value that is known from the text not to travel: what it is and where it was bound."""

    name: str
    kind: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFacts:
    """The facts of one block.

    Attributes:
        reads: the first read of each name and kind that the block does not certainly satisfy itself, in order.
        mentions: every name that stands in the block's own top-level code.
        must_bind: bound whenever the block finishes.
        may_bind: bound on some path (a superset of must_bind).
        plain: bound here, and always to what nothing can change in place: numbers, texts, tuples of them.
        fixed: bound here, and always to what is the same in every process: literals and functions.
        kills: certainly unbound at the end.
        binds_at: where each name is first bound.
        mutations: certain in-place changes of names.
        scopes: functions and classes defined here, by name; several definitions are joined.
        classes: which of `scopes` are classes.
        loose: lambdas and functions that have no name of their own.
        imports: names bound by an import statement, with the statement.
        submodules: dotted modules imported (`xml.etree.ElementTree`).
        star_imports: modules of star imports.
        opaque_reads: any existing name may be read here.
        opaque_binds: any name may be bound here.
        state_changes: process-wide state that is set here.
        stuck: names that at the end hold a value known not to travel.
        history: reads of IPython's history (`_`, `Out`, `_3`) before the block has any.
        trailing: the bare name that the block's last statement is.
    """

    reads: tuple[Read, ...] = ()
    mentions: frozenset[str] = frozenset()
    must_bind: frozenset[str] = frozenset()
    may_bind: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    kills: frozenset[str] = frozenset()
    binds_at: Mapping[str, Place] = field(default_factory=dict)
    mutations: tuple[Mutation, ...] = ()
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    loose: Scope = Scope()
    imports: Mapping[str, str] = field(default_factory=dict)
    submodules: tuple[str, ...] = ()
    star_imports: tuple[str, ...] = ()
    opaque_reads: bool = False
    opaque_binds: bool = False
    state_changes: tuple[StateChange, ...] = ()
    stuck: tuple[Stuck, ...] = ()
    history: tuple[Read, ...] = ()
    trailing: str | None = None
