"""The global random generators of `random` and `numpy.random`: in a notebook one stream runs through all cells, so their state travels.

Their states are kept under names that no variable can have. numpy is only looked at if it is there; it is imported if a state of it
came in.
"""

from __future__ import annotations

import random
import sys
from typing import Any

PYTHON = "random:python"
NUMPY = "random:numpy"
NAMES = (PYTHON, NUMPY)
SPOKEN = {PYTHON: "Python's `random`", NUMPY: "`numpy.random`"}


def current() -> dict[str, Any]:
    """Return the states as they are now."""
    states: dict[str, Any] = {PYTHON: random.getstate()}
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        kind, keys, position, has_gauss, gauss = numpy_random.get_state()
        states[NUMPY] = (kind, keys.tobytes(), int(position), int(has_gauss), float(gauss))
    return states


def restore(name: str, state: Any) -> None:
    """Set one generator to a state that `current` gave in another step."""
    if name == PYTHON:
        random.setstate(state)
        return
    import numpy

    kind, keys, position, has_gauss, gauss = state
    numpy.random.set_state((kind, numpy.frombuffer(keys, dtype=numpy.uint32), position, has_gauss, gauss))
