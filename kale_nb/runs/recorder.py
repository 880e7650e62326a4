"""The recorder: an observer that keeps `run.json` current.

The file is written whole under another name and then renamed, so a reader sees one complete record or the one before it, at any
moment and after any death of the writer. A disk that refuses does not stop the run: the next change tries again, and `problem` says
what went wrong while the file is behind. A small file of nothing keeps room for the end of the record: when the disk is full by then, it
goes, so that the record can say how the run ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

from kale_nb.runs.codec import record_to_json
from kale_nb.runs.events import Event, State
from kale_nb.runs.record import RunRecord, apply, finish

FILE = "run.json"
_RESERVE = ".reserve"
_RESERVED = 1 << 16


class Recorder:
    """Keeps one run's record in memory and on disk. Takes events from one thread at a time."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._lock = threading.RLock()
        self.problem: OSError | None = None
        self._reserve = record.directory / _RESERVE
        self._write()
        with contextlib.suppress(OSError):
            self._reserve.write_bytes(bytes(_RESERVED))

    @property
    def record(self) -> RunRecord:
        """The record as of the last event."""
        return self._record

    def __call__(self, event: Event) -> None:
        """Take one event; never raises."""
        self._become(apply(self._record, event))

    def close(self, state: State, time: float, error: str | None = None) -> RunRecord:
        """End the record of a run whose engine did not say how it ended, or could not start; return it."""
        seconds = max(0.0, time - self._record.started)
        self._become(finish(self._record, state, time, seconds, error))
        return self._record

    def flush(self) -> bool:
        """Write what an earlier trouble kept from the disk; tell whether the file is current."""
        with self._lock:
            if self.problem is not None:
                self._write()
            return self.problem is None

    def _become(self, record: RunRecord) -> None:
        with self._lock:
            if record is not self._record:
                self._record = record
                self._write()

    def _write(self) -> None:
        if self._record.finished is not None:
            with contextlib.suppress(OSError):
                self._reserve.unlink(missing_ok=True)
        try:
            write_record(self._record)
        except OSError as error:
            self.problem = error
        else:
            self.problem = None


def write_record(record: RunRecord) -> Path:
    """Replace `run.json` in the run's folder by this record and return it. OSError leaves the file as it was."""
    path = record.directory / FILE
    part = record.directory / f"{FILE}.part"
    data = json.dumps(record_to_json(record), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
    with open(part, "w", encoding="utf-8") as file:
        file.write(data)
        if record.finished is not None:
            file.flush()
            os.fsync(file.fileno())
    os.replace(part, path)
    return path
