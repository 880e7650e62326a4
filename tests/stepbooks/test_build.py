"""Stepbooks: their cells, tags, metadata and text (`kale_nb.stepbooks`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kale_nb.compiler import compile_notebook
from kale_nb.names import StepName
from tests.differential.notebooks import parse_notebook, write_notebook
from tests.runtime.steps import compiled

WHOLE = """\
%%markdown
# Title
%%imports
import math
%%functions
def area(r):
    return math.pi * r ** 2
%%parameters
radius = 2  # of the circle
%%markdown
## Work
%%step work
size = area(radius)
%%cell
%time size = size + 0
size
%%metrics
print(size)
%%markdown
## Show
%%step show --after work
print(size)
%%skip
plot(size)
"""


def _book(text: str, step: str, folder: Path) -> Mapping[str, Any]:
    return next(b.notebook for b in compiled(text, folder).stepbooks if b.step == StepName(step))


def _outline(book: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each cell as its first tag (or kind) and first line."""
    return [
        (next(iter(c["metadata"].get("tags", [])), c["cell_type"]), c["source"].split("\n")[0].split("(")[0])
        for c in book["cells"]
    ]


def test_cells_stand_in_their_order_with_their_tags(tmp_path: Path) -> None:
    assert _outline(_book(WHOLE, "work", tmp_path)) == [
        ("parameters", "radius = 2  # of the circle"),
        ("imports", "import math"),
        ("functions", "def area"),
        ("kale-load", "from kale_nb import runtime as _kale"),
        ("markdown", "## Work"),
        ("code", "size = area"),
        ("code", "%time size = size + 0"),
        ("kale-load", "_kale.record_metrics"),
        ("pipeline-metrics", "print"),
        ("kale-save", "_kale.save"),
    ]


def test_each_cell_of_the_user_says_which_it_is(tmp_path: Path) -> None:
    found = {c["source"].split("\n")[0]: c["metadata"].get("kale") for c in _book(WHOLE, "show", tmp_path)["cells"]}
    assert found["## Show"] == {"cell": 9}
    assert found["print(size)"] == {"cell": 10}
    assert found["import math"] == {"cell": 2}
    assert found["radius = 2  # of the circle"] == {"cell": 4}
    assert [
        c["metadata"].get("kale") for c in _book(WHOLE, "show", tmp_path)["cells"] if c["id"] in ("kale-load", "kale-save")
    ] == [None, None]


@pytest.mark.parametrize("style", ["tags", "magics"])
def test_the_lines_of_the_users_cells_are_kept(tmp_path: Path, style: str) -> None:
    path = write_notebook(parse_notebook(WHOLE), tmp_path / "nb.ipynb", style=style)
    sources = [c["source"].count("\n") for c in json.loads(path.read_text())["cells"]]
    for book in compile_notebook(path).stepbooks:
        for cell in book.notebook["cells"]:
            number = cell["metadata"].get("kale", {}).get("cell")
            if number is not None and "parameters" not in cell["metadata"].get("tags", []):
                assert cell["source"].count("\n") == sources[number - 1]


def test_a_stepbook_is_a_valid_notebook(tmp_path: Path) -> None:
    import nbformat

    for book in compiled(WHOLE, tmp_path).stepbooks:
        nbformat.validate(nbformat.from_dict(dict(book.notebook)))
        assert len({c["id"] for c in book.notebook["cells"]}) == len(book.notebook["cells"])


@pytest.mark.parametrize("count", [1, 3])
def test_a_stepbook_without_any_prelude_has_its_own_cells_load_save_and_parameters(tmp_path: Path, count: int) -> None:
    text = "\n".join(f"%%step s{i}\nx{i} = {i}" for i in range(count))
    assert [t for t, _ in _outline(_book(text, "s0", tmp_path))] == ["parameters", "kale-load", "code", "kale-save"]


def test_the_parameters_cell_holds_the_folder_of_the_data_last(tmp_path: Path) -> None:
    book = _book("%%parameters\na = 1\n%%step s\nprint(a)\n%%parameters\nb = 2\n", "s", tmp_path)
    source = book["cells"][0]["source"]
    assert source.startswith("a = 1\n\nb = 2\n_kale_data = ")
    assert [t for t, _ in _outline(book)].count("parameters") == 1


def test_parameters_that_read_imports_come_after_them(tmp_path: Path) -> None:
    book = _book(
        "%%imports\nimport math\n%%parameters\nradius = math.pi\n%%functions\nk = 1\n%%step s\nprint(radius, k)", "s", tmp_path
    )
    assert [t for t, _ in _outline(book)] == ["imports", "parameters", "functions", "kale-load", "code", "kale-save"]


