"""What the Kubernetes API refuses, in words that say what to do next."""

from __future__ import annotations

from kale_nb.engines.kfp.cluster.resources import Resource
from kale_nb.errors import EngineError


class ClusterError(EngineError):
    """The cluster did not do what was asked.

    Attributes:
        status: the HTTP status; 0 when no answer came.
        passing: it may be otherwise soon.
        wait: seconds for which the server asks us to wait.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, status: int = 0, passing: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.passing = passing
        self.wait = wait


class Unreached(ClusterError):
    """No answer from the API server.

    Attributes:
        sent: the request may have arrived, so that it may have been carried out.
    """

    def __init__(self, message: str, *, hint: str | None = None, sent: bool = True, passing: bool = True) -> None:
        super().__init__(message, hint=hint, passing=passing)
        self.sent = sent


class Unknown(ClusterError):
    """The API server does not know who asks (401)."""


class Forbidden(ClusterError):
    """A right is missing (403).

    Attributes:
        verb, resource, namespace: of the right; namespace is empty for what is in none.
    """

    def __init__(self, message: str, *, hint: str | None, verb: str, resource: Resource, namespace: str) -> None:
        super().__init__(message, hint=hint, status=403)
        self.verb = verb
        self.resource = resource
        self.namespace = namespace


class Exceeded(ClusterError):
    """A quota of the namespace does not admit it (403 as well)."""


class Missing(ClusterError):
    """There is no such object (404)."""


class Unserved(ClusterError):
    """The API server does not know such objects at all (404): their definitions are not installed."""


class Conflicting(ClusterError):
    """Something of that name is there already, or was changed meanwhile (409)."""


class Invalid(ClusterError):
    """The object is not accepted as it is (400, 422)."""
