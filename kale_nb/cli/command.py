"""Parse the command line, call the command, turn what it raises into a message and an exit code.

Exit codes: 0 well, 1 a step failed, what was asked for could not be done or a check found something, 2 the command line, the file or the
notebook is at fault, 70 a defect of kale itself, 129, 130, 143 stopped by SIGHUP, Ctrl-C, SIGTERM. A traceback of kale is shown only with
`--debug` or KALE_DEBUG.

A command is a module with `configure(parser)` and `run(args) -> int`, imported only when it is the one called.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from kale_nb import __version__
from kale_nb.cli import messages
from kale_nb.diagnostics import CompileError
from kale_nb.errors import KaleError, SourceError, UsageError

OK, FAILED, USAGE, DEFECT = 0, 1, 2, 70

COMMANDS = {
    "run": "run a notebook as a pipeline",
    "check": "tell what is wrong with a notebook, and what would run",
    "compile": "write the pipeline file and one notebook a step",
    "graph": "draw the steps",
    "verify": "run both ways, as a notebook and as a pipeline, and compare",
    "show": "look at a run, or at one step of it",
    "runs": "list runs",
    "stop": "stop a run on a cluster",
    "files": "list the files that a run created, changed and deleted",
    "pull": "copy files that a run made into the workspace",
    "diff": "compare two runs",
    "snapshots": "list, show, verify and pin snapshots",
    "gc": "remove old runs, and snapshots that no run needs",
    "clean": "remove what runs left on a cluster: volumes and snapshots",
    "doctor": "tell whether a run can work, here or on a cluster",
    "explain": "explain a diagnostic by its code",
}

_WRITING = {"compile", "graph"}
"""The commands that run nothing and write something."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors look like all our other errors."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` lists what it takes")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `kale` with these arguments (those of the process when None) and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug, command = bool(os.environ.get("KALE_DEBUG")), ""
    try:
        args = _parse(words)
        debug, command = debug or args.debug, args.command
        code: int = args.call(args)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse after --help and --version
        return stop.code if isinstance(stop.code, int) else OK
    except BrokenPipeError:
        _hush()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt as interrupt:
        if debug:
            raise
        return messages.stopped(interrupt)
    except KaleError as error:
        if debug:
            raise
        messages.error(error, "nothing was written" if command in _WRITING else "nothing was run")
        return USAGE if isinstance(error, CompileError | UsageError | SourceError) else FAILED
    except Exception as error:
        if debug:
            raise
        messages.defect(error)
        return DEFECT


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="kale",
        description="Run an annotated notebook or script as a pipeline of steps, with the same results.",
    )
    parser.add_argument("--version", action="version", version=f"kale {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of kale itself (also: KALE_DEBUG=1)")
    words = _with_run(words)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=Parser)
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.", allow_abbrev=False)
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name in words:
            module = importlib.import_module(f"kale_nb.cli.{name}_command")
            module.configure(command)
            command.set_defaults(call=module.run)
    args, left = parser.parse_known_args(words)
    if left and args.command is not None:
        args = _parse_mixed(commands.choices[args.command], args, words)
    elif left:
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if args.command is None:
        parser.print_help()
        raise SystemExit(USAGE)
    return args


def _parse_mixed(command: argparse.ArgumentParser, args: argparse.Namespace, words: list[str]) -> argparse.Namespace:
    """Parse the words of a command with options between its arguments, such as `pull latest --force a.csv`, which argparse takes only when
    it is told to."""
    place = words.index(args.command)
    return command.parse_intermixed_args(words[place + 1 :], argparse.Namespace(command=args.command, debug=args.debug))


def _with_run(words: list[str]) -> list[str]:
    """`kale script.py` means `kale run script.py`."""
    files = [word for word in words if word.lower().endswith((".py", ".ipynb"))]
    if files and (words[0] == files[0] or words[0].startswith("-")) and not any(word in COMMANDS for word in words):
        return ["run", *words]
    return words


def _hush() -> None:
    """Leave the interpreter nothing to flush into a pipe that nobody reads any more."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(null)
