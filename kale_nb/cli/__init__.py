"""The `kale` command: the only place that prints."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see `kale_nb.cli.command`)."""
    import io
    import sys

    from kale_nb.cli.command import main as command

    if argv is None and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot spell a name is no reason to stop
    code = command(argv)
    if argv is None and code > 128:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more Ctrl-C while the interpreter ends has nothing left to stop
    return code
