"""Tests that drive notebooks: run one step with inputs of the test's own, and use a notebook's functions.

Importing this costs next to nothing: pytest does it in every run of everyone who has kale-nb installed (see `plugin`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kale_nb.errors import StepFailed
    from kale_nb.testing.functions import KaleFunctions, kale_functions
    from kale_nb.testing.result import StepResult, Variables
    from kale_nb.testing.stepping import KaleStep, kale_step

__all__ = ["KaleFunctions", "KaleStep", "StepFailed", "StepResult", "Variables", "kale_functions", "kale_step"]

_HOMES = {
    "KaleFunctions": "kale_nb.testing.functions",
    "KaleStep": "kale_nb.testing.stepping",
    "StepFailed": "kale_nb.errors",
    "StepResult": "kale_nb.testing.result",
    "Variables": "kale_nb.testing.result",
    "kale_functions": "kale_nb.testing.functions",
    "kale_step": "kale_nb.testing.stepping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
