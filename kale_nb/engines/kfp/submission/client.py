"""Requests to the server, with patience for what passes and errors that say what is wrong.

A GET that fails in passing (429, 500, 502, 503, 504, no answer) is sent again for a while, with growing waits. A POST is sent again only
when it was told apart from one that was carried out: `once` asks for a way to find what it makes.
Redirects are never followed: they lead to login pages, and credentials must not follow them.
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from kale_nb.engines.kfp.submission.address import Address
from kale_nb.engines.kfp.submission.problems import AlreadyThere, NotAllowed, NotSignedIn, NotThere, ServerError, Unreachable

Body = dict[str, Any]
_PASSING = (429, 500, 502, 503, 504)
_ANSWER_WITHIN = 30.0
_UPLOAD_WITHIN = 120.0
PREFIX = "/apis/v2beta1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server said."""

    status: int
    kind: str
    data: bytes
    location: str = ""


class Client:
    """A server, asked as somebody.

    Args:
        patience: seconds for which a request that fails in passing is sent again.
        within: seconds in which an answer must begin.
        pause: waits that many seconds.
    """

    def __init__(
        self,
        address: Address,
        *,
        patience: float = 60.0,
        within: float = _ANSWER_WITHIN,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address
        self._patience = patience
        self._within = within
        self._pause = pause
        trust = [] if address.trust is None else [urllib.request.HTTPSHandler(context=address.trust)]
        self._opener = urllib.request.build_opener(_Stay, *trust)

    def get(self, path: str, query: Mapping[str, str] | None = None, *, patience: float | None = None) -> Body:
        """Return what the API has at `path`."""
        end = time.monotonic() + (self._patience if patience is None else patience)
        for wait in waits():
            try:
                return _json(self._checked("GET", f"{PREFIX}{path}", query), self.address)
            except ServerError as error:
                if not passes(error) or time.monotonic() + wait > end:
                    raise
                self._pause(wait)
        raise AssertionError("waits never end")

    def once(self, send: Callable[[], Body], find: Callable[[], Body | None]) -> tuple[Body, bool]:
        """Return what `send` makes, made once, and whether it was sent more than once.

        `find` looks for it when an attempt may have made it.
        """
        end = time.monotonic() + self._patience
        repeated = False
        for wait in waits():
            try:
                return send(), repeated
            except AlreadyThere:
                found = find()
                if found is None:
                    raise
                return found, repeated
            except ServerError as error:
                if not passes(error):
                    raise
                self._pause(wait)
                found = find() if not isinstance(error, Unreachable) or error.sent else None
                if found is not None:
                    return found, repeated
                if time.monotonic() + wait > end:
                    raise
                repeated = True
        raise AssertionError("waits never end")

    def post(self, path: str, body: Body | None = None) -> Body:
        """Send one request to change something, once."""
        data = json.dumps(body or {}).encode()
        return _json(self._checked("POST", f"{PREFIX}{path}", data=data, kind="application/json"), self.address)

    def upload(self, path: str, text: str, query: Mapping[str, str]) -> Body:
        """Send a pipeline file, once."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="uploadfile"; filename="pipeline.yaml"\r\n'
        whole = f"{head}Content-Type: application/octet-stream\r\n\r\n{text}\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        return _json(self._checked("POST", f"{PREFIX}{path}", query, data=whole, kind=kind, within=_UPLOAD_WITHIN), self.address)

    def ask(
        self,
        method: str,
        url: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        within: float | None = None,
    ) -> Answer:
        """Send one request to any address of the server and return the answer whatever it is. Unreachable when there is none."""
        everything = {"Accept": "*/*", "User-Agent": "kale-nb", **(headers or {}), **self.address.credentials.headers()}
        request = urllib.request.Request(url, data=data, headers=everything, method=method)
        try:
            with self._opener.open(request, timeout=within or self._within) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, _rest(error))
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            raise _silent(error, url) from error

    def _checked(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        data: bytes | None = None,
        kind: str = "",
        within: float | None = None,
    ) -> Answer:
        given = {name: value for name, value in (query or {}).items() if value}
        url = f"{self.address.host}{path}{f'?{urlencode(given)}' if given else ''}"
        headers = {"Accept": "application/json", **({"Content-Type": kind} if kind else {})}
        answer = self.ask(method, url, data=data, headers=headers, within=within)
        if answer.status >= 300:
            raise refused(answer, self.address, f"{method} {path}")
        return answer


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any) -> None:
        return None


def _answer(status: int, headers: Any, data: bytes) -> Answer:
    kind, location = (headers.get(name, "") or "" for name in ("Content-Type", "Location"))
    return Answer(status=status, kind=kind, data=data, location=location)


def _rest(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read()
    except (OSError, http.client.HTTPException):
        return b""


def _json(answer: Answer, address: Address) -> Body:
    try:
        value = json.loads(answer.data or b"{}")
    except ValueError:
        raise _no_api(answer, address) from None
    if not isinstance(value, dict):
        raise _no_api(answer, address)
    return value


def _no_api(answer: Answer, address: Address) -> ServerError:
    if _is_page(answer):
        return NotSignedIn(
            f"{address.host} answers with a web page instead of the API: it wants you to log in, or the address is not that of the API",
            hint=f"asked with {address.credentials.told}; give a token by --token-file, or the cookie of the browser's "
            "session by --cookie-file; the address usually ends in /pipeline",
        )
    return ServerError(f"{address.host} answers with something that is not JSON", hint="is it the address of Kubeflow Pipelines?")


def _is_page(answer: Answer) -> bool:
    return "html" in answer.kind.lower() or answer.data.lstrip()[:1] == b"<"


def refused(answer: Answer, address: Address, what: str) -> ServerError:
    """Return the error for an answer of 300 or more."""
    said = _message(answer)
    status = answer.status
    if status < 400:
        where = urlsplit(answer.location)
        return NotSignedIn(
            f"{address.host} sends us to {where.netloc or address.host}{where.path}, which is a login page most likely",
            hint=f"asked with {address.credentials.told}; give a token by --token-file or the session's cookie by --cookie-file",
            status=status,
        )
    if status == 401:
        return NotSignedIn(
            f"{address.host} does not know who asks (401): {said}",
            hint=f"asked with {address.credentials.told}, which has expired or is for another audience than Kubeflow Pipelines"
            if address.credentials.reference
            else "asked with no credentials: name a token by --token-file, or a session's cookie by --cookie-file",
            status=status,
        )
    if status == 403:
        place = f" in namespace {address.namespace}" if address.namespace else ""
        return NotAllowed(
            f"{address.host} does not allow {what}{place} (403): {said}",
            hint=f"asked with {address.credentials.told}; give a namespace of yours by --namespace, or ask for kubeflow-edit in it",
            status=status,
        )
    if status == 404:
        ours = b"{" in answer.data[:1]
        return NotThere(
            f"{address.host} has nothing at {what} (404){f': {said}' if ours and said else ''}",
            hint=None if ours else f"the address ({address.origin}) is wrong, or lacks its path: it usually ends in /pipeline",
            status=status,
        )
    if status == 409 or (status == 400 and "already exist" in said.lower()):
        return AlreadyThere(f"{address.host}: {said}", status=status)
    return ServerError(f"{address.host} did not do {what}: {said} (HTTP {status})", status=status)


def _message(answer: Answer) -> str:
    text = answer.data.decode("utf-8", "replace").strip()
    try:
        said = json.loads(text)
        found = said.get("message") or said.get("error_message") or said.get("error") or text
        return " ".join(str(found).split())[:600]
    except (ValueError, AttributeError):
        return "a web page" if _is_page(answer) else " ".join(text.split())[:300] or "no reason given"


def _silent(error: BaseException, url: str) -> Unreachable:
    """Return the error for a request that got no answer."""
    reason = getattr(error, "reason", error)
    place = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Unreachable(
            f"the certificate of {place} cannot be trusted: {reason.verify_message}",
            hint="give the authority's certificate by --ca-file, or the address by the name that the certificate has",
            sent=False,
            passing=False,
        )
    if isinstance(reason, ssl.SSLError):
        return Unreachable(
            f"{place} does not speak TLS as it should: {reason.reason or reason}", hint="is it http:// instead?", sent=False
        )
    if isinstance(reason, ConnectionRefusedError):
        return Unreachable(f"nothing listens at {place}", hint="is the address right, and the port forwarded?", sent=False)
    if isinstance(reason, TimeoutError):
        return Unreachable(f"{place} does not answer in time", hint="is it up, and is there a way to it from here?")
    if "name" in str(reason).lower() and isinstance(reason, OSError) and "known" in str(reason).lower():
        return Unreachable(f"there is no host {urlsplit(url).hostname}", hint="is the address right?", sent=False)
    return Unreachable(f"the connection to {place} broke: {reason or type(error).__name__}")


def passes(error: ServerError) -> bool:
    """Tell whether an error may pass by itself."""
    if isinstance(error, Unreachable):
        return error.passing
    return error.status in _PASSING


def waits(first: float = 0.3, most: float = 8.0) -> Iterator[float]:
    """Waits between attempts, seconds: doubled each time, a little apart from everybody else's."""
    wait = first
    while True:
        yield wait * random.uniform(0.8, 1.2)
        wait = min(wait * 2, most)
