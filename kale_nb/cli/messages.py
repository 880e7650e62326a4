"""What goes to stderr: diagnostics, errors, warnings, and nothing that belongs in a pipe."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterable

from kale_nb.cli.style import Style
from kale_nb.diagnostics import CompileError, Diagnostic, Severity
from kale_nb.errors import KaleError

SEVERITY_COLOR = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def say(text: str = "") -> None:
    """Write one line to stderr; never raises, for there is nowhere to tell it."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def error(problem: KaleError) -> None:
    """Show an error: message, hint; for a failed compile all diagnostics."""
    style = Style(sys.stderr)
    if isinstance(problem, CompileError) and problem.diagnostics:
        diagnostics(problem.diagnostics)
        say(f"{style.paint('error:', 'bold', 'red')} {counted(problem.diagnostics)}: nothing was run")
        return
    say(f"{style.paint('error:', 'bold', 'red')} {problem}")
    if problem.hint:
        say(f"  hint: {problem.hint}")


def warning(message: str) -> None:
    """Show a warning."""
    say(f"{Style(sys.stderr).paint('warning:', 'bold', 'yellow')} {message}")


def diagnostics(found: Iterable[Diagnostic]) -> None:
    """Show findings of the compiler."""
    style = Style(sys.stderr)
    for diagnostic in found:
        say(painted(diagnostic, style))


def painted(diagnostic: Diagnostic, style: Style) -> str:
    """Return a finding as text with its severity and caret in colour."""
    text = diagnostic.render()
    if not style.color:
        return text
    color = SEVERITY_COLOR[diagnostic.level]
    first, *rest = text.split("\n")
    label = f"{diagnostic.level.value} {diagnostic.rule.code}"
    first = first.replace(label, style.paint(label, "bold", color), 1)
    return "\n".join([first, *(style.paint(line, color) if line.strip() and not line.strip(" \t^") else line for line in rest)])


def counted(found: Iterable[Diagnostic]) -> str:
    """Return how many findings there are of each severity, in words.

    >>> counted([])
    'no findings'
    """
    levels = [d.level for d in found]
    parts = [f"{levels.count(s)} {s.value}{'s' if levels.count(s) != 1 else ''}" for s in Severity if s in levels]
    return ", ".join(parts) or "no findings"


def stopped(interrupt: KeyboardInterrupt) -> int:
    """Say that the command was stopped and return its exit code."""
    number = interrupt.number if isinstance(interrupt, Stopped) else signal.SIGINT
    say(f"stopped by {'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name}")
    return 128 + number


def defect(problem: BaseException) -> None:
    """Show that kale itself is at fault."""
    style = Style(sys.stderr)
    say(f"{style.paint('error:', 'bold', 'red')} this is a defect of kale: {type(problem).__name__}: {problem}")
    say("  hint: the same command with KALE_DEBUG=1 shows where; please report it with that output")
