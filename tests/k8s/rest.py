"""Objects as JSON, by their paths, through the official client: for kinds that it has no classes for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

Found = TypeVar("Found")
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1"
STORAGE = "/apis/storage.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Rest:
    """Asks the API; what it refuses is the official client's `ApiException`, with the `status`."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def _call(self, method: str, path: str, body: object = None, kind: str = "application/json", **query: str) -> Any:
        return self.api.call_api(
            path,
            method,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": kind},
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
        )

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read an object or a list."""
        return dict(self._call("GET", path, **query))

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Read the items of a list."""
        return list(self.get(path, **query).get("items") or [])

    def find(self, path: str) -> dict[str, Any] | None:
        """Read an object; None when there is none."""
        from kubernetes.client.rest import ApiException

        try:
            return self.get(path)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def post(self, path: str, body: object, **query: str) -> dict[str, Any]:
        """Create an object."""
        return dict(self._call("POST", path, body, **query))

    def put(self, path: str, body: object) -> dict[str, Any]:
        """Replace an object."""
        return dict(self._call("PUT", path, body))

    def patch(self, path: str, body: object) -> dict[str, Any]:
        """Merge into an object."""
        return dict(self._call("PATCH", path, body, "application/merge-patch+json"))

    def delete(self, path: str, **query: str) -> None:
        """Delete an object, or every one of a list; none there is as good."""
        from kubernetes.client.rest import ApiException

        try:
            self._call("DELETE", path, **query)
        except ApiException as error:
            if error.status != 404:
                raise


def until(ask: Callable[[], Found | None], what: str, timeout: float = 60.0) -> Found:
    """Ask until there is an answer that is true; return it.

    Raises:
        AssertionError: not within the time, in seconds.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = ask()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout:.0f} s: {what}")
