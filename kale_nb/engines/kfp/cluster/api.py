"""Requests to the Kubernetes API, by the official client, with patience for what passes.

A request that fails in passing (429, 500, 502, 503, 504, no answer) is sent again for a while, with growing waits; the server's own
`Retry-After` is kept. Making an object is repeated only after a look for it by its name. Nothing is watched: whoever waits looks again,
which a connection that breaks, a server that restarts and a history that is gone (410) cannot disturb.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import email.utils
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kale_nb.engines.kfp.cluster.problems import ClusterError, Conflicting, Forbidden, Missing, Unreached, Unserved
from kale_nb.engines.kfp.cluster.refusals import refused, silent
from kale_nb.engines.kfp.cluster.resources import ACCESS_REVIEWS, IDENTITY_REVIEWS, OTHERS_ACCESS_REVIEWS, Resource

Body = dict[str, Any]
T = TypeVar("T")
_PAGE = 500
_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Something that one may do or not."""

    verb: str
    resource: Resource


class Cluster:
    """An API server, asked as somebody, about one namespace.

    Args:
        client: a `kubernetes.client.ApiClient`.
        namespace: of namespaced objects.
        origin: what said where the server is, for people.
        patience: seconds for which a request that fails in passing is sent again.
        within: seconds in which an answer must come.
    """

    def __init__(
        self,
        client: Any,
        *,
        namespace: str,
        origin: str,
        patience: float = 60.0,
        within: float = 30.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self.namespace = namespace
        self.origin = origin
        self._patience = patience
        self._within = within
        self._pause = pause

    @property
    def host(self) -> str:
        """Address of the API server."""
        return str(self._client.configuration.host)

    def version(self) -> str:
        """Return the version of the API server, such as `v1.31.2`."""
        return str(self._patiently(lambda: self._send("GET", "/version")).get("gitVersion", ""))

    def get(self, resource: Resource, name: str) -> Body:
        """Return an object. Missing when there is none."""
        path = resource.path(self.namespace, name)
        return self._patiently(lambda: self._send("GET", path, asked=("get", resource)))

    def find(self, resource: Resource, name: str) -> Body | None:
        """Return an object, or None."""
        try:
            return self.get(resource, name)
        except Missing:
            return None

    def list(self, resource: Resource, *, labels: str = "", fields: str = "") -> list[Body]:
        """Return all objects that the selectors select, page by page; from the beginning when the server forgot where it was."""
        path = resource.path(self.namespace)
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        while True:
            found: list[Body] = []
            token = ""
            try:
                while True:
                    query = {**selectors, "limit": str(_PAGE), "continue": token}
                    page = self._patiently(lambda: self._send("GET", path, query=query, asked=("list", resource)))  # noqa: B023
                    found.extend(page.get("items") or ())
                    token = (page.get("metadata") or {}).get("continue") or ""
                    if not token:
                        break
            except ClusterError as error:
                if error.status != _GONE or not token:
                    raise
                continue
            # What is in a list does not say of what kind it is.
            return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in found]

    def create(self, resource: Resource, body: Body) -> Body:
        """Make an object and return it; after an answer that was lost, the one that was made.

        The object must have a name that nobody else uses. Conflicting when there is one that was not made by this call.
        """
        path = resource.path(self.namespace)
        name = str(body["metadata"]["name"])
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        end = time.monotonic() + self._patience
        doubtful = False
        for wait in _waits():
            try:
                return self._send("POST", path, body=whole, asked=("create", resource))
            except Conflicting:
                found = self.find(resource, name) if doubtful else None
                if found is None or not _is_as_asked(found, body):
                    raise
                return found
            except ClusterError as error:
                wait = max(wait, error.wait)
                if not error.passing or time.monotonic() + wait > end:
                    raise
                doubtful = doubtful or not isinstance(error, Unreached) or error.sent
                self._pause(wait)
        raise AssertionError("waits never end")

    def delete(self, resource: Resource, name: str, *, uid: str | None = None) -> bool:
        """Delete an object; return whether there was one. With `uid` none but that very one: Conflicting when it is another by now."""
        path = resource.path(self.namespace, name)
        body = {"preconditions": {"uid": uid}} if uid else None
        try:
            self._patiently(lambda: self._send("DELETE", path, body=body, asked=("delete", resource)))
        except Missing:
            return False
        return True

    def patch(self, resource: Resource, name: str, body: Body) -> Body:
        """Merge into an object (RFC 7386) and return it; None as a value removes a key."""
        path = resource.path(self.namespace, name)
        kind = "application/merge-patch+json"
        return self._patiently(lambda: self._send("PATCH", path, body=body, kind=kind, asked=("patch", resource)))

    def may(self, right: Right, account: str = "") -> tuple[bool, str]:
        """Return whether we have a right, and what the server says of it (SelfSubjectAccessReview).

        Args:
            account: ask of this service account of the namespace instead (LocalSubjectAccessReview), which few may do: Forbidden.
        """
        asked = {"verb": right.verb, "group": right.resource.group, "resource": right.resource.plural}
        if right.resource.namespaced:
            asked["namespace"] = self.namespace
        spec: Body = {"resourceAttributes": asked}
        reviews = ACCESS_REVIEWS
        if account:
            reviews = OTHERS_ACCESS_REVIEWS
            everybody = ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]
            spec |= {"user": f"system:serviceaccount:{self.namespace}:{account}", "groups": everybody}
        metadata = {"namespace": self.namespace} if reviews.namespaced else {}
        body = {"apiVersion": reviews.api_version, "kind": reviews.kind, "metadata": metadata, "spec": spec}
        path = reviews.path(self.namespace)
        said = self._patiently(lambda: self._send("POST", path, body=body, asked=("create", reviews)))
        status = said.get("status") or {}
        return bool(status.get("allowed")), str(status.get("reason") or "")

    def user(self) -> str:
        """Return the name by which the server knows us: as it says (since 1.28), else as our token says; empty when neither does."""
        body = {"apiVersion": IDENTITY_REVIEWS.api_version, "kind": IDENTITY_REVIEWS.kind}
        path = IDENTITY_REVIEWS.path("")
        with contextlib.suppress(Missing, Forbidden, Unserved):
            said = self._patiently(lambda: self._send("POST", path, body=body, asked=("create", IDENTITY_REVIEWS)))
            return str(((said.get("status") or {}).get("userInfo") or {}).get("username") or "")
        return _subject(str(self._client.configuration.get_api_key_with_prefix("authorization") or ""))

    def discover(self, path: str) -> Body | None:
        """Return what the server says of a group of kinds or of a version of it, by its path; None when it knows none."""
        try:
            return self._patiently(lambda: self._send("GET", path))
        except Missing:
            return None

    def now(self) -> datetime.datetime:
        """Return the time by the server's clock, which made the times of all objects; by ours when it does not tell."""
        told = self._patiently(lambda: self._send("GET", "/version", headers_only=True)).get("date")
        with contextlib.suppress(TypeError, ValueError):
            return email.utils.parsedate_to_datetime(str(told)).astimezone(datetime.UTC)
        return datetime.datetime.now(datetime.UTC)

    def wait(self, seconds: float) -> None:
        """Wait before the next look."""
        self._pause(seconds)

    def _patiently(self, send: Callable[[], T]) -> T:
        end = time.monotonic() + self._patience
        for wait in _waits():
            try:
                return send()
            except ClusterError as error:
                wait = max(wait, error.wait)
                if not error.passing or time.monotonic() + wait > end:
                    raise
                self._pause(wait)
        raise AssertionError("waits never end")

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        kind: str = "application/json",
        asked: tuple[str, Resource] | None = None,
        headers_only: bool = False,
    ) -> Body:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer, _, headers = self._client.call_api(
                path,
                method,
                query_params=[(name, value) for name, value in (query or {}).items() if value],
                header_params={"Accept": "application/json", "Content-Type": kind},
                body=body,
                auth_settings=["BearerToken"],
                response_type="object",
                _return_http_data_only=False,
                _request_timeout=(min(self._within, 10.0), self._within),
            )
        except ApiException as error:
            if not error.status:
                raise silent(error, self.host) from error
            raise refused(error.status, _said(error.body), asked, self, _retry_after(error)) from error
        except (HTTPError, OSError) as error:
            raise silent(error, self.host) from error
        except ValueError as error:
            raise ClusterError(f"{self.host} answers with something that is not JSON: is it a Kubernetes API server?") from error
        if headers_only:
            return {str(name).lower(): value for name, value in headers.items()}
        if not isinstance(answer, dict):
            raise ClusterError(f"{self.host} answers with something that is not an object: is it a Kubernetes API server?")
        return answer


