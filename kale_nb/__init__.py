"""Compile an annotated Jupyter notebook into a pipeline of steps and run it, with the same results."""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # typing's own is not worth its import here
if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Make the marks and `%pipeline` work in a live notebook: what `%load_ext kale_nb` calls."""
    from kale_nb.jupyter.extension import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Undo it: what `%unload_ext kale_nb` calls."""
    from kale_nb.jupyter.extension import unload

    unload(ipython)
