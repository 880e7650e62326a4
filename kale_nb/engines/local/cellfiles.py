"""Frames of cells that ran in another step's kernel, in the user's terms.

A function that a step made travels with the file name that its own kernel gave the cell (`/tmp/ipykernel_N/HASH.py`): the hash is that of
the cell's source, so the cell is found among the stepbooks, and with it the lines to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from kale_nb.engines.protocol import Job
from kale_nb.runs.events import Failure

_FRAME = re.compile(
    r"""(?P<lead>[ |]*)File\ "?(?P<path>[^"\n]*?ipykernel_\d+[/\\](?P<hash>\d+)\.py)"?(?::|,\ line\ )(?P<line>\d+)(?P<rest>.*)"""
    r"""(?P<lost>(?:\n[-> \d]*'Could\ not\ get\ source,\ probably\ due\ dynamically\ evaluated\ source\ code\.')?)""",
    re.VERBOSE,
)
_SEED = 0xC70F6907
_AROUND = 2


def place_cells(job: Job, failure: Failure) -> Failure:
    """Return the failure with every frame of a cell of any step under the cell's own name."""
    if not _FRAME.search(failure.traceback):
        return failure
    known = _by_hash(cell for book in job.stepbooks for cell in book.notebook.get("cells", ()))

    def place(found: re.Match[str]) -> str:
        cell = known.get(found["hash"])
        if cell is None:
            return found[0]
        number = cell.get("metadata", {}).get("kale", {}).get("cell")
        spot = f"cell {number}" if number is not None else "cell made by kale"
        head = f"{found['lead']}{job.pipeline.source}[{spot}]:{found['line']}{found['rest']}"
        return head + (_lines_around(_source(cell), int(found["line"])) if found["lost"] else "")

    return replace(failure, traceback=_FRAME.sub(place, failure.traceback))


def _by_hash(cells: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    from ipykernel.compiler import murmur2_x86

    found: dict[str, Mapping[str, Any]] = {}
    for cell in cells:
        if cell.get("cell_type") == "code":
            found.setdefault(str(murmur2_x86(_source(cell), _SEED)), cell)
    return found


def _source(cell: Mapping[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _lines_around(source: str, line: int) -> str:
    """Return the lines near `line` as IPython shows them, each after a line break."""
    lines = source.split("\n")
    shown = range(max(1, line - _AROUND), min(len(lines), line + _AROUND) + 1)
    return "".join(f"\n{'----> ' if n == line else '      '}{n} {lines[n - 1]}".rstrip() for n in shown)
