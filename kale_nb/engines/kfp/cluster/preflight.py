"""Whether a run on clones can work on a cluster: from what the cluster answered to findings. Asks nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kale_nb.engines.kfp.cluster.preflight_facts import Facts
from kale_nb.engines.kfp.cluster.preflight_quota import needs_of, quota_findings
from kale_nb.engines.kfp.cluster.preflight_rights import grants, needed, right_findings
from kale_nb.engines.kfp.cluster.preflight_volumes import Wish, volume_findings, wanted
from kale_nb.engines.kfp.cluster.problems import ClusterError
from kale_nb.engines.kfp.cluster.rights import manifest, subject_of
from kale_nb.engines.preflight import Finding, Mark

PART = "Kubernetes"
_OLDEST = (1, 20)
"""The first Kubernetes that has snapshots of version `v1`."""
_SKEW = 60.0
_KINDS = ("volumesnapshots", "volumesnapshotclasses", "volumesnapshotcontents")
_INSTALL = (
    "an administrator has to install them and the snapshot controller: `kubectl kustomize "
    "https://github.com/kubernetes-csi/external-snapshotter/client/config/crd | kubectl create -f -`, and `.../deploy/kubernetes/"
    "snapshot-controller` in the same way"
)


def cluster_findings(facts: Facts, wish: Wish, *, inside: bool, deletes: bool = False) -> tuple[Finding, ...]:
    """Return all findings about a cluster."""
    found = list(_api(facts))
    if isinstance(facts.version, ClusterError):
        return tuple(found)
    if wish.snapshot and not wish.clone_claims:
        found += _kinds(facts)
    found += volume_findings(facts, wish)
    found += right_findings(facts, needed(inside=inside, snapshot=wish.snapshot, clone_claims=wish.clone_claims), deletes=deletes)
    claims, snapshots = wanted(facts, wish)
    if claims or snapshots:
        found += quota_findings(facts.quotas, needs_of(claims, snapshots), facts.namespace)
    return tuple(found)


def asks(facts: Facts, wish: Wish, *, inside: bool) -> str:
    """Return YAML that gives exactly the rights that are missing."""
    return manifest(grants(facts, needed(inside=inside, snapshot=wish.snapshot, clone_claims=wish.clone_claims)))


def _api(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.version, ClusterError):
        yield Finding(
            key="kubernetes",
            part=PART,
            mark=Mark.MISSING,
            found=facts.version.message,
            why="snapshots of volumes are taken there; nothing else could be looked at",
            mend=facts.version.hint or f"asked with {facts.origin}",
        )
        return
    who = f"as {subject_of(facts.user)}" if facts.user else f"asked with {facts.origin}"
    version = tuple(int(part) for part in re.findall(r"\d+", facts.version)[:2])
    old = (0, 0) < version < _OLDEST  # a server that was built by hand may call itself 0.0
    yield Finding(
        key="kubernetes",
        part=PART,
        mark=Mark.MISSING if old else Mark.OK,
        found=f"Kubernetes {facts.version} at {facts.host}, {who}, namespace {facts.namespace}",
        why=f"snapshots of version v1 are in Kubernetes since {_OLDEST[0]}.{_OLDEST[1]}" if old else "",
        mend="run with --no-snapshot, or ask for a newer cluster" if old else "",
    )
    if abs(facts.ahead) > _SKEW:
        yield Finding(
            key="clock",
            part=PART,
            mark=Mark.WARNING,
            found=f"the clock here is {abs(facts.ahead):.0f} s {'ahead of' if facts.ahead > 0 else 'behind'} the cluster's",
            why="tokens may count as expired or not yet good; ages are told by the cluster's clock",
            mend="set the clock",
        )


def _kinds(facts: Facts) -> Iterator[Finding]:
    missing = [kind for kind in _KINDS if kind not in facts.kinds]
    if not missing:
        yield Finding(
            key="snapshot-kinds", part=PART, mark=Mark.OK, found="the cluster knows snapshots (snapshot.storage.k8s.io/v1)"
        )
        return
    older = [version for version in facts.groups if version != "v1"]
    if "v1" in facts.groups:
        found = f"the cluster lacks {', '.join(missing)} of snapshot.storage.k8s.io/v1"
    elif older:
        found = f"the cluster knows snapshots of {', '.join(older)} only, and not of v1"
    else:
        found = "the cluster knows no snapshots: their definitions (CRDs) are not installed"
    yield Finding(
        key="snapshot-kinds",
        part=PART,
        mark=Mark.MISSING,
        found=found,
        why="steps work on clones of snapshots of the notebook server's volumes",
        mend=f"{_INSTALL}; or run with --no-snapshot",
    )
