"""What the Kubeflow Pipelines server refuses, or cannot do, in words that say what to do next."""

from __future__ import annotations

from kale_nb.errors import EngineError


class ServerError(EngineError):
    """The server did not do what was asked.

    Attributes:
        status: the HTTP status; 0 when no answer came.
    """

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Unreachable(ServerError):
    """No answer: the connection was refused, broke, or took too long.

    Attributes:
        sent: the request may have arrived, so that it may have been carried out.
        passing: it may be otherwise soon.
    """

    def __init__(self, message: str, *, hint: str | None = None, sent: bool = True, passing: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self.passing = passing


class NotSignedIn(ServerError):
    """The server does not know who asks (401), or answers with its login page."""


class NotAllowed(ServerError):
    """The server knows who asks and forbids it (403)."""


class NotThere(ServerError):
    """There is no such thing, or no such API at this address (404)."""


class AlreadyThere(ServerError):
    """Something of that name is there already (409)."""
