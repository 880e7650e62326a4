"""Submissions from this process, which is as good as in the notebook server's pod: its environment says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kale_nb.compiler import compile_path
from kale_nb.engines.kfp.cluster.snapshots import Patience
from kale_nb.engines.kfp.submission.address import Asked
from kale_nb.engines.kfp.submission.engine import KfpEngine, Options
from kale_nb.engines.kfp.submission.taking import Cloning
from kale_nb.engines.kfp.target import Target
from kale_nb.errors import KaleError
from kale_nb.planning import RunOptions
from kale_nb.runner import run
from kale_nb.runs.events import Event, RunNote, RunSubmitted, RunWarning
from kale_nb.runs.record import RunRecord
from tests.clones.notebooks import Notebook
from tests.k8s.space import Account
from tests.kfp.sources import write_notebook

CHAIN = "%pipeline --name chain\n\n%%step one\nx = 1\n\n%%step two --after one\nprint(x)"
ENDED = [("SUCCEEDED", {"create-volume-1": "SUCCEEDED", "one": "SUCCEEDED", "two": "SUCCEEDED"})]
"""What the Kubeflow Pipelines server plays: the run is not executed."""


EVERY = 30.0


class Here:
    """This process as one in the pod of a notebook server.

    Attributes:
        said: notes of the last submission.
        warned: its warnings.
    """

    def __init__(self, notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
        self.notebook = notebook
        self.patch = monkeypatch
        self.said: list[str] = []
        self.warned: list[str] = []
        self.remote: dict[str, str] = {}
        self.events: list[Event] = []

    def enter(self, account: Account | None = None, url: str | None = None) -> None:
        """Take on the pod's environment, asking as an account (the administrator without one), by way of a proxy's address if one is given."""
        space = self.notebook.space
        config = space.cluster.kubeconfig(
            self.notebook.folder / "user.json", None if account is None else account.token, namespace=space.name, url=url
        )
        self.patch.setenv("KUBECONFIG", str(config))
        self.patch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        self.patch.setenv("HOSTNAME", "notebook-0")

    def submit(self, path: Path, *, frames: Any = ENDED, target: Target | None = None, wait: bool = True, patience: float = 5.0,
               storage_class: str | None = None, snapshots: Patience | None = None, **cloning: Any) -> RunRecord:  # fmt: skip
        """Submit a notebook and follow the run, which the server plays."""
        if frames is not None:
            self.notebook.server.deployment.scripts = [frames]
        self.said, self.warned, self.events = [], [], []
        options = Options(
            asked=Asked(host=self.notebook.server.url, namespace=self.notebook.space.name),
            every=0.02,
            trouble_every=EVERY,
            patience=patience,
            wait=wait,
            target=target or Target(),
            storage_class=storage_class,
            cloning=Cloning(patience=snapshots or Patience(timeout=20.0, grace=2.0), **cloning),
        )
        return run(compile_path(path), RunOptions(engine="kfp", workspace=path.parent), (self._hear,), engine=KfpEngine(options))

    def refused(self, path: Path, **given: Any) -> KaleError:
        """Submit a notebook that cannot be; return why."""
        with pytest.raises(KaleError) as caught:
            self.submit(path, **given)
        return caught.value

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        match event:
            case RunNote():
                self.said.append(event.message)
            case RunWarning():
                self.warned.append(event.message)
            case RunSubmitted():
                self.remote = dict(event.remote)

    @property
    def given(self) -> dict[str, Any]:
        """The parameters of the last run that the server was asked for."""
        found: dict[str, Any] = self.notebook.server.deployment.runs[-1]["runtime_config"]["parameters"]
        return found


def chain(folder: Path, text: str = CHAIN) -> Path:
    folder.mkdir(exist_ok=True)
    return write_notebook(text, folder / "nb.ipynb")
