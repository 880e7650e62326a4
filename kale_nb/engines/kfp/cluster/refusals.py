"""Answers of the API server, and silences, as errors that say what to do next."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Protocol

from kale_nb.engines.kfp.cluster.problems import (
    ClusterError,
    Conflicting,
    Exceeded,
    Forbidden,
    Invalid,
    Missing,
    Unknown,
    Unreached,
    Unserved,
)
from kale_nb.engines.kfp.cluster.resources import SNAPSHOT_GROUP, Resource

_PASSING = (429, 500, 502, 503, 504)


class Place(Protocol):
    """What an error says of where it was asked."""

    namespace: str
    origin: str

    @property
    def host(self) -> str:
        """Address of the API server."""
        ...


def refused(
    status: int, said: Mapping[str, Any], asked: tuple[str, Resource] | None, place: Place, wait: float = 0.0
) -> ClusterError:
    """Return the error for an answer of 300 or more.

    Args:
        said: the `Status` object (meta/v1) that the server answered with.
        asked: verb and kind of what was asked for.
        wait: seconds for which the server asks us to wait.
    """
    message = " ".join(str(said.get("message") or said.get("reason") or "no reason given").split())
    verb, resource = asked or ("ask", None)
    if status == 401:
        return Unknown(
            f"{place.host} does not know who asks (401)",
            hint=f"asked with {place.origin}, whose token or certificate has expired or is for another cluster",
            status=status,
        )
    if status == 403 and resource is not None:
        return _forbidden(message, verb, resource, place)
    if status == 404:
        # The server names the object that it does not have; of kinds that it does not know it says nothing.
        named = bool((said.get("details") or {}).get("name")) or (resource is not None and verb == "create")
        if resource is not None and resource.group and not named:
            return Unserved(
                f"the cluster knows no {resource.full_name}",
                hint="an administrator has to install the snapshot CRDs and controller (kubernetes-csi/external-snapshotter)"
                if resource.group == SNAPSHOT_GROUP
                else None,
                status=status,
            )
        return Missing(
            f"{message} in namespace {place.namespace}" if resource and resource.namespaced else message, status=status
        )
    if status == 409:
        return Conflicting(message, status=status)
    if status in (400, 422):
        return Invalid(f"the cluster does not accept it: {message}", status=status)
    return ClusterError(
        f"{place.host} did not {verb} {resource.full_name if resource else 'what was asked'}: {message} (HTTP {status})",
        status=status,
        passing=status in _PASSING,
        wait=wait,
    )


def _forbidden(message: str, verb: str, resource: Resource, place: Place) -> ClusterError:
    if "exceeded quota" in message or "quota" in message.lower() and "forbidden" in message and verb == "create":
        return Exceeded(
            f"a quota of namespace {place.namespace} does not admit it: {message.partition('exceeded quota')[2].lstrip(': ') or message}",
            hint="`kale clean` removes what earlier runs left; or ask for a larger quota",
            status=403,
        )
    where = f" in namespace {place.namespace}" if resource.namespaced else ""
    return Forbidden(
        f"not allowed to {verb} {resource.full_name}{where} (403): {message}",
        hint="`kale doctor --engine kfp` lists the rights that are missing, with the Role to ask an administrator for",
        verb=verb,
        resource=resource,
        namespace=place.namespace if resource.namespaced else "",
    )


def silent(error: BaseException, host: str) -> Unreached:
    """Return the error for a request that got no answer."""
    from urllib3 import exceptions

    reason: Any = getattr(error, "reason", None) or error
    causes = [error, reason, *(cause for cause in (error.__cause__, error.__context__) if cause is not None)]
    text = " ".join(str(reason).split())[:300]
    if any(isinstance(cause, (ssl.SSLError, exceptions.SSLError)) for cause in causes) or "CERTIFICATE_VERIFY_FAILED" in text:
        return Unreached(
            f"the connection to {host} is not to be trusted: {text}",
            hint="is the authority's certificate in the kubeconfig the one of this cluster?",
            sent=False,
            passing=False,
        )
    if any(isinstance(cause, exceptions.NewConnectionError) for cause in causes):
        return Unreached(
            f"nothing answers at {host}: {text}", hint="is the cluster up, and is there a way to it from here?", sent=False
        )
    if any(isinstance(cause, exceptions.ConnectTimeoutError) for cause in causes):
        return Unreached(f"{host} does not answer in time", hint="is there a way to it from here?", sent=False)
    return Unreached(f"the connection to {host} broke: {text}")
