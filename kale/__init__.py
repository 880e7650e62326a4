"""The name that users of Kale know: a thin alias of `kale_nb` with explicit re-exports only."""

from kale_nb import __version__, load_ipython_extension, unload_ipython_extension

__all__ = ["__version__", "load_ipython_extension", "unload_ipython_extension"]
