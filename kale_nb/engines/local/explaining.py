"""What the local engine adds to a step's failure from what it knows of the whole pipeline."""

from __future__ import annotations

from kale_nb.engines.local.cellfiles import place_cells
from kale_nb.engines.local.nameerrors import explain_name
from kale_nb.engines.protocol import Job
from kale_nb.names import StepName
from kale_nb.runs.events import Failure


def explain(job: Job, step: StepName, failure: Failure) -> Failure:
    """Return the failure with frames of other steps' cells placed, and with a hint for a name that is not defined."""
    return explain_name(job, step, place_cells(job, failure))
