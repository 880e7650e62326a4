"""Python's garbage collector at rest while a store works: it makes tens of thousands of entries at once, and none of them is garbage."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the collector from running, and let it run again when it did before; a function can be decorated with it."""
    ran = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if ran:
            gc.enable()
