"""Absolute paths into the workspace, written out in the code.

A step works on a clone. Where the machine lets steps have a view of their own of the file system, the clone stands at the workspace's path
and such a path means it; elsewhere it means the original. The rule only compares texts: it looks at no disk.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from kale_nb.dataflow.facts import Place
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.location import Location
from kale_nb.lowering.findings import Speaker

ABSOLUTE_PATH = rule(
    "KN403",
    "absolute-path",
    Severity.WARNING,
    what="The code names something in the notebook's own folder by its absolute path.",
    why="Steps work on a clone of the folder. Where the machine gives them a view of their own (Linux with mount namespaces) "
    "the path means the clone; anywhere else it means the original, which the step then reads and changes, and on another machine it "
    "means nothing.",
    example="# path: /home/me/project/nb.ipynb\n\n%%step load\nrows = open('/home/me/project/rows.csv').read()",
    mend="Write the path relative to the notebook.",
)


def check_cells(trees: Mapping[int, ast.AST], speaker: Speaker) -> Iterator[Diagnostic]:
    """Warn of absolute paths into the folder of a notebook, by the trees of its cells."""
    home = _home(speaker.path)
    for cell, tree in sorted(trees.items()):
        for node, found in _literals(tree, home):
            lines = speaker.lines.get(cell, [])
            start, end = _columns(lines[node.lineno - 1] if node.lineno <= len(lines) else "", found, node)
            place = Place(cell, node.lineno, start, end)
            yield speaker.say(ABSOLUTE_PATH, place, _message(found), _hint(found, home))


def check_modules(path: str, modules: Iterable[tuple[str, str]]) -> Iterator[Diagnostic]:
    """Warn of absolute paths into the folder of a script.

    Args:
        path: the script.
        modules: path and text of it and of the modules beside it.
    """
    home = _home(path)
    for spelled, text in modules:
        if home not in text:
            continue
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        lines = text.split("\n")
        for node, found in _literals(tree, home):
            start, end = _columns(lines[node.lineno - 1], found, node)
            yield Diagnostic(
                rule=ABSOLUTE_PATH,
                message=_message(found),
                location=Location(path=spelled, line=node.lineno, column=start),
                source_line=lines[node.lineno - 1],
                end_column=end,
                hint=_hint(found, home),
            )


def _columns(line: str, path: str, node: ast.Constant) -> tuple[int, int | None]:
    """Return where a path begins and ends in a line, from 1; where the line is spelled otherwise, where the literal begins."""
    at = line.find(path)
    return (at + 1, at + len(path) + 1) if at >= 0 else (node.col_offset + 1, None)


def _home(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))


def _literals(tree: ast.AST, home: str) -> Iterator[tuple[ast.Constant, str]]:
    """Yield the string literals that hold an absolute path into `home`, with that path."""
    if home == "/":
        return
    shape = re.compile(rf"(?<![\w./~-]){re.escape(home)}(?:/[^\s'\"`;|&<>]*)?(?![\w.-])")
    seen = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and home in node.value:
            text = node.value.strip()
            whole = text == home or (text.startswith(home + "/") and "\n" not in text)
            found = shape.search(node.value)
            if (whole or found is not None) and (node.lineno, node.col_offset) not in seen:
                seen.add((node.lineno, node.col_offset))
                yield node, text if whole else found[0].rstrip(",.:)]}") if found is not None else home


def _message(path: str) -> str:
    return (
        f"`{path}` is a path into the notebook's own folder: a step reaches the original there, not the run's clone, wherever the machine "
        "gives steps no view of their own of the file system"
    )


def _hint(path: str, home: str) -> str:
    return f"write it relative to the notebook: `{os.path.relpath(path, home)}`"
