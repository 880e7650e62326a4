"""A run on the server, looked at again and again until it ends, the server is lost for good, or the user has seen enough."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kale_nb.engines.kfp.submission.client import Client, passes, waits
from kale_nb.engines.kfp.submission.fetching import failure_in, fetch
from kale_nb.engines.kfp.submission.following import Body, Follower, Made, moment
from kale_nb.engines.kfp.submission.problems import NotSignedIn, NotThere, ServerError
from kale_nb.engines.kfp.submission.sending import terminate
from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline
from kale_nb.runs.events import Event, Observer, RunFinished, RunLeft, RunNote, RunWarning, State, StepFinished

_SLOWEST = 15.0
_SIGNED_OUT = 60.0
"""Seconds for which an answer of 401 may be a token that is being renewed."""


class Watcher:
    """Follows one run.

    Args:
        ask: asked once, on the first interrupt, whether to stop the run; None means no.
        every: seconds between two looks; they grow to 15 as time goes by.
        lost_after: seconds without an answer after which the run is left.
        began: when it was started, seconds since the epoch.
        known, volumes: what was told before; see `Follower`.
        troubles: says what keeps volumes from being made; asked now and then until a step has ended.
        trouble_every: seconds between two such questions.
    """

    def __init__(
        self,
        client: Client,
        pipeline: Pipeline,
        run_id: str,
        folder: Path,
        made: Sequence[Made],
        observer: Observer,
        *,
        ask: Callable[[], bool] | None = None,
        every: float = 2.0,
        lost_after: float = 900.0,
        began: float | None = None,
        known: Mapping[StepName, tuple[State, int]] | None = None,
        volumes: Sequence[str] = (),
        troubles: Callable[[], Sequence[str]] | None = None,
        trouble_every: float = 30.0,
    ) -> None:
        self._client = client
        self._run_id = run_id
        self._folder = folder
        self._observer = observer
        self._ask = ask
        self._every = every
        self._lost_after = lost_after
        self._began = time.time() if began is None else began
        self._follower = Follower(pipeline, folder, made, known, volumes)
        self._troubles = troubles
        self._trouble_every = trouble_every
        self._asked = time.monotonic()
        self._known_troubles: set[str] = set()
        self._stopping = False
        self._cannot_fetch = ""

    def follow(self) -> State:
        """Follow the run and return how it ended; RUNNING when it goes on without us."""
        while True:
            try:
                return self._follow()
            except KeyboardInterrupt:
                if self._stopping or self._ask is None or not self._agreed():
                    self.leave("interrupted here")
                    raise
                self._stopping = True
                self._tell(RunNote(time=time.time(), message="stopping the run on the cluster; Ctrl-C again leaves it alone"))

    def _agreed(self) -> bool:
        """Ask; an interrupt of the question is no agreement."""
        try:
            return self._ask is not None and self._ask()
        except KeyboardInterrupt:
            return False

    def _follow(self) -> State:
        if self._stopping:
            terminate(self._client, self._run_id)
        pause = self._every
        while True:
            run = self._look()
            if run is None:
                return State.RUNNING
            state = self.take(run)
            if state is not None:
                return state
            self._ask_for_troubles()
            time.sleep(pause)
            pause = min(pause * 1.05, max(_SLOWEST, self._every))

    def take(self, run: Body) -> State | None:
        """Tell what is new in a look at the run; return how it ended, None while it goes on."""
        for event in self._follower.look(run, time.time()):
            self._tell(self._enriched(event) if isinstance(event, StepFinished) else event)
        state = self._follower.ended(run)
        if state is None:
            return None
        if self._stopping and state is State.FAILED:
            state = State.CANCELLED  # the workflow engine calls a run that was stopped a failed one
        why = " ".join(str((run.get("error") or {}).get("message") or "").split())
        if state is State.FAILED and why:
            self._tell(RunWarning(time=time.time(), message=why))
        now = time.time()
        end = min(moment(run.get("finished_at")) or now, now)
        self._tell(RunFinished(time=end, state=state, seconds=max(0.0, end - self._began)))
        return state

    def _ask_for_troubles(self) -> None:
        """Tell what keeps volumes from being made, each trouble once. A step that has ended had its volumes."""
        if self._troubles is None or self._follower.has_ended_step or time.monotonic() - self._asked < self._trouble_every:
            return
        for text in self._troubles():
            if text not in self._known_troubles:
                self._known_troubles.add(text)
                self._tell(RunWarning(time=time.time(), message=text))
        self._asked = time.monotonic()

    def leave(self, reason: str = "") -> State:
        """Follow the run no more."""
        self._tell(RunLeft(time=time.time(), reason=reason))
        return State.RUNNING

    def _look(self) -> Body | None:
        """Return the run as it is; None when the server does not answer for so long that it is left."""
        lost: float | None = None
        for wait in waits(0.5, _SLOWEST):
            try:
                run = self._client.get(f"/runs/{self._run_id}", patience=0.0)
            except NotThere as error:
                self.leave(f"the server has no such run any more: {error.message}")
                return None
            except ServerError as error:
                now = time.monotonic()
                if lost is None:
                    lost = now
                    self._tell(RunNote(time=time.time(), message=f"{error.message}; trying on"))
                out = isinstance(error, NotSignedIn)
                allowed = min(_SIGNED_OUT, self._lost_after) if out else self._lost_after
                if not (passes(error) or out) or now - lost > allowed:
                    self._tell(RunWarning(time=time.time(), message=f"the run is not followed any more: {error.message}"))
                    self.leave("the server was lost")
                    return None
                time.sleep(wait)
                continue
            if lost is not None:
                self._tell(RunNote(time=time.time(), message=f"the server answers again after {time.monotonic() - lost:.0f} s"))
            return run
        raise AssertionError("waits never end")

    def _enriched(self, event: StepFinished) -> StepFinished:
        """Add what the step left."""
        if event.state not in (State.SUCCEEDED, State.FAILED) or self._cannot_fetch:
            return event
        failed = event.state is State.FAILED
        left = None
        with contextlib.suppress(OSError):
            left = fetch(self._client, self._run_id, event.step, self._folder, failed=failed)
        if left is None:
            return event
        if left.missing:
            self._cannot_fetch = left.missing
            text = f"metrics, reports and logs stay on the server: {left.missing}"
            self._tell(RunWarning(time=time.time(), message=text))
        failure = (failure_in(left.log) or event.failure) if failed else None
        return replace(event, metrics=left.metrics, failure=failure)

    def _tell(self, event: Event) -> None:
        self._observer(event)
