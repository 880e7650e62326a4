"""`kale compile`: write the pipeline file and one notebook a step."""

from __future__ import annotations

import argparse
from pathlib import Path

from kale_nb.cli import messages
from kale_nb.cli.options import add_script_options
from kale_nb.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("notebook", metavar="NOTEBOOK", help="the notebook or script to compile")
    add_script_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, help="the folder to write (default: NOTEBOOK without its suffix, plus .kale)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.compiler import compile_path, write_compiled

    compiled = compile_path(args.notebook, pipeline=args.pipeline, carry=args.no_snapshot)
    if not args.quiet:
        messages.diagnostics(compiled.diagnostics)
    directory = args.output if args.output is not None else Path(args.notebook).with_suffix(".kale")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file", hint="name a folder with -o")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / "pipeline.json").exists():
        raise UsageError(f"{directory} holds other files", hint="name an empty or new folder with -o")
    try:
        write_compiled(compiled, directory)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}", hint="name another folder with -o") from error
    if not args.quiet:
        count = len(compiled.stepbooks)
        print(f"{directory}: pipeline.json and {count} stepbook{'s' if count != 1 else ''}")
    return 0
