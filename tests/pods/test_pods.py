"""Compiled pipelines whose steps are real pods come to what a local run comes to, and leave the notebook server's volume and its snapshot as
they were."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines.kfp.compiling import Package
from kale_nb.engines.kfp.target import Cleanup, Target
from tests.k8s.driver import Driver
from tests.k8s.rest import until
from tests.kfp.running import Ran, Server, arguments_of, content
from tests.kfp.sources import EXAMPLES, write_notebook
from tests.kfp.test_execution import CHAIN, PARAMS, SCRIPT, assert_same, run_locally
from tests.pods.executing import Execution

pytestmark = [pytest.mark.pods, pytest.mark.slow]
TARGET = Target(image="registry.test/notebook:1")


class PodServer(Server):
    """A notebook server whose home folder is the volume of a claim."""

    def __init__(self, driver: Driver, folder: Path) -> None:
        super().__init__(folder)
        self.driver = driver
        driver.space.claim("work", storage_class=driver.storage_class)
        self.home = driver.folder("work")

    def freeze(self) -> Path:
        """Take the snapshot `home`; return the folder with its content."""
        self.driver.space.snapshot("home", "work")
        self.driver.space.ready("home")
        return self.driver.snapshot_folder("home")

    def run_pods(self, package: Package, params: dict[str, Any] | None = None) -> Ran:
        """Run a compiled pipeline on the node."""
        execution = Execution(self.driver, package.text, self.folder / "run")
        arguments = arguments_of(package, params or {}, "home", self.driver.storage_class)
        problem = execution.run(arguments)
        return Ran(package=package, problem=problem, tasks=execution.tasks, cluster=self.folder / "run")


@pytest.fixture
def server(driver: Driver, tmp_path: Path) -> PodServer:
    return PodServer(driver, tmp_path / "server")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_comes_to_the_same_in_pods(example: Path, server: PodServer, tmp_path: Path) -> None:
    (server.home / "project").mkdir()
    (server.home / "other.txt").write_text("of another project")
    shutil.copy(example, server.home / "project")
    params = PARAMS.get(example.stem, {})
    package = server.compile(f"project/{example.name}", TARGET)
    snapshot = server.freeze()
    before = content(server.home)
    assert content(snapshot) == before
    ran = server.run_pods(package, params)
    assert (content(server.home), content(snapshot)) == (before, before)
    (tmp_path / "here").mkdir()
    shutil.copy(example, tmp_path / "here")
    assert_same(ran, run_locally(tmp_path / "here" / example.name, params), ran.code / "data")
    assert (ran.claim() / "other.txt").read_text() == "of another project"


@pytest.mark.parametrize(
    ("settings", "data"),
    [("", None), (', marshal_volume=True, marshal_volume_size="10Gi", marshal_path="/data/marshal"', "/data/marshal")],
    ids=["hidden folder", "marshal volume"],
)
def test_the_documented_script_comes_to_the_same_in_pods(
    settings: str, data: str | None, server: PodServer, tmp_path: Path
) -> None:
    script = SCRIPT.replace("SETTINGS", settings)
    (server.home / "kale_sdk.py").write_text(script)
    package = server.compile("kale_sdk.py", TARGET)
    snapshot = server.freeze()
    before = content(server.home)
    ran = server.run_pods(package, {"rows": 40})
    assert (content(server.home), content(snapshot)) == (before, before)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "kale_sdk.py").write_text(script)
    left = ran.code / "data" if data is None else ran.claim("marshal-volume") / ".kale"
    assert_same(ran, run_locally(tmp_path / "here" / "kale_sdk.py", {"rows": 40}), left)


def test_without_a_snapshot_values_pass_as_artifacts(server: PodServer) -> None:
    write_notebook(CHAIN, server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", replace(TARGET, snapshot=False))
    ran = server.run_pods(package, {"n": 5})
    assert ran.problem is None, ran.tasks[-1]
    assert "6" in ran.task("three")["stdout"].splitlines()


def test_a_failure_is_told_in_the_pods_log_and_the_clone_goes_with_the_runs_pods(server: PodServer) -> None:
    """A pod that has ended keeps its claims: Kubernetes lets a deleted one go when the last pod that names it is gone."""
    write_notebook(CHAIN.replace("print(x)", "y = 1\nprint(y / 0)"), server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", replace(TARGET, cleanup=Cleanup.DELETE))
    server.freeze()
    ran = server.run_pods(package)
    assert ran.problem is not None
    assert "three" not in ran.names()
    assert ran.task("two")["code"] == 1
    assert "nb.ipynb[cell 4]:4: ZeroDivisionError: division by zero" in ran.task("two")["stdout"]
    space = server.driver.space
    [clone] = [task["claim"] for task in ran.tasks if task["task"] == "delete-volume"]
    assert "deletionTimestamp" in space.claim_now(clone)["metadata"]
    space.rest.delete(f"{space.path}/pods")
    until(lambda: space.rest.find(f"{space.claims_path}/{clone}") is None, "the clone is gone")


def test_a_step_runs_as_the_notebook_servers_user(server: PodServer) -> None:
    """As root everything can be written; a clone keeps the owners of what is in it."""
    text = CHAIN.replace("x = [n]", "import os\nx = [n]\nopen('made', 'w').close()\nprint(os.getuid(), os.getgid())")
    write_notebook(text, server.home / "nb.ipynb")
    package = server.compile("nb.ipynb", replace(TARGET, user=1000, group=100))
    for path in [server.home, *server.home.rglob("*")]:
        shutil.chown(path, 1000, 100)
    for path in (server.folder, *server.folder.parents[:1]):
        path.chmod(0o755)
    server.freeze()
    ran = server.run_pods(package)
    assert ran.problem is None, ran.tasks[-1]
    assert "1000 100" in ran.task("one")["stdout"]
    assert (ran.claim() / "made").stat().st_uid == 1000
