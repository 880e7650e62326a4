"""What can be wrong with volumes, snapshots and rights: each has its own words, and what was taken is given back."""

from __future__ import annotations

import math
import secrets
from typing import Any

import pytest

from kale_nb.engines.kfp.cluster.problems import Exceeded, Forbidden, Unknown, Unserved
from kale_nb.engines.kfp.cluster.snapshots import Patience
from kale_nb.errors import KaleError
from kale_nb.runs.events import State
from tests.clones.notebooks import READING, RIGHTS, SNAPSHOT_GROUP, Notebook
from tests.clones.submitting import Here, chain
from tests.k8s.driver import Driver
from tests.k8s.proxy import Proxy, answer_lost, dropped, late, status
from tests.k8s.space import Rule, Space

SOON = Patience(timeout=1.5, grace=0.6)
ONCE_SAID = Patience(timeout=60, grace=0.6)  # an error is heard, however slow the machine is


def prepared(here: Here, notebook: Notebook) -> Any:
    path = chain(notebook.open_here() / "project")
    here.enter()
    return path


def nothing_left(notebook: Notebook) -> bool:
    return [s for s in notebook.snapshots() if "deletionTimestamp" not in s["metadata"]] == []


# -- classes ----------------------------------------------------------------------------------------------------------------


def test_no_kinds_of_snapshots(here: Here, notebook: Notebook, proxy: Proxy) -> None:
    path = chain(notebook.open_here() / "project")
    proxy.hide(SNAPSHOT_GROUP)
    here.enter(url=proxy.url)
    error = here.refused(path)
    assert isinstance(error, Unserved)
    assert error.message == "the cluster knows no volumesnapshotclasses.snapshot.storage.k8s.io"
    assert error.hint is not None
    assert "external-snapshotter" in error.hint


def test_no_kinds_of_snapshots_on_a_server_that_never_had_them(bare_space: Space, here: Here, notebook: Notebook) -> None:
    from kale_nb.engines.kfp.cluster.api import Cluster
    from kale_nb.engines.kfp.cluster.classes import read_classes

    with pytest.raises(Unserved, match="the cluster knows no volumesnapshotclasses"):
        read_classes(Cluster(bare_space.api, namespace=bare_space.name, origin="a test"))


