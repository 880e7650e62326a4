"""The snapshot class of a volume: the one whose driver is the volume's."""

from __future__ import annotations

from kale_nb.engines.kfp.cluster.api import Body, Cluster
from kale_nb.engines.kfp.cluster.claims import Source
from kale_nb.engines.kfp.cluster.problems import Forbidden
from kale_nb.engines.kfp.cluster.resources import SNAPSHOT_CLASSES
from kale_nb.errors import VolumeError

DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"


def read_classes(cluster: Cluster) -> list[Body] | None:
    """Return all snapshot classes; None when we may not read them. Unserved when the cluster has no snapshots at all."""
    try:
        return cluster.list(SNAPSHOT_CLASSES)
    except Forbidden:
        return None


def choose_class(classes: list[Body] | None, source: Source, named: str | None) -> str | None:
    """Return the name of the class for a snapshot of a claim; None leaves it to the cluster.

    Args:
        classes: those of the cluster; None: not known.
        named: what was asked for.

    Raises:
        VolumeError: none fits, or it is not clear which.
    """
    if classes is None:
        return named
    mine = [each for each in classes if each.get("driver") == source.driver]
    if named is not None:
        return _named(classes, mine, source, named)
    if not source.driver:
        defaults = [each for each in classes if is_default(each)]
        mine = classes if len(defaults) != 1 else defaults
    if not mine:
        others = ", ".join(f"{_name(each)} ({each.get('driver')})" for each in classes) or "none"
        raise VolumeError(
            f"no snapshot class is for the driver of claim {source.name}, {source.driver}: there are {others}",
            hint="an administrator has to make a VolumeSnapshotClass with that driver, if it takes snapshots (`kale doctor --engine kfp` "
            "shows one); with --clone-claims the driver clones the claim itself, if it can",
        )
    defaults = [each for each in mine if is_default(each)]
    if len(defaults) == 1:
        return _name(defaults[0])
    if len(defaults) > 1:
        raise VolumeError(
            f"several snapshot classes are the default of {source.driver or 'the cluster'}: {_names(defaults)}",
            hint="name one with --snapshot-class; an administrator should leave one of them the default",
        )
    if len(mine) > 1:
        raise VolumeError(
            f"several snapshot classes are for claim {source.name}, and none is the default: {_names(mine)}",
            hint="name one with --snapshot-class",
        )
    return _name(mine[0])


def _named(classes: list[Body], mine: list[Body], source: Source, named: str) -> str | None:
    found = next((each for each in classes if _name(each) == named), None)
    if found is None:
        raise VolumeError(f"there is no snapshot class {named}", hint=f"there are {_names(classes) or 'none'}")
    if source.driver and found not in mine:
        raise VolumeError(
            f"the snapshot class {named} is for {found.get('driver')}, and the claim {source.name} is on {source.driver}",
            hint=f"for that there are {_names(mine) or 'none'}",
        )
    return named


def is_default(each: Body) -> bool:
    """Tell whether a class is one that is taken when none is named."""
    return (each["metadata"].get("annotations") or {}).get(DEFAULT) == "true"


def _name(each: Body) -> str:
    return str(each["metadata"]["name"])


def _names(classes: list[Body]) -> str:
    return ", ".join(sorted(map(_name, classes)))
