"""The worker, which talks to kernels, costs a run next to nothing."""

from __future__ import annotations

import subprocess
import sys


def test_what_takes_seconds_to_import_and_is_not_used_is_not_imported() -> None:
    code = (
        "import sys\n"
        "from kale_nb.quick_imports import leave_out_grammars\n"
        "leave_out_grammars()\n"
        "import kale_nb.engines.local.books, nbformat.validator\n"
        "assert sys.modules['rfc3987_syntax'] is None and 'lark' not in sys.modules\n"
        "nbformat.validator.validate(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('1')]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
