"""What a cluster's own parts say of an object."""

from __future__ import annotations

from kale_nb.engines.kfp.cluster.api import Cluster
from kale_nb.engines.kfp.cluster.problems import ClusterError
from kale_nb.engines.kfp.cluster.resources import EVENTS, Resource


def warnings_of(cluster: Cluster, resource: Resource, name: str, most: int = 3) -> tuple[str, ...]:
    """Return the last warnings about an object, `Reason: message`, the newest last; none when they may not be read."""
    selector = f"involvedObject.name={name},involvedObject.kind={resource.kind}"
    try:
        events = cluster.list(EVENTS, fields=selector)
    except ClusterError:
        return ()
    told = [event for event in events if event.get("type") == "Warning"]
    told.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    said = [f"{event.get('reason')}: {' '.join(str(event.get('message') or '').split())}" for event in told]
    return tuple(dict.fromkeys(said))[-most:]
