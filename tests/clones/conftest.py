"""The real API server with the tests' driver, beside a Kubeflow Pipelines server of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clones.notebooks import Notebook
from tests.clones.submitting import Here
from tests.k8s.driver import Driver
from tests.k8s.fixtures import bare_cluster, bare_space, cluster, driver, mark_tests, proxy, space
from tests.k8s.space import Space
from tests.kfp_api.conftest import bare
from tests.kfp_api.server import Server, serving

__all__ = ["bare", "bare_cluster", "bare_space", "cluster", "driver", "proxy", "space"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_tests([item for item in items if item.path.parent == Path(__file__).parent])


@pytest.fixture
def server(space: Space, tmp_path: Path) -> Iterator[Server]:
    """Kubeflow Pipelines with several users, of whom the namespace is one."""
    pytest.importorskip("kfp_server_api", reason="kfp is not installed: pip install 'kale-nb[kfp]'")
    (tmp_path / "kfp").mkdir()
    with serving(tmp_path / "kfp", several=True, namespaces=(space.name,)) as made:
        yield made


@pytest.fixture
def notebook(space: Space, driver: Driver, server: Server, tmp_path: Path) -> Notebook:
    """A notebook server whose home folder is a claim."""
    admin = space.cluster.kubeconfig(tmp_path / "admin.json", namespace=space.name)
    server.deployment.api = {"kubeconfig": str(admin), "namespace": space.name, "volumes": str(driver.root / "volumes")}
    return Notebook(space, driver, server, tmp_path)


@pytest.fixture
def here(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> Here:
    """This process as one in the notebook server."""
    return Here(notebook, monkeypatch)
