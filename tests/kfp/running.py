"""A cluster of folders: a notebook server's workspace, its snapshot, and runs of compiled pipelines on clones by kfp's own orchestrator."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from kale_nb.compiler import compile_path
from kale_nb.engines.kfp.code import stage_code
from kale_nb.engines.kfp.compiling import Package, compile_kfp
from kale_nb.engines.kfp.plan import Origin
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.kfp.wires import to_wire

ORCHESTRATOR = Path(__file__).with_name("orchestrator.py")


@functools.cache
def missing() -> str | None:
    """Say what this machine lacks to run pipelines by kfp's orchestrator."""
    if importlib.util.find_spec("kfp") is None or importlib.util.find_spec("kfp.kubernetes") is None:
        return "kfp is not installed: pip install 'kale-nb[kfp]'"
    if shutil.which("unshare") is None:
        return "there is no `unshare`"
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs none /mnt"],
        capture_output=True,
        check=False,
    )
    return None if tried.returncode == 0 else "mount namespaces are not allowed here: it takes root"


def needs_orchestrator() -> None:
    """Skip the test, or under CI fail it, where it cannot run."""
    lack = missing()
    if lack is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lack)


def templates() -> Path:
    """Return where nbconvert's templates are: in an environment on top of another they are not looked for there."""
    import nbconvert

    return Path(nbconvert.__file__).parents[4] / "share" / "jupyter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run by the orchestrator.

    Attributes:
        problem: why it failed; None: it succeeded.
        tasks: in the order in which they ran; of a task that was tried again, one for each try.
    """

    package: Package
    problem: str | None
    tasks: list[dict[str, Any]]
    cluster: Path

    def task(self, name: str) -> dict[str, Any]:
        """Return the last try of a task."""
        return [task for task in self.tasks if task["task"] == name][-1]

    def names(self) -> list[str]:
        return [task["task"] for task in self.tasks]

    def claim(self, task: str = "volume-1") -> Path:
        """Return the folder of the claim that `create-TASK` made."""
        suffix = f"-{task.removesuffix('-volume')}"
        [name] = [t["claim"] for t in self.tasks if t["task"] == "create-volume" and t["claim"].endswith(suffix)]
        return self.cluster / "claims" / name

    @property
    def code(self) -> Path:
        """The run's hidden folder in the workspace's clone."""
        return self.claim() / ".kale" / "kfp" / self.package.plan.code.digest

    def executed(self, step: str) -> dict[str, Any]:
        return json.loads((self.code / "executed" / f"{step}.ipynb").read_text(encoding="utf-8"))


class Server:
    """A notebook server: its home folder, which is the root of a volume."""

    def __init__(self, folder: Path) -> None:
        needs_orchestrator()
        self.folder = folder
        self.home = folder / "server"
        self.home.mkdir(parents=True)
        self.cluster = folder / "cluster"
        (self.cluster / "claims").mkdir(parents=True)

    def compile(self, source: str, target: Target, **options: Any) -> Package:
        """Compile a file of the home folder, and put its code there."""
        path = self.home / source
        compiled = compile_path(path, carry=not target.snapshot, **options)
        inside = path.parent.relative_to(self.home).as_posix()
        package = compile_kfp(compiled.pipeline, compiled.stepbooks, replace(target, folder=inside))
        if target.snapshot:
            stage_code(package.plan.code, self.home)
        return package

    def snapshot(self, name: str, folder: Path | None = None) -> Path:
        """Copy a volume, by default the home folder, as it is now."""
        kept = self.cluster / "snapshots" / name
        shutil.copytree(folder or self.home, kept, symlinks=True)
        return kept

    def run(self, package: Package, params: dict[str, Any] | None = None, *, source: str = "home", **more: Any) -> Ran:
        """Run a compiled pipeline; its clones are of the snapshots named after their volumes, the workspace's of `source`."""
        arguments = arguments_of(package, params or {}, source)
        text = self.folder / "pipeline.yaml"
        text.write_text(package.text, encoding="utf-8")
        job = self.folder / "job.json"
        told = {"yaml": str(text), "arguments": arguments, "cluster": str(self.cluster), "python": sys.executable, **more}
        told["env"] = {"JUPYTER_PATH": str(templates()), **more.get("env", {})}
        job.write_text(json.dumps(told), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(ORCHESTRATOR), str(job)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        told = json.loads(done.stdout.splitlines()[-1])
        return Ran(package=package, problem=told["problem"], tasks=told["tasks"], cluster=self.cluster)


def arguments_of(package: Package, params: dict[str, Any], source: str, storage_class: str = "standard") -> dict[str, Any]:
    """Return what a run of a compiled pipeline is given."""
    known = {param.name: param for param in package.plan.pipeline.params}
    arguments: dict[str, Any] = {name: to_wire(known[name], value) for name, value in params.items()}
    for claim in package.plan.claims:
        for what, name in claim.parameters.items():
            if what == "source" and claim.origin is Origin.CLONE:
                kept = source if claim.use == "workspace" else claim.name
                arguments[name] = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": kept}
            elif what == "size" and claim.size is None:
                arguments[name] = "5Gi"
            elif what == "class" and claim.storage_class is None:
                arguments[name] = storage_class
    return arguments


def content(folder: Path) -> dict[str, str]:
    """Return every path of a folder with what tells a change: kind, mode, and the digest of its bytes or its target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link {os.readlink(path)}"
        elif path.is_dir():
            found[name] = f"folder {path.stat().st_mode:o}"
        else:
            found[name] = f"file {path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found
