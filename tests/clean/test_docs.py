"""The commands that the guide shows for looking and keeping house do what it says, against the tests' API server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from kale_nb.engines.kfp.cluster.rights import NEEDS, Grant, Subject, all_rights, manifest
from tests.clean.making import belongs, put_claim, put_snapshot
from tests.doctor.looking import account_with, apply, forget, look, rights_in, until_it
from tests.k8s.cluster import Cluster
from tests.k8s.driver import Driver
from tests.k8s.space import Space
from tests.kfp_api.server import Server

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guide" / "kubeflow.md"
BLOCK = re.compile(r"<!-- not run: it takes a cluster, which tests/k8s has -->\n```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="only in a checkout")


def section(title: str) -> str:
    return PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_table_of_rights_is_that_of_the_code() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section("Rights").splitlines() if line.startswith("| `")
    ]
    expected = [
        [
            f"`{need.resource.full_name}`",
            ", ".join(need.verbs),
            "the run's pods" if need.who == "run" else "who submits",
            "yes" if need.required else f"no: {need.without}",
            need.why,
        ]
        for need in NEEDS
    ]
    assert rows == expected


def test_the_role_in_full_is_that_of_the_code() -> None:
    shown = section("Rights").partition("```yaml\n")[2].partition("```")[0]
    everybody = Subject(kind="ServiceAccount", name="default-editor", namespace="team-a")
    rights = tuple(dict.fromkeys((*all_rights(), *all_rights("run"))))
    assert shown == manifest([Grant(subject=everybody, rights=rights, namespace="team-a")])
    assert rights_in(shown) == {(right.resource.group, right.resource.plural, right.verb) for right in rights}
    assert yaml.safe_load_all(shown)


@pytest.fixture
def shown_cluster(cluster: Cluster, space: Space, driver: Driver, tmp_path: Path) -> Space:
    space.claim("notebook-workspace", size="10Gi", storage_class=driver.storage_class)
    space.bound("notebook-workspace")
    for run in ("20261124-063101-quickstart-o2fm", "20261126-101500-quickstart-k7xw"):
        of = belongs(run, pipeline="quickstart")
        name = f"quickstart-workspace-{run[-4:]}"
        put_snapshot(space, name, "notebook-workspace", of)
        space.ready(name)
        put_claim(space, f"clone-{run[-4:]}", of, snapshot=name, size="10Gi", storage_class=driver.storage_class)
        space.bound(f"clone-{run[-4:]}")
        time.sleep(1.1)  # the cluster's clock tells whole seconds, by which they are listed
    return space


@pytest.mark.slow
def test_the_commands_of_the_page_do_what_it_says(
    cluster: Cluster, shown_cluster: Space, driver: Driver, server: Server, tmp_path: Path
) -> None:
    space = shown_cluster
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    server.deployment.prefix, server.deployment.several = "/pipeline", True
    wanted = [right for right in all_rights() if (right.verb, right.resource.plural) != ("create", "volumesnapshots")]
    account = account_with(space, "default-editor", [*wanted, *all_rights("run")])
    config = cluster.kubeconfig(tmp_path / "config", account.token, namespace=space.name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "KF_PIPELINES_ENDPOINT": server.url, "KUBECONFIG": str(config), "KALE_KFP_NAMESPACE": space.name,
           "TERM": "dumb", "TZ": "UTC"}  # fmt: skip
    names = {
        server.url: "https://kubeflow.example.org/pipeline", cluster.url: "https://10.0.0.1", driver.name: "csi.example.org",
        driver.storage_class: "standard", driver.snapshot_class: "snapshots", space.name: "team-a",
    }  # fmt: skip
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 2
    applied = ""
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if command.startswith("kubectl apply"):
                applied = (tmp_path / "rights.yaml").read_text()
                apply(space.rest, applied)
                until_it(lambda: not look(config, workspace="notebook-workspace").asks, "the rights are in force")
                continue
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200,
                check=False,
            )  # fmt: skip
            told = done.stdout
            for ours, theirs in names.items():
                told = told.replace(ours, theirs)
            assert done.returncode == (1 if "--yaml" in command or "a run cannot work" in told else 0), told + done.stderr
            assert_shows(told, shown, command)
    if applied:
        forget(space.rest, applied)


def assert_shows(told: str, shown: str, command: str) -> None:
    """Everything on the page is printed, in its order, however lines are broken; `...` stands for what is left out."""
    said = normal(told)
    position = 0
    for line in shown.splitlines():
        for text in map(normal, line.split("...")):
            found = said.find(text, position)
            assert found >= 0, f"$ {command}\n{text!r} is not in\n{told}"
            position = found + len(text)


def normal(line: str) -> str:
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", line)
    line = re.sub(r"kale-nb-[0-9a-f]{8}", "kale-nb-HASH", line)
    line = re.sub(r"Kubernetes v\S+", "Kubernetes VERSION", line)
    return " ".join(re.sub(r"\b\d+ (s|min|h|d)\b", "AGE", line).split())


def test_every_option_of_the_sections_is_one() -> None:
    for title, command in (("Is all there?", "doctor"), ("Keeping house", "clean")):
        done = subprocess.run([sys.executable, "-m", "kale_nb", command, "--help"], capture_output=True, text=True, check=True)
        options = set(re.findall(r"^\| `(--[a-z-]+)", section(title), re.MULTILINE))
        assert options, title
        for option in options:
            assert option in done.stdout, option
