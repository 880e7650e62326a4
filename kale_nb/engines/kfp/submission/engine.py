"""The kfp engine: a pipeline is compiled, sent to Kubeflow Pipelines and followed to its end, with the events of a run on this machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kale_nb.diagnostics import Severity
from kale_nb.engines.kfp.compiling import Package, compile_kfp
from kale_nb.engines.kfp.submission.address import Address, Asked, find_address
from kale_nb.engines.kfp.submission.client import Client
from kale_nb.engines.kfp.submission.clones import from_server
from kale_nb.engines.kfp.submission.problems import ServerError
from kale_nb.engines.kfp.submission.promises import keep_made
from kale_nb.engines.kfp.submission.sending import NEEDED, Sent, Server, read_server, send, withdraw
from kale_nb.engines.kfp.submission.supplies import Say, Supplies, none_taken
from kale_nb.engines.kfp.submission.taking import Cloning
from kale_nb.engines.kfp.submission.watching import Watcher
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.kfp.wires import refuse_large, to_wire, wire_of
from kale_nb.engines.protocol import Job
from kale_nb.errors import UsageError
from kale_nb.names import StepName, kubernetes_name
from kale_nb.pipeline.model import Pipeline
from kale_nb.runs.events import Event, Observer, RunNote, RunStarted, RunSubmitted, RunWarning, State
from kale_nb.stepbooks.model import Stepbook

Ask = Callable[[], bool]
"""Asks whether the run is to be stopped on the cluster as well."""
EXPERIMENT = "Default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How pipelines are submitted.

    Attributes:
        asked: where the server is and who asks.
        experiment: None takes the pipeline's own, else `Default`.
        wait: follow the run to its end.
        snapshot: steps work on a clone of the workspace; None does so unless the job says otherwise.
        target: what the compile is told; what it leaves open is taken from the notebook server.
        storage_class: of volumes that begin empty, where the marks name none.
        cloning: what is asked for where volumes are cloned.
        ask: asked once when the user interrupts; None leaves the run alone.
        every: seconds between two looks at the run.
        patience: seconds for which a server that does not answer is waited for.
        lost_after: the same while a run is followed.
        within: seconds in which an answer must begin.
        trouble_every: seconds between two looks at volumes that are not made.
    """

    asked: Asked = field(default_factory=Asked)
    experiment: str | None = None
    wait: bool = True
    snapshot: bool | None = None
    target: Target = field(default_factory=Target)
    storage_class: str | None = None
    cloning: Cloning = field(default_factory=Cloning)
    ask: Ask | None = None
    every: float = 2.0
    patience: float = 60.0
    lost_after: float = 900.0
    within: float = 30.0
    trouble_every: float = 30.0


