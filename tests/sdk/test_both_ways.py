"""Every script prints as a pipeline what it prints as plain Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from kale_nb.runs.events import State
from tests.sdk.scripts import Case, cases, piped, plain, printed, write


def test_there_are_at_least_sixty_scripts() -> None:
    assert len(cases()) >= 60


@pytest.mark.kernel
@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_a_script_prints_the_same_both_ways(case: Case, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "piped").mkdir()
    expected = plain(write(tmp_path / "plain", case.files))
    record, compiled = piped(write(tmp_path / "piped", case.files))
    assert record.state is State.SUCCEEDED, [(s.name, s.failure) for s in record.steps]
    assert printed(record, compiled) == expected
    assert expected
