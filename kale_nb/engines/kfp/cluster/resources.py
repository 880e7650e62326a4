"""The kinds of objects that kale reads or makes, as the API's paths spell them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

SNAPSHOT_GROUP = "snapshot.storage.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of objects.

    Attributes:
        group: of the API; empty for the core.
        plural: as paths have it.
        namespaced: its objects are in namespaces.
    """

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What objects of this kind say as their `apiVersion`.

        >>> SNAPSHOTS.api_version, CLAIMS.api_version
        ('snapshot.storage.k8s.io/v1', 'v1')
        """
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """What it is called where groups matter.

        >>> SNAPSHOTS.full_name, CLAIMS.full_name
        ('volumesnapshots.snapshot.storage.k8s.io', 'persistentvolumeclaims')
        """
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of an object, or of all.

        >>> CLAIMS.path("me", "home")
        '/api/v1/namespaces/me/persistentvolumeclaims/home'
        >>> SNAPSHOT_CLASSES.path("me")
        '/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses'
        """
        start = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced else ""
        of_one = f"/{quote(name, safe='')}" if name else ""
        return f"{start}{place}/{self.plural}{of_one}"


PODS = Resource(plural="pods", kind="Pod")
CLAIMS = Resource(plural="persistentvolumeclaims", kind="PersistentVolumeClaim")
EVENTS = Resource(plural="events", kind="Event")
QUOTAS = Resource(plural="resourcequotas", kind="ResourceQuota")
VOLUMES = Resource(plural="persistentvolumes", kind="PersistentVolume", namespaced=False)
STORAGE_CLASSES = Resource(group="storage.k8s.io", plural="storageclasses", kind="StorageClass", namespaced=False)
DRIVERS = Resource(group="storage.k8s.io", plural="csidrivers", kind="CSIDriver", namespaced=False)
SNAPSHOTS = Resource(group=SNAPSHOT_GROUP, plural="volumesnapshots", kind="VolumeSnapshot")
SNAPSHOT_CLASSES = Resource(group=SNAPSHOT_GROUP, plural="volumesnapshotclasses", kind="VolumeSnapshotClass", namespaced=False)
SNAPSHOT_CONTENTS = Resource(
    group=SNAPSHOT_GROUP, plural="volumesnapshotcontents", kind="VolumeSnapshotContent", namespaced=False
)
ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io", plural="selfsubjectaccessreviews", kind="SelfSubjectAccessReview", namespaced=False
)
OTHERS_ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io", plural="localsubjectaccessreviews", kind="LocalSubjectAccessReview"
)
IDENTITY_REVIEWS = Resource(
    group="authentication.k8s.io", plural="selfsubjectreviews", kind="SelfSubjectReview", namespaced=False
)
