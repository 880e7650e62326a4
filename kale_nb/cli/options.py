"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def add_places(parser: argparse.ArgumentParser) -> None:
    """Declare `--workspace` and `--runs-dir`."""
    parser.add_argument(
        "--workspace", metavar="DIR", type=Path, help="the folder that a run gets a copy of (default: the notebook's)"
    )
    parser.add_argument("--runs-dir", metavar="DIR", type=Path, help="where runs are kept (default: .kale/runs in the workspace)")


def add_script_options(parser: argparse.ArgumentParser) -> None:
    """Declare what only scripts take."""
    add_pipeline_option(parser)
    parser.add_argument(
        "--no-snapshot",
        action="store_true",
        help="a notebook: run in its folder instead of a clone of it; a script: put its own modules into its stepbooks and run in an empty "
        "folder",
    )


def add_pipeline_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--pipeline`."""
    parser.add_argument("--pipeline", metavar="NAME", help="which pipeline of a script, when it has several")


def byte_count(text: str) -> int:
    """Read a size such as `500M`, `1.5GB`, `10GiB` or `1048576`; units are powers of 1024.

    >>> byte_count("10G"), byte_count("1.5 kb"), byte_count("7")
    (10737418240, 1536, 7)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write for example 500M or 10G")
    return int(float(match[1]) * _UNITS[match[2].upper()])
