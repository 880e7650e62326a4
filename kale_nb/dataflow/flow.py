"""From the facts of each block to who needs which name from whom.

`infer` combines the `BlockFacts` of the steps along the graph. Forward, it propagates for every name its last writers; backward, which
names are still wanted. What the text cannot decide (did the branch run? did that call change its argument?) is left to the run: such
names are needs and offers of a lower certainty, and the run-time manifest settles who really made the newest version.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kale_nb.dataflow.facts import BlockFacts, Mutation, Read, ReadKind, Scope
from kale_nb.dataflow.reaching import FEW, Reaching
from kale_nb.dataflow.strings import UNPICKLED
from kale_nb.names import StepName
from kale_nb.pipeline.model import Certainty
from kale_nb.pipeline.order import ancestors_of, sort_steps

AMBIENT = frozenset(dir(builtins)).union(
    "display get_ipython exit quit open print __name__ __doc__ __package__ __loader__ __spec__ __builtin__ __builtins__".split(),
    "__annotations__ __file__ __debug__ __session__ __vsc_ipynb_file__ In Out _ __ ___ _i _ii _iii _ih _oh _dh".split(),
    {UNPICKLED},
)
"""Names that every kernel has without anybody's assignment."""

_RANK = {Certainty.REQUIRED: 0, Certainty.LIKELY: 1, Certainty.POSSIBLE: 2}


@dataclass(frozen=True, slots=True)
class StepBlock:
    """One step as the analysis sees it: its direct predecessors and its facts."""

    name: StepName
    after: tuple[StepName, ...]
    facts: BlockFacts


@dataclass(frozen=True, slots=True)
class Want:
    """A name a step takes: how surely, from which last writers, and the read that shows it."""

    name: str
    certainty: Certainty
    producers: tuple[StepName, ...]
    read: Read | None


@dataclass(frozen=True, slots=True)
class Missing:
    """A read that no ancestor satisfies. `deleted_by`: an ancestor had the name and deleted it."""

    step: StepName
    read: Read
    deleted_by: StepName | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """`step` reads a name of which its branches leave several versions."""

    step: StepName
    read: Read
    writers: tuple[StepName, ...]


