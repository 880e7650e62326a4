"""A namespace of a test's own, and what a cluster's administrator and its own parts put there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.k8s import objects
from tests.k8s.cluster import Cluster
from tests.k8s.rest import RBAC, SNAPSHOTS, STORAGE, Rest, until

Rule = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A ServiceAccount that may do what its rules say.

    Attributes:
        token: good for an hour.
    """

    name: str
    namespace: str
    token: str


class Space:
    """A namespace; as the administrator, but for what is asked for with an account's token.

    Attributes:
        rest: the API as the administrator sees it.
        api: the official client's ApiClient of the same.
        path: `/api/v1/namespaces/NAME`.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.api = cluster.client()
        self.rest = Rest(self.api)
        self.path = f"/api/v1/namespaces/{name}"
        self.claims_path = f"{self.path}/persistentvolumeclaims"
        self.snapshots_path = f"{SNAPSHOTS}/namespaces/{name}/volumesnapshots"
        self._clusterwide: list[str] = []

    # -- who may do what

    def account(self, name: str, *rules: Rule, everywhere: Sequence[Rule] = ()) -> Account:
        """Make a ServiceAccount and its token; return when its rules are in force.

        Args:
            name: of the account; there is none of that name yet.
            rules: what it may do in this namespace: API group, resources, verbs, the last two with blanks between, such as
                `("", "pods events", "get list watch")`.
            everywhere: the same, for the whole cluster.
        """
        self.rest.post(f"{self.path}/serviceaccounts", {"metadata": {"name": name}})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.name}
        if rules:
            self._bind(f"{RBAC}/namespaces/{self.name}", "Role", name, rules, subject)
        if everywhere:
            self._bind(RBAC, "ClusterRole", f"{self.name}-{name}", everywhere, subject)
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = self.rest.post(f"{self.path}/serviceaccounts/{name}/token", asked)["status"]["token"]
        account = Account(name=name, namespace=self.name, token=token)
        with_token = Rest(self.cluster.client(token))
        for rule, namespace in [*((r, self.name) for r in rules), *((r, "") for r in everywhere)]:
            until(lambda rule=rule, namespace=namespace: _may(with_token, rule, namespace), f"{name} may {rule}", 30)  # type: ignore[misc]
        return account

    def _bind(self, path: str, kind: str, name: str, rules: Sequence[Rule], subject: dict[str, str]) -> None:
        written = [{"apiGroups": [group], "resources": what.split(), "verbs": verbs.split()} for group, what, verbs in rules]
        plural = "roles" if kind == "Role" else "clusterroles"
        self.rest.post(f"{path}/{plural}", {"metadata": {"name": name}, "rules": written})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        self.rest.post(f"{path}/{plural[:-1]}bindings", binding)
        if kind == "ClusterRole":
            self._clusterwide += [f"{path}/clusterroles/{name}", f"{path}/clusterrolebindings/{name}"]

    def mounted_account(self, account: Account, folder: Path) -> Path:
        """Write the three files that a pod finds in `/var/run/secrets/kubernetes.io/serviceaccount`; return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(account.token)
        (folder / "namespace").write_text(account.namespace)
        (folder / "ca.crt").write_bytes(self.cluster.files.authority.read_bytes())
        return folder

    # -- what an administrator sets up

    def quota(self, name: str = "quota", **hard: str) -> None:
        """Limit the namespace; return when the limit is in force. Underscores of a name stand for what the resource's has:
        `requests_storage="5Gi"`, `persistentvolumeclaims="2"`; give others by `**{"NAME": ...}`."""
        limits = {key.replace("_", "."): value for key, value in hard.items()}
        self._limit(name, limits)
        # The server hears of its own quotas a moment later, in their order: when it refuses for the second one, it knows the first.
        self._limit("probe", {"count/limitranges": "0"})
        until(self._refused_by_probe, f"quota {name} is in force")
        self.rest.delete(f"{self.path}/resourcequotas/probe")

    def _limit(self, name: str, limits: dict[str, str]) -> None:
        self.rest.post(f"{self.path}/resourcequotas", {"metadata": {"name": name}, "spec": {"hard": limits}})
        path = f"{self.path}/resourcequotas/{name}"
        until(lambda: set(limits) <= set(self.rest.get(path).get("status", {}).get("used", {})), f"quota {name} is counted")

    def _refused_by_probe(self) -> bool:
        from kubernetes.client.rest import ApiException

        try:
            self.rest.post(f"{self.path}/limitranges", {"metadata": {"name": "probe"}, "spec": {"limits": []}}, dryRun="All")
        except ApiException as error:
            if error.status == 403:
                return True
            raise
        return False

    def storage_class(
        self,
        provisioner: str,
        name: str = "standard",
        *,
        wait_for_consumer: bool = False,
        default: bool = False,
        reclaim: str = "Delete",
    ) -> str:
        """Make a StorageClass for as long as the namespace is there; return its name, `NAMESPACE-NAME`.

        `default` concerns everybody: only on a server of the test's own.
        """
        full = f"{self.name}-{name}"
        flag = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
        made = {
            "metadata": {"name": full, "annotations": flag},
            "provisioner": provisioner,
            "reclaimPolicy": reclaim,
            "volumeBindingMode": "WaitForFirstConsumer" if wait_for_consumer else "Immediate",
        }
        self.rest.post(f"{STORAGE}/storageclasses", made)
        self._clusterwide.append(f"{STORAGE}/storageclasses/{full}")
        return full

    def snapshot_class(self, driver: str, name: str = "snapshots", *, policy: str = "Delete", default: bool = False) -> str:
        """Make a VolumeSnapshotClass for as long as the namespace is there; return its name, `NAMESPACE-NAME`.

        `default` concerns this driver only.
        """
        full = f"{self.name}-{name}"
        flag = {"snapshot.storage.kubernetes.io/is-default-class": "true"} if default else {}
        kind = {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass"}
        made = {**kind, "metadata": {"name": full, "annotations": flag}, "driver": driver, "deletionPolicy": policy}
        self.rest.post(f"{SNAPSHOTS}/volumesnapshotclasses", made)
        self._clusterwide.append(f"{SNAPSHOTS}/volumesnapshotclasses/{full}")
        return full

    def volume(self, claim: str, path: Path, *, size: str = "1Gi", storage_class: str = "manual") -> str:
        """Make a PersistentVolume of a folder by hand, for a claim of this namespace; return its name."""
        name = f"{self.name}-{claim}"
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "storageClassName": storage_class,
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": self.name, "name": claim},
            "hostPath": {"path": str(path)},
        }
        self.rest.post("/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": spec})
        self._clusterwide.append(f"/api/v1/persistentvolumes/{name}")
        return name

    # -- what people and controllers create

    def claim(self, name: str, **more: Any) -> dict[str, Any]:
        """Create a PersistentVolumeClaim; see `objects.claim`."""
        return self.rest.post(self.claims_path, objects.claim(name, **more))

    def snapshot(self, name: str, claim: str, **more: Any) -> dict[str, Any]:
        """Create a VolumeSnapshot; see `objects.snapshot`."""
        return self.rest.post(self.snapshots_path, objects.snapshot(name, claim, **more))

    def notebook(self, name: str = "notebook", *, runs: bool = True, **more: Any) -> dict[str, Any]:
        """Create the pod of a notebook server, and its account when there is none; see `objects.notebook_pod`.

        It never really runs, but `runs` says that it does; otherwise it waits for a node.
        """
        pod = objects.notebook_pod(name, node=objects.NODE if runs else None, **more)
        account = pod["spec"]["serviceAccountName"]
        if self.rest.find(f"{self.path}/serviceaccounts/{account}") is None:
            self.rest.post(f"{self.path}/serviceaccounts", {"metadata": {"name": account}})
        made = self.rest.post(f"{self.path}/pods", pod)
        return self.pod_status(made["metadata"]["name"], objects.running(pod)) if runs else made

    def pod_status(self, name: str, status: Mapping[str, Any]) -> dict[str, Any]:
        """Set a pod's status, as a kubelet does."""
        return self.rest.patch(f"{self.path}/pods/{name}/status", {"status": dict(status)})

    # -- what is there

    def claim_now(self, name: str) -> dict[str, Any]:
        """Read a claim."""
        return self.rest.get(f"{self.claims_path}/{name}")

    def snapshot_now(self, name: str) -> dict[str, Any]:
        """Read a snapshot."""
        return self.rest.get(f"{self.snapshots_path}/{name}")

    def bound(self, name: str) -> dict[str, Any]:
        """Wait until a claim is bound; return it."""
        until(lambda: self.claim_now(name).get("status", {}).get("phase") == "Bound", f"claim {name} is bound")
        return self.claim_now(name)

    def ready(self, name: str) -> dict[str, Any]:
        """Wait until a snapshot may be used; return it."""
        until(lambda: self.snapshot_now(name).get("status", {}).get("readyToUse"), f"snapshot {name} is ready")
        return self.snapshot_now(name)

    def events(self, name: str, reason: str | None = None) -> list[str]:
        """Return the messages of the events about an object."""
        found = self.rest.items(f"{self.path}/events", fieldSelector=f"involvedObject.name={name}")
        return [str(event["message"]) for event in found if reason in (None, event["reason"])]

    def close(self) -> None:
        """Delete everything, without waiting until it is gone."""
        for path in self._clusterwide:
            self.rest.delete(path)
        self.rest.delete(f"{self.path}/pods", gracePeriodSeconds="0")
        self.rest.delete(self.path)
        self.api.close()


def _may(rest: Rest, rule: Rule, namespace: str) -> bool:
    group, resources, verbs = rule
    resource, _, part = resources.split()[-1].partition("/")
    wanted = {"group": group, "resource": resource, "subresource": part, "verb": verbs.split()[-1], "namespace": namespace}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    review = {**kind, "spec": {"resourceAttributes": {key: value for key, value in wanted.items() if value}}}
    return bool(rest.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)["status"]["allowed"])


@contextmanager
def new_space(cluster: Cluster) -> Iterator[Space]:
    """Make a namespace with a name that nobody has, ready for pods; delete it at the end, without waiting until it is gone."""
    space = Space(cluster, f"t-{uuid.uuid4().hex[:8]}")
    space.rest.post("/api/v1/namespaces", {"metadata": {"name": space.name}})
    try:
        until(lambda: space.rest.find(f"{space.path}/serviceaccounts/default"), "the namespace has its account")
        yield space
    finally:
        space.close()
