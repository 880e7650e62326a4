"""Getting things onto the screen: rich bundles where there is a kernel, plain text in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from kale_nb.report.style import STATE_COLOR, STATE_SIGN, Style
from kale_nb.runs.events import State

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_COLORS = {"green": "#1f883d", "red": "#d1242f", "cyan": "#218bff", "yellow": "#bf8700", "dim": "#818b98", "blue": "#218bff"}
"""Tones that can be read on light and on dark ground."""
MONO = "font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace);font-size:0.93em"
CELL = "text-align:left;padding:2px 14px 2px 0;border:none;vertical-align:baseline;background:none"
DIM = f"color:{_COLORS['dim']}"


class Screen:
    """Where a command shows things."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self.is_rich = getattr(shell, "kernel", None) is not None
        self.style = Style(None if self.is_rich else sys.stdout)

    def show(
        self, text: str, rich: Mapping[str, str] | None = None, *, display_id: str | None = None, update: bool = False
    ) -> None:
        """Show a text, or what stands for it where a front end can draw.

        Args:
            rich: the same by MIME type, such as `text/html`.
            display_id: names what is shown, so that it can be replaced.
            update: replace what has this name; does nothing in a terminal.
        """
        if not self.is_rich:
            if not update:
                print(text, flush=True)  # noqa: T201
            return
        transient = {} if display_id is None else {"display_id": display_id}
        data = {"text/plain": text, **(rich or {})}
        self._shell.display_pub.publish(data=data, metadata={}, transient=transient, update=update)

    def say(self, text: str) -> None:
        """Write a line of text."""
        print(text, flush=True)  # noqa: T201

    def warn(self, text: str) -> None:
        """Write a line of warning."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def color(name: str) -> str:
    """Return the tone that stands for a colour of the terminal."""
    return _COLORS.get(name, "inherit")


def sign(state: State) -> str:
    """Return the sign of a state as HTML."""
    return f'<span style="color:{color(STATE_COLOR[state])};font-weight:bold">{escape(STATE_SIGN[state])}</span>'


def word(state: State) -> str:
    """Return the word of a state as HTML."""
    return f'<span style="color:{color(STATE_COLOR[state])};font-weight:600">{state.value}</span>'


def table(rows: Sequence[tuple[str, ...]], *, right: tuple[int, ...] = ()) -> str:
    """Return rows of HTML as a table without rules."""
    lines = []
    for row in rows:
        cells = (f'<td style="{CELL}{";text-align:right" if i in right else ""}">{cell}</td>' for i, cell in enumerate(row))
        lines.append(f'<tr style="background:none">{"".join(cells)}</tr>')
    return (
        f'<table style="border-collapse:collapse;margin:2px 0;border:none;font-size:inherit;color:inherit">{"".join(lines)}</table>'
        if lines
        else ""
    )


def heading(text: str) -> str:
    """Return the heading of a part; `text` is HTML."""
    return f'<div style="margin:8px 0 2px;font-weight:600">{text}</div>'


def code(text: str) -> str:
    """Return text as inline code."""
    return f'<span style="{MONO}">{escape(text)}</span>'


def dim(text: str) -> str:
    """Return text in grey."""
    return f'<span style="{DIM}">{escape(text)}</span>'


def link(address: str) -> str:
    """Return a link that shows its address; only the address when it is none of a page."""
    if not address.startswith(("https://", "http://")):
        return escape(address)
    return f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(address)}</a>'


def picture(svg: str) -> str:
    """Return a drawing as an image of its own, whose style sheet reaches nothing around it."""
    import base64

    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="the graph of the pipeline" style="max-width:100%;margin:6px 0" src="data:image/svg+xml;base64,{data}"/>'
