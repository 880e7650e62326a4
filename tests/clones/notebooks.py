"""A notebook server of Kubeflow as far as a submission sees it: its pod on the API server, its home folder, its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.k8s.driver import Driver
from tests.k8s.space import Account, Rule, Space
from tests.kfp import pod as stand_in
from tests.kfp_api.server import Server

HOME = "/home/jovyan"
SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
RIGHTS: tuple[Rule, ...] = (
    (SNAPSHOT_GROUP, "volumesnapshots", "create get list delete"),
    ("", "persistentvolumeclaims", "get list"),
    ("", "pods", "get list"),
    ("", "events", "list"),
)
"""What a submitter needs in the namespace."""
READING: tuple[Rule, ...] = (
    (SNAPSHOT_GROUP, "volumesnapshotclasses volumesnapshotcontents", "get list"),
    ("storage.k8s.io", "storageclasses", "get list"),
    ("", "persistentvolumes", "get"),
)
"""What it is glad to have in the whole cluster."""
ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"


class Notebook:
    """A pod `notebook-0` with the claim `home` at /home/jovyan, and more claims where they are asked for.

    Attributes:
        claims: where each claim is mounted.
    """

    def __init__(self, space: Space, driver: Driver, server: Server, folder: Path) -> None:
        self.space, self.driver, self.server, self.folder = space, driver, server, folder
        self.claims: dict[str, str] = {}

    def open(self, claims: Mapping[str, str] | None = None, **pod: Any) -> Path:
        """Make claims and pod; return the folder of the first claim."""
        self.claims = dict(claims or {"home": HOME})
        for name in self.claims:
            if self.space.rest.find(f"{self.space.claims_path}/{name}") is None:
                self.space.claim(name, storage_class=self.driver.storage_class)
        folders = [self.driver.folder(name) for name in self.claims]
        made = self.space.notebook(claims=self.claims, **pod)
        if not made["spec"].get("nodeName"):
            target = {"metadata": {"name": made["metadata"]["name"]}, "target": {"kind": "Node", "name": "node"}}
            self.space.rest.post(f"{self.space.path}/pods/{made['metadata']['name']}/binding", target)
        return folders[0]

    def open_here(self, *names: str, **pod: Any) -> Path:
        """The same with every claim mounted at its own folder of this machine, for submissions from this process."""
        for name in names or ("home",):
            self.space.claim(name, storage_class=self.driver.storage_class)
        return self.open({name: str(self.driver.folder(name)) for name in names or ("home",)}, **pod)

    def account(self, rules: Sequence[Rule] = RIGHTS, everywhere: Sequence[Rule] = READING, name: str = "submitter") -> Account:
        return self.space.account(name, *rules, everywhere=everywhere)

    def run(
        self,
        *words: str,
        account: Account,
        cwd: str = HOME,
        env: Mapping[str, str] | None = None,
        module: str = "kale_nb",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a terminal in the notebook server would: its volumes at their places, its host name, its account."""
        return self._done(self.command(*words, account=account, cwd=cwd, module=module), env)

    def _done(self, words: list[str], env: Mapping[str, str] | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            env=self.env(env),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=1200,
            check=False,
        )

    def shell(self, text: str, account: Account) -> subprocess.CompletedProcess[str]:
        """Run a line of a shell there, `kale` being this checkout's."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return self._done(self.inside("bash", "-c", text, account=account), {"PATH": path})

    def command(self, *words: str, account: Account, cwd: str = HOME, module: str = "kale_nb") -> list[str]:
        """Return the words that run kale there."""
        return self.inside(sys.executable, "-m", module, *words, account=account, cwd=cwd)

    def inside(self, *words: str, account: Account, cwd: str = HOME) -> list[str]:
        """Return the words that run a command as in the notebook's container."""
        files = self.space.mounted_account(account, self.folder / f"account-{account.name}")
        mounts = [[str(self.driver.folder(name)), path] for name, path in self.claims.items()]
        job = self.folder / "notebook.json"
        job.write_text(json.dumps({"mounts": [*mounts, [str(files), f"/{ACCOUNT}"]], "cwd": cwd}), encoding="utf-8")
        inside = 'hostname notebook-0 && exec "$@"'
        return [
            *("unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", inside, "sh"),
            *(sys.executable, stand_in.__file__, str(job), *words),
        ]

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        where = urlsplit(self.space.cluster.url)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KALE_", "KF_", "KUBE"))}
        return {
            **kept,
            "HOME": HOME,
            "HOSTNAME": "notebook-0",
            "NB_PREFIX": f"/notebook/{self.space.name}/notebook",
            "KUBERNETES_SERVICE_HOST": where.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(where.port),
            "KF_PIPELINES_ENDPOINT": self.server.url,
            "TERM": "dumb",
            **(more or {}),
        }

    def record(self, folder: Path | None = None) -> dict[str, Any]:
        """Return the record of the last run whose notebook lies in a folder of the home volume."""
        runs = sorted((folder or self.driver.folder(next(iter(self.claims)))).glob(".kale/runs/*/run.json"))
        found: dict[str, Any] = json.loads(runs[-1].read_text(encoding="utf-8"))
        return found

    def snapshots(self) -> list[dict[str, Any]]:
        return self.space.rest.items(self.space.snapshots_path)
