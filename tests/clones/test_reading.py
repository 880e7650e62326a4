"""What is read of pods, claims and classes, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from kale_nb.engines.kfp.cluster.claims import Source
from kale_nb.engines.kfp.cluster.classes import choose_class
from kale_nb.engines.kfp.cluster.notebook import ClaimMount, mount_of_folder, read_server
from kale_nb.engines.kfp.cluster.quantities import read_quantity, spell_quantity
from kale_nb.engines.kfp.cluster.syncing import sync_folder
from kale_nb.errors import VolumeError
from tests.k8s import objects

DIGEST = f"sha256:{'0' * 64}"


def pod(**more: Any) -> dict[str, Any]:
    made = objects.notebook_pod(**more)
    return {**made, "status": objects.running(made)}


# -- pods -------------------------------------------------------------------------------------------------------------------


def test_only_claims_count_and_all_of_the_notebook_s_container() -> None:
    found = read_server(pod(claims={"home": "/home/jovyan", "data": "/data"}, config_maps={"c": "/etc/c"}), "/home/jovyan/p")
    assert found.mounts == (ClaimMount(claim="home", path="/home/jovyan"), ClaimMount(claim="data", path="/data"))
    assert dict(found.others) == {"/dev/shm": "emptyDir", "/etc/c": "configMap"}
    assert (found.pod, found.container, found.home) == ("notebook-0", "notebook", "/home/jovyan")


def test_a_sidecar_is_not_the_notebook() -> None:
    made = pod(sidecar=True)
    made["spec"]["containers"].reverse()
    found = read_server(made, "/home/jovyan")
    assert found.container == "notebook"
    assert [m.path for m in found.mounts] == ["/home/jovyan"]


def test_without_kubeflow_s_labels_the_container_that_sees_the_notebook_is_meant() -> None:
    made = pod(sidecar=True)
    made["metadata"]["labels"] = {}
    for container in made["spec"]["containers"]:
        container["env"] = []
    made["spec"]["containers"].reverse()
    assert read_server(made, "/home/jovyan/p").container == "notebook"
    assert read_server(made, "/var/sidecar/p").container == "istio-proxy"


def test_a_volume_of_the_pod_s_own_is_a_claim() -> None:
    made = pod()
    made["spec"]["volumes"].append({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}})
    made["spec"]["containers"][0]["volumeMounts"].append({"name": "scratch", "mountPath": "/scratch/"})
    assert read_server(made, "/scratch").mounts[-1] == ClaimMount(claim="notebook-0-scratch", path="/scratch")


@pytest.mark.parametrize(
    ("image", "said", "expected"),
    [
        ("registry.test:5000/nb:1", f"registry.test:5000/nb@{DIGEST}", f"registry.test:5000/nb@{DIGEST}"),
        ("registry.test:5000/nb", f"docker-pullable://registry.test:5000/nb@{DIGEST}", f"registry.test:5000/nb@{DIGEST}"),
        ("mirror.test/nb:1", f"origin.test/nb@{DIGEST}", f"mirror.test/nb@{DIGEST}"),
        (f"nb@{DIGEST}", f"nb@sha256:{'1' * 64}", f"nb@{DIGEST}"),
        ("nb:1", f"docker://{DIGEST}", "nb:1"),
        ("nb:1", DIGEST, "nb:1"),
        ("nb:1", "", "nb:1"),
    ],
)
def test_an_image_is_taken_by_its_digest_where_that_is_one_of_its_repository(image: str, said: str, expected: str) -> None:
    made = pod(image=image)
    made["status"]["containerStatuses"][0]["imageID"] = said
    assert read_server(made, "/home/jovyan").image == expected


def test_who_it_runs_as_and_whose_it_is() -> None:
    made = pod()
    made["spec"]["securityContext"] = {"runAsUser": 1000, "runAsGroup": 100, "fsGroup": 100}
    made["spec"]["containers"][0]["securityContext"] = {"runAsUser": 1001}
    found = read_server(made, "/home/jovyan")
    assert (found.user, found.group, found.owner) == (1001, 100, "notebook")
    made["metadata"]["annotations"] = {"notebooks.kubeflow.org/creator": "ana@example.org"}
    assert read_server(made, "/home/jovyan").owner == "ana@example.org"


def test_the_longest_mount_above_the_notebook_is_its_workspace() -> None:
    server = read_server(
        pod(claims={"home": "/home/jovyan", "deep": "/home/jovyan/deep"}, sub_paths={"deep": "a/b"}), "/home/jovyan/deep/p"
    )
    assert mount_of_folder(server, "/home/jovyan/deep/p") == ClaimMount(claim="deep", path="/home/jovyan/deep", sub_path="a/b")
    assert mount_of_folder(server, "/home/jovyan/deeper").claim == "home"
    assert mount_of_folder(server, "/home/jovyan").claim == "home"


def test_a_notebook_on_what_is_no_claim_is_refused() -> None:
    server = read_server(pod(claims={"home": "/home/jovyan"}, config_maps={"c": "/home/jovyan/c"}), "/home/jovyan")
    with pytest.raises(VolumeError, match="is on a config map at /home/jovyan/c, which no step can see"):
        mount_of_folder(server, "/home/jovyan/c/p")
    with pytest.raises(VolumeError, match="is on an emptyDir at /dev/shm"):
        mount_of_folder(server, "/dev/shm")
    with pytest.raises(VolumeError, match="is in the container itself"):
        mount_of_folder(server, "/home/other")


# -- sizes ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1), ("1k", 1000), ("1Ki", 1024), ("5Gi", 5 * 1024**3), ("0.5Gi", 512 * 1024**2), (".5", 1), ("1500m", 2), ("1e3", 1000),
        ("1E", 10**18), ("2E2", 200), ("10737418240", 10737418240), ("1Ei", 1024**6), ("3n", 1), ("+7", 7),
    ],
)  # fmt: skip
def test_sizes_are_read_exactly_and_rounded_up(text: str, size: int) -> None:
    assert read_quantity(text) == size


@pytest.mark.parametrize("text", ["", "Gi", "5 Gi", "5GB", "-1", "1.2.3", "5gi", "e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        read_quantity(text)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 3 * 1024**3, 3 * 1024**3 + 1, 10**12])
def test_a_size_that_is_spelled_is_read_as_the_same(size: int) -> None:
    assert read_quantity(spell_quantity(size)) == size


# -- classes ----------------------------------------------------------------------------------------------------------------


def source(driver: str) -> Source:
    return Source(name="home", uid="1", size=1, storage_class="s", access_modes=("ReadWriteOnce",), driver=driver)


def a_class(name: str, driver: str, *, default: bool = False) -> dict[str, Any]:
    flag = {"snapshot.storage.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": flag}, "driver": driver}


def test_the_class_is_the_driver_s_own_even_when_it_is_no_default() -> None:
    classes = [a_class("a", "one", default=True), a_class("b", "two")]
    assert choose_class(classes, source("two"), None) == "b"
    assert choose_class(classes, source("one"), None) == "a"


def test_of_several_classes_the_default_is_taken() -> None:
    classes = [a_class("a", "one"), a_class("b", "one", default=True)]
    assert choose_class(classes, source("one"), None) == "b"
    with pytest.raises(VolumeError, match="several snapshot classes are for claim home, and none is the default: a, b"):
        choose_class([a_class("b", "one"), a_class("a", "one")], source("one"), None)


def test_a_driver_that_nobody_tells_leaves_the_only_default() -> None:
    classes = [a_class("a", "one", default=True), a_class("b", "two")]
    assert choose_class(classes, source(""), None) == "a"
    assert choose_class(None, source(""), None) is None
    assert choose_class(None, source("x"), "named") == "named"


def test_a_cluster_without_classes_says_so() -> None:
    with pytest.raises(VolumeError, match="no snapshot class is for the driver of claim home, one: there are none"):
        choose_class([], source("one"), None)


# -- writing out ------------------------------------------------------------------------------------------------------------


def test_a_folder_is_written_out_and_one_that_is_none_is_told(tmp_path: Any) -> None:
    assert sync_folder(tmp_path) == ""
    assert "No such file" in sync_folder(tmp_path / "none")
