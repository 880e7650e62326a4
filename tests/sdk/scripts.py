"""Scripts for tests: written to a folder, run as plain Python and as a pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kale_nb.compiler import Compiled, check, compile_path
from kale_nb.planning import RunOptions
from kale_nb.runner import run
from kale_nb.runs.record import RunRecord

HEAD = "from kale.sdk import pipeline, step\n"
TAIL = '\nif __name__ == "__main__":\n    flow()\n'
CASES = Path(__file__).with_name("cases.txt")


@dataclass(frozen=True)
class Case:
    name: str
    files: dict[str, str]


def cases() -> list[Case]:
    """Read the scripts that must print the same both ways."""
    found: list[Case] = []
    for block in CASES.read_text(encoding="utf-8").split("\n=== ")[1:]:
        name, _, rest = block.partition("\n")
        script, *others = rest.split("\n--- ")
        files = {"flow.py": whole(script)}
        for other in others:
            path, _, text = other.partition("\n")
            files[path] = text
        found.append(Case(name, files))
    return found


def whole(script: str) -> str:
    """Return a script with the import of the decorators and the call under the guard."""
    lines = script.strip("\n").split("\n")
    future = [line for line in lines if line.startswith("from __future__")]
    return "\n".join([*future, HEAD, *(line for line in lines if line not in future), TAIL])


def write(folder: Path, files: dict[str, str] | str) -> Path:
    """Write a script, and its other files, and return its path."""
    named = {"flow.py": files} if isinstance(files, str) else files
    for name, text in named.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "flow.py"


def plain(script: Path, *, cwd: Path | None = None) -> str:
    """Return what the script prints as plain Python."""
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=cwd or script.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(record: RunRecord, compiled: Compiled) -> str:
    """Return what the steps of a run printed, in the order in which the body calls them."""
    return "".join(step_output(record, step.name) for step in compiled.pipeline.steps)


def step_output(record: RunRecord, step: str) -> str:
    cells = json.loads((record.directory / "executed" / f"{step}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [o for c in cells for o in c.get("outputs", ()) if o["output_type"] == "stream" and o["name"] == "stdout"]
    return "".join("".join(o["text"]) for o in outputs)


def piped(script: Path, **options: object) -> tuple[RunRecord, Compiled]:
    """Run a script as a pipeline."""
    compiled = compile_path(script, pipeline="flow")
    return run(compiled, RunOptions(**options)), compiled  # type: ignore[arg-type]


def told(folder: Path, script: str, pipeline: str | None = None) -> str:
    """Return what a check says of a script, as text."""
    path = write(folder, script)
    return "\n".join(d.render() for d in check(path, pipeline=pipeline).diagnostics).replace(str(folder) + os.sep, "")


def kale(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "kale", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
