"""Which steps wrote a name last, seen from any point of the graph; asked for one name at a time, so that only its way is walked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from kale_nb.names import StepName

FEW = 8
"""Up to so many steps that do something to a name are looked at one by one; of more, the graph is walked, each step once."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What is known of a name at one point: its last writers, none of which comes after another, and who deleted it."""

    writers: frozenset[StepName] = frozenset()
    deleted_by: StepName | None = None


class Reaching:
    """Answers for one graph. `writes` and `kills`: the names that each step writes, and those that it leaves deleted."""

    def __init__(
        self,
        after: Mapping[StepName, Sequence[StepName]],
        ancestors: Mapping[StepName, frozenset[StepName]],
        writes: Mapping[StepName, AbstractSet[str]],
        kills: Mapping[StepName, AbstractSet[str]],
    ) -> None:
        self._after = after
        self._ancestors = ancestors
        self._writes = writes
        self._kills = kills
        self._killed = frozenset[str]().union(*kills.values())
        self._writers: dict[str, set[StepName]] = {}
        for step, names in writes.items():
            for name in names:
                self._writers.setdefault(name, set()).add(step)
        self._left: dict[str, dict[StepName, Reached]] = {}

    def before(self, name: str, step: StepName) -> Reached:
        """What reaches the start of `step`."""
        if name not in self._killed:
            writers: AbstractSet[StepName] = self._writers.get(name, frozenset())
            if len(writers) <= FEW:
                return Reached(self._last(writers & self._ancestors[step]))
        left = self._left.setdefault(name, {})
        self._settle(name, self._after[step], left)
        return self._join([left[p] for p in self._after[step]])

    def _settle(self, name: str, steps: Sequence[StepName], left: dict[StepName, Reached]) -> None:
        """Fill in what `steps`, and those before them as far as it matters, leave of a name."""
        pending = list(steps)
        while pending:
            at = pending[-1]
            if at in left:
                pending.pop()
            elif name in self._kills[at]:
                left[at] = Reached(deleted_by=at)
            elif name in self._writes[at]:
                left[at] = Reached(frozenset({at}))
            else:
                unknown = [p for p in self._after[at] if p not in left]
                pending += unknown
                if not unknown:
                    left[at] = self._join([left[p] for p in self._after[at]])

    def _join(self, branches: Sequence[Reached]) -> Reached:
        if len(branches) == 1:
            return branches[0]
        writers = frozenset[StepName]().union(*(b.writers for b in branches))
        return Reached(self._last(writers), next((b.deleted_by for b in reversed(branches) if b.deleted_by is not None), None))

    def _last(self, writers: AbstractSet[StepName]) -> frozenset[StepName]:
        """Drop writers that another one comes after."""
        if len(writers) < 2:
            return frozenset(writers)
        return frozenset(writers).difference(*(self._ancestors[w] for w in writers))
