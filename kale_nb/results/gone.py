"""What was removed of a run, by whom and when: a file in the run's folder, written before anything goes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = "removed.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """One removal.

    Attributes:
        what: `clone` (the volumes' clones and the values between steps), or the id of a snapshot.
        time: seconds since the epoch.
        why: the command or budget that asked for it.
    """

    what: str
    time: float
    why: str


CLONE = "clone"


def removals(directory: Path) -> tuple[Removed, ...]:
    """Return what was removed of the run in `directory`, oldest first; nothing when that cannot be read."""
    try:
        told = json.loads((directory / FILE).read_text(encoding="utf-8"))
        return tuple(Removed(what=str(t["what"]), time=float(t["time"]), why=str(t["why"])) for t in told)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def note_removed(directory: Path, what: Iterable[str], why: str) -> None:
    """Note that parts of a run are about to be removed. OSError when the disk refuses."""
    known = removals(directory)
    seen = {removed.what for removed in known}
    fresh = [Removed(what=item, time=time.time(), why=why) for item in what if item not in seen]
    if not fresh:
        return
    told = [{"what": r.what, "time": r.time, "why": r.why} for r in (*known, *fresh)]
    part = directory / f".{FILE}.{os.getpid()}"
    part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    os.replace(part, directory / FILE)


def how_it_went(directory: Path, what: str) -> str:
    """Return when and why a part of a run was removed, in words."""
    for removed in reversed(removals(directory)):
        if removed.what == what:
            return f"removed on {time.strftime('%Y-%m-%d at %H:%M', time.localtime(removed.time))} by {removed.why}"
    return "it is not there any more, and no `kale gc` noted that it removed it"
