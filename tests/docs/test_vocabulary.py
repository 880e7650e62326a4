"""The guide names every mark and setting that the code knows, and none that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kale_nb.annotations import asks, settings, tags

GUIDE = Path(__file__).parents[2] / "docs" / "guide"

pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason="only in a checkout")


def table_keys(page: str, section: str) -> set[str]:
    """Return what stands in backticks in the first columns of a section's table."""
    text = (GUIDE / page).read_text(encoding="utf-8")
    body = text.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    firsts = [line.split("|")[1] for line in body.splitlines() if line.startswith("|")]
    return set(re.findall(r"`([^`]+)`", " ".join(firsts)))


def test_the_guide_lists_every_key_of_the_notebooks_metadata() -> None:
    assert table_keys("from-kale.md", "Notebook metadata") == {*settings._USED, *settings._UNUSED}


def test_the_guide_lists_every_setting_of_a_step() -> None:
    assert {key.partition(":")[0] for key in table_keys("marks.md", "Settings of a step")} == set(asks.ALL)


def test_the_guide_lists_every_tag_that_says_what_a_cell_is() -> None:
    listed = {key.partition(":")[0] for key in table_keys("marks.md", "What a cell is")}
    assert listed == {*tags.WORDS, "step", "block"} - {"injected-parameters"}
