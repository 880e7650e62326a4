"""Marks: what tags, magics and decorators say, in one vocabulary.

`read_marks` turns a `Source` into a `Marked`: each cell with its role, each step with its cells, order and settings. The rest of
the compiler sees only these types, never a tag or a magic.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from kale_nb.location import Location
from kale_nb.names import StepName
from kale_nb.pipeline.model import MarshalVolume, StepSettings, Volume
from kale_nb.source.cells import Cell, Source


class Role(enum.Enum):
    """What a cell is for."""

    PARAMETERS = "parameters"
    IMPORTS = "imports"
    FUNCTIONS = "functions"
    STEP = "step"
    METRICS = "metrics"
    """Belongs to the step above it and runs as its last part."""
    SKIP = "skip"
    TEXT = "text"
    """Markdown or raw."""
    NOTHING = "nothing"
    """A code cell that holds only comments, blank lines or `%pipeline` before the first mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedCell:
    """A cell and what its marks make of it.

    Attributes:
        code: the source to run and analyse: the cell's own text, in which lines that are marks (`%%step a`, `%pipeline ...`) have
            become comments, so that line numbers are those of the cell.
        step: the step it belongs to, for STEP, METRICS and the TEXT between them.
    """

    cell: Cell
    role: Role
    code: str
    step: StepName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """One `prev:NAME` or one name of `--after`."""

    name: StepName
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMarks:
    """All marks of one step.

    Attributes:
        location: its first mark.
        after: every predecessor asked for, in order of writing, not yet checked.
        cells: its code, metrics and markdown cells in source order.
    """

    name: StepName
    location: Location
    after: tuple[After, ...] = ()
    settings: StepSettings = field(default_factory=StepSettings)
    cells: tuple[MarkedCell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineMarks:
    """The notebook-level settings, from `metadata.kubeflow_notebook` and `%pipeline`."""

    name: str | None = None
    experiment: str | None = None
    description: str | None = None
    image: str | None = None
    volumes: tuple[Volume, ...] = ()
    marshal_volume: MarshalVolume = field(default_factory=MarshalVolume)
    autosnapshot: bool | None = None
    step_defaults: StepSettings = field(default_factory=StepSettings)
    service_account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A source with its marks read.

    Attributes:
        cells: every cell of the source, in order.
        steps: in order of their first mark; settings already merged over the defaults.
        prelude: the parameters, imports and functions cells, in source order.
    """

    source: Source
    cells: tuple[MarkedCell, ...]
    steps: tuple[StepMarks, ...]
    prelude: tuple[MarkedCell, ...]
    settings: PipelineMarks = field(default_factory=PipelineMarks)