def test_the_source_of_load_and_save_uses_no_name_that_the_user_may_have_taken(tmp_path: Path) -> None:
    for cell in _book(WHOLE, "work", tmp_path)["cells"]:
        if cell["id"].startswith("kale-") and cell["id"] != "kale-parameters":
            words = {w.split("(")[0].split(".")[0] for w in cell["source"].replace("\n", " ").split() if "(" in w}
            assert words <= {"_kale"}


def test_load_and_save_name_what_passes(tmp_path: Path) -> None:
    book = _book("%%step a\nx = 1\ny = 2\n%%step b --after a\nprint(x)", "a", tmp_path)
    assert book["cells"][-1]["source"] == '_kale.save(needs={"x": ["b"]})'
    book = _book("%%step a\nx = 1\ny = 2\n%%step b --after a\nprint(x)", "b", tmp_path)
    assert 'needs=["x"]' in book["cells"][1]["source"]


def test_kernel_and_language_are_those_of_the_notebook(tmp_path: Path) -> None:
    path = write_notebook(parse_notebook("%%step a\nx = 1"), tmp_path / "nb.ipynb")
    content = json.loads(path.read_text())
    content["metadata"] = {
        "kernelspec": {"name": "my-env", "display_name": "My env", "language": "python"},
        "language_info": {"name": "python", "version": "3.12.1"},
        "widgets": {"state": {}},
    }
    path.write_text(json.dumps(content))
    metadata = compile_notebook(path).stepbooks[0].notebook["metadata"]
    assert metadata["kernelspec"]["name"] == "my-env"
    assert metadata["language_info"]["version"] == "3.12.1"
    assert metadata["kale"]["step"] == "a"
    assert "widgets" not in metadata


def test_tags_of_others_are_kept_and_ours_are_not(tmp_path: Path) -> None:
    book = _book("%%tags step:a limit:cpu:2 hide-input\nx = 1\n%%tags step:b prev:a raises-exception\nprint(x)", "a", tmp_path)
    assert [c["metadata"].get("tags") for c in book["cells"] if c["id"] == "cell-1"] == [["hide-input"]]


def test_marks_of_magics_become_comments(tmp_path: Path) -> None:
    path = write_notebook(parse_notebook("%%step a\nx = 1\n%%step b --after a\nprint(x)"), tmp_path / "nb.ipynb", style="magics")
    sources = [c["source"] for b in compile_notebook(path).stepbooks for c in b.notebook["cells"] if c["id"].startswith("cell-")]
    assert sources == ["# %%step a\nx = 1", "# %%step b --after a\nprint(x)"]


def test_outputs_and_counts_of_the_notebook_are_not_taken_along(tmp_path: Path) -> None:
    path = write_notebook(parse_notebook("%%step a\nprint(1)"), tmp_path / "nb.ipynb")
    content = json.loads(path.read_text())
    content["cells"][0] |= {"execution_count": 7, "outputs": [{"output_type": "stream", "name": "stdout", "text": "secret"}]}
    path.write_text(json.dumps(content))
    assert "secret" not in json.dumps(compile_notebook(path).stepbooks[0].notebook)
    assert all(c.get("execution_count") is None for c in compile_notebook(path).stepbooks[0].notebook["cells"])


@pytest.mark.parametrize("text", ["x = 'größe 训练 \\u2028'", "x = '\\\\n'", 'x = """a\nb"""', "# only a comment", ""])
def test_odd_text_is_kept(tmp_path: Path, text: str) -> None:
    book = _book(f"%%step a\nprint(1)\n%%step a\n{text}", "a", tmp_path)
    assert next(c["source"] for c in book["cells"] if c["id"] == "cell-2") == text


@pytest.mark.kernel
def test_a_stepbook_runs_by_hand_with_papermill(tmp_path: Path) -> None:
    import papermill

    text = "%%parameters\nlr = 1.0\n%%step a\nbase = [lr]\n%%step b --after a\nresult = base + [lr * 2]\nprint(result)\nresult\n%%metrics\nprint(lr)"
    for book in compiled(text, tmp_path).stepbooks:
        (tmp_path / f"{book.step}.ipynb").write_text(json.dumps(book.notebook), encoding="utf-8")
    data = tmp_path / "the data"
    for step in ("a", "b"):
        papermill.execute_notebook(
            str(tmp_path / f"{step}.ipynb"),
            str(tmp_path / f"{step}-out.ipynb"),
            parameters={"lr": 0.1, "_kale_data": str(data)},
            progress_bar=False,
            cwd=str(tmp_path),
        )
    report = json.loads((data / "b" / "step.json").read_text())
    assert report["result"] == ["result", "[0.1, 0.2]"]
    assert report["metrics"] == {"lr": 0.1}
    executed = json.loads((tmp_path / "b-out.ipynb").read_text())
    printed = [o["text"] for c in executed["cells"] for o in c.get("outputs", []) if o["output_type"] == "stream"]
    assert "".join(printed[0]) == "[0.1, 0.2]\n"
