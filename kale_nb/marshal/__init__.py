"""Values to a directory and back, and their state at a moment: `save`, `load`, `describe`, `trace`.

A leaf: knows nothing of pipelines, steps or runs. See `bundle` for the format on disk, `definitions` for what goes by reference and what by
value, `refusals` for what must not travel.
"""

from kale_nb.marshal.loading import describe, digests, load
from kale_nb.marshal.model import Entry, Saved, Trace
from kale_nb.marshal.saving import save
from kale_nb.marshal.tracing import trace

__all__ = ["Entry", "Saved", "Trace", "describe", "digests", "load", "save", "trace"]
