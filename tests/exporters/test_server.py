"""*Save and Export Notebook As* of JupyterLab: what the notebook server answers for the two formats."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from kale_nb.compiler import read_compiled
from tests.exporters.converting import BAD, GOOD, save
from tests.jupyter import lab

pytestmark = pytest.mark.slow


def test_the_server_gives_the_pipeline_with_its_stepbooks_and_the_page(tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed: pip install 'kale-nb[browser]'")
    folder = tmp_path / "work"
    save(folder / "deep" / "nb.ipynb", *GOOD)
    save(folder / "bad.ipynb", *BAD)
    with lab.server(folder, tmp_path / "private") as address:

        def get(path: str) -> tuple[str, bytes]:
            with urllib.request.urlopen(f"{address}/nbconvert/{path}?token=kale&download=true", timeout=60) as answer:
                return answer.headers.get("Content-Type", ""), answer.read()

        with urllib.request.urlopen(f"{address}/api/nbconvert?token=kale", timeout=60) as answer:
            listed = set(json.load(answer))
        assert {"kale", "kale_html"} <= listed
        assert "kale-html" not in listed  # the server takes no dash in a name
        kind, page = get("kale_html/deep/nb.ipynb")
        assert kind.startswith("text/html")
        assert b'id="step-total"' in page
        kind, packed = get("kale/deep/nb.ipynb")
        assert kind == "application/zip"
        zipfile.ZipFile(io.BytesIO(packed)).extractall(tmp_path / "unpacked")
        assert [b.step for b in read_compiled(tmp_path / "unpacked" / "nb.kale.json").stepbooks] == ["load", "total"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            get("kale/bad.ipynb")
        with caught.value as answer:
            assert "bad.ipynb[cell 2]:2:11: error KN301" in answer.read().decode()
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["bad.ipynb", "nb.ipynb"]
