"""The plan as text: what would run, in which order, and which variables go from where to where."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.names import StepName
from kale_nb.pipeline import order
from kale_nb.pipeline.model import Certainty, Edge, Pipeline, Volume
from kale_nb.pipeline.params import to_source
from kale_nb.pipeline.volumes import WORKSPACE, Creation, creations
from kale_nb.planning import Plan
from kale_nb.report.progress import place_text
from kale_nb.report.style import Style, pad, plain, width
from kale_nb.report.summary import near

if TYPE_CHECKING:
    from kale_nb.engines.kfp.plan import Claim
    from kale_nb.engines.kfp.plan import Plan as KfpPlan


def graph_lines(pipeline: Pipeline, style: Style, only: Collection[StepName] | None = None) -> list[str]:
    """Return the steps in order of running, and for each the edges into it with their variables and who produces them."""
    names = [name for name in order.topological(pipeline) if only is None or name in only]
    into: dict[StepName, list[Edge]] = {name: [] for name in names}
    for edge in order.edges(pipeline):
        if edge.target in into:
            into[edge.target].append(edge)
    columns = min(40, max((width(name) for name in names), default=0))
    digits = len(str(len(names)))
    lines: list[str] = []
    for number, name in enumerate(names, 1):
        cells = pipeline.step(name).cells
        lines.append(
            f"  {number:>{digits}}. {style.paint(pad(name, columns), 'bold')}  {style.paint(_cells(cells), 'dim')}".rstrip()
        )
        possible = {n.name for n in pipeline.step(name).needs if n.certainty is Certainty.POSSIBLE}
        lines.extend(f"     {' ' * digits}{_edge(edge, possible, style)}" for edge in into[name])
    return lines


def plan_lines(pipeline: Pipeline, plan: Plan, style: Style, places: Iterable[str] = (), *, where: str = "") -> list[str]:
    """Return what a run would do.

    Args:
        places: lines that tell its volumes and where it starts.
        where: added to the first line.
    """
    left = len(pipeline.steps) - len(plan.steps)
    count = (
        f"{len(plan.steps)} of {len(pipeline.steps)} steps"
        if left
        else f"{len(plan.steps)} step{'s' if len(plan.steps) != 1 else ''}"
    )
    lines = [f"{style.paint(pipeline.name, 'bold')}: {count} would run{where}"]
    lines.extend(graph_lines(pipeline, style, plan.steps))
    lines.extend(places)
    values = {param.name: param.default for param in pipeline.params} | dict(plan.params)
    for name, value in values.items():
        given = "" if name in plan.params else style.paint("  (default)", "dim")
        lines.append(f"parameter  {name} = {to_source(value)}{given}")
    return lines


def volume_lines(pipeline: Pipeline, plan: Plan, costs: Mapping[str, str] | None = None, *, mounted: bool = True) -> list[str]:
    """Return the volumes that a run makes, those that it only reads, and where it starts.

    Args:
        costs: what making a volume costs, by the step that makes it.
        mounted: steps see each volume at its own path; otherwise variables tell them where it is.
    """
    workspace = os.path.normpath(plan.workspace)
    lines = [f"in place  {workspace}"] if plan.live else []
    for made in creations(plan.volumes, pipeline.marshal_volume, workspace=not plan.live):
        if made.name == WORKSPACE and made.volume is None:
            what = f"workspace  {workspace}"
        elif made.volume is not None and made.volume.source is not None:
            what = f"{made.name} at {_place(made, mounted)}, a clone of {near(Path(made.volume.source))}"
        else:
            what = f"{made.name} at {_place(made, mounted)}, empty{f', {made.size}' if made.size else ''}"
        lines.append(f"{made.step}  {what}")
        if costs and made.step in costs:
            lines.append(f"{' ' * len(made.step)}  {plain(costs[made.step])}")
    lines.extend(
        f"reads  {v.name} at {_place(v, mounted)}, {near(Path(v.source)) if v.source else 'empty here'}"
        for v in plan.volumes
        if v.read_only
    )
    if str(plan.cwd) != ".":
        lines.append(f"starts in  {plan.cwd}")
    return lines


def cluster_lines(plan: KfpPlan, claim: str | None) -> list[str]:
    """Return the volumes that a run on a cluster makes and mounts, and where it starts.

    Args:
        claim: the workspace's, when it was named.
    """
    lines = []
    for mount in plan.mounts:
        made = mount.claim
        if isinstance(made, str):
            lines.append(f"mounts  {made} at {mount.path}, the claim itself")
        elif made.use == WORKSPACE:
            lines.append(f"{made.task}  {WORKSPACE} at {mount.path}, {_made_from(made, claim or made.name)}")
        else:
            lines.append(f"{made.task}  {made.name or made.use} at {mount.path}, {_made_from(made, made.name)}")
    if plan.cwd is not None:
        lines.append(f"starts in  {plan.cwd}")
    if plan.claims and plan.target.cleanup.value != "keep":
        lines.append(f"afterwards  {', '.join(claim.remover for claim in plan.claims)} ({plan.target.cleanup.value})")
    return lines


def _made_from(claim: Claim, name: str) -> str:
    size = f", {claim.size}" if claim.size else ""
    match claim.origin.value:
        case "clone":
            return f"a clone of {f'claim {name}' if name else 'the claim that holds the notebook'}{size}"
        case "snapshot":
            return f"a clone of snapshot {name}{size}"
        case "volume":
            return f"the persistent volume {name}{size}"
        case _:
            return f"empty{size}"


def _place(volume: Creation | Volume, mounted: bool) -> str:
    return place_text(volume.name, volume.mount_point if mounted else None)


def _edge(edge: Edge, possible: Collection[str], style: Style) -> str:
    arrow = "←" if style.unicode else "<-"
    if not edge.names:
        return f"{arrow} {edge.source}  {style.paint('(order only)', 'dim')}"
    names = ", ".join(f"{name}?" if name in possible else name for name in edge.names)
    return f"{arrow} {edge.source}: {style.paint(names, 'cyan')}"


def _cells(cells: tuple[int, ...]) -> str:
    if not cells:
        return ""
    ranges: list[list[int]] = []
    for cell in sorted(cells):
        if ranges and cell == ranges[-1][1] + 1:
            ranges[-1][1] = cell
        else:
            ranges.append([cell, cell])
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
    return f"cell {shown}" if len(cells) == 1 else f"cells {shown}"
