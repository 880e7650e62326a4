"""Drive the real `kale` command on notebooks written as text, and read what a run left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.conftest import child_environment


def write_cells(path: Path, text: str, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a notebook; each cell begins with a line `### TAGS`."""
    cells: list[dict[str, Any]] = []
    for chunk in re.split(r"(?m)^### ?", text)[1:]:
        tags, _, source = chunk.partition("\n")
        cells.append(
            {
                "cell_type": "code",
                "id": f"c{len(cells)}",
                "metadata": {"tags": tags.split()},
                "source": source.rstrip("\n"),
                "outputs": [],
                "execution_count": None,
            }
        )
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel, **(metadata or {})}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def kale(*words: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "kale_nb", *words],
        env={**child_environment(), **env},
        cwd=cwd,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the command said. `code`: its exit code."""

    code: int
    out: str
    err: str


def ended(*words: str, cwd: Path | None = None, **env: str) -> Ended:
    """Run the command to its end."""
    process = kale(*words, cwd=cwd, **env)
    out, err = process.communicate(timeout=120)
    return Ended(code=process.returncode, out=out, err=err)


def latest(folder: Path) -> Path:
    """Return the folder of the newest run of a workspace."""
    return max((folder / ".kale" / "runs").iterdir(), key=os.path.getmtime)


def record(folder: Path) -> dict[str, Any]:
    """Return the newest run's record as it stands in its file."""
    value: dict[str, Any] = json.loads((latest(folder) / "run.json").read_text(encoding="utf-8"))
    return value


def failures(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the failures of the newest run by step."""
    return {step["name"]: step["failure"] for step in record(folder)["steps"] if step.get("failure")}


def printed(folder: Path, step: str) -> str:
    """Return what a step of the newest run printed."""
    return (latest(folder) / "logs" / f"{step}.log").read_text(encoding="utf-8")
