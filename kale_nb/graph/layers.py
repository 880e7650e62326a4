"""A layered layout of a graph: which layer each step stands in, and in which place.

Longest-path layering, then edges that cross layers are broken by places they pass through, then crossings are reduced by moving each node
to the mean place of its neighbours, down and up again, and by swapping neighbours while that helps. (The scheme is that of Sugiyama, Tagawa
and Toda, "Methods for visual understanding of hierarchical system structures", 1981.)
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kale_nb.names import StepName

_SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a layer: a step, or a point that the edge from `step` to `target` passes through.

    Attributes:
        layer: tells apart the points of one edge; 0 for a step.
    """

    step: StepName
    target: StepName | None = None
    layer: int = 0

    @property
    def is_step(self) -> bool:
        """Whether this is a step and no point of an edge."""
        return self.target is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Layers of nodes.

    Attributes:
        layers: from sources to sinks, each in order of place.
        routes: for each edge, the nodes it goes through, both ends included.
    """

    layers: tuple[tuple[Node, ...], ...]
    routes: Mapping[tuple[StepName, StepName], tuple[Node, ...]]


def lay_out(steps: Sequence[StepName], edges: Sequence[tuple[StepName, StepName]], *, stride: int = 1) -> Layout:
    """Place the steps of an acyclic graph.

    Args:
        steps: in topological order.
        edges: (source, target), each once.
        stride: steps stand in every so many-th layer; with 2, each edge has at least one point between its ends, for its label.
    """
    depth = {step: stride * d for step, d in _depths(steps, edges).items()}
    layers: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for step in steps:
        layers[depth[step]].append(Node(step))
    routes: dict[tuple[StepName, StepName], tuple[Node, ...]] = {}
    links: list[tuple[Node, Node]] = []
    for source, target in edges:
        points = [Node(source, target, layer) for layer in range(depth[source] + 1, depth[target])]
        for point in points:
            layers[point.layer].append(point)
        route = (Node(source), *points, Node(target))
        routes[source, target] = route
        links.extend(itertools.pairwise(route))
    return Layout(layers=tuple(tuple(layer) for layer in _uncross(layers, links)), routes=routes)


def crossings(layers: Sequence[Sequence[Node]], links: Sequence[tuple[Node, Node]]) -> int:
    """Return how many pairs of links cross between neighbouring layers."""
    place = {node: i for layer in layers for i, node in enumerate(layer)}
    level = {node: i for i, layer in enumerate(layers) for node in layer}
    between: dict[int, list[tuple[int, int]]] = {}
    for source, target in links:
        between.setdefault(level[source], []).append((place[source], place[target]))
    return sum(_inversions([target for _, target in sorted(pairs)]) for pairs in between.values())


def reduced(steps: Sequence[StepName], edges: Sequence[tuple[StepName, StepName]]) -> tuple[tuple[StepName, StepName], ...]:
    """Return the edges that no longer path implies; steps in topological order."""
    after: dict[StepName, set[StepName]] = {step: set() for step in steps}
    for source, target in edges:
        after[target].add(source)
    every: dict[StepName, set[StepName]] = {}
    for step in steps:
        every[step] = set(after[step]).union(*(every[p] for p in after[step]))
    return tuple((s, t) for s, t in edges if not any(s in every[other] for other in after[t] if other != s))


def _depths(steps: Sequence[StepName], edges: Sequence[tuple[StepName, StepName]]) -> dict[StepName, int]:
    """Longest path from a source; a source then moves down to stand just above the first step that waits for it."""
    depth = dict.fromkeys(steps, 0)
    into: dict[StepName, list[StepName]] = {step: [] for step in steps}
    out: dict[StepName, list[StepName]] = {step: [] for step in steps}
    for source, target in edges:
        into[target].append(source)
        out[source].append(target)
    for step in steps:
        depth[step] = max((depth[p] + 1 for p in into[step]), default=0)
    for step in steps:
        if not into[step] and out[step]:
            depth[step] = min(depth[t] for t in out[step]) - 1
    return depth


def _uncross(layers: list[list[Node]], links: Sequence[tuple[Node, Node]]) -> list[list[Node]]:
    up: dict[Node, list[Node]] = {node: [] for layer in layers for node in layer}
    down: dict[Node, list[Node]] = {node: [] for layer in layers for node in layer}
    for source, target in links:
        down[source].append(target)
        up[target].append(source)
    best = [list(layer) for layer in layers]
    fewest = crossings(best, links)
    current = [list(layer) for layer in layers]
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        downward = sweep % 2 == 0
        order = range(1, len(current)) if downward else range(len(current) - 2, -1, -1)
        for i in order:
            _by_barycenter(current[i], up if downward else down, current[i - 1] if downward else current[i + 1])
        _swap(current, up, down, equal=sweep % 4 > 1)
        count = crossings(current, links)
        if count < fewest:
            fewest, best = count, [list(layer) for layer in current]
    return best


def _by_barycenter(layer: list[Node], neighbours: Mapping[Node, Sequence[Node]], fixed: Sequence[Node]) -> None:
    place = {node: i for i, node in enumerate(fixed)}
    mean: dict[Node, float] = {}
    for i, node in enumerate(layer):
        near = [place[n] for n in neighbours[node]]
        mean[node] = sum(near) / len(near) if near else float(i)
    layer.sort(key=mean.__getitem__)


def _swap(
    layers: list[list[Node]], up: Mapping[Node, Sequence[Node]], down: Mapping[Node, Sequence[Node]], *, equal: bool
) -> None:
    """Swap neighbours in each layer where that removes crossings, or with `equal` adds none (a way out of a local best)."""
    for i, layer in enumerate(layers):
        above = {node: k for k, node in enumerate(layers[i - 1])} if i else {}
        below = {node: k for k, node in enumerate(layers[i + 1])} if i + 1 < len(layers) else {}
        for k in range(len(layer) - 1):
            a, b = layer[k], layer[k + 1]
            kept = _crossed(up[a], up[b], above) + _crossed(down[a], down[b], below)
            swapped = _crossed(up[b], up[a], above) + _crossed(down[b], down[a], below)
            if swapped < kept or (equal and swapped == kept):
                layer[k], layer[k + 1] = b, a


def _crossed(left: Sequence[Node], right: Sequence[Node], place: Mapping[Node, int]) -> int:
    return sum(place[a] > place[b] for a in left for b in right)


def _inversions(values: list[int]) -> int:
    """Count pairs out of order, by merging."""
    if len(values) < 2:
        return 0
    middle = len(values) // 2
    left, right = values[:middle], values[middle:]
    count = _inversions(left) + _inversions(right)
    i = j = 0
    merged: list[int] = []
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
            count += len(left) - i
    values[:] = merged + left[i:] + right[j:]
    return count
