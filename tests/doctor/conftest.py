"""A cluster, namespaces and a driver for the tests of `kale doctor`, and nothing of this machine's own settings."""

from __future__ import annotations

import pytest

from tests.k8s.fixtures import bare_cluster, bare_space, cluster, driver, mark_tests, nowhere, proxy, space
from tests.kfp_api.conftest import bare, server

__all__ = ["bare", "bare_cluster", "bare_space", "cluster", "driver", "nowhere", "proxy", "server", "space"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_tests(items)