def test_no_class_for_the_driver(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    space, driver = notebook.space, notebook.driver
    space.rest.delete(f"/apis/{SNAPSHOT_GROUP}/v1/volumesnapshotclasses/{driver.snapshot_class}")
    other = space.snapshot_class("other.csi.example", "other")
    error = here.refused(path)
    assert error.message.startswith(f"no snapshot class is for the driver of claim home, {driver.name}: there are ")
    assert f"{other} (other.csi.example)" in error.message
    assert "--clone-claims" in str(error.hint)


def test_two_default_classes(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    second = notebook.space.snapshot_class(notebook.driver.name, "second", default=True)
    error = here.refused(path)
    assert error.message.startswith(f"several snapshot classes are the default of {notebook.driver.name}: ")
    assert here.submit(path, snapshot_class=second).state is State.SUCCEEDED
    assert [s["spec"]["volumeSnapshotClassName"] for s in notebook.snapshots()] == [second]


def test_a_class_of_another_driver_and_one_that_is_none(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    other = notebook.space.snapshot_class("other.csi.example", "other")
    error = here.refused(path, snapshot_class=other)
    assert (
        error.message == f"the snapshot class {other} is for other.csi.example, and the claim home is on {notebook.driver.name}"
    )
    error = here.refused(path, snapshot_class="none")
    assert error.message == "there is no snapshot class none"
    assert notebook.driver.snapshot_class in str(error.hint)


# -- snapshots that do not come ---------------------------------------------------------------------------------------------


def test_a_snapshot_that_is_never_ready(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    notebook.driver.behaviour.never_ready = True
    error = here.refused(path, snapshots=Patience(timeout=5))
    assert "is not ready after 5 s: taken, not ready yet" in error.message
    assert "--snapshot-timeout" in str(error.hint)
    assert nothing_left(notebook)
    assert any(text.startswith("given back: kale-") for text in here.said)


def test_a_snapshot_that_nobody_takes(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    notebook.driver._stopped.set()
    notebook.driver._thread.join()
    error = here.refused(path, snapshots=SOON)
    assert "is not ready after 2 s: not begun" in error.message
    assert "is the snapshot controller running" in str(error.hint)
    assert notebook.snapshots() == []


def test_an_error_that_stays(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    notebook.driver.behaviour.snapshot_error = "the pool is full"
    error = here.refused(path, snapshots=ONCE_SAID)
    assert error.message.startswith("no snapshot of claim home can be taken: ")
    assert "the pool is full" in error.message
    assert "it said so for" in str(error.hint)
    assert nothing_left(notebook)
    assert any("the pool is full" in text and text.endswith("it may be tried again") for text in here.said)


def test_an_error_that_passes_is_told_and_waited_out(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    driver = notebook.driver
    driver.behaviour.snapshot_error = "the pool is busy"
    here.patch.setattr(
        here, "_hear", lambda event, hear=here._hear: (hear(event), "busy" in str(event) and heal(driver)), raising=True
    )
    assert here.submit(path, snapshots=Patience(timeout=30, grace=20)).state is State.SUCCEEDED
    assert any("the pool is busy" in text for text in here.said)


def heal(driver: Driver) -> None:
    driver.behaviour.snapshot_error = None


def test_a_snapshot_that_is_deleted_meanwhile(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    notebook.driver.behaviour.never_ready = True

    def delete(event: object) -> None:
        if "waiting for 1 snapshot" in str(event):
            name = notebook.snapshots()[0]["metadata"]["name"]
            notebook.space.rest.delete(f"{notebook.space.snapshots_path}/{name}")

    here.patch.setattr(here, "_hear", delete)
    error = here.refused(path, snapshots=Patience(timeout=20))
    assert error.message.startswith("the snapshot kale-")
    assert error.message.endswith("was deleted while it was waited for")


def test_one_of_several_fails_and_all_are_given_back(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here("home", "data") / "project")
    here.enter()
    notebook.driver.of("data").snapshot_error = "no room"
    error = here.refused(path, snapshots=ONCE_SAID)
    assert "no snapshot of claim data can be taken" in error.message
    assert nothing_left(notebook)
    assert notebook.server.deployment.runs == []


def test_a_content_of_another_snapshot(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    driver = notebook.driver
    driver.behaviour.ready_after = 1.0

    def steal(event: object) -> None:
        if "waiting for 1 snapshot" in str(event):
            from tests.k8s.rest import until

            [content] = until(driver.contents, "there is a content")
            changed = {"spec": {"volumeSnapshotRef": {"name": "other", "uid": "0"}}}
            driver.rest.patch(f"/apis/{SNAPSHOT_GROUP}/v1/volumesnapshotcontents/{content['metadata']['name']}", changed)

    here.patch.setattr(here, "_hear", steal)
    assert "which belongs to" in here.refused(path).message


# -- claims -----------------------------------------------------------------------------------------------------------------


def named(here: Here, notebook: Notebook, **given: Any) -> KaleError:
    path = chain(notebook.folder / "elsewhere")
    here.enter()
    return here.refused(path, workspace_claim="home", **given)


def test_a_claim_that_is_not_there(here: Here, notebook: Notebook) -> None:
    notebook.space.claim("other", storage_class=notebook.driver.storage_class)
    error = named(here, notebook)
    assert error.message == f"there is no claim (PersistentVolumeClaim) home in namespace {notebook.space.name}"
    assert error.hint == "there are other"


def test_a_claim_that_no_pod_used(here: Here, notebook: Notebook) -> None:
    waiting = notebook.space.storage_class(notebook.driver.name, "waiting", wait_for_consumer=True)
    notebook.space.claim("home", storage_class=waiting)
    assert named(here, notebook).message == (
        "the claim home has no volume yet (Pending): no pod has used it, so there is nothing to be cloned"
    )


def test_a_claim_that_is_being_deleted(here: Here, notebook: Notebook) -> None:
    notebook.open_here()
    path = f"{notebook.space.claims_path}/home"
    notebook.space.rest.patch(path, {"metadata": {"finalizers": ["tests.kale/in-use"]}})  # as a pod that runs on a node would
    notebook.space.rest.delete(path)
    assert named(here, notebook).message == "the claim home is being deleted (Terminating)"


def test_a_claim_that_lost_its_volume(here: Here, notebook: Notebook) -> None:
    from tests.k8s.rest import until

    space = notebook.space
    space.claim("home", storage_class=notebook.driver.storage_class)
    volume = space.bound("home")["spec"]["volumeName"]
    path = f"/api/v1/persistentvolumes/{volume}"
    space.rest.delete(path)
    until(
        lambda: space.rest.find(path) is None or space.rest.patch(path, {"metadata": {"finalizers": None}}) is None, "it is gone"
    )
    until(lambda: space.claim_now("home")["status"]["phase"] == "Lost", "the claim is lost")
    error = named(here, notebook)
    assert error.message == f"the claim home has lost its volume (Lost): the persistent volume {volume} is gone"


def test_a_volume_without_a_csi_driver(here: Here, notebook: Notebook) -> None:
    folder = notebook.folder / "by hand"
    folder.mkdir()
    notebook.space.volume("home", folder)
    notebook.space.claim("home", storage_class="manual")
    notebook.space.bound("home")
    error = named(here, notebook)
    assert error.message == "the claim home is on a volume without a CSI driver (hostPath): it cannot be snapshotted"
    assert "type: pvc" in str(error.hint)


def test_a_notebook_on_no_volume(here: Here, notebook: Notebook) -> None:
    home = notebook.open_here()
    path = chain(notebook.folder / "elsewhere")
    here.enter()
    error = here.refused(path)
    assert error.message == f"the notebook's folder {path.parent} is in the container itself, which no step can see"
    assert f"home at {home}" in str(error.hint)


def test_a_pod_that_is_not_there(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.folder / "elsewhere")
    here.enter()
    here.patch.setenv("HOSTNAME", "other-0")
    error = here.refused(path)
    assert "or other-0 in namespace" in error.message
    assert "--workspace-claim" in str(error.hint)


# -- rights -----------------------------------------------------------------------------------------------------------------


def without(verb: str, resource: str) -> tuple[Rule, ...]:
    found = []
    for group, resources, verbs in RIGHTS:
        kept = " ".join(each for each in verbs.split() if each != verb or resources != resource)
        found += [(group, resources, kept)] if kept else []
    return tuple(found)


@pytest.mark.parametrize(
    ("verb", "resource", "name"),
    [
        ("get", "pods", "pods"),
        ("get", "persistentvolumeclaims", "persistentvolumeclaims"),
        ("create", "volumesnapshots", "volumesnapshots.snapshot.storage.k8s.io"),
        ("get", "volumesnapshots", "volumesnapshots.snapshot.storage.k8s.io"),
    ],
)
def test_a_right_that_is_missing(verb: str, resource: str, name: str, here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter(notebook.account(without(verb, resource)))
    error = here.refused(path)
    assert f"not allowed to {verb} {name} in namespace {notebook.space.name} (403)" in error.message
    assert "kale doctor --engine kfp" in str(error.hint)
    assert nothing_left(notebook)


def test_without_the_right_to_delete_what_is_left_is_told(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter(notebook.account(without("delete", "volumesnapshots")))
    notebook.driver.behaviour.never_ready = True
    here.refused(path, snapshots=SOON)
    [left] = notebook.snapshots()
    assert any(
        text.startswith(f"the snapshot {left['metadata']['name']} is left: not allowed to delete volumesnapshots")
        for text in here.warned
    )


def test_what_may_not_be_read_of_the_whole_cluster_is_done_without(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter(notebook.account(everywhere=()))
    assert here.submit(path).state is State.SUCCEEDED
    assert len(notebook.snapshots()) == 1


@pytest.mark.parametrize("rule", READING, ids=lambda rule: rule[1].replace(" ", "-"))
def test_each_of_the_rights_to_read_the_cluster_may_be_missing(rule: Rule, here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter(notebook.account(everywhere=tuple(each for each in READING if each != rule)))
    assert here.submit(path).state is State.SUCCEEDED


def test_an_account_that_is_not_known(here: Here, notebook: Notebook) -> None:
    from tests.k8s.space import Account

    path = chain(notebook.open_here() / "project")
    here.enter(Account(name="gone", namespace=notebook.space.name, token="expired"))
    error = here.refused(path)
    assert isinstance(error.__cause__, Unknown)
    assert "does not know who asks (401)" in error.message
    assert "has expired" in str(error.hint)


# -- quota, names -----------------------------------------------------------------------------------------------------------


def test_a_quota_on_snapshots(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    notebook.space.quota(**{f"count/volumesnapshots.{SNAPSHOT_GROUP}": "0"})
    error = here.refused(path)
    assert isinstance(error, Exceeded)
    assert error.message.startswith(f"a quota of namespace {notebook.space.name} does not admit it: ")
    assert "kale clean" in str(error.hint)


def test_a_name_that_is_taken(here: Here, notebook: Notebook) -> None:
    path = prepared(here, notebook)
    words = iter(["abc123", "abc123", "def456"])
    draw = secrets.token_hex
    here.patch.setattr(secrets, "token_hex", lambda size: next(words) if size == 3 else draw(size))
    here.patch.setattr("kale_nb.engines.kfp.submission.taking.kubernetes_name", lambda _: "same")
    assert here.submit(path).state is State.SUCCEEDED
    assert here.submit(path).state is State.SUCCEEDED
    assert sorted(s["metadata"]["name"] for s in notebook.snapshots()) == ["kale-same-abc123", "kale-same-def456"]


# -- a server and a network that fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "path", "fault", "times"),
    [
        ("POST", "/volumesnapshots$", status(429, retry_after=1), 1),
        ("POST", "/volumesnapshots$", status(500), 2),
        ("POST", "/volumesnapshots$", dropped(), 1),
        ("POST", "/volumesnapshots$", answer_lost(), 1),
        ("GET", "/volumesnapshots/", status(503), 2),
        ("GET", "/volumesnapshots/", dropped(), 2),
        ("GET", "/persistentvolumeclaims/home", status(500), 2),
        ("GET", "/volumesnapshotclasses", late(0.5), 1),
    ],
)
def test_what_passes_is_waited_out(
    methods: str, path: str, fault: Any, times: int, here: Here, notebook: Notebook, proxy: Proxy
) -> None:
    source = chain(notebook.open_here() / "project")
    here.enter(url=proxy.url)
    rule = proxy.fail(methods, path, fault, times=times)
    assert here.submit(source, patience=20.0).state is State.SUCCEEDED
    assert rule.hits == times
    assert len(notebook.snapshots()) == 1


def test_what_does_not_pass_is_told_and_everything_given_back(here: Here, notebook: Notebook, proxy: Proxy) -> None:
    source = chain(notebook.open_here() / "project")
    here.enter(url=proxy.url)
    proxy.fail("GET", "/volumesnapshots/", status(500, "etcd is not well"), times=math.inf)
    error = here.refused(source, patience=2.0)
    assert "did not get volumesnapshots.snapshot.storage.k8s.io: etcd is not well (HTTP 500)" in error.message
    assert nothing_left(notebook)


def test_a_token_that_expires_in_the_middle(here: Here, notebook: Notebook, proxy: Proxy) -> None:
    source = chain(notebook.open_here() / "project")
    here.enter(url=proxy.url)
    proxy.fail("GET DELETE", "/volumesnapshots/", status(401), times=math.inf)
    error = here.refused(source)
    assert "does not know who asks (401)" in error.message
    [left] = notebook.snapshots()
    assert any(f"the snapshot {left['metadata']['name']} is left" in text for text in here.warned)


def test_an_interrupt_in_the_middle_gives_everything_back(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here("home", "data") / "project")
    here.enter()
    notebook.driver.behaviour.never_ready = True

    def interrupt(event: object, hear: Any = here._hear) -> None:
        hear(event)
        if "waiting for 2 snapshots" in str(event):
            raise KeyboardInterrupt

    here.patch.setattr(here, "_hear", interrupt)
    with pytest.raises(KeyboardInterrupt):
        here.submit(path)
    assert nothing_left(notebook)
    assert notebook.server.deployment.runs == []


def test_an_interrupt_while_a_snapshot_is_asked_for_finds_it_again(here: Here, notebook: Notebook) -> None:
    from kale_nb.engines.kfp.cluster.api import Cluster

    path = prepared(here, notebook)
    create = Cluster.create

    def cut_short(self: Any, *given: Any) -> Any:
        create(self, *given)
        raise KeyboardInterrupt

    here.patch.setattr(Cluster, "create", cut_short)
    with pytest.raises(KeyboardInterrupt):
        here.submit(path)
    assert nothing_left(notebook)


def test_an_interrupt_while_the_run_is_started_stops_it_and_gives_its_snapshots_back(here: Here, notebook: Notebook) -> None:
    from kale_nb.engines.kfp.submission.client import Client

    path = prepared(here, notebook)
    post = Client.post
    cut = []

    def cut_short(self: Any, where: str, body: Any = None) -> Any:
        answer = post(self, where, body)
        if where == "/runs":
            cut.append(answer["run_id"])
            raise KeyboardInterrupt
        return answer

    here.patch.setattr(Client, "post", cut_short)
    with pytest.raises(KeyboardInterrupt):
        here.submit(path, frames=[("RUNNING", {})])
    [run] = notebook.server.deployment.runs
    assert run["state"] in ("CANCELING", "CANCELED")
    assert f"the run had been started, and was stopped: {cut[0]}" in here.said
    assert nothing_left(notebook)


def test_a_server_that_refuses_the_run_gets_no_snapshots_for_it(here: Here, notebook: Notebook) -> None:
    from tests.kfp_api.deployment import Fault

    path = prepared(here, notebook)
    notebook.server.deployment.faults = [Fault("POST /apis/v2beta1/runs", 400, 5, "the run is not wanted")]
    error = here.refused(path)
    assert "the run is not wanted" in error.message
    assert nothing_left(notebook)


def test_a_refusal_says_which_right_is_missing(here: Here, notebook: Notebook) -> None:
    path = chain(notebook.open_here() / "project")
    here.enter(notebook.account(without("create", "volumesnapshots")))
    error = here.refused(path)
    assert isinstance(error, Forbidden)
    assert (error.verb, error.resource.plural, error.namespace) == ("create", "volumesnapshots", notebook.space.name)
