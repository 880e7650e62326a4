"""Each case: the notebook run plain and as a pipeline must agree, or be refused as the case says. No kernel is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.differential.cases import Case, all_cases
from tests.differential.harness import run_pipeline, run_real
from tests.differential.verdicts import judge

CASES = all_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_pipeline_means_the_same_as_the_notebook(case: Case, tmp_path: Path) -> None:
    outcome = run_pipeline(case.notebook, tmp_path / "pipeline", style=case.style, override=case.override)
    judged = judge(case.notebook, case.expected, outcome, tmp_path / "plain", override=case.override)
    assert judged.fits, f"{judged.verdict.name}, expected {case.expected.kind}: {judged.reason}"


@pytest.mark.kernel
@pytest.mark.parametrize("case", [c for c in CASES if c.real], ids=lambda case: case.id)
def test_kale_run_means_the_same_as_the_notebook(case: Case, tmp_path: Path) -> None:
    outcome = run_real(case.notebook, tmp_path / "pipeline", style=case.style)
    judged = judge(case.notebook, case.expected, outcome, tmp_path / "plain")
    assert judged.fits, f"{judged.verdict.name}, expected {case.expected.kind}: {judged.reason}"


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 250
