"""What a run needs of a namespace's quotas, against what is left of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kale_nb.engines.kfp.cluster.api import Body
from kale_nb.engines.kfp.cluster.problems import ClusterError
from kale_nb.engines.kfp.cluster.quantities import known_quantity, spell_quantity
from kale_nb.engines.preflight import Finding, Mark

PART = "Quota"
_BYTES = "requests.storage"
_COUNT = "persistentvolumeclaims"
_OF_CLASS = ".storageclass.storage.k8s.io/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A claim that a run makes.

    Attributes:
        size: bytes.
        storage_class: empty when it is not known.
    """

    size: int
    storage_class: str = ""


def needs_of(claims: Sequence[Wanted], snapshots: int) -> dict[str, int]:
    """Return what a run takes, as quotas name it.

    >>> needs_of([Wanted(size=5, storage_class="fast"), Wanted(size=2)], 1)["fast.storageclass.storage.k8s.io/requests.storage"]
    5
    """
    needs = {_COUNT: len(claims), f"count/{_COUNT}": len(claims), _BYTES: sum(claim.size for claim in claims)}
    needs["count/volumesnapshots.snapshot.storage.k8s.io"] = snapshots
    for claim in claims:
        if claim.storage_class:
            start = f"{claim.storage_class}{_OF_CLASS}"
            needs[f"{start}{_BYTES}"] = needs.get(f"{start}{_BYTES}", 0) + claim.size
            needs[f"{start}{_COUNT}"] = needs.get(f"{start}{_COUNT}", 0) + 1
    return needs


def quota_findings(quotas: list[Body] | ClusterError, needs: Mapping[str, int], namespace: str) -> Iterator[Finding]:
    """Compare each limit of each quota that concerns a run with what the run takes."""
    if isinstance(quotas, ClusterError):
        yield Finding(
            key="quota",
            part=PART,
            mark=Mark.WARNING,
            found=f"the quotas of namespace {namespace} cannot be looked at: {quotas.message}",
            why="a run that does not fit fails when its first volume is refused",
            mend=quotas.hint or "try again",
        )
        return
    seen = False
    for quota in quotas:
        name = str((quota.get("metadata") or {}).get("name"))
        hard = (quota.get("status") or {}).get("hard") or (quota.get("spec") or {}).get("hard") or {}
        used = (quota.get("status") or {}).get("used") or {}
        for limit in sorted(hard):
            if needs.get(limit):
                seen = True
                yield _compared(name, limit, known_quantity(hard[limit]), known_quantity(used.get(limit, 0)), needs[limit])
    if not seen:
        yield Finding(
            key="quota",
            part=PART,
            mark=Mark.OK,
            found=f"no quota of namespace {namespace} limits claims, their storage or snapshots",
        )


def _compared(quota: str, limit: str, most: int, used: int, needed: int) -> Finding:
    left = most - used
    spell = spell_quantity if limit.endswith(_BYTES) else str
    key = f"quota:{quota}:{limit}"
    state = f"quota {quota} allows {limit} of {spell(most)}, {spell(used)} are used"
    if needed <= left:
        runs = left // needed
        return Finding(
            key=key,
            part=PART,
            mark=Mark.OK,
            found=f"{state}: a run takes {spell(needed)}, enough for {'one run' if runs == 1 else f'{runs} runs'}",
        )
    return Finding(
        key=key,
        part=PART,
        mark=Mark.MISSING,
        found=f"{state}: a run takes {spell(needed)}, and {spell(max(0, left))} are left",
        why="the run's volumes or snapshots would be refused",
        mend="`kale clean` removes what earlier runs left; or ask for a larger quota",
    )
