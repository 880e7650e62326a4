"""Draw how the cost of snapshots grows with the number of files: one small panel for each piece of work, log scales, plain SVG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

_COLOURS = {"cp": "#6b7280", "kale": "#2563eb", "git": "#d97706", "rsync": "#059669"}
_WORKS = ("first", "unchanged", "3 changed", "clone")
_WIDTH, _HEIGHT, _LEFT, _TOP = 190, 200, 52, 44


def plot(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG with a row for each disk and a panel for each piece of work."""
    rows = [m for m in measured if m["files"] > 1]
    disks = list(dict.fromkeys(m["disk"] for m in rows))
    sizes = sorted({m["files"] for m in rows})
    times = [statistics.median(m["wall"]) for m in rows]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    width, height = _LEFT + len(_WORKS) * (_WIDTH + 16) + 10, _TOP + len(disks) * (_HEIGHT + 56)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="11" role="img" aria-label="Wall seconds against number of files">'
        ),
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for place, (side, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + place * 70
        parts.append(f'<line x1="{x}" y1="16" x2="{x + 20}" y2="16" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x + 25}" y="20" fill="#111">{side}</text>')
    for row, disk in enumerate(disks):
        for column, work in enumerate(_WORKS):
            left, top = _LEFT + column * (_WIDTH + 16), _TOP + row * (_HEIGHT + 56) + 14
            chosen = [m for m in rows if m["disk"] == disk and m["work"] == work]
            parts += _panel(f"{disk.split()[0]}: {work}", left, top, chosen, sizes, low, high, labels=column == 0)
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    title: str, left: int, top: int, rows: Sequence[Mapping[str, Any]], sizes: list[int], low: int, high: int, *, labels: bool
) -> list[str]:
    first, last = math.log10(sizes[0]), math.log10(max(sizes[-1], sizes[0] * 10))

    def x(files: int) -> float:
        return left + 10 + (math.log10(files) - first) / (last - first) * (_WIDTH - 20)

    def y(seconds: float) -> float:
        return top + _HEIGHT - (math.log10(seconds) - low) / (high - low) * _HEIGHT

    parts = [f'<text x="{left}" y="{top - 6}" fill="#111" font-weight="bold">{title}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<line x1="{left}" y1="{at:.1f}" x2="{left + _WIDTH}" y2="{at:.1f}" stroke="#e5e7eb"/>')
        if labels:
            parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#374151">{10.0**power:g} s</text>')
    bottom = top + _HEIGHT + 15
    parts += [f'<text x="{x(n):.1f}" y="{bottom}" text-anchor="middle" fill="#374151">{n // 1000}k</text>' for n in sizes]
    for side, colour in _COLOURS.items():
        points = [(x(m["files"]), y(statistics.median(m["wall"]))) for m in rows if m["side"] == side]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in sorted(points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.6" fill="{colour}"/>' for px, py in points]
    return parts
