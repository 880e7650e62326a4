"""The node, namespaces on its server, and the driver whose volumes its pods mount."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s import programs
from tests.k8s.cluster import Cluster, shared_cluster
from tests.k8s.driver import Driver, new_driver
from tests.k8s.fixtures import place_of
from tests.k8s.serving import Kind
from tests.k8s.space import new_space
from tests.pods import node


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these out unless they are asked for."""
    if "pods" not in config.option.markexpr:
        mine = [item for item in items if item.get_closest_marker("pods")]
        config.hook.pytest_deselected(items=mine)
        items[:] = [item for item in items if item not in mine]


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server with a real node."""
    programs.need(programs.missing() or node.missing())
    with shared_cluster(place_of(tmp_path_factory), Kind.NODE) as made:
        yield made


@pytest.fixture
def driver(node_cluster: Cluster, tmp_path: Path) -> Iterator[Driver]:
    """A driver in a namespace of the test's own; the kubelet can mount its volumes."""
    with new_space(node_cluster) as space, new_driver(space, tmp_path / "csi", host_paths=True) as made:
        yield made
