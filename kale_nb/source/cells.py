"""A source file as cells: what every spelling of marks is read from."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class CellKind(enum.Enum):
    CODE = "code"
    MARKDOWN = "markdown"
    RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A unit of source.

    Attributes:
        index: 1-based position among all cells of the file.
        source: its text, lines joined by newlines.
        metadata: the notebook's own metadata of the cell, tags included.
    """

    index: int
    kind: CellKind
    source: str
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that was read.

    Attributes:
        path: as the user spelled it; used in every location.
        stem: file name without its suffix, the default name of the pipeline.
        sha256: hex digest of the bytes that were read.
        metadata: the notebook's metadata (kernelspec, language_info, kubeflow_notebook, ...).
    """

    path: str
    stem: str
    sha256: str
    cells: tuple[Cell, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    nbformat_minor: int = 5
