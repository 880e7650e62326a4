"""The options of a compile for Kubeflow Pipelines, as far as they can be wrong by themselves."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from kale_nb.pipeline.model import Pipeline
from kale_nb.submitting import add_kfp_options, target_of


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_kfp_options(parser)
    parser.set_defaults(no_snapshot=False)
    return parser.parse_args(words)


@pytest.mark.parametrize("word", ["--user=-1", "--group=-1", "--user=me", "--user=2147483648", "--group=1_000"])
def test_an_id_that_kubernetes_would_not_take_is_refused(word: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="is no id"):
        options(word)


def test_an_id_is_a_number() -> None:
    given = options("--user", "1000", "--group", "0")
    assert (given.user, given.group) == (1000, 0)


def test_the_workspaces_place_is_kept_in_its_shortest_spelling(tmp_path: Path) -> None:
    pipeline = Pipeline(name="p", source=str(tmp_path / "nb.ipynb"), source_sha256="", steps=())
    assert target_of(options("--mount", "/home//jovyan/x/.."), pipeline)[0].mount == "/home/jovyan"
