"""A proxy in front of the API server that fails as servers and networks do, when a test says so.

    proxy.fail("POST", "/volumesnapshots$", status(429, retry_after=1), times=2)
    proxy.fail("GET", "/pods", cut(after=1), watch=True)

Everything else goes through as it is, watches as they come.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.k8s.cluster import Cluster

_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "host"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        delay: seconds before anything happens.
        answer: a status and a JSON body instead of the server's; the server never hears of the request.
        headers: of that answer.
        drop: the connection is closed without an answer: `before` the server hears of the request, or `after` it did what was asked.
        cut: of a watch, the events that come through; then the connection breaks off in the middle of another.
        last: of a watch, an event that comes instead of the first of the server's, and ends it.
        silent: of a watch, nothing comes any more, and it does not end either.
    """

    delay: float = 0.0
    answer: tuple[int, dict[str, Any]] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: str | None = None
    cut: int | None = None
    last: dict[str, Any] | None = None
    silent: bool = False


_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def status(
    code: int, message: str = "told to by the test", *, retry_after: int | None = None, reason: str | None = None
) -> Fault:
    """Answer with an error as the API server does."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Fault(answer=(code, _status(code, message, reason)), headers=headers)


def _status(code: int, message: str, reason: str | None = None) -> dict[str, Any]:
    known = reason or _REASONS.get(code, http.client.responses.get(code, ""))
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": known, "code": code}


def dropped() -> Fault:
    """Close the connection; the server never hears of the request."""
    return Fault(drop="before")


def answer_lost() -> Fault:
    """Let the server do what is asked, and close the connection instead of passing its answer on."""
    return Fault(drop="after")


def late(seconds: float) -> Fault:
    """Let the request wait."""
    return Fault(delay=seconds)


def cut(after: int = 0) -> Fault:
    """Break a watch off after so many events, in the middle of another."""
    return Fault(cut=after)


def gone() -> Fault:
    """Let a watch say that what it goes on from is too old to be known: an event of type ERROR with code 410."""
    return Fault(last={"type": "ERROR", "object": _status(410, "too old resource version: 1 (2)")})


def silence() -> Fault:
    """Let a watch stay open and say nothing, as when a network forgets a connection."""
    return Fault(silent=True)


@dataclass(slots=True, kw_only=True)
class Rule:
    """When something goes wrong.

    Attributes:
        methods: such as `GET` or `POST PATCH`; empty: all.
        path: a regular expression that is found in the path, which is without the query.
        watch: only watches (True), only what is not (False), both (None).
        times: how often it still happens.
        hits: how often it did.
    """

    methods: str
    path: str
    fault: Fault
    watch: bool | None
    times: float
    hits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that came.

    Attributes:
        fault: what went wrong with it; None: nothing.
    """

    method: str
    path: str
    watch: bool
    query: dict[str, list[str]]
    body: bytes
    fault: Fault | None


