"""The runner of one step, inside the step's container.

It is started by the command that `commands` wrote, with what Kubeflow knows of the task as its first argument and what we know of the
step as the second. It needs kale-nb and papermill in the image (or in the home folder, which is in the clone), not kfp.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the step that the command line names and end the process: 0 well, 1 the step failed, 2 it could not be run at all."""
    from kale_nb.engines.kfp.stepper.running import run_step

    sys.exit(run_step(sys.argv[1:]))
