"""The generated pages say what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GENERATOR = Path(__file__).parents[2] / "docs" / "generate.py"


@pytest.mark.skipif(not GENERATOR.exists(), reason="only in a checkout")
def test_the_page_of_diagnostics_is_current() -> None:
    done = subprocess.run([sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
