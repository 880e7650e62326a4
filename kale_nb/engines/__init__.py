"""Engines run pipelines; this is where they are found by name.

An engine of another distribution registers a class under the entry-point group `kale_nb.engines`; it is made without arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kale_nb.engines.protocol import Engine

GROUP = "kale_nb.engines"


def engine(name: str) -> Engine:
    """Return the engine called `name`. UsageError when there is none."""
    if name == "local":
        from kale_nb.engines.local.engine import LocalEngine
        from kale_nb.engines.local.explaining import explain

        return LocalEngine(explain=explain)
    if name == "kfp":
        from kale_nb.engines.kfp.submission.engine import KfpEngine

        return KfpEngine()
    from importlib.metadata import entry_points

    from kale_nb.errors import EngineError, UsageError

    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        others = ", ".join(sorted({"kfp", "local", *found}))
        raise UsageError(f"there is no engine called {name!r}", hint=f"engines: {others}")
    try:
        made: Engine = found[name].load()()
    except Exception as error:
        raise EngineError(f"the engine {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    return made
