"""A folder of one's own, notebooks to write, and the fake engine registered as engines of other distributions are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WriteNotebook = Callable[..., Path]


def child_environment(*more: Path) -> dict[str, str]:
    """Return the environment of a child process that imports this checkout, and what is in `more`."""
    paths = [*map(str, more), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the current folder: empty, with a blank in its name, and nothing of the user's settings."""
    made = tmp_path / "my work"
    made.mkdir()
    monkeypatch.chdir(made)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "KALE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def write_notebook(folder: Path) -> WriteNotebook:
    """Give what writes a notebook of cells: `(tags, source)` pairs, tags parted by blanks."""

    def write(*cells: tuple[str, str], name: str = "nb.ipynb", metadata: Mapping[str, Any] | None = None) -> Path:
        content = {
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{i}",
                    "metadata": {"tags": tags.split()},
                    "source": source,
                    "outputs": [],
                    "execution_count": None,
                }
                for i, (tags, source) in enumerate(cells)
            ],
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}, **(metadata or {})},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = folder / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave nothing by which a cluster or a server would be found."""
    for name in ("KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def fake_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Register `tests.cli.fake.FakeEngine` as the engine `fake`; give the folder to put on the path of a child process."""
    plugins = tmp_path / "plugins"
    info = plugins / "fake_engine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-engine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kale_nb.engines]\nfake = tests.cli.fake:FakeEngine\n")
    monkeypatch.syspath_prepend(str(plugins))
    return plugins
