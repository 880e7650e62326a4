"""A marked notebook is an ordinary notebook: with the extension loaded it prints what it prints without marks; and the compiler leaves
out what only the live notebook understands."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.jupyter.kernels import notebook_of

pytestmark = pytest.mark.kernel
EXAMPLES = Path(__file__).parents[2] / "examples"

BODIES = [
    ("%%imports", "import math, asyncio"),
    ("%%parameters", "n = 3"),
    ("%%functions", "def area(r):\n    return math.pi * r * r"),
    ("%%step first", "values = [area(i) for i in range(n)]\nprint(len(values))\nvalues[1]"),
    ("%%step second --after first --retries 2", "await asyncio.sleep(0)\nprint('shown')\nround(sum(values), 3)"),
    ("%%metrics", "print(n)\nround(values[2], 2)"),
    ("%%step third --after second", "%%capture said\nprint('hidden')"),
    (None, "said.stdout"),
    ("%%skip", "def broken():\n    raise ValueError('x')\nbroken()"),
]


def executed(folder: Path, name: str, cells: list[str]) -> list[Any]:
    """Execute a notebook by plain papermill; return each cell's outputs without what may differ."""
    import papermill

    source, target = folder / f"{name}.ipynb", folder / f"{name}.out.ipynb"
    source.write_text(json.dumps(notebook_of(*cells)))
    with contextlib.suppress(papermill.PapermillExecutionError):
        papermill.execute_notebook(source, target, progress_bar=False, cwd=folder)
    notebook = json.loads(target.read_text())
    cells_run = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    return [[_plain(output) for output in cell["outputs"]] for cell in cells_run]


def _plain(output: dict[str, Any]) -> Any:
    match output["output_type"]:
        case "stream":
            return output["name"], "".join(output["text"])
        case "error":
            return output["ename"], output["evalue"]
        case _:
            return {kind: "".join(text) for kind, text in output["data"].items()}


def test_marks_change_nothing_of_what_a_notebook_prints(tmp_path: Path) -> None:
    plain = executed(tmp_path, "plain", ["pass", "pass", *(body for _, body in BODIES)])
    marked = executed(
        tmp_path,
        "marked",
        ["%load_ext kale_nb", "%pipeline --name same", *(f"{mark}\n{body}" if mark else body for mark, body in BODIES)],
    )
    assert marked == plain
    assert any(output == ("ValueError", "x") for cell in plain for output in cell)


def test_a_notebook_that_runs_itself_does_so_once(tmp_path: Path) -> None:
    cells = [
        "%load_ext kale_nb",
        "%%step a\nx = 1",
        "%%step b\nprint(x)",
        "%pipeline run",
        "%%skip\n%kale_load last a\nprint('loaded', x)",
    ]
    said = executed(tmp_path, "itself", cells)
    assert "does not tell which file" in said[3][0][1]
    assert said[4][-1][1].endswith("loaded 1\n")
    assert len(list((tmp_path / ".kale" / "runs").iterdir())) == 1


def test_a_step_that_loads_the_extension_by_itself_cannot_run_the_pipeline_again(tmp_path: Path) -> None:
    from kale_nb import runner
    from kale_nb.compiler import compile_path
    from kale_nb.runs.events import State

    call = "get_ipython().run_line_magic"
    text = f"%%step a\n{call}('load_ext', 'kale_nb')\n{call}('pipeline', 'run self.ipynb')"
    (tmp_path / "self.ipynb").write_text(json.dumps(notebook_of(text)))
    record = runner.run(compile_path(tmp_path / "self.ipynb"))
    assert record.state is State.FAILED
    failure = record.failed[0].failure
    assert failure is not None
    assert "is for the notebook" in failure.message
    assert len(list((tmp_path / ".kale" / "runs").iterdir())) == 1
