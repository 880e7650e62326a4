"""What a submission makes on the cluster, and what it gives the pipeline."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_nb.cli.command import main
from kale_nb.engines.kfp.cluster.labels import moment
from kale_nb.engines.kfp.cluster.snapshots import Patience
from kale_nb.engines.kfp.target import Cleanup, Target
from kale_nb.runs.events import State, VolumeCreated
from tests.clones.notebooks import Notebook
from tests.clones.submitting import CHAIN, Here, chain

GIB = 1024**3
DIGEST = f"registry.test/notebook@sha256:{'0' * 64}"


def sent(notebook: Notebook) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the last pipeline that was uploaded: its spec, and the settings of each executor."""
    spec = notebook.server.deployment.versions[-1]["pipeline_spec"]
    return spec["pipeline_spec"], spec["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def with_volumes(text: str, *volumes: dict[str, Any]) -> str:
    return f"# notebook metadata: {json.dumps({'kubeflow_notebook': {'volumes': list(volumes)}})}\n\n{text}"


def test_a_snapshot_of_the_workspace_is_taken_and_given_to_the_run(here: Here, notebook: Notebook) -> None:
    home = notebook.open_here()
    path = chain(home / "project")
    here.enter(notebook.account())
    record = here.submit(path)
    assert record.state is State.SUCCEEDED
    [snapshot] = notebook.snapshots()
    name = snapshot["metadata"]["name"]
    assert name.startswith(f"kale-{record.id}-")
    assert snapshot["status"]["readyToUse"] is True
    assert snapshot["spec"]["volumeSnapshotClassName"] == notebook.driver.snapshot_class
    assert snapshot["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "kale-nb",
        "kale-nb/pipeline": "chain",
        "kale-nb/run": record.id,
        "kale-nb/owner": "notebook",
        "kale-nb/volume": "workspace",
    }
    assert here.given["kale_volume_1_source"] == {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}
    assert here.given["kale_volume_1_size"] == "1Gi"
    assert here.given["kale_volume_1_class"] == notebook.driver.storage_class
    assert here.given["kale_volume_1_annotations"]["kale-nb/run"] == record.id
    assert here.given["kale_volume_1_annotations"]["kale-nb/volume"] == "workspace"
    assert record.remote["snapshot workspace"] == name
    [made] = [event for event in here.events if isinstance(event, VolumeCreated)]
    assert (made.step, made.volume, made.size, str(made.mount_point)) == ("create-volume-1", "workspace", GIB, str(home))
    [staged] = (home / ".kale" / "kfp").iterdir()
    taken = notebook.driver.snapshot_folder(name)
    assert (taken / staged.relative_to(home) / "steps" / "one.ipynb").read_bytes() == (
        staged / "steps" / "one.ipynb"
    ).read_bytes()


def test_steps_are_as_the_notebook_server_is(here: Here, notebook: Notebook) -> None:
    home = notebook.open_here("home", "data")
    data = notebook.claims["data"]
    path = chain(home / "deep" / "project") if (home / "deep").mkdir() is None else None
    assert path is not None
    here.enter()
    here.submit(path)
    spec, executors = sent(notebook)
    container = spec["deploymentSpec"]["executors"]["exec-one"]["container"]
    assert container["image"] == DIGEST
    assert {e["name"]: e["value"] for e in container["env"]} == {
        "HOME": str(home),
        "KALE_WORKSPACE": str(home),
        "KALE_DATA_DATA": data,
    }
    assert json.loads(container["args"][1])["folder"] == "deep/project"
    assert [
        (m["mountPath"], m["pvcNameParameter"]["taskOutputParameter"]["producerTask"]) for m in executors["exec-one"]["pvcMount"]
    ] == [
        (str(home), "create-volume-1"),
        (data, "create-volume-2"),
    ]
    assert here.given["kale_volume_2_annotations"]["kale-nb/volume"] == "data"
    assert sorted(s["metadata"]["labels"]["kale-nb/volume"] for s in notebook.snapshots()) == ["data", "workspace"]


def test_other_volumes_than_the_workspace_may_be_left_out(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here("home", "data") / "project")
    here.enter()
    here.submit(path, only_workspace=True)
    assert [s["spec"]["source"]["persistentVolumeClaimName"] for s in notebook.snapshots()] == ["home"]


def test_what_the_notebook_says_of_a_mount_point_counts(here: Here, notebook: Notebook) -> None:
    home = notebook.open_here("home", "data")
    itself = {"name": "data", "mount_point": notebook.claims["data"], "type": "pvc"}
    path = chain(home / "project", with_volumes(CHAIN, itself))
    here.enter()
    here.submit(path)
    _, executors = sent(notebook)
    assert executors["exec-one"]["pvcMount"][1]["pvcNameParameter"] == {"runtimeValue": {"constant": "data"}}
    assert len(notebook.snapshots()) == 1
    assert (
        "the claim data is ReadWriteOnce and in use by this notebook server: steps can mount it on this server's node only"
        in "\n".join(here.warned)
    )


def test_the_workspace_of_another_server_in_the_metadata_is_this_one_s(here: Here, notebook: Notebook) -> None:
    home = notebook.open_here()
    path = chain(home / "project", with_volumes(CHAIN, {"name": "workspace-old", "mount_point": str(home), "type": "pvc"}))
    here.enter()
    assert here.submit(path).state is State.SUCCEEDED
    assert "the notebook calls its workspace workspace-old; on this server it is home, which is taken" in here.warned
    assert [s["spec"]["source"]["persistentVolumeClaimName"] for s in notebook.snapshots()] == ["home"]


def test_a_workspace_that_is_a_folder_of_its_volume_is_mounted_as_such(here: Here, notebook: Notebook) -> None:
    notebook.space.claim("home", storage_class=notebook.driver.storage_class)
    inner = notebook.driver.folder("home") / "users" / "ana"
    inner.mkdir(parents=True)
    notebook.open({"home": str(inner)}, sub_paths={"home": "users/ana"})
    here.enter()
    here.submit(chain(inner / "project"))
    _, executors = sent(notebook)
    [mount] = executors["exec-one"]["pvcMount"]
    assert (mount["mountPath"], mount["subPath"]) == (str(inner), "users/ana")


def test_sizes_are_the_largest_of_what_is_asked_given_and_needed(here: Here, notebook: Notebook) -> None:
    notebook.driver.of("home").restore_size = 3 * GIB + 1
    path = chain(notebook.open_here() / "project")
    here.enter()
    here.submit(path)
    assert here.given["kale_volume_1_size"] == str(3 * GIB + 1)


def test_a_driver_that_tells_no_size(here: Here, notebook: Notebook) -> None:
    notebook.driver.behaviour.tells_size = False
    path = chain(notebook.open_here() / "project")
    here.enter()
    here.submit(path)
    assert here.given["kale_volume_1_size"] == "1Gi"


def test_access_modes_are_those_of_the_source(here: Here, notebook: Notebook) -> None:
    notebook.space.claim("home", storage_class=notebook.driver.storage_class, modes=("ReadWriteOnce", "ReadWriteMany"))
    folder = notebook.driver.folder("home")
    notebook.open({"home": str(folder)})
    here.enter()
    here.submit(chain(folder / "project"))
    spec, _ = sent(notebook)
    modes = spec["root"]["inputDefinitions"]["parameters"]["kale_volume_1_access_modes"]["defaultValue"]
    assert here.given.get("kale_volume_1_access_modes", modes) == ["ReadWriteOnce", "ReadWriteMany"]


WIDE = "%pipeline --name wide\n\n%%step a\nx = 1\n\n%%step b\ny = 2\n\n%%step c --after a,b\nprint(x, y)"


def test_parallel_steps_on_a_volume_of_one_node_are_warned_about_or_kept_on_one(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project", WIDE)
    here.enter()
    frames = [("SUCCEEDED", dict.fromkeys(("create-volume-1", "a", "b", "c"), "SUCCEEDED"))]
    here.submit(path, frames=frames)
    assert any("may run at once and share `home`, which one node only can mount" in text for text in here.warned), here.warned
    here.submit(path, frames=frames, one_node=True)
    assert not any("one node" in text for text in here.warned)
    _, executors = sent(notebook)
    [term] = executors["exec-a"]["nodeAffinity"]
    [match] = term["matchFields"]
    assert (match["key"], match["operator"], len(match["values"])) == ("metadata.name", "In", 1)


def test_what_is_made_can_carry_an_end(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter()
    here.submit(path, keep_for=3600.0)
    [snapshot] = notebook.snapshots()
    end = moment(snapshot["metadata"]["annotations"]["kale-nb/expires"])
    assert end is not None
    assert 3500 < end.timestamp() - (moment(snapshot["metadata"]["creationTimestamp"]) or end).timestamp() < 3700
    assert here.given["kale_volume_1_annotations"]["kale-nb/expires"] == snapshot["metadata"]["annotations"]["kale-nb/expires"]


@pytest.mark.parametrize(
    ("cleanup", "state", "left"),
    [
        (Cleanup.KEEP, "SUCCEEDED", 1),
        (Cleanup.DELETE_ON_SUCCESS, "SUCCEEDED", 0),
        (Cleanup.DELETE_ON_SUCCESS, "FAILED", 1),
        (Cleanup.DELETE, "FAILED", 0),
    ],
)
def test_snapshots_go_when_the_clones_go(cleanup: Cleanup, state: str, left: int, here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter()
    here.submit(path, target=Target(cleanup=cleanup), frames=[(state, {"create-volume-1": "SUCCEEDED", "one": state})])
    there = [s for s in notebook.snapshots() if "deletionTimestamp" not in s["metadata"]]
    assert len(there) == left


def test_who_does_not_wait_returns_when_the_content_is_fixed(
    here: Here, notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter()
    notebook.driver.behaviour.ready_after = 300.0
    record = here.submit(path, wait=False, frames=[("RUNNING", {"create-volume-1": "SUCCEEDED", "one": "RUNNING"})])
    assert record.left
    [snapshot] = notebook.snapshots()
    assert snapshot["status"]["creationTime"]
    assert snapshot["status"]["readyToUse"] is False
    assert any("taken; clones wait until it is ready" in text for text in here.said)
    here.patch.chdir(path.parent)
    assert main(["show"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"^snapshot +{snapshot['metadata']['name']}  workspace$", shown, re.MULTILINE)
    kept = json.loads((record.directory / "run.json").read_text())
    assert [v["step"] for v in kept["volumes"]] == ["create-volume-1"]


def test_snapshots_that_are_far_apart_are_told(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here("home", "data") / "project")
    here.enter()
    notebook.driver.of("data").cut_after = 7.0
    here.submit(path)
    assert any(re.fullmatch(r"the snapshots are \d+ s apart: .*", text) for text in here.warned)


def test_what_is_made_is_whose_the_environment_says(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter()
    here.patch.setenv("KALE_OWNER", "ana@example.org")
    here.submit(path)
    [snapshot] = notebook.snapshots()
    assert snapshot["metadata"]["labels"]["kale-nb/owner"].startswith("ana-example.org-")  # a label has no @, and may not collide
    assert snapshot["metadata"]["annotations"]["kale-nb/owner"] == "ana@example.org"


def test_a_class_that_retains_is_told(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    keeping = notebook.space.snapshot_class(notebook.driver.name, "keeping", policy="Retain")
    here.enter()
    here.submit(path, snapshot_class=keeping)
    assert any("will not free its storage: the snapshot class retains it" in text for text in here.said)


def test_claims_are_cloned_without_snapshots_when_asked(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here("home", "data") / "project")
    here.enter()
    notebook.space.rest.delete(f"/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses/{notebook.driver.snapshot_class}")
    record = here.submit(path, clone_claims=True)
    assert record.state is State.SUCCEEDED
    assert notebook.snapshots() == []
    assert here.given["kale_volume_1_source"] == {"kind": "PersistentVolumeClaim", "name": "home"}
    assert here.given["kale_volume_2_source"] == {"kind": "PersistentVolumeClaim", "name": "data"}
    assert any("claims are cloned when the run makes them, not now" in text for text in here.warned)


KINDS = (
    {"name": "kept", "mount_point": "/kept", "type": "snap"},
    {"name": "scratch", "mount_point": "/scratch", "size": "2Gi"},
    {"name": "by-hand", "mount_point": "/by-hand", "type": "pv", "size": "1Gi"},
)


def test_other_kinds_of_volumes_get_what_they_need(here: Here, notebook: Notebook) -> None:
    home = notebook.open_here()
    text = with_volumes(CHAIN.replace("--name chain", "--name chain --marshal-volume"), *KINDS)
    notebook.space.snapshot("kept", "home", snapshot_class=notebook.driver.snapshot_class)
    notebook.space.ready("kept")
    here.enter()
    record = here.submit(chain(home / "project", text))
    given, theirs = here.given, notebook.driver.storage_class
    spec, _ = sent(notebook)
    defaults = {k: v.get("defaultValue") for k, v in spec["root"]["inputDefinitions"]["parameters"].items()}
    whole = {**defaults, **given}
    assert whole["kale_volume_2_source"]["name"] == "kept"
    assert (whole["kale_volume_2_size"], whole["kale_volume_2_class"]) == ("1Gi", theirs)
    assert (whole["kale_volume_3_size"], whole["kale_volume_3_class"]) == ("2Gi", theirs)
    assert (whole["kale_volume_4_size"], whole["kale_volume_4_class"]) == ("1Gi", "")
    assert (whole["kale_marshal_size"], whole["kale_marshal_class"]) == ("1Gi", theirs)
    assert whole["kale_marshal_annotations"]["kale-nb/volume"] == "marshal"
    assert record.remote["snapshot kept"] == "kept"
    labelled = [s for s in notebook.snapshots() if s["metadata"].get("labels", {}).get("kale-nb/run")]
    assert len(labelled) == 1, "the one that was there before is nobody's of ours"


def test_a_snapshot_that_was_there_before_must_be_ready(here: Here, notebook: Notebook) -> None:
    home = notebook.open_here()
    here.enter()
    path = chain(home / "project", with_volumes(CHAIN, KINDS[0]))
    assert here.refused(path).message == f"there is no snapshot kept in namespace {notebook.space.name}"
    notebook.driver.of("home").never_ready = True
    notebook.space.snapshot("kept", "home", snapshot_class=notebook.driver.snapshot_class)
    assert here.refused(path).message == "the snapshot kept is not ready"


def test_a_class_of_another_driver_cannot_restore(here: Here, notebook: Notebook) -> None:
    home = notebook.open_here("home", "data")
    other = notebook.space.storage_class("other.csi.example", "other")
    volume = {"name": "data", "mount_point": notebook.claims["data"], "type": "clone", "storage_class": other}
    here.enter()
    error = here.refused(chain(home / "project", with_volumes(CHAIN, volume)))
    assert error.message.startswith(
        f"a clone of claim data cannot be of storage class {other}, whose driver is other.csi.example"
    )


def test_outside_a_notebook_server_the_claim_is_named_and_the_code_travels(here: Here, notebook: Notebook) -> None:
    notebook.open_here()
    path = chain(notebook.folder / "elsewhere")
    here.enter()
    here.patch.delenv("KUBERNETES_SERVICE_HOST")
    error = here.refused(path)
    assert error.message.startswith("nothing says which claim is the workspace")
    record = here.submit(path, workspace_claim="home", target=Target(image="python:3.11", mount="/home/ana"))
    assert record.state is State.SUCCEEDED
    spec, executors = sent(notebook)
    arguments = spec["deploymentSpec"]["executors"]["exec-one"]["container"]["args"]
    assert len(arguments) == 3
    assert json.loads(arguments[1])["home"] == "/home/ana"
    assert executors["exec-one"]["pvcMount"][0]["mountPath"] == "/home/ana"
    assert len(notebook.snapshots()) == 1
    assert not (notebook.driver.folder("home") / ".kale").exists()
    assert any(text.startswith("the workspace home is not seen from here") for text in here.warned)
    marks = with_volumes(CHAIN, {"name": "home", "mount_point": "/home/jovyan", "type": "clone"})
    assert here.submit(chain(notebook.folder / "marked", marks), target=Target(image="python:3.11")).state is State.SUCCEEDED


def test_a_claim_that_gets_no_volume_is_told_while_the_run_waits(here: Here, notebook: Notebook) -> None:
    from tests.k8s.rest import until

    path = chain(notebook.open_here() / "project")
    here.enter()
    notebook.driver.of("clone").provision_error = "cannot clone"
    going = ("RUNNING", {"create-volume-1": "SUCCEEDED", "one": "PENDING"})

    def make(event: object, hear: Any = here._hear) -> None:
        hear(event)
        if type(event).__name__ == "RunSubmitted":
            space, given = notebook.space, here.notebook.server.deployment.runs[-1]["runtime_config"]["parameters"]
            claim = {
                "metadata": {"name": "clone", "annotations": given["kale_volume_1_annotations"]},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": given["kale_volume_1_size"]}},
                    "storageClassName": given["kale_volume_1_class"],
                    "dataSource": given["kale_volume_1_source"],
                },
            }
            space.rest.post(space.claims_path, claim)
            until(lambda: space.events("clone", "ProvisioningFailed"), "the driver says why")

    here.patch.setattr(here, "_hear", make)
    here.patch.setattr("tests.clones.submitting.EVERY", 0.1)
    here.submit(path, frames=[going] * 40 + [("FAILED", {"create-volume-1": "SUCCEEDED", "one": "FAILED"})])
    [told] = [text for text in here.warned if "gets no volume" in text]
    assert told.startswith("the claim clone (workspace) gets no volume: ProvisioningFailed: failed to provision volume")
    assert "cannot clone" in told


def test_volumes_of_the_command_line_are_not_dropped(
    here: Here, notebook: Notebook, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = chain(notebook.open_here("home", "data") / "project")
    notebook.space.claim("models", storage_class=notebook.driver.storage_class)
    notebook.driver.folder("models")
    here.enter()
    notebook.server.deployment.scripts = [
        [("SUCCEEDED", dict.fromkeys(("create-volume-1", "create-volume-2", "one", "two"), "SUCCEEDED"))]
    ]
    words = ["--kfp", "--only-workspace", "--volume", "name=models,mount=/models,type=clone", "--snapshot-timeout", "20s"]
    code = main(["run", str(path), "--host", notebook.server.url, "--namespace", notebook.space.name, *words])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert sorted(s["spec"]["source"]["persistentVolumeClaimName"] for s in notebook.snapshots()) == ["home", "models"]
    assert "waiting for 2 snapshots: " in said.out
    assert "create-volume-2: models at /models, a clone of 1.0 GiB" in said.out


def test_options_of_clones_are_refused_where_there_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = chain(tmp_path / "ws")
    assert main(["run", str(path), "--kfp", "--no-snapshot", "--host", "http://127.0.0.1:1", "--clone-claims"]) == 2
    assert "--clone-claims is for clones, and --no-snapshot makes none" in capsys.readouterr().err
    assert main(["run", str(path), "--snapshot-class", "x"]) == 2
    assert "--snapshot-class is for Kubeflow Pipelines" in capsys.readouterr().err


def test_the_pipeline_is_uploaded_once_for_many_submissions(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter()
    here.submit(path)
    (path.parent / "more.txt").write_text("more")
    here.submit(path)
    assert len(notebook.server.deployment.versions) == 1
    assert len(notebook.snapshots()) == 2
    assert yaml.safe_dump(notebook.server.deployment.versions[0]["pipeline_spec"])
    assert Patience().ready
