"""The graph as one self-contained SVG file, readable on light and dark ground.

Steps are boxes in layers from top to bottom, edges are curves with the names of the variables that travel on them. Given states, a
box shows its own. Widths are those of a monospaced font, so that nothing needs to be measured.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from kale_nb.graph.layers import Layout, Node, lay_out, reduced
from kale_nb.names import StepName
from kale_nb.pipeline import order
from kale_nb.pipeline.model import Edge, Pipeline
from kale_nb.runs.events import State

_CHAR, _SMALL = 7.83, 6.62
"""Width of a character of the step and label fonts, of 13 and 11 pixels."""
_BOX, _GAP, _BETWEEN, _MARGIN = 40.0, 24.0, 30.0, 24.0
_NAMES = 3
"""Variables shown on an edge; the tooltip has all."""

_STYLE = """
.ground { fill: #ffffff; } .box { fill: #f6f8fa; stroke: #57606a; stroke-width: 1.25; }
.name, .label, .note { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; text-anchor: middle; }
.name { font-size: 13px; font-weight: 600; fill: #1f2328; } .note { font-size: 10.5px; fill: #57606a; }
.label { font-size: 11px; fill: #0550ae; } .behind { opacity: 0.85; }
.edge { fill: none; stroke: #8c959f; stroke-width: 1.4; } .order { stroke-dasharray: 4 4; } .tip { fill: #8c959f; }
.succeeded .box { fill: #dafbe1; stroke: #1a7f37; } .failed .box { fill: #ffebe9; stroke: #cf222e; }
.running .box { fill: #ddf4ff; stroke: #0969da; } .cancelled .box, .interrupted .box { fill: #fff8c5; stroke: #9a6700; }
.skipped .box { stroke-dasharray: 5 4; } .skipped .name { fill: #6e7781; }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117; } .box { fill: #161b22; stroke: #8b949e; } .name { fill: #e6edf3; } .note { fill: #9198a1; }
.label { fill: #79c0ff; } .edge { stroke: #6e7681; } .tip { fill: #6e7681; }
.succeeded .box { fill: #12261e; stroke: #3fb950; } .failed .box { fill: #2d1315; stroke: #f85149; }
.running .box { fill: #0c2136; stroke: #58a6ff; } .cancelled .box, .interrupted .box { fill: #272115; stroke: #d29922; }
.skipped .name { fill: #7d8590; }
}
"""


@dataclass(frozen=True, slots=True)
class _Place:
    x: float
    y: float
    width: float
    height: float


def draw_svg(
    pipeline: Pipeline,
    states: Mapping[StepName, State] | None = None,
    notes: Mapping[StepName, str] | None = None,
    links: Mapping[StepName, str] | None = None,
) -> str:
    """Return the drawing as the text of an SVG file.

    Args:
        states: how each step stands; steps that are missing are drawn without a state.
        notes: a short second line in a step's box, such as its duration; the cells of the step where there is none.
        links: where a step's box leads to, for a drawing that is part of a page.
    """
    edges = shown_edges(pipeline)
    names = order.topological(pipeline)
    layout = lay_out(names, [(edge.source, edge.target) for edge in edges], stride=2)
    second = {name: (notes or {}).get(name) or _cells(pipeline.step(name).cells) for name in names}
    labels = {(edge.source, edge.target): _label(edge) for edge in edges}
    places = _coordinates(layout, second, labels)
    width = max((p.x + p.width / 2 for p in places.values()), default=80.0) + _MARGIN
    height = max((p.y + p.height / 2 for p in places.values()), default=40.0) + _MARGIN
    role = "group" if links else "img"  # what is in an img cannot be followed
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="{role}" viewBox="0 0 {width:.0f} {height:.0f}"'
            f' width="{width:.0f}" height="{height:.0f}">'
        ),
        f"<title>{_text(pipeline.name)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{width:.0f}" height="{height:.0f}"/>',
    ]
    parts.extend(_edge(edge, [places[node] for node in layout.routes[edge.source, edge.target]]) for edge in edges)
    parts.extend(_edge_label(edge, layout, places, labels[edge.source, edge.target]) for edge in edges if edge.names)
    for name in names:
        box, link = _box(name, places[Node(name)], second[name], (states or {}).get(name)), (links or {}).get(name)
        parts.append(box if link is None else f"<a href={quoteattr(link)}>{box}</a>")
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def shown_edges(pipeline: Pipeline) -> tuple[Edge, ...]:
    """Return the edges to draw: all that carry variables, and those that only order and that no longer path implies."""
    edges = order.edges(pipeline)
    needed = set(reduced(order.topological(pipeline), [(edge.source, edge.target) for edge in edges]))
    return tuple(edge for edge in edges if edge.names or (edge.source, edge.target) in needed)


def text_width(text: str, char: float) -> float:
    """Return the width of monospaced text whose narrow characters are `char` pixels wide."""
    return sum(2 * char if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else char for c in text)


def _coordinates(
    layout: Layout, notes: Mapping[StepName, str], labels: Mapping[tuple[StepName, StepName], str]
) -> dict[Node, _Place]:
    """Give each node its place: layers below each other, in each the nodes as near to their neighbours' mean as their widths allow."""
    middles = {route[len(route) // 2]: labels[ends] for ends, route in layout.routes.items()}
    widths: dict[Node, float] = {}
    for layer in layout.layers:
        for node in layer:
            if node.is_step:
                widths[node] = max(72.0, text_width(node.step, _CHAR) + 28, text_width(notes[node.step], _SMALL) + 20)
            else:
                widths[node] = max(8.0, text_width(middles.get(node, ""), _SMALL) + 6)
    xs = _columns(layout, widths)
    left = min((xs[node] - widths[node] / 2 for node in xs), default=0.0) - _MARGIN
    places: dict[Node, _Place] = {}
    y = _MARGIN + _BOX / 2
    for i, layer in enumerate(layout.layers):
        for node in layer:
            places[node] = _Place(xs[node] - left, y, widths[node], _BOX if node.is_step else 0.0)
        y += _BOX / 2 + _BETWEEN + (min(30.0, 2.0 * len(layer)) if i % 2 == 0 else 0.0)
    return places


def _columns(layout: Layout, widths: Mapping[Node, float]) -> dict[Node, float]:
    near: dict[Node, list[Node]] = {node: [] for layer in layout.layers for node in layer}
    for route in layout.routes.values():
        for a, b in itertools.pairwise(route):
            near[a].append(b)
            near[b].append(a)
    level = {node: i for i, layer in enumerate(layout.layers) for node in layer}
    xs: dict[Node, float] = {}
    for layer in layout.layers:
        xs.update(zip(layer, _spread(layer, [0.0] * len(layer), widths, near), strict=True))
    for sweep in range(16):
        down = sweep % 2 == 0
        for i in range(len(layout.layers)) if down else reversed(range(len(layout.layers))):
            layer = layout.layers[i]
            wanted = []
            for node in layer:
                side = [xs[n] for n in near[node] if (level[n] < i) == down] or [xs[n] for n in near[node]]
                wanted.append(sum(side) / len(side) if side else xs[node])
            xs.update(zip(layer, _spread(layer, wanted, widths, near), strict=True))
    return xs


def _spread(
    layer: Sequence[Node], wanted: Sequence[float], widths: Mapping[Node, float], near: Mapping[Node, Sequence[Node]]
) -> list[float]:
    """Return the places nearest to those wanted (least squares) that keep order and distance, by pooling adjacent violators.

    Points of edges weigh more than steps, for straight edges; steps that nothing is tied to weigh next to nothing.
    """
    offsets = [0.0]
    for a, b in itertools.pairwise(layer):
        offsets.append(offsets[-1] + (widths[a] + widths[b]) / 2 + (_GAP if a.is_step or b.is_step else _GAP / 2))
    pools: list[tuple[float, float, int]] = []
    for node, want, offset in zip(layer, wanted, offsets, strict=False):
        mean, count = want - offset, 1
        weight = (1.0 if node.is_step else 2.0) if near[node] else 0.001
        while pools and pools[-1][0] > mean:
            other, heavy, many = pools.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + many
        pools.append((mean, weight, count))
    level = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(level, offsets, strict=False)]


def _edge(edge: Edge, route: Sequence[_Place]) -> str:
    start, end = route[0], route[-1]
    points = [(start.x, start.y + start.height / 2), *((p.x, p.y) for p in route[1:-1]), (end.x, end.y - end.height / 2 - 7)]
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        bend = (y2 - y1) / 2
        path += f" C{x1:.1f},{y1 + bend:.1f} {x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"
    x, y = points[-1]
    kind = "edge" if edge.names else "edge order"
    title = _text(f"{edge.source} → {edge.target}: {', '.join(edge.names) or 'order only'}")
    tip = f'<path class="tip" d="M{x - 4:.1f},{y:.1f} L{x + 4:.1f},{y:.1f} L{x:.1f},{y + 7:.1f} Z"/>'
    return f'<g><title>{title}</title><path class="{kind}" d="{path}"/>{tip}</g>'


def _edge_label(edge: Edge, layout: Layout, places: Mapping[Node, _Place], label: str) -> str:
    route = layout.routes[edge.source, edge.target]
    place = places[route[len(route) // 2]]
    title = _text(", ".join(edge.names))
    width = text_width(label, _SMALL) + 4
    behind = f'<rect class="ground behind" x="{place.x - width / 2:.1f}" y="{place.y - 8:.1f}" width="{width:.1f}" height="16"/>'
    return f'{behind}<text class="label" x="{place.x:.1f}" y="{place.y + 4:.1f}"><title>{title}</title>{_text(label)}</text>'


def _box(name: StepName, place: _Place, note: str, state: State | None) -> str:
    kind = "step" if state is None else f"step {state.value}"
    left, top = place.x - place.width / 2, place.y - place.height / 2
    title = name if state is None else f"{name}: {state.value}"
    return (
        f"<g class={quoteattr(kind)}><title>{_text(title)}</title>"
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="7"/>'
        f'<text class="name" x="{place.x:.1f}" y="{place.y - (2 if note else -4.5):.1f}">{_text(name)}</text>'
        + (f'<text class="note" x="{place.x:.1f}" y="{place.y + 13:.1f}">{_text(note)}</text>' if note else "")
        + "</g>"
    )


def _label(edge: Edge) -> str:
    shown = ", ".join(name if len(name) <= 24 else f"{name[:23]}…" for name in edge.names[:_NAMES])
    more = len(edge.names) - _NAMES
    return f"{shown} +{more}" if more > 0 else shown


def _cells(cells: Sequence[int]) -> str:
    if not cells:
        return ""
    return f"cell {cells[0]}" if len(cells) == 1 else f"cells {min(cells)}–{max(cells)}"


def _text(text: str) -> str:
    """Return text fit for XML: escaped, without characters that XML cannot hold."""
    return escape(
        "".join(
            c if c in "\t\n\r" or (c >= " " and not 0xD800 <= ord(c) <= 0xDFFF and c not in "\ufffe\uffff") else "\ufffd"
            for c in text
        )
    )
