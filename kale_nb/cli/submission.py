"""Submission to Kubeflow Pipelines from a terminal: the question that an interrupt asks."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from kale_nb.submitting import add_submission_options, carries_code, folder_of
from kale_nb.submitting import engine_of as engine_asked

if TYPE_CHECKING:
    from kale_nb.engines.protocol import Engine
    from kale_nb.pipeline.model import Pipeline

__all__ = ["add_submission_options", "ask_to_stop", "carries_code", "engine_of", "folder_of"]


def engine_of(args: argparse.Namespace, pipeline: Pipeline) -> Engine | None:
    """Return the kfp engine that the options describe; see `submitting.engine_of`. It asks where there is a terminal."""
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    return engine_asked(args, pipeline, ask_to_stop if asks else None)


def ask_to_stop() -> bool:
    """Ask on the terminal whether the run is to be stopped on the cluster too."""
    from kale_nb.cli.live import paused

    with paused():
        sys.stderr.write("\nstop the run on the cluster too? [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
