"""What is imported quickly works as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rfc3987_syntax", reason="jsonschema's formats are not installed")
CHECK = """
import sys
from kale_nb.quick_imports import without_grammars
with without_grammars():
    import MODULE
assert "lark" not in sys.modules and "rfc3987_syntax" not in sys.modules
import jsonschema
for text, right in (("http://ä.example/x y", False), ("http://ä.example/x", True)):
    found = list(jsonschema.Draft7Validator({"format": "iri"}, format_checker=jsonschema.FormatChecker()).iter_errors(text))
    assert bool(found) is not right, text
import rfc3987_syntax
assert rfc3987_syntax.is_valid_syntax_iri("http://ä.example/x")
"""


@pytest.mark.parametrize("module", ["nbformat", "kubernetes.client"])
def test_a_format_that_was_not_prepared_is_checked_when_it_is_asked_for(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHECK.replace("MODULE", module)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_check_builds_no_grammar() -> None:
    notebook = str(Path(__file__).parents[1] / "examples" / "quickstart" / "quickstart.ipynb")
    code = (
        f"import sys\nfrom kale_nb.cli import main\nassert main(['check', {notebook!r}]) == 0\nassert 'lark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
