"""How the tests' driver behaves: like a good one, unless a test says otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """May be changed at any moment; what waits looks again.

    Attributes:
        cut_after: seconds from the request to the moment whose content a snapshot has (`creationTime`).
        ready_after: seconds from that moment until `readyToUse`.
        snapshot_error: what the driver says instead of taking a snapshot.
        ready_error: what it says instead of saying that a snapshot which it took is ready.
        never_ready: the snapshot is taken, and that is the last that is heard of it.
        tells_size: whether a snapshot has a `restoreSize`.
        restore_size: that size in bytes, when it is not the volume's.
        provision_after: seconds from the request for a volume to its creation.
        provision_error: what the driver says instead of making a volume.
        clones_claims: whether a claim may have another claim as its source.
        clones_snapshots: the same for snapshots.
        round_up: a volume's size in bytes is a multiple of this.
    """

    cut_after: float = 0.0
    ready_after: float = 0.0
    snapshot_error: str | None = None
    ready_error: str | None = None
    never_ready: bool = False
    tells_size: bool = True
    restore_size: int | None = None
    provision_after: float = 0.0
    provision_error: str | None = None
    clones_claims: bool = True
    clones_snapshots: bool = True
    round_up: int = 1
