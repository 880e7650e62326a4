"""The server, namespaces, driver and proxy for the tests of this folder."""

from __future__ import annotations

import pytest

from tests.k8s.fixtures import bare_cluster, bare_space, cluster, driver, mark_tests, proxy, space

__all__ = ["bare_cluster", "bare_space", "cluster", "driver", "proxy", "space"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_tests(items)