def _is_as_asked(found: Body, asked: Body) -> bool:
    """Tell whether an object bears what we give to what we make: then an attempt without an answer has made it."""
    for key in ("labels", "annotations"):
        there = found["metadata"].get(key) or {}
        if any(there.get(name) != value for name, value in (asked["metadata"].get(key) or {}).items()):
            return False
    return True


def _retry_after(error: Any) -> float:
    """Return for how long the server asks us to wait, seconds; 0 when it does not say."""
    try:
        return max(0.0, float((error.headers or {}).get("Retry-After") or 0))
    except (TypeError, ValueError):
        return 0.0


def _said(body: object) -> Body:
    """Return the Status object that a refusal holds; a page of a proxy becomes its message."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": " ".join(text.split())[:300]}


def _subject(bearer: str) -> str:
    """Return whose a service account's token is; empty when it is none. It is not checked, only told."""
    parts = bearer.removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return ""
    try:
        told = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return ""
    subject = str(told.get("sub") or "") if isinstance(told, dict) else ""
    return subject if subject.startswith("system:serviceaccount:") else ""


def _waits(first: float = 0.3, most: float = 8.0) -> Iterator[float]:
    """Waits between attempts, seconds: doubled each time, a little apart from everybody else's."""
    wait = first
    while True:
        yield wait * random.uniform(0.8, 1.2)
        wait = min(wait * 2, most)