@dataclass(frozen=True, slots=True)
class Race:
    """`reader` reads a name that `writer` changes, or binds again, before it in the notebook and beside it in the graph.

    Attributes:
        via: the function of whose body the read is, used at the place of `read`; None when the step reads the name itself.
    """

    reader: StepName
    read: Read
    writer: StepName
    mutation: Mutation | None
    via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The data flow of a pipeline.

    Attributes:
        wants: per step, sorted by name.
        offers: per step, name to how surely some descendant needs it.
        traced: per step, the prelude names whose values it may change.
        reach: per step, the top-level names that functions it can reach read.
        opaque: steps that, or functions that they can reach, may read any name.
        missing, conflicts, races: what is wrong with it.
    """

    wants: Mapping[StepName, tuple[Want, ...]]
    offers: Mapping[StepName, Mapping[str, Certainty]]
    traced: Mapping[StepName, tuple[str, ...]]
    reach: Mapping[StepName, frozenset[str]]
    opaque: frozenset[StepName] = frozenset()
    missing: tuple[Missing, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    races: tuple[Race, ...] = ()


def infer(steps: Sequence[StepBlock], prelude: BlockFacts) -> Flow:
    """Infer the data flow. The steps must form an acyclic graph whose predecessors all exist; order is that of the source."""
    return _Inference(steps, prelude).result()


class _Inference:
    def __init__(self, steps: Sequence[StepBlock], prelude: BlockFacts) -> None:
        self.steps = steps
        self.prelude = prelude
        self.by_name = {s.name: s for s in steps}
        self.rank = {s.name: i for i, s in enumerate(steps)}
        after = {s.name: s.after for s in steps}
        self.order = sort_steps(after)
        self.ancestors = ancestors_of(after)
        self.definers: dict[str, list[tuple[StepName | None, Scope]]] = {}
        for name, scope in prelude.scopes.items():
            self.definers.setdefault(name, []).append((None, scope))
        for step in steps:
            for name, scope in step.facts.scopes.items():
                self.definers.setdefault(name, []).append((step.name, scope))
            if step.facts.scopes:
                self.definers.setdefault(UNPICKLED, []).append((step.name, Scope(frozenset(step.facts.scopes))))
        every = [s.facts for s in steps] + [prelude]
        scopes = [scope for facts in every for scope in (*facts.scopes.values(), facts.loose)]
        self.called_names = frozenset().union(*(s.reads for s in scopes))
        self.global_binds = frozenset().union(*(s.binds for s in scopes))
        self.prelude_data = (
            prelude.may_bind - prelude.scopes.keys() - {n for n, how in prelude.imports.items() if how.startswith("import")}
        )
        methods = [prelude.scopes[c] for c in prelude.classes]
        self.ambient_reach = self.close(frozenset().union(*(m.reads for m in methods)), None) if methods else Scope()
        self.reach = {s.name: self.close(s.facts.mentions, s.name) | self.close_scope(s.facts.loose, s.name) for s in steps}
        self.traced = {s.name: self._traced(s) for s in steps}
        self.touched = {s.name: self._touched(s) for s in steps}
        self.binders: dict[str, list[StepName]] = {}
        for s in steps:
            for name in s.facts.may_bind | self.reach[s.name].binds:
                self.binders.setdefault(name, []).append(s.name)
        self.opaque_binders = frozenset(s.name for s in steps if s.facts.opaque_binds or self.reach[s.name].opaque)
        self.touchers: dict[str, set[StepName]] = {}
        for s in steps:
            for name in self.touched[s.name]:
                self.touchers.setdefault(name, set()).add(s.name)

    # -- functions that can run -------------------------------------------------------------------------------------------

    def close(self, names: Iterable[str], step: StepName | None) -> Scope:
        """Join the scopes of all functions and classes reachable by name from `names` in a step (None: in the prelude)."""
        visible = self.ancestors.get(step, frozenset()) if step is not None else frozenset()
        seen: set[str] = set()
        pending = list(names)
        reads: set[str] = set()
        binds: set[str] = set()
        opaque = False
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            for owner, scope in self.definers.get(name, ()):
                if owner is None or owner == step or owner in visible:
                    reads |= scope.reads
                    binds |= scope.binds
                    opaque = opaque or scope.opaque
                    pending += [n for n in scope.reads if n not in seen]
        return Scope(frozenset(reads), frozenset(binds), opaque)

    def close_scope(self, scope: Scope, step: StepName) -> Scope:
        return scope | self.close(scope.reads, step)

    # -- the prelude's state ----------------------------------------------------------------------------------------------

    def _traced(self, step: StepBlock) -> tuple[str, ...]:
        """Prelude names whose value this step may change: data it can reach, and definitions that carry state."""
        reach = self.reach[step.name]
        near = step.facts.mentions | reach.reads | reach.binds
        data = self.prelude_data & (near | self.ambient_reach.reads | self.ambient_reach.binds)
        defined = (self.prelude.scopes.keys() & near) | self.prelude.classes
        imported = self.prelude.imports.keys() & near & {m.name for m in step.facts.mutations}
        return tuple(sorted(data | defined | imported))

    def _touched(self, step: StepBlock) -> frozenset[str]:
        facts, reach = step.facts, self.reach[step.name]
        return facts.may_bind | reach.binds | frozenset(self.traced[step.name]) | facts.kills

    # -- forward: last writers --------------------------------------------------------------------------------------------

    def result(self) -> Flow:
        reaching = self._reaching()
        wants: dict[StepName, tuple[Want, ...]] = {}
        missing: list[Missing] = []
        conflicts: list[Conflict] = []
        for step in self.steps:
            wants[step.name] = self._wants(step, reaching, missing, conflicts)
        return Flow(
            wants=wants,
            offers=self._offers(wants),
            traced=self.traced,
            reach={name: scope.reads for name, scope in self.reach.items()},
            opaque=frozenset(s.name for s in self.steps if s.facts.opaque_reads or self.reach[s.name].opaque),
            missing=tuple(missing),
            conflicts=tuple(conflicts),
            races=tuple(self._races(wants)),
        )

    def _reaching(self) -> Reaching:
        writes = {
            s.name: s.facts.may_bind | self.reach[s.name].binds | {m.name for m in s.facts.mutations if m.certain}
            for s in self.steps
        }
        kills = {s.name: s.facts.kills for s in self.steps}
        return Reaching({s.name: s.after for s in self.steps}, self.ancestors, writes, kills)

    # -- what a step wants ------------------------------------------------------------------------------------------------

    def _wants(self, step: StepBlock, reaching: Reaching, missing: list[Missing], conflicts: list[Conflict]) -> tuple[Want, ...]:
        facts = step.facts
        ancestors = self.ancestors[step.name]
        wanted: dict[str, tuple[Certainty, Read | None]] = {}

        def want(name: str, certainty: Certainty, read: Read | None) -> None:
            have = wanted.get(name)
            if have is None or _RANK[certainty] < _RANK[have[0]]:
                wanted[name] = (certainty, read)

        for read in facts.reads:
            self._one_read(step, read, reaching, want, missing, conflicts)
        reach = self.reach[step.name]
        for name in reach.reads | reach.binds:
            if self._available(name, ancestors):
                own = name in facts.must_bind and not any(r.name == name for r in facts.reads)
                want(name, Certainty.POSSIBLE if own else Certainty.LIKELY, None)
        for name in self.traced[step.name]:
            if self._available(name, ancestors):
                want(name, Certainty.LIKELY, None)
        for name in self.ambient_reach.reads | self.ambient_reach.binds:
            if self._available(name, ancestors):
                want(name, Certainty.POSSIBLE, None)
        if facts.opaque_reads or reach.opaque:
            for ancestor in ancestors:
                for name in self.touched[ancestor]:
                    want(name, Certainty.POSSIBLE, None)
        return tuple(
            Want(name, certainty, tuple(sorted(reaching.before(name, step.name).writers, key=self.rank.__getitem__)), read)
            for name, (certainty, read) in sorted(wanted.items())
        )

    def _available(self, name: str, ancestors: frozenset[StepName]) -> bool:
        """Tell whether some ancestor may have made, or changed, a version of the name."""
        return not ancestors.isdisjoint(self.touchers.get(name, ()))

    def _one_read(self, step, read, reaching, want, missing, conflicts) -> None:  # type: ignore[no-untyped-def]
        name = read.name
        ancestors = self.ancestors[step.name]
        in_prelude = name in self.prelude.may_bind
        if not self._available(name, ancestors):
            if in_prelude or name in AMBIENT:
                return
            hidden_source = self.prelude.opaque_binds or step.facts.opaque_binds or self.reach[step.name].opaque
            opaque = [a for a in ancestors if a in self.opaque_binders]
            if opaque:
                want(name, Certainty.REQUIRED if read.kind is ReadKind.HARD and not hidden_source else Certainty.LIKELY, read)
            elif not hidden_source:
                missing.append(Missing(step.name, read))
            return
        reached = reaching.before(name, step.name)
        writers, deleted = reached.writers, reached.deleted_by
        if deleted is not None and not writers and read.kind is ReadKind.HARD and not in_prelude and name not in AMBIENT:
            missing.append(Missing(step.name, read, deleted))
        certain = read.kind is ReadKind.HARD and not in_prelude and name not in AMBIENT
        want(name, Certainty.REQUIRED if certain else Certainty.LIKELY, read)
        if len(writers) > 1 and read.kind in (ReadKind.HARD, ReadKind.CONDITIONAL):
            sure = tuple(w for w in sorted(writers, key=self.rank.__getitem__) if self._surely_writes(w, name))
            if len(sure) > 1:
                conflicts.append(Conflict(step.name, read, sure))

    def _surely_writes(self, step: StepName, name: str) -> bool:
        facts = self.by_name[step].facts
        return name in facts.must_bind or any(m.certain and m.name == name for m in facts.mutations)

    # -- backward: what is still wanted -----------------------------------------------------------------------------------

    def _offers(self, wants: Mapping[StepName, tuple[Want, ...]]) -> dict[StepName, dict[str, Certainty]]:
        live_out = self._live_out(wants)
        offers: dict[StepName, dict[str, Certainty]] = {}
        has_followers = {p for s in self.steps for p in s.after}
        for name in reversed(self.order):
            step = self.by_name[name]
            out = live_out[name]
            mine = self.touched[name] | {w.name for w in wants[name]} | self.global_binds
            everything = name in self.opaque_binders
            kept = {n: c for n, c in out.items() if everything or n in mine}
            if name in has_followers:
                for n in step.facts.may_bind & self.called_names:
                    kept.setdefault(n, Certainty.POSSIBLE)
            offers[name] = dict(sorted(kept.items()))
        return offers

    def _live_out(self, wants: Mapping[StepName, tuple[Want, ...]]) -> dict[StepName, dict[str, Certainty]]:
        """Per step that may have a name of its own, how surely a later step wants what it leaves of it."""
        live_out: dict[StepName, dict[str, Certainty]] = {name: {} for name in self.order}
        readers: dict[str, list[tuple[StepName, Certainty]]] = {}
        for reader, wanted in wants.items():
            for want in wanted:
                readers.setdefault(want.name, []).append((reader, want.certainty))
        for name, asking in readers.items():
            holders = self.touchers.get(name, set()).union(reader for reader, _ in asking)
            near = len(holders) <= FEW and name not in self.global_binds and not self.opaque_binders
            for reader, certainty in asking:
                before = holders & self.ancestors[reader] if near else frozenset()
                if near and all(self.ancestors[h].isdisjoint(before) for h in before if self._surely_replaces(h, name)):
                    for holder in before:
                        _raise_to(live_out[holder], name, certainty)
                else:
                    self._follow_back(reader, name, certainty, live_out)
        return live_out

    def _surely_replaces(self, step: StepName, name: str) -> bool:
        facts = self.by_name[step].facts
        return name in facts.must_bind or name in facts.kills

    def _follow_back(
        self, reader: StepName, name: str, certainty: Certainty, live_out: dict[StepName, dict[str, Certainty]]
    ) -> None:
        """Mark a name as wanted on all ways back from its reader, up to where it is surely made."""
        pending = list(self.by_name[reader].after)
        while pending:
            at = pending.pop()
            if _raise_to(live_out[at], name, certainty) and not self._surely_replaces(at, name):
                pending += self.by_name[at].after

    # -- parallel steps ---------------------------------------------------------------------------------------------------

    def _races(self, wants: Mapping[StepName, tuple[Want, ...]]) -> Iterable[Race]:
        mutators: dict[str, list[tuple[StepName, Mutation]]] = {}
        for step in self.steps:
            for mutation in step.facts.mutations:
                if mutation.certain and not (mutation.augmented and self._is_plain(step.name, mutation.name, wants)):
                    mutators.setdefault(mutation.name, []).append((step.name, mutation))
        for reader, wanted in wants.items():
            for want in wanted:
                if want.certainty is Certainty.POSSIBLE or (want.read is not None and want.read.kind > ReadKind.CONDITIONAL):
                    continue
                found = self._race(reader, want.name, mutators)
                if found is None:
                    continue
                if want.read is not None:
                    yield Race(reader, want.read, *found)
                elif (use := self._use(reader, want.name)) is not None:
                    yield Race(reader, Read(want.name, ReadKind.SOFT, use.place), *found, via=use.name)

    def _use(self, step: StepName, name: str) -> Read | None:
        """The first use, in the step's own code, of a function in whose reach `name` is read."""
        return next((r for r in self.by_name[step].facts.reads if name in self.close([r.name], step).reads), None)

    def _is_plain(self, step: StepName, name: str, wants: Mapping[StepName, tuple[Want, ...]]) -> bool:
        """Tell whether what a step receives under a name surely is a number or a text, which `+=` binds again."""
        makers = next((w.producers for w in wants[step] if w.name == name), ())
        if not makers:
            return name in self.prelude.plain
        return all(name in self.by_name[maker].facts.plain for maker in makers)

    def _race(
        self, reader: StepName, name: str, mutators: Mapping[str, list[tuple[StepName, Mutation]]]
    ) -> tuple[StepName, Mutation | None] | None:
        """Find the last step above `reader` in the notebook that writes `name` without being its ancestor."""
        for writer, mutation in reversed(mutators.get(name, [])):
            if self._beside(writer, reader):
                return writer, mutation
        for writer in reversed(self.binders.get(name, [])):
            if self._beside(writer, reader) and name in self.by_name[writer].facts.may_bind:
                return writer, None
        return None

    def _beside(self, writer: StepName, reader: StepName) -> bool:
        return (
            self.rank[writer] < self.rank[reader]
            and writer not in self.ancestors[reader]
            and reader not in self.ancestors.get(writer, ())
        )


def _raise_to(table: dict[str, Certainty], name: str, certainty: Certainty) -> bool:
    """Note at least this certainty; False when it was there already."""
    have = table.get(name)
    if have is not None and _RANK[have] <= _RANK[certainty]:
        return False
    table[name] = certainty
    return True
