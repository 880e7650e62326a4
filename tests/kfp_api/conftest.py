"""A Kubeflow Pipelines server for each test, and nothing of this machine's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kfp_api.server import Server, serving


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ENDPOINT", "UI_ENDPOINT", "SA_TOKEN_PATH"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    for name in ("KALE_KFP_TOKEN", "KALE_KFP_COOKIE", "KALE_KFP_NAMESPACE", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("kfp_server_api", reason="kfp is not installed: pip install 'kale-nb[kfp]'")
    (tmp_path / "cluster").mkdir()
    with serving(tmp_path / "cluster") as made:
        yield made
