"""What goes to stderr: diagnostics, errors, warnings, and nothing that belongs in a pipe."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterable

from kale_nb.diagnostics import CompileError, Diagnostic
from kale_nb.errors import KaleError
from kale_nb.report.findings import counted, painted
from kale_nb.report.style import Style


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def say(text: str = "") -> None:
    """Write one line to stderr; never raises, for there is nowhere to tell it."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def error(problem: KaleError, undone: str = "nothing was run") -> None:
    """Show an error: message, hint; for a failed compile all diagnostics, and what was not done."""
    style = Style(sys.stderr)
    if isinstance(problem, CompileError) and problem.diagnostics:
        diagnostics(problem.diagnostics)
        say(f"{style.paint('error:', 'bold', 'red')} {counted(problem.diagnostics)}: {undone}")
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
