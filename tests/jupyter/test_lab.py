"""JupyterLab, in a browser: a marked notebook is an ordinary notebook, and `%pipeline` shows what it does.

`KALE_SCREENSHOTS=DIR` keeps the pictures, which is how those of the guide are made.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.jupyter import lab
from tests.jupyter.kernels import notebook_of

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "quickstart.ipynb"


@pytest.fixture
def _all_there() -> None:
    lacks = lab.missing()
    if lacks is not None and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(lacks)
    if lacks is not None:
        pytest.skip(lacks)


@pytest.mark.usefixtures("_all_there")
def test_a_marked_notebook_runs_draws_its_graph_and_runs_as_a_pipeline(tmp_path: Path) -> None:
    folder, private = tmp_path / "work", tmp_path / "private"
    folder.mkdir()
    example = json.loads(QUICKSTART.read_text())
    texts = ["".join(c["source"]) for c in example["cells"] if c["cell_type"] == "code"]
    cells = ["%load_ext kale_nb", *texts, "%pipeline graph", "%pipeline run -p count=500"]
    (folder / "people.ipynb").write_text(json.dumps(notebook_of(*cells)))
    with lab.server(folder, private) as address, lab.browser(private) as page:
        page.open(address, "people.ipynb", len(cells))
        page.run_all()
        last = len(cells)
        end = lab.until(lambda: "kept in" in page.said(last) and page.said(last), "the pipeline ran")
        for said in (
            "quickstart",
            "succeeded",
            "4/4 steps",
            "measure",
            "average",
            "spread",
            "metrics",
            "deviation",
            ".kale/runs/",
        ):
            assert said in end
        assert page.inside(last, "img[src^='data:image/svg']")
        keep(page, folder, "run.png")
        report = next(i for i, text in enumerate(cells, 1) if "--after average,spread" in text)
        assert "1000 people" in page.said(report)
        assert page.said(last - 1) == ""
        assert page.inside(last - 1, ".jp-RenderedSVG img, .jp-RenderedSVG svg")
        keep(page, folder, "graph.png")
        page.save()
        saved = folder / "people.ipynb"
        outputs = lab.until(lambda: json.loads(saved.read_text())["cells"][-1]["outputs"], "the notebook is saved")
        assert [o["output_type"] for o in outputs] == ["display_data", "display_data"]
    runs = list((folder / ".kale" / "runs").iterdir())
    assert len(runs) == 1
    record = json.loads((runs[0] / "run.json").read_text())
    assert record["source"] == str(saved)
    assert record["params"] == {"count": "500"}


def keep(page: lab.Page, folder: Path, name: str) -> None:
    """Take a picture of the page; keep it where the environment says."""
    page.picture(folder / name)
    assert (folder / name).stat().st_size > 10_000
    place = os.environ.get("KALE_SCREENSHOTS")
    if place:
        shutil.copy(folder / name, Path(place) / name)
