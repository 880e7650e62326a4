"""Failures in the user's terms: cells and lines of the user's notebook, without our frames and without IPython's."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kale_nb.engines.local.outputs import without_ansi
from kale_nb.errors import HINT
from kale_nb.runs.events import Failure

_OUR_FRAME = re.compile(r"^File .*?(?:/IPython/core/|/ipykernel/|/kale_nb/(?:(?:runtime|marshal)[./]|sdk\.py))")
_MAX_TRACEBACK = 200_000
_OURS = ("kale-load", "kale-save")
_MARSHAL = {"MarshalError": "marshal", "ConflictError": "conflict"}
_ROUNDS_SHOWN = 2
_INPUT = "StdinNotImplementedError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is needed to tell where things happened.

    Attributes:
        source: path of the user's notebook, as the user spelled it.
        clone: the folder of the clone, which stands for the user's own folder.
    """

    source: str
    clone: Path


def from_reply(cells: Sequence[Mapping[str, Any]], index: int, reply: Mapping[str, Any], place: Place) -> Failure:
    """Tell the failure of the cell at `index` of an executed notebook.

    Args:
        cells: the notebook's cells with their execution counts.
        reply: the kernel's `ename`, `evalue` and `traceback`.
    """
    cell = cells[index]
    tags = cell.get("metadata", {}).get("tags", [])
    name = str(reply.get("ename", "Error"))
    value = without_ansi(str(reply.get("evalue", "")))
    if any(tag in _OURS for tag in tags) and name in _MARSHAL:
        hint = next((line.removeprefix(HINT) for line in reply.get("traceback") or () if line.startswith(HINT)), None)
        return Failure(kind=_MARSHAL[name], message=value or name, hint=hint)
    counted = {c["execution_count"]: c for c in cells if c.get("execution_count")}
    text = users_traceback(reply.get("traceback") or (), counted, place)
    if "ExceptionGroup" in name and not text:
        text = _printed_group(cell)
    number, line = _users_cell(cell), _last_line_in(reply.get("traceback") or (), counted, _users_cell(cell))
    if line is None:
        line = _line_in_script(text, cell, place)
    message, hint = _in_words(name, value)
    return Failure(kind="exception", message=message, cell=number, line=line, traceback=text, hint=hint)


def died(status: int | None, error: str | None, cell: Mapping[str, Any] | None) -> Failure:
    """Tell that the kernel ended by itself: `status` is its exit code, negative for a signal; `error` why it could not start."""
    number = None if cell is None else _users_cell(cell)
    if error is not None:
        return Failure(kind="engine", message=f"the kernel could not be started: {error}", cell=number)
    if status is None:
        return Failure(kind="died", message="the kernel is gone", cell=number)
    if status >= 0:
        return Failure(
            kind="died",
            message=f"the step's process ended itself with exit code {status}",
            cell=number,
            hint="exit(), quit() and os._exit() end the step before its values are saved",
        )
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "an unknown signal"
    hints = {
        "SIGKILL": "memory may have run out: the system kills the process that takes most (see `dmesg`), or someone killed it",
        "SIGSEGV": "native code crashed: a bug in a compiled extension or a clash of library versions",
        "SIGABRT": "native code gave up: see the step's log",
        "SIGBUS": "a file that was mapped into memory is gone or the disk is full",
    }
    return Failure(
        kind="died", message=f"the step's process was killed by signal {-status} ({name})", cell=number, hint=hints.get(name)
    )


def timed_out(seconds: float | None, message: str, cell: Mapping[str, Any] | None) -> Failure:
    """Tell that the step was stopped for taking too long."""
    text = message if seconds is None else f"the step took longer than its timeout of {seconds:g} s"
    hint = "raise it: tag `timeout:...`, or `--timeout` in the magic" if seconds is not None else None
    return Failure(kind="timeout", message=text, cell=None if cell is None else _users_cell(cell), hint=hint)


def _printed_group(cell: Mapping[str, Any]) -> str:
    """Return the traceback of an exception group, which IPython prints instead of reporting it, without IPython's frames."""
    printed = "".join(str(o.get("text", "")) for o in cell.get("outputs") or () if o.get("name") == "stderr")
    start = printed.rfind("  + Exception Group Traceback")
    kept: list[str] = []
    within: str | None = None
    for line in without_ansi(printed[start:]).splitlines() if start >= 0 else ():
        frame = re.match(r'([ |]*)File "', line)
        if frame is not None:
            within = f"{frame[1]}  " if "/IPython/core/" in line else None
        if within is None or (frame is None and not line.startswith(within)):
            within = None
            kept.append(line)
    return "\n".join(kept)


