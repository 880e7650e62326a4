"""Where in the user's code something happens: frames, places, and the names that a value is given there."""

from __future__ import annotations

import ast
import dis
import functools
import os
import re
import sys
from dataclasses import dataclass
from types import CodeType, FrameType

_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place in a file: 1-based line, 0-based columns in characters; `end` is None when only the line is known."""

    path: str
    line: int
    column: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Unpack:
    """What a caller does with an iterator: `before` values, the starred rest if `starred`, `after` values."""

    before: int
    starred: bool
    after: int

    @property
    def values(self) -> int:
        """How many values are asked for at least."""
        return self.before + self.after


def user_frame() -> FrameType | None:
    """Return the innermost frame that is not ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def blamed_frame() -> FrameType | None:
    """Return the innermost frame of the user's own code: neither ours nor that of a library."""
    innermost = frame = user_frame()
    while frame is not None and is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return (
        frame
        if frame is not None and not is_ours(frame.f_code.co_filename) and frame.f_code.co_filename != "<string>"
        else innermost
    )


def is_library(filename: str) -> bool:
    """Tell whether a file is installed, not written by the user, or none at all."""
    return filename.startswith(("<", os.path.dirname(os.__file__) + os.sep)) or bool(
        re.search(r"[/\\](site|dist)-packages[/\\]", filename)
    )


def is_ours(filename: str) -> bool:
    """Tell whether a file belongs to kale."""
    return filename.startswith(_OURS + os.sep)


def spot_of(frame: FrameType | None) -> Spot | None:
    """Return what a frame is about to finish, as a place."""
    if frame is None:
        return None
    return spot_in(frame.f_code, frame.f_lasti, frame.f_lineno)


def spot_in(code: CodeType, offset: int, fallback: int) -> Spot:
    """Return the place of one instruction."""
    line, end_line, column, end = _position(code, offset)
    if line is None:
        return Spot(path=code.co_filename, line=fallback)
    text = source_line(code.co_filename, line)
    if text is None or column is None or end is None:
        return Spot(path=code.co_filename, line=line)
    raw = text.encode()
    first = len(raw[:column].decode(errors="replace"))
    last = len(raw[:end].decode(errors="replace")) if end_line == line else len(text)
    return Spot(path=code.co_filename, line=line, column=first, end=last)


def _position(code: CodeType, offset: int) -> tuple[int | None, int | None, int | None, int | None]:
    for number, position in enumerate(code.co_positions()):
        if number == offset // 2:
            return position
    return None, None, None, None


def source_line(path: str, line: int) -> str | None:
    """Return one line of a file, None when there is none."""
    lines = _lines(path)
    return lines[line - 1] if 0 < line <= len(lines) else None


@functools.cache
def _lines(path: str) -> tuple[str, ...]:
    import tokenize

    try:
        with tokenize.open(path) as file:
            return tuple(line.rstrip("\r\n") for line in file)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ()


@functools.cache
def tree_of(path: str) -> ast.Module | None:
    """Return a file's syntax tree, None when it cannot be read."""
    try:
        return ast.parse("\n".join(_lines(path)))
    except (SyntaxError, ValueError, RecursionError):
        return None


def unpacking(frame: FrameType) -> Unpack | None:
    """Return how a frame that asks a value for its iterator unpacks it; None when it does something else with it."""
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.offset == frame.f_lasti:
            count = instruction.arg or 0
            if instruction.opname == "UNPACK_SEQUENCE":
                return Unpack(count, False, 0)
            if instruction.opname == "UNPACK_EX":
                return Unpack(count & 0xFF, True, count >> 8)
            return None
    return None


def spreads(frame: FrameType) -> bool:
    """Tell whether the call that a frame is in spreads a sequence: `f(*values)`."""
    found = (i.opname for i in dis.get_instructions(frame.f_code) if i.offset == frame.f_lasti)
    return next(found, "") == "CALL_FUNCTION_EX"


def targets_of_call(frame: FrameType) -> ast.expr | None:
    """Return what the call that a frame is in is assigned to; None when it is not assigned as a whole."""
    key = _position(frame.f_code, frame.f_lasti)
    return _assigned(frame.f_code.co_filename).get(key)


def unpacked_targets(frame: FrameType) -> list[ast.expr] | None:
    """Return the targets of the unpacking that a frame is in."""
    key = _position(frame.f_code, frame.f_lasti)
    return _sequences(frame.f_code.co_filename).get(key)


_Key = tuple[int | None, int | None, int | None, int | None]


def _key(node: ast.expr) -> _Key:
    return (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)


@functools.cache
def _assigned(path: str) -> dict[_Key, ast.expr]:
    found: dict[_Key, ast.expr] = {}
    tree = tree_of(path)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            found[_key(node.value)] = node.targets[0]
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.value, ast.Call):
            found[_key(node.value)] = node.target
    return found


@functools.cache
def _sequences(path: str) -> dict[_Key, list[ast.expr]]:
    tree = tree_of(path)
    found: dict[_Key, list[ast.expr]] = {}
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Store):
            found[_key(node)] = node.elts
    return found
