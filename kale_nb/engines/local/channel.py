"""Talk to one kernel over its sockets, without polling: one thread, one wait for output, replies, death and deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from kale_nb.engines.local.tasks import Connection
from kale_nb.errors import KaleError

_START_TIMEOUT = 60.0
_LAST_WORDS = 0.05
"""Seconds without output after a kernel's death until nothing more is expected."""


class KernelGone(KaleError):
    """The kernel ended while it was needed."""


class StepTimeout(KaleError):
    """The step took longer than it may, or (not `of_step`) its kernel took too long to start."""

    def __init__(self, message: str, *, of_step: bool) -> None:
        super().__init__(message)
        self.of_step = of_step


class Peer(Protocol):
    """A kernel as a channel needs to know it; `wake_fd` becomes readable when it becomes ready or ends.

    Attributes:
        announces: it tells by itself when it is ready; others are asked until they answer.
    """

    connection: Connection
    announces: bool
    ready: bool
    ended: bool
    wake_fd: int


class Channel:
    """The connection to a kernel. To be used and closed by one thread.

    `receive` gives messages in the order in which they come; a message is a Jupyter message as `Session.deserialize` gives it.
    """

    def __init__(self, kernel: Peer, context: Any, *, deadline: float | None = None) -> None:
        import zmq
        from jupyter_client.session import Session

        self.session = Session(key=kernel.connection.key.encode("ascii"))
        self._kernel = kernel
        self._context = context
        self._deadline = deadline
        self._zmq = zmq
        self._poller = zmq.Poller()
        self._poller.register(kernel.wake_fd, zmq.POLLIN)
        self._shell: Any = None
        self._iopub: Any = None

    def open(self) -> None:
        """Wait until the kernel hears us and we hear it. KernelGone when it ends, StepTimeout past the deadline or after a minute."""
        until = time.monotonic() + _START_TIMEOUT
        while not self._kernel.ready:
            self._wait(until)
            self._raise_if_gone()
            _check_start(until)
        self._shell = self._socket(self._zmq.DEALER, "shell")
        self._iopub = self._socket(self._zmq.SUB, "iopub")
        answered = self._kernel.announces
        if not answered:
            self.send("kernel_info_request", {})
        while True:
            events = self._wait(min(until, time.monotonic() + (0.2 if answered else 1.0)))
            if self._shell in events:
                self._read(self._shell)
                answered = True
            if self._iopub in events and answered:
                self._read(self._iopub)
                return  # the subscription works: nothing that comes from now on is lost
            self._raise_if_gone()
            _check_start(until)
            if not events:
                self.send("kernel_info_request", {})

    def close(self) -> None:
        """Close the sockets; messages not yet sent are dropped."""
        for socket in (self._shell, self._iopub):
            if socket is not None:
                socket.close(linger=0)

    def send(self, kind: str, content: dict[str, Any]) -> str:
        """Send a request on the shell channel and return its id."""
        return self.send_message(self.session.msg(kind, content))

    def send_message(self, message: dict[str, Any]) -> str:
        """Send a message made by the session on the shell channel and return its id."""
        self.session.send(self._shell, message)
        return str(message["header"]["msg_id"])

    def execute(self, source: str, *, stop_on_error: bool) -> str:
        """Ask the kernel to run a cell's source."""
        content = {
            "code": source,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": stop_on_error,
        }
        return self.send("execute_request", content)

    def receive(
        self, drop: Callable[[bytes, int], bool] | None = None, *, until: float | None = None
    ) -> tuple[str, dict[str, Any]] | None:
        """Return the next message and its channel (`shell` or `iopub`); None at the time `until`.

        Args:
            drop: is told topic and size of each message on iopub before it is decoded; True drops it.

        Raises:
            KernelGone: the kernel has ended and everything it sent has been given.
            StepTimeout: the deadline has passed.
        """
        while True:
            events = self._wait(until)
            if self._iopub in events:
                message = self._read(self._iopub, drop)
                if message is not None:
                    return "iopub", message
            elif self._shell in events:
                message = self._read(self._shell)
                if message is not None:
                    return "shell", message
            elif not events and until is not None and time.monotonic() >= until:
                return None
            else:
                self._raise_if_gone()

    def _socket(self, kind: int, name: str) -> Any:
        zmq = self._zmq
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
        if kind == zmq.DEALER:
            socket.setsockopt(zmq.IDENTITY, self.session.bsession)
        else:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(self._kernel.connection.url(name))
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _wait(self, until: float | None) -> dict[Any, int]:
        """Wait for anything to happen, at most until the time `until`, and return what did, without the kernel's own changes."""
        now = time.monotonic()
        if self._deadline is not None:
            if now >= self._deadline:
                raise StepTimeout("the step took longer than its timeout", of_step=True)
            until = self._deadline if until is None else min(until, self._deadline)
        limit = None if until is None else max(0, int((until - now) * 1000) + 1)
        if self._kernel.ended:
            limit = int(_LAST_WORDS * 1000)
        events = dict(self._poller.poll(limit))
        if events.pop(self._kernel.wake_fd, None):
            os.read(self._kernel.wake_fd, 16)
        return events

    def _raise_if_gone(self) -> None:
        if self._kernel.ended:
            events = dict(self._poller.poll(int(_LAST_WORDS * 1000)))
            events.pop(self._kernel.wake_fd, None)
            if not events:
                raise KernelGone("the kernel has ended")

    def _read(self, socket: Any, drop: Callable[[bytes, int], bool] | None = None) -> dict[str, Any] | None:
        frames = socket.recv_multipart(copy=True)
        if drop is not None and drop(frames[0], sum(map(len, frames))):
            return None
        try:
            _, frames = self.session.feed_identities(frames)
            message: dict[str, Any] = self.session.deserialize(frames)
        except ValueError:
            return None  # not signed with our key
        return message


def _check_start(until: float) -> None:
    if time.monotonic() >= until:
        raise StepTimeout(f"the kernel did not answer within {_START_TIMEOUT:.0f} s of its start", of_step=False)