def users_traceback(lines: Sequence[str], counted: Mapping[int, Mapping[str, Any]], place: Place) -> str:
    """Return an IPython traceback as plain text that speaks of the user's notebook.

    Args:
        counted: the cells by execution count.
    """
    text = without_ansi("\n".join(lines))
    if len(text) > _MAX_TRACEBACK:
        half = _MAX_TRACEBACK // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if re.match(r"\s*(File |Cell In\s?\[|Input In\s?\[)", line):
            blocks.append([])
        blocks[-1].append(line)
    kept = _without_repeats([blocks[0]] + [block for block in blocks[1:] if not _is_ours(block, counted)])
    # The exception's own lines end the last block; when that block goes they stay.
    if len(blocks) > 1 and kept[-1] is not blocks[-1]:
        tail = blocks[-1]
        kept.append(tail[_end_of_frame(tail) :])
    out = "\n".join("\n".join(block) for block in kept)
    out = re.sub(r"(?:Cell|Input) In\s?\[(\d+)\](?:, line (\d+))?", lambda found: _where(found, counted, place), out)
    for folder in _spellings(place.clone):
        out = out.replace(folder + "/", "")
    out = re.sub(r"\n(?:[ \t]*\n){2,}", "\n\n", out)
    return re.sub(r"\A-{10,}\n", "", out).strip("\n")


def _is_ours(block: list[str], counted: Mapping[int, Mapping[str, Any]]) -> bool:
    if _OUR_FRAME.match(block[0].lstrip()):
        return True
    found = re.match(r"\s*(?:Cell|Input) In\s?\[(\d+)\]", block[0])
    if found is None:
        return False
    tags = counted.get(int(found[1]), {}).get("metadata", {}).get("tags", [])
    return any(tag in _OURS for tag in tags)


def _without_repeats(blocks: list[list[str]]) -> list[list[str]]:
    """Leave out frames that repeat those before them, as a recursion without end makes thousands: rounds of up to four frames."""
    kept: list[list[str]] = []
    position = 0
    while position < len(blocks):
        for size in range(1, 5):
            rounds = 1
            first = blocks[position : position + size]
            while blocks[position + rounds * size : position + (rounds + 1) * size] == first:
                rounds += 1
            if rounds > _ROUNDS_SHOWN + 1:
                more = (rounds - _ROUNDS_SHOWN) * size
                kept += first * _ROUNDS_SHOWN
                kept.append([f"[{more} more frames like {'this one' if size == 1 else f'the last {size}'}]", ""])
                position += rounds * size
                break
        else:
            kept.append(blocks[position])
            position += 1
    return kept


def _end_of_frame(block: list[str]) -> int:
    for position, line in enumerate(block):
        if not line.strip():
            return position
    return len(block)


def _where(found: re.Match[str], counted: Mapping[int, Mapping[str, Any]], place: Place) -> str:
    cell = counted.get(int(found[1]))
    number = None if cell is None else _users_cell(cell)
    line = f":{found[2]}" if found[2] else ""
    called = None if cell is None else _called_at(cell)
    if called is not None:
        return called
    if number is not None:
        return f"{place.source}[cell {number}]{line}"
    tags = [] if cell is None else cell.get("metadata", {}).get("tags", [])
    if "injected-parameters" in tags or "parameters" in tags:
        return f"{place.source}[parameters]{line}"
    return f"{place.source}[cell made by kale]{line}"


def _called_at(cell: Mapping[str, Any]) -> str | None:
    """Where a script's pipeline calls the step whose cell this is."""
    told = cell.get("metadata", {}).get("kale", {})
    return f"{told['path']}:{told['line']}" if "path" in told and "line" in told else None


def _line_in_script(text: str, cell: Mapping[str, Any], place: Place) -> int | None:
    """Return the last line of the script in a traceback; of a script's step that failed elsewhere, where it is called."""
    if _called_at(cell) is None:
        return None
    told = cell["metadata"]["kale"]
    name = re.escape(os.path.basename(place.source))
    lines = re.findall(rf"(?m)^(?:File (?:.*/)?{name}:|{re.escape(place.source)}:)(\d+)", text)
    return int(lines[-1]) if lines else told["line"] if told["path"] == place.source else None


def _users_cell(cell: Mapping[str, Any]) -> int | None:
    number = cell.get("metadata", {}).get("kale", {}).get("cell")
    return number if isinstance(number, int) else None


def _last_line_in(lines: Sequence[str], counted: Mapping[int, Mapping[str, Any]], number: int | None) -> int | None:
    """Return the line, in the user's cell `number`, of the last frame there."""
    if number is None:
        return None
    line = None
    for found in re.finditer(r"(?:Cell|Input) In\s?\[(\d+)\], line (\d+)", without_ansi("\n".join(lines))):
        cell = counted.get(int(found[1]))
        if cell is not None and _users_cell(cell) == number:
            line = int(found[2])
    return line


def _in_words(name: str, value: str) -> tuple[str, str | None]:
    if name == _INPUT:
        return "input() was called, and a step has nobody to ask", "make the answer a parameter: assign it in a `parameters` cell"
    if name == "SystemExit":
        return (
            f"SystemExit: {value}" if value else "SystemExit"
        ), "exit() and sys.exit() end the step before its values are saved"
    return (f"{name}: {value}" if value else name), None


def _spellings(folder: Path) -> list[str]:
    found = [str(folder), str(folder.resolve())]
    home = str(Path.home())
    found += [f"~{path[len(home) :]}" for path in list(found) if path.startswith(home + "/")]
    return sorted(set(found), key=len, reverse=True)
