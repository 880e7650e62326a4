"""Volumes: a workspace becomes a snapshot, a snapshot becomes a writable clone; the user's own folder is only read."""

from kale_nb.volumes.model import Clone, Policy, Snapshot, VolumeStore
from kale_nb.volumes.store import CopyStore

__all__ = ["Clone", "CopyStore", "Policy", "Snapshot", "VolumeStore"]
