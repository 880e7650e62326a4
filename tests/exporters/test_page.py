"""`nbconvert --to kale-html`: the page, through every way of writing, and in a browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.exporters.converting import BAD, EXAMPLES, GOOD, convert, files_of, notebook, save
from tests.jupyter import lab


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["nb.ipynb"], {"nb.kale.html"}),
        (["nb.ipynb", "other.ipynb"], {"nb.kale.html", "other.kale.html"}),
        (["nb.ipynb", "--output", "page"], {"page.kale.html"}),
        (["nb.ipynb", "--output", "page.html"], {"page.html"}),
        (["nb.ipynb", "other.ipynb", "--output-dir", "out"], {"out/nb.kale.html", "out/other.kale.html"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_one_file_is_written_for_each_notebook(words: list[str], written: set[str], tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", *GOOD)
    save(tmp_path / "other.ipynb", *GOOD)
    done = convert(tmp_path, *words, to="kale-html")
    assert done.returncode == 0, done.stderr
    found = files_of(tmp_path)
    assert set(found) == written | {"nb.ipynb", "other.ipynb"}
    assert all('id="step-total"' in found[name] for name in written)


def test_standard_input_and_output(tmp_path: Path) -> None:
    text = json.dumps(notebook(*GOOD))
    done = convert(tmp_path, "--stdin", "--stdout", to="kale-html", stdin=text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!DOCTYPE html>")
    assert done.stdout == convert(tmp_path, "--stdin", "--stdout", to="kale-html", stdin=text).stdout
    assert files_of(tmp_path) == {}


def test_a_mistake_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    save(tmp_path / "bad.ipynb", *BAD)
    done = convert(tmp_path, "bad.ipynb", to="kale-html")
    assert done.returncode == 1
    assert "bad.ipynb[cell 2]:2:11: error KN301 undefined-name: " in done.stderr
    assert "Traceback" not in done.stderr
    assert set(files_of(tmp_path)) == {"bad.ipynb"}


def test_outputs_of_the_notebook_are_shown_unless_they_are_not_wanted(tmp_path: Path) -> None:
    value = notebook(*GOOD)
    value["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["three", " it is\n"]}]
    (tmp_path / "nb.ipynb").write_text(json.dumps(value))
    assert "three it is" in convert(tmp_path, "nb.ipynb", "--stdout", to="kale-html").stdout
    assert (
        "three it is" not in convert(tmp_path, "nb.ipynb", "--stdout", "--KaleHtmlExporter.outputs=False", to="kale-html").stdout
    )
    assert "three it is" not in convert(tmp_path, "nb.ipynb", "--stdout", "--clear-output", to="kale-html").stdout


@pytest.mark.kernel
def test_a_notebook_executed_on_the_way_shows_its_outputs(tmp_path: Path) -> None:
    save(tmp_path / "nb.ipynb", "%load_ext kale_nb", *GOOD)
    done = convert(tmp_path, "nb.ipynb", "--execute", "--stdout", to="kale-html")
    assert done.returncode == 0, done.stderr
    assert '<pre class="said" tabindex="0">3</pre>' in done.stdout


@pytest.fixture
def _browser() -> None:
    lacks = lab.missing()
    if lacks is not None and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(lacks)
    if lacks is not None:
        pytest.skip(lacks)


@pytest.mark.slow
@pytest.mark.usefixtures("_browser")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_it_fits_a_phone_and_its_graph_leads_to_the_steps(scheme: str, tmp_path: Path) -> None:
    example = next(p for p in EXAMPLES if p.stem == "compare_models")
    value = json.loads(example.read_text(encoding="utf-8"))
    wide = "".join(f"<td>{'x' * 12}</td>" for _ in range(40))
    code = next(cell for cell in value["cells"] if "load_breast_cancer(" in "".join(cell["source"]))
    code["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "y" * 3000},
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {"text/html": f"<table><tr>{wide}</tr></table>", "text/plain": ""},
        },
    ]
    (tmp_path / "nb.ipynb").write_text(json.dumps(value))
    assert convert(tmp_path, "nb.ipynb", to="kale-html").returncode == 0
    with lab.browser(tmp_path / "private") as page:
        driver = page.driver
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        driver.execute_cdp_cmd("Network.enable", {})
        for width in (320, 390, 1200):
            driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
            )
            driver.get((tmp_path / "nb.kale.html").as_uri())
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
            lost = "return [...document.querySelectorAll('h1,h2,h3,p,td,pre')].filter(e => e.getBoundingClientRect().left < 0).length"
            assert driver.execute_script(lost) == 0
        ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(13, 17, 23)")
        loaded = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert [name for name in loaded if not name.startswith("data:")] == []
        page.find("nav svg a[href='#step-forest'] text")[0].click()
        assert driver.execute_script("return location.hash") == "#step-forest"
        top = driver.execute_script("return document.querySelector('#step-forest').getBoundingClientRect().top")
        assert -50 <= top <= 200
        severe = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert severe == []
