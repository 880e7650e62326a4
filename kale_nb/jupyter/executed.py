"""The cells that ran in this session: what stands for the notebook where no front end tells its file.

A front end that names its cells (JupyterLab, Notebook 7, VS Code) lets a cell that ran again replace what it was; elsewhere a cell is known
by its text, as are those that ran before the extension was loaded. In a terminal, where cells are fetched from the history and edited,
one that names a step replaces what that step was. In a kernel it does not: a tool may be executing a notebook with several cells of
one step. Cells keep the place of their first execution, for re-running one does not move it in the notebook either.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kale_nb.jupyter.marks import step_named

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kale_nb.source.cells import Source

HERE = "this session"
"""How the cells of the session are called where a notebook's path would stand."""
_STEP = "\0step "
"""Begins the key of a cell that is known by its step; no text of a cell begins so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A cell as it ran last.

    Attributes:
        time: when it began, seconds since the epoch.
        ok: it ended without an error, as far as is known.
    """

    text: str
    key: str
    tags: tuple[str, ...] = ()
    time: float = 0.0
    ok: bool = True

    @property
    def known(self) -> bool:
        """Whether the cell would be known again with another text."""
        return self.key != self.text


class Executed:
    """Remembers the cells of one shell. `before` and `after` are callbacks of IPython's events."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._cells: dict[str, Ran] = {}
        self._current: str | None = None
        self._edited: dict[str, None] = {}
        for text in _history(shell):
            self._note(Ran(text=text, key=self._key(text)))

    @property
    def cells(self) -> tuple[Ran, ...]:
        """The cells, in the order in which they first ran."""
        return tuple(self._cells.values())

    @property
    def edited(self) -> tuple[str, ...]:
        """The steps whose cell was replaced by one with another text."""
        return tuple(self._edited)

    @property
    def current(self) -> str:
        """The key of the cell that runs now; empty when none does."""
        return self._current or ""

    def before(self, info: Any) -> None:
        """Note a cell that begins."""
        if not info.store_history or not (info.raw_cell or "").strip():
            return
        key = getattr(info, "cell_id", None) or self._key(info.raw_cell)
        self._current = key
        if key != info.raw_cell and key not in self._cells:
            self._cells = {key if known == info.raw_cell else known: ran for known, ran in self._cells.items()}
        self._note(Ran(text=info.raw_cell, key=key, tags=_tags(self._shell), time=time.time()))

    def after(self, result: Any) -> None:
        """Note how it ended."""
        info = getattr(result, "info", None)
        if info is None or not info.store_history:
            return
        key = getattr(info, "cell_id", None) or self._key(info.raw_cell)
        if key in self._cells and not result.success:
            self._cells[key] = replace(self._cells[key], ok=False)
        self._current = None

    def _key(self, text: str) -> str:
        """Return by what a cell is known that the front end does not name."""
        step = step_named(text) if getattr(self._shell, "kernel", None) is None else None
        return text if step is None else f"{_STEP}{step}"

    def _note(self, ran: Ran) -> None:
        if not ran.text.strip():
            return
        before = self._cells.get(ran.key)
        if ran.key.startswith(_STEP) and before is not None and before.ok and before.text != ran.text:
            self._edited[ran.key.removeprefix(_STEP)] = None
        self._cells[ran.key] = ran

    def source(self) -> Source:
        """Return the cells that ended well (and the one that runs) as a source."""
        import hashlib

        from kale_nb.source.cells import Cell, CellKind, Source

        kept = [ran for ran in self.cells if ran.ok]
        cells = tuple(
            Cell(
                index=i, kind=CellKind.CODE, source=ran.text, tags=ran.tags, metadata={"tags": list(ran.tags)} if ran.tags else {}
            )
            for i, ran in enumerate(kept, start=1)
        )
        digest = hashlib.sha256("\0".join(ran.text for ran in kept).encode("utf-8", "surrogatepass")).hexdigest()
        return Source(path=HERE, stem="notebook", sha256=digest, cells=cells)


def _history(shell: InteractiveShell) -> list[str]:
    """The cells that ran before the extension was loaded, without those that are known to have failed (IPython 9 notes them)."""
    manager = shell.history_manager
    if manager is None:
        return []
    failed = getattr(manager, "exceptions", {})
    return [
        text for number, text in enumerate(manager.input_hist_raw) if number and isinstance(text, str) and number not in failed
    ]


def _tags(shell: InteractiveShell) -> tuple[str, ...]:
    """The tags of the cell that runs, from a front end that sends them along (JupyterLab does)."""
    kernel: Any = getattr(shell, "kernel", None)
    parent: Callable[[], Any] | None = getattr(kernel, "get_parent", None)
    if parent is None:
        return ()
    try:
        tags = parent()["metadata"]["tags"]
    except (KeyError, TypeError, LookupError):
        return ()
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
