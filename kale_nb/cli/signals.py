"""Signals that stop a run: which one it was, whoever handled it.

An engine takes Ctrl-C over while steps run, to stop them in order. Python writes the number of every signal that it handles to the wakeup
descriptor as well, whatever the handler is; that is how the command knows afterwards what to say and which exit code to give.
"""

from __future__ import annotations

import os
import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kale_nb.cli.messages import Stopped

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Caught:
    """The signals that came, in order."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._closed = False
        self._numbers: list[int] = []

    @property
    def descriptor(self) -> int:
        """Where signal numbers are written, a byte each."""
        return self._write

    def first(self) -> int | None:
        """Return the first signal that asked to stop; None when none came."""
        if not self._closed:
            with suppress(BlockingIOError):
                self._numbers.extend(os.read(self._read, 4096))
        return next((number for number in self._numbers if number in _STOPPING), None)

    def close(self) -> None:
        """Close the pipe; the numbers stay."""
        self.first()
        self._closed = True
        os.close(self._read)
        os.close(self._write)


@contextmanager
def signals_stop() -> Iterator[Caught]:
    """Let SIGINT, SIGTERM and SIGHUP raise `Stopped`, a KeyboardInterrupt, while the block lasts; give what came.

    A signal that is ignored stays so (a job in the background, nohup). Outside of the main thread this changes nothing.
    """
    caught = Caught()
    if threading.current_thread() is not threading.main_thread():
        caught.close()
        yield caught
        return

    def stop(number: int, frame: types.FrameType | None) -> None:
        raise Stopped(number)

    before: dict[int, object] = {}
    wakeup = signal.set_wakeup_fd(caught.descriptor, warn_on_full_buffer=False)
    try:
        for each in _STOPPING:
            if signal.getsignal(each) is not signal.SIG_IGN:
                before[each] = signal.signal(each, stop)
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(wakeup)
        caught.close()
