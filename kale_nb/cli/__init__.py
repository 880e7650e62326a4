"""The `kale` command: the only place that prints."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see `kale_nb.cli.command`)."""
    from kale_nb.cli.command import main as command

    return command(argv)
