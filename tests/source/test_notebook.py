"""Reading notebook files: what is taken, what is refused and how."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kale_nb.errors import SourceError
from kale_nb.source.cells import CellKind, Source
from kale_nb.source.notebook import read_notebook


def code(source: Any, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None, **more}


def write(folder: Path, content: Any, name: str = "nb.ipynb") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", newline="")
    return path


def notebook(*cells: Any, **more: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}


def check_refuses(path: Path, *parts: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read_notebook(path)
    text = f"{caught.value} / {caught.value.hint}"
    for part in parts:
        assert part in text
    assert caught.value.location is not None
    assert caught.value.location.path == str(path)
    return caught.value


def sources(found: Source) -> list[str]:
    return [cell.source for cell in found.cells]


def test_cells_come_in_order_with_kind_tags_and_id(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        notebook(
            {"cell_type": "markdown", "source": "# Title", "metadata": {}},
            code("x = 1", id="abc", metadata={"tags": ["step:a", "prev:b"]}),
            {"cell_type": "raw", "source": "", "metadata": {}},
        ),
    )
    found = read_notebook(path)
    assert [(c.index, c.kind) for c in found.cells] == [(1, CellKind.MARKDOWN), (2, CellKind.CODE), (3, CellKind.RAW)]
    assert found.cells[1].tags == ("step:a", "prev:b")
    assert found.cells[1].id == "abc"
    assert (found.path, found.stem) == (str(path), "nb")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_source_may_be_a_list_of_lines_or_a_text(tmp_path: Path) -> None:
    path = write(tmp_path, notebook(code(["a = 1\n", "b = 2"]), code("a = 1\nb = 2"), code([]), code(None)))
    assert sources(read_notebook(path)) == ["a = 1\nb = 2", "a = 1\nb = 2", "", ""]


def test_windows_line_ends_become_newlines(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps(notebook(code("a\r\nb\rc"))).replace(", ", ",\r\n"))
    assert sources(read_notebook(path)) == ["a\nb\nc"]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "nb.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(notebook(code("x"))).encode())
    assert sources(read_notebook(path)) == ["x"]


@pytest.mark.parametrize("name", ["with space.ipynb", "größe 训练.ipynb", "no_suffix"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    assert read_notebook(write(tmp_path, notebook(code("x")), name)).path.endswith(name)


def test_missing_metadata_is_empty_metadata(tmp_path: Path) -> None:
    path = write(tmp_path, {"nbformat": 4, "cells": [{"cell_type": "code", "source": "x"}]})
    found = read_notebook(path)
    assert (dict(found.metadata), found.nbformat_minor, found.cells[0].tags) == ({}, 5, ())


@pytest.mark.parametrize("tags", ["step:a", 3, None, {"a": 1}])
def test_tags_that_are_no_list_are_no_tags(tmp_path: Path, tags: Any) -> None:
    assert read_notebook(write(tmp_path, notebook(code("x", metadata={"tags": tags})))).cells[0].tags == ()


def test_a_notebook_without_cells_is_read(tmp_path: Path) -> None:
    assert read_notebook(write(tmp_path, notebook())).cells == ()


@pytest.mark.parametrize("minor", range(6))
def test_every_minor_of_format_4_is_read(tmp_path: Path, minor: int) -> None:
    assert read_notebook(write(tmp_path, notebook(code("x"), nbformat_minor=minor))).nbformat_minor == minor


def test_format_3_is_upgraded(tmp_path: Path) -> None:
    old = {
        "metadata": {"name": "old"},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {"cell_type": "heading", "level": 1, "source": ["Title"], "metadata": {}},
                    {
                        "cell_type": "code",
                        "input": ["x = 1\n", "y = 2"],
                        "language": "python",
                        "metadata": {"tags": ["step:a"]},
                        "outputs": [],
                        "collapsed": False,
                        "prompt_number": 1,
                    },
                ],
            }
        ],
    }
    found = read_notebook(write(tmp_path, old))
    assert [c.kind for c in found.cells] == [CellKind.MARKDOWN, CellKind.CODE]
    assert found.cells[1].source == "x = 1\ny = 2"
    assert found.cells[1].tags == ("step:a",)


def test_a_broken_format_3_is_a_clear_error(tmp_path: Path) -> None:
    check_refuses(write(tmp_path, {"nbformat": 3, "nbformat_minor": 0, "worksheets": 5}), "old format 3")


def test_nbformat_is_not_imported_for_format_4(tmp_path: Path) -> None:
    path = write(tmp_path, notebook(code("x")))
    program = (
        "import sys; from kale_nb.source.notebook import read_notebook; read_notebook(sys.argv[1]);"
        "print([m for m in ('nbformat', 'IPython', 'jsonschema') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_outputs_are_not_kept(tmp_path: Path) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": "z" * 2_000_000}
    found = read_notebook(write(tmp_path, notebook(code("x", outputs=[output]))))
    assert "zzz" not in repr(found)


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "python3", "language": "python"}},
        {"kernelspec": {"name": "my-env", "language": "Python"}},
        {"kernelspec": {"name": "irkernel-of-mine"}},
        {"kernelspec": None, "language_info": 5},
        {},
    ],
)
def test_python_by_any_kernel_is_read(tmp_path: Path, metadata: Any) -> None:
    assert read_notebook(write(tmp_path, notebook(code("x"), metadata=metadata))).cells


class TestRefused:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        check_refuses(tmp_path / "none.ipynb", "no such file")

    def test_a_missing_file_whose_suffix_was_left_out(self, tmp_path: Path) -> None:
        write(tmp_path, notebook(code("x")))
        check_refuses(tmp_path / "nb", "did you mean", "nb.ipynb")

    def test_a_folder(self, tmp_path: Path) -> None:
        write(tmp_path, notebook(code("x")))
        check_refuses(tmp_path, "a folder", "nb.ipynb")

    @pytest.mark.parametrize("text", ["", " \n\n"])
    def test_an_empty_file(self, tmp_path: Path, text: str) -> None:
        check_refuses(write(tmp_path, text), "empty")

    def test_what_is_not_json(self, tmp_path: Path) -> None:
        found = check_refuses(write(tmp_path, "hello\nworld"), "not JSON")
        assert found.location is not None
        assert (found.location.line, found.location.column) == (1, 1)

    def test_a_slip_in_json_with_its_place(self, tmp_path: Path) -> None:
        found = check_refuses(write(tmp_path, '{"cells": [],\n "nbformat" 4}'), "not JSON")
        assert str(found.location).endswith(":2:13")

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_a_file_cut_short(self, tmp_path: Path, share: float) -> None:
        whole = json.dumps(notebook(code("x = 1\n" * 50)), indent=1)
        found = check_refuses(write(tmp_path, whole[: int(len(whole) * share)]), "cut short")
        assert found.location is not None
        assert found.location.line is not None

    def test_merge_conflict_marks(self, tmp_path: Path) -> None:
        check_refuses(write(tmp_path, '{"cells": [\n<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> b\n]}'), "merge conflict")

    @pytest.mark.parametrize("content", [[], 3, "text", None, True, {}, {"a": 1}, {"nbformat": "4"}, {"nbformat": True}])
    def test_json_that_is_no_notebook(self, tmp_path: Path, content: Any) -> None:
        check_refuses(write(tmp_path, json.dumps(content)), "not a notebook")

    @pytest.mark.parametrize(
        "cells",
        [5, {"a": 1}, ["x"], [{}], [{"cell_type": "slide", "source": ""}], [code(5)], [code([1, 2])], [None]],
    )
    def test_cells_that_are_no_cells(self, tmp_path: Path, cells: Any) -> None:
        check_refuses(write(tmp_path, {"nbformat": 4, "cells": cells}), "not a notebook")

    def test_text_that_is_not_utf_8(self, tmp_path: Path) -> None:
        path = tmp_path / "nb.ipynb"
        path.write_bytes(json.dumps(notebook(code("grö")), ensure_ascii=False).encode("latin-1"))
        check_refuses(path, "not UTF-8")

    def test_utf_16(self, tmp_path: Path) -> None:
        path = tmp_path / "nb.ipynb"
        path.write_bytes(json.dumps(notebook()).encode("utf-16"))
        check_refuses(path, "UTF-16")

    def test_binary(self, tmp_path: Path) -> None:
        path = tmp_path / "nb.ipynb"
        path.write_bytes(bytes(range(256)))
        check_refuses(path, "not UTF-8")

    def test_a_newer_format(self, tmp_path: Path) -> None:
        check_refuses(write(tmp_path, notebook(nbformat=5)), "format 5")

    @pytest.mark.parametrize(
        ("metadata", "named"),
        [
            ({"kernelspec": {"name": "julia-1.9", "language": "julia", "display_name": "Julia 1.9"}}, "julia"),
            ({"language_info": {"name": "R"}}, "R"),
            ({"kernelspec": {"name": "ir"}, "language_info": {"name": "R"}}, "ir"),
            ({"kernelspec": {"name": "julia-1.9"}}, "julia"),
        ],
    )
    def test_another_language_by_name(self, tmp_path: Path, metadata: Any, named: str) -> None:
        check_refuses(write(tmp_path, notebook(code("x"), metadata=metadata)), named, "Python")

    def test_a_script_in_one_clear_line(self, tmp_path: Path) -> None:
        check_refuses(write(tmp_path, "x = 1\n", "flow.py"), "this is a Python script", "`kale compile ")

    def test_json_nested_beyond_reason(self, tmp_path: Path) -> None:
        check_refuses(write(tmp_path, '{"nbformat": 4, "cells": ' + "[" * 200_000), "nested too deeply")

    def test_a_path_that_no_file_can_have(self) -> None:
        with pytest.raises(SourceError, match="cannot be read"):
            read_notebook("a\0b.ipynb")
