"""What the tests create is what a current Kubernetes takes, and what it would not is found."""

from __future__ import annotations

import pytest

pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: pip install 'kale-nb[test]'")

from tests.k8s import objects
from tests.k8s.crds import snapshot_crds
from tests.k8s.proxy import Asked
from tests.k8s.schemas import check, check_sent


@pytest.mark.parametrize(
    "made",
    [
        objects.claim("a", snapshot="then", labels={"a": "b"}),
        objects.claim("a", source="b", storage_class="fast", modes=["ReadWriteOncePod"]),
        objects.snapshot("a", "b", snapshot_class="c"),
        objects.notebook_pod(
            claims={"a": "/home/jovyan", "b": "/data"}, sub_paths={"b": "in"}, config_maps={"c": "/c"}, sidecar=True
        ),
        *snapshot_crds(),
    ],
    ids=lambda made: made["kind"],
)
def test_what_the_tests_create_is_good(made: objects.Object) -> None:
    check(made)


@pytest.mark.parametrize(
    ("made", "path", "said"),
    [
        ("claim", "spec.dataSourceRefs", "Additional properties"),
        ("claim", "spec.accessModes", "is not of type"),
        ("snapshot", "spec.source.pvc", "Additional properties"),
        ("snapshot", "spec.volumeSnapshotClassName", "is not of type"),
        ("snapshot", "spec.source", "is not of type"),
        ("claim", "kind", "kind is missing"),
        ("snapshot", "stauts", "Additional properties"),
    ],
)
def test_what_a_current_kubernetes_would_not_take_is_found(made: str, path: str, said: str) -> None:
    wrong = objects.claim("a") if made == "claim" else objects.snapshot("a", "b")
    *folders, last = path.split(".")
    place = wrong
    for name in folders:
        place = place[name]
    place[last] = 7
    with pytest.raises(AssertionError, match=said):
        check(wrong)


def test_a_kind_that_is_gone_is_found() -> None:
    with pytest.raises(AssertionError, match="no such kind in batch/v1beta1"):
        check({"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "a"}})


def test_what_went_through_the_proxy_is_checked() -> None:
    import json

    def sent(body: object, method: str = "POST") -> Asked:
        return Asked(method=method, path="/", watch=False, query={}, body=json.dumps(body).encode(), fault=None)

    review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    assert check_sent([sent(objects.claim("a")), sent({}, "DELETE"), sent(review)]) == [objects.claim("a")]
    with pytest.raises(AssertionError, match="apiVersion is missing"):
        check_sent([sent({"metadata": {}})])
