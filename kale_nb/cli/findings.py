"""Diagnostics and plans as JSON values, for tools."""

from __future__ import annotations

from typing import Any

from kale_nb.diagnostics import Diagnostic
from kale_nb.pipeline import order
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.params import to_source


def diagnostic_to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """Return a finding as an object; lines, columns and cells count from 1, `end_column` is after the last character."""
    place = diagnostic.location
    return {
        "code": diagnostic.rule.code,
        "slug": diagnostic.rule.slug,
        "severity": diagnostic.level.value,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "path": place.path,
        "cell": place.cell,
        "line": place.line,
        "column": place.column,
        "end_column": diagnostic.end_column,
        "source_line": diagnostic.source_line,
    }


def plan_to_json(pipeline: Pipeline) -> dict[str, Any]:
    """Return the plan as an object: parameters, steps in order of running, edges with their variables and who produces them."""
    return {
        "pipeline": pipeline.name,
        "params": [{"name": p.name, "type": p.type, "default": to_source(p.default)} for p in pipeline.params],
        "steps": [
            {
                "name": name,
                "after": list(pipeline.step(name).after),
                "cells": list(pipeline.step(name).cells),
                "needs": [
                    {"name": need.name, "certainty": need.certainty.value, "producers": list(need.producers)}
                    for need in pipeline.step(name).needs
                ],
            }
            for name in order.topological(pipeline)
        ],
        "edges": [{"source": e.source, "target": e.target, "names": list(e.names)} for e in order.edges(pipeline)],
    }
