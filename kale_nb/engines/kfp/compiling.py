"""The way in: a pipeline and its stepbooks become the text of a `pipeline.yaml`, or all that speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath, PurePosixPath

from kale_nb.diagnostics import CompileError, Diagnostic, has_errors
from kale_nb.engines.kfp.checks import check
from kale_nb.engines.kfp.code import code_of
from kale_nb.engines.kfp.ir import documents
from kale_nb.engines.kfp.plan import Plan, make_plan
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.kfp.yamltext import to_yaml
from kale_nb.pipeline.model import Pipeline
from kale_nb.stepbooks.model import Stepbook


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A pipeline for Kubeflow Pipelines.

    Attributes:
        text: of the YAML file: the pipeline spec, and the platform spec if there is one.
        plan: what it says; `plan.claims` name the parameters that a submission has to give, `plan.code` is to be staged before the
            snapshot is taken.
        diagnostics: warnings and notes.
    """

    text: str
    plan: Plan
    diagnostics: tuple[Diagnostic, ...]


def compile_kfp(pipeline: Pipeline, stepbooks: Sequence[Stepbook], target: Target) -> Package:
    """Compile for Kubeflow Pipelines. Pure. CompileError with every finding when something cannot be had there.

    What is written names the source by its place in the workspace: it is the same however the path was spelled, and on every machine.
    """
    source = PurePosixPath(target.folder, PurePath(pipeline.source).name).as_posix()
    portable = replace(pipeline, source=source)
    plan = make_plan(portable, code_of(portable, [_with_source(book, source) for book in stepbooks]), target)
    found = tuple(_as_given(one, source, pipeline.source) for one in check(plan))
    if has_errors(found):
        raise CompileError(found)
    spec, platform = documents(plan)
    text = to_yaml(spec) if platform is None else to_yaml(spec, platform)
    return Package(text=text, plan=plan, diagnostics=found)


def _with_source(book: Stepbook, source: str) -> Stepbook:
    metadata = book.notebook["metadata"]
    kale = {**metadata["kale"], "source": source}
    return replace(book, notebook={**book.notebook, "metadata": {**metadata, "kale": kale}})


def _as_given(found: Diagnostic, source: str, given: str) -> Diagnostic:
    """Return a finding with the file as the user spelled it."""
    return replace(found, location=replace(found.location, path=given)) if found.location.path == source else found
