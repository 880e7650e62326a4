"""A submission as far as it can be told without asking anyone: what it would be on the cluster, and what it would be refused for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from kale_nb.engines.kfp.compiling import Package, compile_kfp
from kale_nb.engines.kfp.submission.address import find_address
from kale_nb.engines.kfp.submission.engine import Options, only_steps, refuse_snapshots
from kale_nb.engines.kfp.submission.places import is_inside, named_claim
from kale_nb.engines.kfp.submission.supplies import Nothing
from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline
from kale_nb.stepbooks.model import Stepbook

OF_SERVER = "the-notebook-server"
"""Stands for the image of the notebook server, whose name only the cluster knows."""


def rehearse(
    pipeline: Pipeline,
    stepbooks: Sequence[Stepbook],
    steps: Collection[StepName],
    options: Options,
    environ: Mapping[str, str],
    snapshots: Collection[str] = (),
) -> Package:
    """Compile what would be submitted, but for what only the cluster knows. Pure.

    Args:
        steps: those that are to run.
        snapshots: of this machine, from which the run would begin.

    Raises:
        UsageError: what is asked for is not to be had on a cluster.
        CompileError: the pipeline cannot be one there.
    """
    refuse_snapshots(snapshots)
    pipeline, stepbooks = only_steps(pipeline, stepbooks, steps)
    inside = is_inside(environ)
    target = options.target
    if target.snapshot:
        unseen = options.cloning.workspace_claim is not None or not inside
        target = replace(target, carried=unseen, image=target.image or (OF_SERVER if inside else None))
    return compile_kfp(pipeline, stepbooks, target)


def refuse_unplaced(package: Package, options: Options, environ: Mapping[str, str]) -> None:
    """Raise what the submission would end with before anything is asked: UsageError when nothing says where Kubeflow Pipelines is, which
    claim is the workspace, or how a volume is to be made."""
    find_address(options.asked, environ)
    plan = package.plan
    if not plan.target.snapshot:
        supplies = Nothing(pipeline=plan.pipeline, target=plan.target, storage_class=options.storage_class)
        with supplies.taken(plan, _silent, _silent):
            pass
    elif not is_inside(environ):
        named_claim(plan.pipeline, plan.target, options.cloning.workspace_claim)


def _silent(text: str) -> None:
    """Say nothing."""
