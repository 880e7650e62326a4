"""What a script cannot do is refused with the place and what to do; the texts are kept in `refusals.txt`."""

from __future__ import annotations

from pathlib import Path

import pytest

import kale_nb.compiler  # noqa: F401 - importing it registers every rule
from kale_nb.diagnostics import RULES
from kale_nb.errors import SourceError
from tests.sdk.scripts import told

KEPT = Path(__file__).with_name("refusals.txt")


def kept() -> list[tuple[str, str, str]]:
    """Read the scripts with what is said of them."""
    found = []
    for block in KEPT.read_text(encoding="utf-8").split("=== ")[1:]:
        name, _, rest = block.partition("\n")
        script, _, says = rest.partition("\n--- says\n")
        found.append((name, script, says.rstrip("\n")))
    return found


@pytest.mark.parametrize(("name", "script", "says"), kept(), ids=[name for name, _, _ in kept()])
def test_a_script_is_told_what_is_wrong(name: str, script: str, says: str, tmp_path: Path, update_goldens: bool) -> None:
    now = told(tmp_path, script)
    if update_goldens:
        text = KEPT.read_text(encoding="utf-8")
        KEPT.write_text(
            text.replace(f"=== {name}\n{script}\n--- says\n{says}", f"=== {name}\n{script}\n--- says\n{now}"), encoding="utf-8"
        )
        return
    assert now == says


def test_every_finding_of_scripts_is_among_the_kept_ones() -> None:
    text = KEPT.read_text(encoding="utf-8")
    assert [code for code in RULES if code.startswith("KN6") and code not in text] == []


def test_the_chosen_of_two_pipelines_is_read(tmp_path: Path) -> None:
    two = next(script for name, script, _ in kept() if name == "two pipelines")
    assert told(tmp_path, two, pipeline="other") == ""
    assert "there is no pipeline `third`" in told(tmp_path, two, pipeline="third")


def test_a_script_that_ends_the_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="exit code 3"):
        told(tmp_path, "import os\nos._exit(3)\n")


def test_a_missing_script_is_told(tmp_path: Path) -> None:
    from kale_nb.compiler import check

    with pytest.raises(SourceError, match="there is no file"):
        check(tmp_path / "none.py")


def test_what_a_script_prints_on_import_stays_unheard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script = (
        "from kale.sdk import pipeline, step\nprint('imported')\n@step\ndef a():\n    return 1\n@pipeline\ndef flow():\n    a()\n"
    )
    assert told(tmp_path, script) == ""
    assert capfd.readouterr().out == ""


def test_reading_a_script_leaves_its_folder_as_it_was(tmp_path: Path) -> None:
    script = (
        "import helper\nfrom kale.sdk import pipeline, step\n@step\ndef a():\n    return 1\n@pipeline\ndef flow():\n    a()\n"
    )
    (tmp_path / "helper.py").write_text("", encoding="utf-8")
    assert told(tmp_path, script) == ""
    assert {p.name for p in tmp_path.iterdir()} == {"flow.py", "helper.py"}


@pytest.mark.parametrize("code", [code for code in RULES if code.startswith("KN6")])
def test_the_example_of_a_rule_of_scripts_shows_it(code: str, tmp_path: Path) -> None:
    assert f" {code} {RULES[code].slug}: " in told(tmp_path, RULES[code].example)
