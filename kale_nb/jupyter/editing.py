"""Which notebook is being edited, as far as the front end tells, and whether its file says what ran here.

JupyterLab and Notebook 7 put the path of the notebook into `JPY_SESSION_NAME`, VS Code into the variable `__vsc_ipynb_file__`. Either
may be out of date (a renamed notebook) or another's (an environment that was inherited), so a file counts only when one of the marked cells
that ran here stands in it, or none ran yet.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.errors import SourceError, UsageError
from kale_nb.jupyter.executed import Executed, Ran
from kale_nb.jupyter.marks import step_named

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kale_nb.source.cells import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """What is to be compiled.

    Attributes:
        file: the saved notebook; None when it is made of the cells of the session.
        notes: where it comes from and what that leaves out, a sentence each.
        warnings: why it may not be what is meant.
    """

    source: Source
    file: Path | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of the notebook."""
        return Path.cwd() if self.file is None else self.file.parent


def edited_notebook(shell: InteractiveShell, executed: Executed, named: str | None = None) -> Edited:
    """Return the notebook that is being edited, or the one that was named. SourceError or UsageError when it cannot be read."""
    from kale_nb.source.notebook import read_notebook

    if named is not None:
        if named.endswith(".py"):
            raise UsageError(f"{named} is a script", hint=f"`!kale run {named}` runs it")
        return Edited(source=read_notebook(named), file=Path(named).absolute())
    told = told_path(shell)
    if told is None:
        return _of_session(executed, "the front end does not tell which file this notebook is saved in")
    shown = _near(told)
    try:
        source = read_notebook(shown)
    except SourceError as error:
        return _of_session(executed, f"the front end names {shown}, which cannot be read ({error.message})")
    ids, saved = {cell.id for cell in source.cells}, {cell.source.strip() for cell in source.cells}
    ran = [cell for cell in executed.cells if cell.ok and cell.key != executed.current]
    marked = [cell for cell in ran if _is_marked(cell)]
    if marked and not any(cell.text.strip() in saved or cell.key in ids for cell in marked):
        return _of_session(executed, f"the front end names {shown}, but no marked cell that ran here is saved in it")
    known = [cell for cell in ran if cell in marked or cell.key in ids]
    return Edited(source=source, file=told, warnings=_unsaved(known, saved, told, shown))


def told_path(shell: InteractiveShell) -> Path | None:
    """Return the path that the front end tells, absolute; None when it tells none."""
    given = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return Path(given).absolute() if isinstance(given, str) and given.endswith(".ipynb") else None


def _unsaved(ran: list[Ran], saved: set[str], file: Path, shown: str) -> tuple[str, ...]:
    try:
        changed = file.stat().st_mtime
    except OSError:
        return ()
    newer = [cell for cell in ran if cell.time > changed and cell.text.strip() not in saved]
    if not newer:
        return ()
    first = next((line for line in newer[0].text.splitlines() if line.strip()), "")[:60]
    many = "a cell" if len(newer) == 1 else f"{len(newer)} cells"
    return (f"{many} ran here in a form that {shown} does not have yet (`{first}`): save the notebook, the file is what counts",)


def _of_session(executed: Executed, why: str) -> Edited:
    source = executed.source()
    failed = sum(not cell.ok for cell in executed.cells)
    left = ["cells that did not run", "markdown", "the settings in the notebook's metadata"]
    if not any(cell.tags for cell in source.cells):
        left.append("tags (marks must be magics such as `%%step`)")
    if failed:
        left.append(f"{failed} cell{'s' if failed != 1 else ''} that failed")
    notes = (
        f"{why}: what counts is the {len(source.cells)} cells that ran in this session, in the order in which they first ran",
        f"that leaves out {', '.join(left[:-1])} and {left[-1]}",
    )
    return Edited(source=source, notes=(*notes, *_edited(executed)))


def _edited(executed: Executed) -> list[str]:
    """Say what was decided of cells that may be one that was edited."""
    notes = [
        f"of step {step}, which ran with several texts, the last counts: a further cell needs no mark" for step in executed.edited
    ]
    steps = Counter(step for ran in executed.cells if ran.ok and not ran.known and (step := step_named(ran.text)) is not None)
    many = " and ".join(f"{count} cells of step {step}" for step, count in steps.items() if count > 1)
    if many:
        how = "`%reset -f in`, then `%reload_ext kale_nb`, forget what ran"
        notes.append(f"{many} count, for this front end does not tell an edited cell from a further one: {how}")
    return notes


def _is_marked(ran: Ran) -> bool:
    """Tell whether a cell says itself what it is."""
    from kale_nb.annotations.magics import read_magics
    from kale_nb.annotations.tags import read_tags
    from kale_nb.source.cells import Cell, CellKind

    cell = Cell(index=1, kind=CellKind.CODE, source=ran.text, tags=ran.tags)
    return bool(read_magics(cell, "").claims or read_tags(cell, "").claims)


def _near(path: Path) -> str:
    """Return a path as short as it can be written from the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
