"""What kale made on a cluster, as text and as JSON."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from kale_nb.engines.kfp.cluster.inventory import Kept
from kale_nb.engines.kfp.cluster.removing import Cost
from kale_nb.sizes import size


def age_of(kept: Kept, now: datetime.datetime) -> str:
    """Return how long ago an object was made, for people; nothing less than none when clocks differ."""
    seconds = max(0.0, (now - kept.made).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def local_time(moment: datetime.datetime | None) -> str:
    """Return a time, local, for people."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment is not None else ""


def deletion(policy: str) -> str:
    """Return what becomes of the storage when an object is deleted."""
    return {"Delete": "frees it", "Retain": "retains it"}.get(policy, "not known")


def cost_lines(objects: Sequence[Kept], cost: Cost, verb: str) -> list[str]:
    """Return how many objects and how many bytes, and what of it is not freed."""
    counts = [(kind, sum(kept.kind == kind for kept in objects)) for kind in ("claim", "snapshot")]
    said = " and ".join(f"{count} {kind}{'s' * (count != 1)}" for kind, count in counts)
    parts = [f"claims of {size(cost.claims)}"] if cost.claims else []
    parts += [f"snapshots of {size(cost.snapshots)}"] if cost.snapshots else []
    lines = [f"{verb} {said}{': ' if parts else ''}{', '.join(parts)}"]
    if cost.retained:
        lines.append(
            f"  {size(cost.retained)} of it is not freed: the policy is Retain, and an administrator has to delete what is behind it"
        )
    if cost.unknown:
        lines.append(f"  of {size(cost.unknown)} of it we may not know whether that is freed")
    return lines


def kept_to_json(kept: Kept) -> dict[str, object]:
    """Return an object as JSON values."""
    return {
        "kind": kept.kind,
        "name": kept.name,
        "uid": kept.uid,
        "pipeline": kept.belongs.pipeline,
        "run": kept.belongs.run,
        "owner": kept.belongs.owner,
        "volume": kept.belongs.volume,
        "made": kept.made.isoformat(),
        "taken": kept.taken.isoformat() if kept.taken else None,
        "size": kept.size,
        "source": kept.source,
        "class": kept.of_class,
        "policy": kept.policy,
        "state": kept.state,
        "expires": kept.expires.isoformat() if kept.expires else None,
        "pods": [user.pod for user in kept.users],
        "needed_by": list(kept.needed_by),
        "behind": kept.content,
        "manifest": kept.manifest,
    }


def cost_to_json(cost: Cost) -> dict[str, int]:
    """Return a sum as JSON values."""
    return {"claims": cost.claims, "snapshots": cost.snapshots, "retained": cost.retained, "unknown": cost.unknown}
