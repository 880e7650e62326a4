"""Run a script's pipeline as plain Python in a process of its own, for comparison."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kale_nb.pipeline.params import to_source
from kale_nb.scripts.traced import tracer_command

_RUN = "import sys; from kale_nb.scripts.tracing.plainly import main; main(sys.argv[1], sys.argv[2], sys.argv[3] or None, sys.argv[4])"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRun:
    """What the steps said, as `stdout, stderr` in the order of their calls, and why the run failed, if it did."""

    said: tuple[tuple[str, str], ...]
    failure: str | None


def run_plainly(path: Path, function: str, params: Mapping[str, object], output: Path) -> PlainRun:
    """Run the pipeline `function` of the script at `path`, in its folder, and keep what it said in `output`."""
    values = json.dumps({name: to_source(value) for name, value in params.items()})
    with output.with_suffix(".log").open("wb") as log:
        done = subprocess.run(
            [*tracer_command(_RUN), str(path.absolute()), str(output), function, values],
            cwd=path.parent,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": os.environ.get("MPLBACKEND", "agg")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    try:
        data = json.loads(output.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return PlainRun(said=(), failure=f"its process ended with exit code {done.returncode}")
    return PlainRun(said=tuple((s["stdout"], s["stderr"]) for s in data["steps"]), failure=data["failure"])
