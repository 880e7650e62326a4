"""Questions about the graph: order, ancestors, edges. Pure functions of a `Pipeline` or of a predecessor map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kale_nb.names import StepName, VarName
from kale_nb.pipeline.model import Edge, Pipeline

Predecessors = Mapping[StepName, Sequence[StepName]]


def predecessors(pipeline: Pipeline) -> dict[StepName, tuple[StepName, ...]]:
    """Return each step's direct predecessors, steps in source order."""
    return {step.name: step.after for step in pipeline.steps}


def topological(pipeline: Pipeline) -> tuple[StepName, ...]:
    """Return the steps so that each stands after its predecessors, as near to source order as that allows."""
    return sort_steps(predecessors(pipeline))


def sort_steps(after: Predecessors) -> tuple[StepName, ...]:
    """Sort step names topologically, ties in the order of the mapping. Steps on a cycle, or behind one, are left out.

    >>> sort_steps({"b": ["a"], "a": [], "c": ["b"]})
    ('a', 'b', 'c')
    """
    import heapq

    rank = {name: i for i, name in enumerate(after)}
    waiting = {name: len({p for p in before if p in rank}) for name, before in after.items()}
    followers: dict[StepName, list[StepName]] = {name: [] for name in after}
    for name, before in after.items():
        for p in dict.fromkeys(before):
            if p in rank:
                followers[p].append(name)
    names = list(after)
    ready = [rank[name] for name, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    done: list[StepName] = []
    while ready:
        name = names[heapq.heappop(ready)]
        done.append(name)
        for follower in followers[name]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, rank[follower])
    return tuple(done)


def ancestors_of(after: Predecessors) -> dict[StepName, frozenset[StepName]]:
    """Return all ancestors of each step; steps on a cycle are left out."""
    found: dict[StepName, frozenset[StepName]] = {}
    for name in sort_steps(after):
        mine: set[StepName] = set()
        for p in after[name]:
            if p in found:
                mine.add(p)
                mine |= found[p]
        found[name] = frozenset(mine)
    return found


def ancestors(pipeline: Pipeline, step: StepName) -> frozenset[StepName]:
    """Return every step that must have finished before `step` starts."""
    return ancestors_of(predecessors(pipeline))[step]


def closed_under_predecessors(pipeline: Pipeline, targets: Iterable[StepName]) -> tuple[StepName, ...]:
    """Return `targets` and all their ancestors, in source order (what `--until` runs)."""
    every = ancestors_of(predecessors(pipeline))
    wanted: set[StepName] = set()
    for target in targets:
        wanted.add(target)
        wanted |= every[target]
    return tuple(step.name for step in pipeline.steps if step.name in wanted)


def edges(pipeline: Pipeline) -> tuple[Edge, ...]:
    """Return every edge: one for each `after`, and one from each farther step whose variables a step needs.

    The names of an edge are those its source is a last producer of; an edge without names only orders.
    """
    made: list[Edge] = []
    rank = {step.name: step.index for step in pipeline.steps}
    for step in pipeline.steps:
        names: dict[StepName, list[VarName]] = {source: [] for source in step.after}
        for need in step.needs:
            for producer in need.producers:
                names.setdefault(producer, []).append(need.name)
        sources = sorted(names, key=rank.__getitem__)
        made += [Edge(source=source, target=step.name, names=tuple(names[source])) for source in sources]
    return tuple(made)


def find_cycles(after: Predecessors) -> tuple[tuple[StepName, ...], ...]:
    """Return one cycle through each tangle of steps that wait for each other, members in waiting order."""
    stuck = set(after) - set(sort_steps(after))
    cycles: list[tuple[StepName, ...]] = []
    seen: set[StepName] = set()
    for start in (name for name in after if name in stuck):
        path: list[StepName] = []
        at: StepName | None = start
        while at is not None and at not in seen and at not in path:
            path.append(at)
            at = next((p for p in after[at] if p in stuck), None)
        if at is not None and at in path:
            cycles.append(tuple(reversed(path[path.index(at) :])))
        seen.update(path)
    return tuple(cycles)
