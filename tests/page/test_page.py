"""The page of a pipeline: everything of it is there, every link leads somewhere, and nothing in a notebook can break out of its place."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from kale_nb.compiler import compile_notebook, compile_source
from kale_nb.page.page import page_html
from kale_nb.source.notebook import notebook_source

EXAMPLES = sorted(p for p in (Path(__file__).parents[2] / "examples").glob("*/*.ipynb") if p.stem != "mistakes")
_VOID = {"meta", "br", "hr", "img"}
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Page(HTMLParser):
    """A page that was read: its ids, links and texts, and whether each tag is closed where it must be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, attrs)
            {"id": self.ids, "href": self.links, "src": self.sources}.get(name, []).append(value or "")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def section(self, step: str) -> str:
        """The text of a step's section."""
        heads = [i for i, word in enumerate(self.words) if word == step and self.words[i - 1].isdigit()]
        rest = self.words[heads[-1] :]
        stop = next((i for i, word in enumerate(rest) if i and word == "↑ graph" and i > 5), len(rest))
        return " ".join(" ".join(rest[:stop]).split())


def code(text: str, *outputs: dict[str, Any], tags: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": text,
        "execution_count": None,
        "outputs": list(outputs),
    }


def prose(text: str, **attachments: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text, **({"attachments": attachments} if attachments else {})}


def said(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def shown(**data: Any) -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {kind.replace("_", "/", 1): text for kind, text in data.items()},
    }


def made(*cells: dict[str, Any]) -> str:
    notebook = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    compiled = compile_source(notebook_source(json.loads(json.dumps(notebook)), path="nb.ipynb", sha256="0" * 64))
    outputs = {i: cell.get("outputs", ()) for i, cell in enumerate(cells, 1)}
    return page_html(compiled, outputs, {i: cell["attachments"] for i, cell in enumerate(cells, 1) if "attachments" in cell})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_the_page_of_an_example_is_whole_and_the_same_each_time(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example.parent)
    compiled = compile_notebook(example.name)
    text = page_html(compiled)
    assert text == page_html(compile_notebook(example.name))
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert {unquote(link.removeprefix("#")) for link in page.links} <= set(page.ids)
    assert all(link.startswith("#") for link in page.links)
    assert page.sources == []
    assert "script" not in page.tags
    for step in compiled.pipeline.steps:
        assert f"step-{step.name}" in page.ids
        assert page.links.count(f"#step-{step.name}") >= 1
        assert all(f"cell-{cell}" in page.ids for cell in step.cells)


def test_inputs_name_who_made_them_and_outputs_who_reads_them() -> None:
    page = Page(
        made(
            code("n = 3  # how many", tags=("parameters",)),
            code("%%step load\nrows = list(range(n))"),
            code("%%step total --after load --timeout 5m\nsum_of = sum(rows)"),
            code("%%step show --after total\nprint(sum_of)"),
        )
    )
    assert page.section("load").startswith("load waits for no step")
    assert "Inputs parameters n" in page.section("load")
    assert "rows to total" in page.section("load")
    assert "after load" in page.section("total")
    assert "rows from load cell 3" in page.section("total")
    assert "sum_of to show" in page.section("total")
    assert "timeout 300" in page.section("total")
    assert "Outputs none" in page.section("show")
    assert "n 3 int how many" in page.text


def test_steps_stand_in_the_order_of_running_with_their_text() -> None:
    page = Page(
        made(
            prose("# Title\n\nabout it"),
            prose("## Second"),
            code("print(2)", tags=("step:b", "prev:a")),
            prose("## First"),
            code("print(1)", tags=("step:a",)),
            code("print('not this')", tags=("skip",)),
        )
    )
    assert page.text.index("First") < page.text.index("Second")
    assert "Left out: 1 cell" in page.text
    assert "not this" in page.text


def test_no_two_places_have_one_address_whatever_steps_are_called() -> None:
    names = ["a", "a-name", "name-a", "cell-1", "graph", "steps", "step-a", "findings", "before", "p"]
    page = Page(made(code("p = 1", tags=("parameters",)), *(code(f"%%step {name}\nx = p") for name in names)))
    assert len(page.ids) == len(set(page.ids))
    assert {f"step-{name}" for name in names} <= set(page.ids)


def test_what_cells_showed_is_shown_as_it_reads() -> None:
    text = made(
        code(
            "%%step a\n1",
            said("10%\r50%\r100%\nnext "),
            said("\x1b[31mline\x1b[0m\n"),
            said("careful\n", "stderr"),
            shown(text_html="<table><tr><td>1</td></tr></table>", text_plain="<Frame>"),
            shown(text_html="<script>draw()</script>", text_plain="a plot"),
            shown(text_html="<div></div>", application_json={"a": 1}),
            shown(image_png=_PIXEL, text_plain="<Figure>"),
            {"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": ["\x1b[0;31mValueError\x1b[0m: x"]},
        ),
    )
    page = Page(text)
    assert "100% next line" in page.text
    assert "50%" not in page.text
    assert "\x1b" not in text
    assert "careful" in page.text
    assert "<td>1</td>" in text
    assert "a plot" in page.text
    assert "draw()" not in text
    assert "application/json, text/html: shown in the notebook only" in page.text
    assert page.sources == [f"data:image/png;base64,{_PIXEL}"]
    assert "ValueError: x" in page.text


