"""Absolute paths into the notebook's folder are found, those that only look like it are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kale_nb.compiler import check, check_source
from tests.lowering.checking import source_of_example

HOME = "/home/me/project"


def found(code: str) -> list[tuple[int | None, int | None, int | None]]:
    told = check_source(source_of_example(f"# path: {HOME}/nb.ipynb\n\n%%step load\n{code}")).diagnostics
    return [(d.location.cell, d.location.line, d.location.column) for d in told if d.rule.code == "KN403"]


@pytest.mark.parametrize(
    ("code", "at"),
    [
        (f"open('{HOME}/x.csv')", (1, 2, 7)),
        (f"x = 1\nprint('größe', '{HOME}')", (1, 3, 17)),
        (f"y = f'{HOME}/{{1}}.csv'", (1, 2, 7)),
        (f"!cat {HOME}/x | head", (1, 2, 6)),
        (f"import os\nos.system('rm -rf {HOME}/out && ls')", (1, 3, 19)),
        (f"def f():\n    return '{HOME}/x'", (1, 3, 13)),
    ],
)
def test_an_absolute_path_into_the_folder_is_told_with_cell_line_and_column(code: str, at: tuple[int, int, int]) -> None:
    assert found(code) == [at]


@pytest.mark.parametrize(
    "code",
    [
        "open('x.csv')",
        f"open('{HOME}s/x.csv')",
        f"open('/mnt{HOME}/x.csv')",
        "open('/home/me/other/x.csv')",
        "open('/home/me')",
        f"# {HOME}/x.csv",
        f"url = 'file-{HOME}/x'",
    ],
)
def test_what_only_looks_like_it_is_left_alone(code: str) -> None:
    assert found(code) == []


def test_a_skipped_cell_is_not_read() -> None:
    told = check_source(source_of_example(f"# path: {HOME}/nb.ipynb\n\n%%step a\nx = 1\n\n%%skip\nopen('{HOME}/x')")).diagnostics
    assert [d for d in told if d.rule.code == "KN403"] == []


def test_scripts_and_the_modules_beside_them_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import beside\nfrom kale.sdk import pipeline, step\n\n\n@step\ndef a():\n"
        f"    open('{tmp_path}/x')\n\n\n@pipeline\ndef flow():\n    a()\n"
    )
    (tmp_path / "beside.py").write_text(f"PLACE = '{tmp_path}/y'\n")
    told = [d.location for d in check(tmp_path / "flow.py").diagnostics if d.rule.code == "KN403"]
    assert [(Path(at.path).name, at.line) for at in told] == [("flow.py", 7), ("beside.py", 1)]