class KfpEngine:
    """Runs pipelines on Kubeflow Pipelines."""

    name = "kfp"

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()

    def run(self, job: Job, observer: Observer) -> State:
        """Run a job; see `Engine.run`. RUNNING when it was submitted and is not followed, or not any more.

        UsageError for what a cluster cannot do, ServerError when the server refuses, CompileError when the pipeline cannot be one there.
        """
        options = self._options
        refuse_snapshots(job.snapshots)
        pipeline, books = only_steps(replace(job.pipeline, volumes=job.volumes), job.stepbooks, job.steps)
        job = replace(job, pipeline=pipeline, stepbooks=books)
        address = find_address(options.asked, os.environ)
        client = Client(address, patience=options.patience, within=options.within)
        server = read_server(client)
        supplies = self._supplies(job, address, server)
        package = compile_kfp(supplies.pipeline, job.stepbooks, self._target(supplies.target, server))
        started = time.time()
        claims = package.plan.claims
        _tell(observer, RunStarted, run=job.run, pipeline=job.pipeline.name, steps=job.steps, directory=job.directory,
              volumes=tuple(claim.task for claim in claims))  # fmt: skip
        self._tell_findings(job, package, server, observer)
        params = {param.name: param for param in job.pipeline.params}
        values: dict[str, Any] = {name: to_wire(params[name], value) for name, value in job.params.items()}
        refuse_large({**{name: wire_of(param).default for name, param in params.items()}, **values})

        def note(text: str) -> None:
            _tell(observer, RunNote, message=text)

        def warn(text: str) -> None:
            _tell(observer, RunWarning, message=text)

        namespace = address.namespace if server.several else None
        run_name = f"{job.pipeline.name} {job.run}"
        with supplies.taken(package.plan, note, warn) as taken, _withdrawn(client, run_name, namespace, note):
            sent = send(
                client,
                pipeline=kubernetes_name(job.pipeline.name),
                text=package.text,
                description=job.pipeline.description,
                experiment=options.experiment or job.pipeline.experiment or EXPERIMENT,
                run_name=run_name,
                parameters={**values, **taken.values},
                service_account=job.pipeline.service_account,
                namespace=namespace,
            )
        keep_made(job.directory, taken.made)
        _tell(observer, RunSubmitted, remote=remote_of(sent, address, server) | taken.told)
        if sent.doubled:
            text = f"an attempt without an answer had started the run as well; that one was stopped: {', '.join(sent.doubled)}"
            _tell(observer, RunWarning, message=text)
        watcher = Watcher(
            client, package.plan.pipeline, sent.run_id, job.directory, taken.made, observer, ask=options.ask, every=options.every,
            lost_after=options.lost_after, began=started, troubles=supplies.troubles, trouble_every=options.trouble_every,
        )  # fmt: skip
        state = watcher.follow() if options.wait else watcher.leave()
        supplies.ended(state, note, warn)
        return state

    def _supplies(self, job: Job, address: Address, server: Server) -> Supplies:
        options = self._options
        empty = job.workspace == job.directory / "empty"
        wanted = options.snapshot if options.snapshot is not None else not (job.live or empty)
        if not wanted:
            return none_taken(job, replace(options.target, snapshot=False), options.storage_class)
        return from_server(job, options, address, several=server.several)

    def _target(self, target: Target, server: Server) -> Target:
        """CreatePVC of older backends would make empty volumes: there a step makes them."""
        old = server.version is not None and server.version < NEEDED
        return replace(target, native_volumes=False) if old else target

    def _tell_findings(self, job: Job, package: Package, server: Server, observer: Observer) -> None:
        for diagnostic in package.diagnostics:
            if diagnostic.level is Severity.WARNING:
                _tell(observer, RunWarning, message=diagnostic.message)
        if job.jobs or job.fail_fast:
            _tell(observer, RunWarning, message="--jobs and --fail-fast are for runs on this machine: the cluster decides")
        if job.output_dir is not None:
            _tell(observer, RunWarning, message="executed notebooks stay on the run's volume; the reports are fetched")
        cloned = any("source" in claim.parameters for claim in package.plan.claims)
        if cloned and server.version is None:
            said = f"`{server.tag}`" if server.tag else "nothing"
            text = f"the server says {said} of its version: one before 2.17 would make empty volumes, which the first step then refuses"
            _tell(observer, RunWarning, message=text)
        elif cloned and not package.plan.target.native_volumes:
            tag = server.tag or "the backend"
            _tell(observer, RunNote, message=f"{tag}: volumes are made by a step of kale's, in the notebook's image")


@contextlib.contextmanager
def _withdrawn(client: Client, run_name: str, namespace: str | None, note: Say) -> Iterator[None]:
    """When the user interrupts the sending, stop the run that may have been started already: what it starts from is given back."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(ServerError):
            stopped = withdraw(client, run_name, namespace)
            if stopped:
                note(f"the run had been started, and was stopped: {', '.join(stopped)}")
        raise


def remote_of(sent: Sent, address: Address, server: Server) -> dict[str, str]:
    """Return what the record keeps of a run on the server: all that is needed to find it again, and no secret."""
    return {
        "host": address.host,
        "ui": address.ui,
        **({"ca_file": address.ca_file} if address.ca_file else {}),
        **address.credentials.reference,
        **({"namespace": address.namespace} if address.namespace else {}),
        **({"version": server.tag} if server.tag else {}),
        "run_id": sent.run_id,
        "run_name": sent.run_name,
        "experiment_id": sent.experiment_id,
        "pipeline_id": sent.pipeline_id,
        "version_id": sent.version_id,
        "run": f"{address.link}/#/runs/details/{sent.run_id}",
        "experiment": f"{address.link}/#/experiments/details/{sent.experiment_id}",
    }


def refuse_snapshots(snapshots: Collection[str]) -> None:
    """Refuse a run that is to begin from snapshots of this machine."""
    if snapshots:
        raise UsageError(
            "snapshots of this machine cannot be the start of a run on a cluster",
            hint="leave --at and --from out, or run with --engine local",
        )


def only_steps(
    pipeline: Pipeline, stepbooks: Sequence[Stepbook], steps: Collection[StepName]
) -> tuple[Pipeline, tuple[Stepbook, ...]]:
    """Leave the steps out that are not to run. UsageError when one that runs needs one that does not."""
    wanted = set(steps)
    for step in pipeline.steps:
        left = [before for before in step.after if before not in wanted]
        if step.name in wanted and left:
            raise UsageError(
                f"step {step.name} needs {', '.join(left)}, whose values are on this machine",
                hint="run all steps, or with --engine local",
            )
    kept = tuple(step for step in pipeline.steps if step.name in wanted)
    return replace(pipeline, steps=kept), tuple(book for book in stepbooks if book.step in wanted)


def _tell(observer: Observer, kind: Callable[..., Event], **given: Any) -> None:
    observer(kind(time=time.time(), **given))