def test_huge_outputs_and_cells_have_bounds() -> None:
    text = made(
        code("%%step a\nx = 1", said("line\n" * 1_000_000), said("e" * 5_000_000, "stderr"), shown(image_png="AAAA" * 3_000_000)),
        code("%%step b --after a\n" + "y = 1\n" * 50_000),
        prose("word " * 100_000),
        code("%%step c --after b\nz = 1", *[shown(image_png="AAAA" * 500_000)] * 40),
    )
    page = Page(text)
    assert len(text) < 20_000_000
    assert "999800 more lines in the notebook" in page.text
    assert "more in the notebook" in page.text
    assert "a picture of 8.6 MiB: shown in the notebook only" in page.text
    assert "is left out: the page has" in page.text


HOSTILE = "</title></style></script></pre></code></td></table></section></main><script>alert(1)</script><!--<img src=//evil onerror=alert(2)>'\""


def test_nothing_in_a_notebook_leaves_its_place() -> None:
    quoted = HOSTILE.replace("\\", "").replace('"', "")
    text = made(
        prose(f"# {HOSTILE}\n\n{HOSTILE}\n\n```\n{HOSTILE}\n```\n\n`{HOSTILE}` [a](<{HOSTILE}>) ![b](//evil/x.png)"),
        code(f'%pipeline --name "{quoted.replace(chr(39), "")}" --description "{quoted}"'),
        code(f"import os  # {HOSTILE}", tags=("imports",)),
        code(f"p = {HOSTILE!r}  # {HOSTILE}", tags=("parameters",)),
        code(
            f"x = {HOSTILE!r}\nprint(p)",
            said(HOSTILE),
            said(HOSTILE, "stderr"),
            shown(text_html=HOSTILE, text_plain=HOSTILE),
            shown(**{"image_svg+xml": "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(3)'/>", "text_plain": HOSTILE}),
            shown(image_png=HOSTILE),
            shown(text_markdown=HOSTILE),
            shown(**{HOSTILE: HOSTILE}),
            {"output_type": "error", "ename": HOSTILE, "evalue": HOSTILE, "traceback": [HOSTILE]},
            {"output_type": HOSTILE},
            tags=("step:größe_训练", f"env:A:{quoted}"),
        ),
        code("print(x)", tags=("step:b", "prev:größe_训练")),
        {"cell_type": "raw", "metadata": {}, "source": HOSTILE},
    )
    page = Page(text)
    assert "script" not in page.tags
    assert "<!--" not in text
    assert {unquote(link.removeprefix("#")) for link in page.links if link.startswith("#")} <= set(page.ids)
    assert all(link.startswith("#") for link in page.links)
    assert all(source.startswith("data:image/") for source in page.sources)
    assert page.tags <= {
        "html", "head", "meta", "title", "style", "body", "a", "main", "header", "h1", "h2", "h3", "h4", "p", "code", "nav", "svg", "rect",
        "g", "path", "text", "section", "div", "span", "pre", "table", "thead", "tbody", "tr", "th", "td", "em", "img", "strong",
    }  # fmt: skip


@pytest.mark.parametrize(
    "outputs",
    [None, "x", [1], [{}], [{"output_type": "stream"}], [{"output_type": "stream", "text": 3}], [{"output_type": "display_data"}],
     [{"output_type": "display_data", "data": []}], [{"output_type": "error"}], [{"output_type": "execute_result", "data": {"text/plain": None}}]],
)  # fmt: skip
def test_outputs_that_are_no_outputs_are_left_out(outputs: Any) -> None:
    notebook = {"cells": [code("%%step a\nx = 1")], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    compiled = compile_source(notebook_source(notebook, path="nb.ipynb", sha256="0" * 64))
    Page(page_html(compiled, {1: outputs}))


def test_a_warning_is_on_the_page_with_its_cell() -> None:
    page = Page(made(code("%%step a\nx = 1"), code("print(1)", tags=("skip",)), code("print(2)")))
    assert "Findings" in page.text
    assert "#cell-3" in page.links


def test_a_volume_says_whether_it_is_a_folder_a_clone_of_one_or_empty(tmp_path: Path) -> None:
    volumes = ["../lake:/lake", "../raw:/raw:ro", "scratch:/scratch:5Gi"]
    content = {
        "cells": [code("%%step one\nx = 1")],
        "metadata": {"kubeflow_notebook": {"volumes": volumes}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "nb.ipynb").write_text(json.dumps(content))
    text = Page(page_html(compile_notebook(tmp_path / "nb.ipynb"))).text
    assert "volume lake /lake, a clone of ../lake" in text
    assert "volume raw /raw, the folder ../raw, to be read" in text
    assert "volume scratch /scratch 5Gi new" in text