class Proxy:
    """Listens on loopback, with the API server's own certificate when it speaks TLS.

    Attributes:
        url: where it listens.
        asked: every request so far, in the order in which they came.
    """

    def __init__(self, cluster: Cluster, *, tls: bool = True) -> None:
        self.cluster = cluster
        self.asked: list[Asked] = []
        self.ended = threading.Event()
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._hidden: set[str] = set()
        self._open: set[Any] = set()
        self.trust = ssl.create_default_context(cafile=str(cluster.files.authority))
        own = self

        class Handler(_Handler):
            proxy = own

        self._server = _Server(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cluster.files.certificate, cluster.files.key)
            self._server.context = context
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def fail(self, methods: str, path: str, fault: Fault, *, times: float = 1, watch: bool | None = None) -> Rule:
        """Let requests fail, the next `times` (`math.inf`: all); of several rules that fit, the one that was there first counts."""
        if watch is None and (fault.cut is not None or fault.last is not None or fault.silent):
            watch = True
        rule = Rule(methods=methods, path=path, fault=fault, watch=watch, times=times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def hide(self, group: str) -> None:
        """Let an API group be unknown, as where its kinds were never installed."""
        self._hidden.add(group)

    def heal(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._rules.clear()
            self._hidden.clear()

    def count(self, methods: str, path: str) -> int:
        """Return how many requests so far were for that."""
        return sum(1 for asked in self.asked if _fits(methods, path, asked.method, asked.path))

    def decide(self, method: str, path: str, watch: bool, query: dict[str, list[str]], body: bytes) -> Fault | None:
        """Write a request down and say what goes wrong with it."""
        with self._lock:
            fault = self._fault_of(method, path, watch)
            self.asked.append(Asked(method=method, path=path, watch=watch, query=query, body=body, fault=fault))
            return fault

    def _fault_of(self, method: str, path: str, watch: bool) -> Fault | None:
        for group in self._hidden:
            if path.startswith(f"/apis/{group}"):
                return Fault(answer=(404, _status(404, "the server could not find the requested resource")))
        for rule in self._rules:
            if rule.hits < rule.times and rule.watch in (None, watch) and _fits(rule.methods, rule.path, method, path):
                rule.hits += 1
                return rule.fault
        return None

    def without_hidden(self, path: str, body: bytes) -> bytes:
        """Return an answer without the groups that are hidden."""
        if path.rstrip("/") != "/apis" or not self._hidden:
            return body
        told = json.loads(body)
        told["groups"] = [group for group in told["groups"] if group["name"] not in self._hidden]
        return json.dumps(told).encode()

    @contextmanager
    def upstream(self, timeout: float | None) -> Iterator[http.client.HTTPSConnection]:
        """Connect to the API server."""
        where = urlsplit(self.cluster.url)
        connection = http.client.HTTPSConnection(where.hostname or "", where.port, context=self.trust, timeout=timeout)
        with self._lock:
            self._open.add(connection)
        try:
            yield connection
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def close(self) -> None:
        """Stop listening, and end what is still open."""
        self.ended.set()
        self._server.shutdown()
        with self._lock:
            still = list(self._open)
        for connection in still:
            _break(connection.sock)
        self._server.close_all()
        self._thread.join(10)


def _fits(methods: str, pattern: str, method: str, path: str) -> bool:
    return (not methods or method in methods.split()) and re.search(pattern, path) is not None


def _break(connection: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):
        connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def __init__(self, *given: Any) -> None:
        self.clients: set[socket.socket] = set()
        super().__init__(*given)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS in the request's own thread, so that a slow client keeps nobody waiting."""
        try:
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return
        self.clients.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self.clients.discard(request)
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none of our business."""

    def close_all(self) -> None:
        """End all connections, and wait until nobody works on one."""
        for client in list(self.clients):
            _break(client)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        where = urlsplit(self.path)
        query = parse_qs(where.query)
        watch = query.get("watch", [""])[0] in ("true", "1", "True")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.decide(self.command, where.path, watch, query, body) or Fault()
        if fault.delay and self.proxy.ended.wait(fault.delay):
            return self._hang_up()
        if fault.drop == "before":
            return self._hang_up()
        if fault.answer is not None:
            code, told = fault.answer
            return self._send(code, json.dumps(told).encode(), {"Content-Type": "application/json", **fault.headers})
        with self.proxy.upstream(None if watch else 60) as server:
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP | {"accept-encoding"}}
                server.request(self.command, self.path, body or None, headers)
                answer = server.getresponse()
                if watch and answer.status == 200:
                    return self._pass_watch(answer, fault)
                content = self.proxy.without_hidden(where.path, answer.read())
            except OSError:
                return self._hang_up()
        if fault.drop == "after":
            return self._hang_up()
        return self._send(answer.status, content, dict(answer.getheaders()))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(code)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pass_watch(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        """Pass a watch's events on, a line each, as they come."""
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type") or "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        passed = 0
        if fault.last is not None:
            self._chunk(json.dumps(fault.last).encode() + b"\n")
        elif fault.silent:
            self.proxy.ended.wait()
            return self._hang_up()
        else:
            while passed != fault.cut and (line := answer.readline()):
                self._chunk(line)
                passed += 1
            if fault.cut is not None or self.proxy.ended.is_set():
                self._chunk(b'{"type":"MODI')
                return self._hang_up()
        return self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        _break(self.connection)


@contextmanager
def new_proxy(cluster: Cluster, *, tls: bool = True) -> Iterator[Proxy]:
    """Let a proxy stand in front of a cluster's server."""
    proxy = Proxy(cluster, tls=tls)
    try:
        yield proxy
    finally:
        proxy.close()
