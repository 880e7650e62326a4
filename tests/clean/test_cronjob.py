"""The CronJob that `kale clean` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_nb.cli.command import main
from kale_nb.cli.gc_command import age
from kale_nb.engines.kfp.cluster.connection import ClusterAsked, find_cluster
from kale_nb.engines.kfp.cluster.cronjob import cronjob_yaml
from kale_nb.engines.kfp.cluster.inventory import read_inventory
from kale_nb.engines.kfp.cluster.removing import Selection, choose, remove
from kale_nb.errors import UsageError
from tests.clean.making import belongs, put_claim, put_snapshot
from tests.doctor.looking import apply, forget, until_it
from tests.k8s.cluster import Cluster
from tests.k8s.schemas import check
from tests.k8s.space import Space

Out = pytest.CaptureFixture[str]


def written(capsys: Out, *words: str) -> list[dict[str, Any]]:
    assert main(["clean", "--cronjob", "--image", "registry.test/notebook:1", "--namespace", "team", *words]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def test_it_is_as_current_kubernetes_wants_it(capsys: Out) -> None:
    documents = written(capsys, "--older-than", "30d")
    for each in documents:
        check(each)
    assert [each["kind"] for each in documents] == [
        "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "CronJob",
    ]  # fmt: skip


def test_its_command_is_the_one_that_was_given(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(*words: str) -> list[str]:
        pod = written(capsys, *words)[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        return list(pod["containers"][0]["command"][3:])

    assert command("--older-than", "30d", "--schedule", "@daily") == ["clean", "--older-than=30d", "--yes"]
    assert command("--keep", "5", "--pipeline", "train", "--expired") == [
        "clean",
        "--pipeline=train",
        "--keep=5",
        "--expired",
        "--yes",
    ]
    assert command("--all", "--owner", "bob") == ["clean", "--owner=bob", "--all", "--yes"]
    assert command("--older-than", "90m") == ["clean", "--older-than=0.0625d", "--yes"]
    assert age("0.0625d") == age("90m")


def test_mine_is_who_writes_it_and_not_the_job(
    capsys: Out, cluster: Cluster, space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path / "config", namespace=space.name)))
    monkeypatch.setenv("KALE_OWNER", "ada")
    assert main(["clean", "--cronjob", "--image", "x", "--mine", "--all"]) == 0
    job = list(yaml.safe_load_all(capsys.readouterr().out))[-1]
    assert job["metadata"]["namespace"] == space.name
    assert "--owner=ada" in str(job)


@pytest.mark.parametrize("schedule", ["", "nightly", "* * * *", "0 3 * * * *", "0 3 * * x", "@sometimes", "0 3 * * $(x)"])
def test_a_schedule_that_is_none(schedule: str) -> None:
    with pytest.raises(UsageError, match="is no schedule"):
        cronjob_yaml(namespace="team", schedule=schedule, image="x", words=[])


@pytest.mark.parametrize("schedule", ["0 3 * * *", "*/15 0-6,22 1,15 JAN-MAR mon", "@weekly"])
def test_a_schedule(schedule: str) -> None:
    assert "kind: CronJob" in cronjob_yaml(namespace="team", schedule=schedule, image="x", words=[])


def test_it_needs_an_image_and_a_namespace(capsys: Out) -> None:
    assert main(["clean", "--cronjob"]) == 2
    assert "--image" in capsys.readouterr().err
    assert main(["clean", "--cronjob", "--image", "x"]) == 2
    assert "--namespace" in capsys.readouterr().err


def test_a_server_takes_it_and_its_account_can_clean(cluster: Cluster, space: Space, tmp_path: Path) -> None:
    text = cronjob_yaml(namespace=space.name, schedule="0 3 * * *", image="x:1", words=["--older-than=30d"])
    # The tests' server is older than batch/v1 of CronJobs, whose fields are the same.
    older = text.replace("apiVersion: batch/v1\n", "apiVersion: batch/v1beta1\n")
    assert [each["kind"] for each in apply(space.rest, older, dry_run=True)][-1] == "CronJob"
    assert space.rest.items(f"/apis/batch/v1beta1/namespaces/{space.name}/cronjobs") == [], "it was a dry run"
    apply(space.rest, older)
    try:
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = space.rest.post(f"{space.path}/serviceaccounts/kale-clean/token", asked)["status"]["token"]
        config = cluster.kubeconfig(tmp_path / "config", token, namespace=space.name)
        reached = find_cluster(ClusterAsked(kubeconfig=config), {})
        put_claim(space, "clone", belongs())
        put_snapshot(space, "snap", "nothing", belongs())
        until_it(lambda: _may(reached), "the rights are in force")
        outcome = remove(reached, choose(read_inventory(reached), Selection(runs=(belongs().run,))))
        assert [kept.name for kept in outcome.gone] == ["clone", "snap"]
    finally:
        forget(space.rest, older)


def _may(reached: Any) -> bool:
    from kale_nb.engines.kfp.cluster.rights import cleaning_rights

    return all(reached.may(right)[0] for right in cleaning_rights())
