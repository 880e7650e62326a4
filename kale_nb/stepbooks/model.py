"""A stepbook: the papermill-executable notebook of one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kale_nb.names import StepName


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepbook:
    """One step's notebook.

    Attributes:
        step: whose it is.
        notebook: nbformat 4 content, plain JSON values. Each cell's metadata has `kale: {"cell": N}` where it came from cell N of the
            source (1-based), so that errors are told in the user's terms; cells that are not the step's own carry one of the tags
            `parameters`, `imports`, `functions`, `pipeline-metrics`, `kale-load`, `kale-save`.
    """

    step: StepName
    notebook: Mapping[str, Any]
