"""Volumes: a workspace becomes a snapshot, a snapshot becomes a writable clone; the user's own folder is only read."""

from kale_nb.volumes.glance import glance
from kale_nb.volumes.model import Changes, Clone, Damage, Entry, Freed, Policy, Probe, Snapshot
from kale_nb.volumes.snapshots import SnapshotStore

__all__ = [
    "Changes",
    "Clone",
    "Damage",
    "Entry",
    "Freed",
    "Policy",
    "Probe",
    "Snapshot",
    "SnapshotStore",
    "glance",
]
