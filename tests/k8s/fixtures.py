"""The fixtures; a folder of tests that wants them imports them in its `conftest.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s import programs
from tests.k8s.cluster import Cluster, shared_cluster
from tests.k8s.driver import Driver, new_driver
from tests.k8s.proxy import Proxy, new_proxy
from tests.k8s.serving import Kind
from tests.k8s.space import Space, new_space

CLUSTERS = {"cluster", "bare_cluster"}  # what a test takes that talks to a server: it gets the mark `k8s`


def place_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of a session share."""
    programs.need(programs.missing())
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "k8s"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server, shared by all workers and tests."""
    with shared_cluster(place_of(tmp_path_factory)) as made:
        yield made


@pytest.fixture(scope="session")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Another server, without the kinds of snapshots."""
    with shared_cluster(place_of(tmp_path_factory), Kind.BARE) as made:
        yield made


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Space]:
    """A namespace of the test's own."""
    with new_space(cluster) as made:
        yield made


@pytest.fixture
def bare_space(bare_cluster: Cluster) -> Iterator[Space]:
    """A namespace on the server without the kinds of snapshots."""
    with new_space(bare_cluster) as made:
        yield made


@pytest.fixture
def driver(space: Space, tmp_path: Path) -> Iterator[Driver]:
    """A CSI driver that works in the test's namespace, and its classes."""
    with new_driver(space, tmp_path / "csi") as made:
        yield made


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    """A proxy in front of the server, for faults."""
    with new_proxy(cluster) as made:
        yield made


def mark_tests(items: list[pytest.Item]) -> None:
    """Mark the tests that talk to a server."""
    for item in items:
        if CLUSTERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("k8s")


@pytest.fixture(autouse=True)
def nowhere(bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own settings, and an empty folder to be in; a folder of tests that imports it has it for all of them."""
    for name in ("KUBECONFIG", "KALE_OWNER", "NB_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
