"""`kale snapshots --engine kfp`: list and show the snapshots that kale took on a cluster."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kale_nb.cli import messages
from kale_nb.cli.cluster_options import cluster_asked
from kale_nb.errors import UsageError, VolumeError
from kale_nb.report.style import Style, clip, table
from kale_nb.sizes import size

if TYPE_CHECKING:
    from kale_nb.engines.kfp.cluster.inventory import Inventory, Kept

_REFUSED = {
    "verify": "a snapshot on a cluster cannot be read without a volume made from it: the first step of a run checks its clone",
    "pin": "nothing on a cluster goes by itself: `kale clean` takes what has expired or is over a limit that you give it",
}
_REFUSED["unpin"] = _REFUSED["pin"]
_HINT = {
    "verify": "`kale run` on that snapshot, a volume of `type: snap`, does that",
    "pin": "`kubectl annotate volumesnapshot NAME kale-nb/expires-` takes the date from one that has one",
    "unpin": "`kubectl annotate volumesnapshot NAME kale-nb/expires=2030-01-31T00:00:00Z` gives one a date",
}


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if args.action in _REFUSED:
        raise UsageError(f"snapshots on a cluster have no `{args.action}`: {_REFUSED[args.action]}", hint=_HINT[args.action])
    if args.quick:
        raise UsageError("--quick is of `kale snapshots verify`, which snapshots on a cluster do not have")
    if args.action == "show" and not args.ids:
        raise UsageError("kale snapshots show needs the name of a snapshot or of a run")
    from kale_nb.engines.kfp.cluster.connection import find_cluster
    from kale_nb.engines.kfp.cluster.inventory import read_inventory

    inventory = read_inventory(find_cluster(cluster_asked(args), os.environ))
    shown = _meant(inventory, args.ids) if args.ids else inventory.of("snapshot")
    if args.json:
        print(json.dumps([_to_json(kept, inventory) for kept in shown], ensure_ascii=False, indent=2))
        return 0
    style = Style(sys.stdout)
    lines = _table(inventory, shown, style) if args.action == "list" else _shown(inventory, shown)
    print("\n".join(lines))
    for text in inventory.unseen:
        messages.warning(text)
    return 0


def _meant(inventory: Inventory, texts: Sequence[str]) -> tuple[Kept, ...]:
    """Return the snapshots that names, beginnings of names, and runs mean. VolumeError when one means none."""
    found: dict[str, Kept] = {}
    for text in texts:
        snapshots = inventory.of("snapshot")
        matches = [kept for kept in snapshots if text in (kept.name, kept.belongs.run)] or [
            kept for kept in snapshots if kept.name.startswith(text) or kept.belongs.run.startswith(text)
        ]
        if not matches:
            raise VolumeError(
                f"kale took no snapshot in namespace {inventory.namespace} that is called {text!r} or is of a run called so",
                hint="`kale snapshots --engine kfp` lists them",
            )
        found |= {kept.uid: kept for kept in matches}
    return tuple(found.values())


def _table(inventory: Inventory, shown: Sequence[Kept], style: Style) -> list[str]:
    from kale_nb.engines.kfp.cluster.removing import cost_of
    from kale_nb.report.cluster import cost_lines, deletion, local_time

    if not shown:
        return [f"kale took no snapshots that are in namespace {inventory.namespace} now"]
    heads = ("snapshot", "taken", "size", "of", "class", "deleting", "pipeline", "run", "owner", "expires", "state")
    rows = [
        (
            kept.name,
            local_time(kept.taken or kept.made),
            size(kept.size) if kept.size else "?",
            kept.source,
            kept.of_class or "default",
            deletion(kept.policy),
            kept.belongs.pipeline,
            kept.belongs.run,
            kept.belongs.owner,
            local_time(kept.expires) or "never",
            kept.state if kept.state == "ready" else style.paint(clip(kept.state, 60), "yellow"),
        )
        for kept in shown
    ]
    both = [*inventory.of("claim"), *shown]
    return [*table([heads, *rows], right=(2,), indent=""), *cost_lines(both, cost_of(both), "with what runs made from them:")]


def _shown(inventory: Inventory, shown: Sequence[Kept]) -> list[str]:
    from kale_nb.report.cluster import deletion, local_time

    lines: list[str] = []
    for kept in shown:
        facts = [("snapshot", kept.name), ("state", kept.state), ("of", kept.source)]
        facts += [("taken", local_time(kept.taken) or "not yet"), ("asked for", local_time(kept.made))]
        facts += [("size", size(kept.size) if kept.size else "not told by the driver")]
        facts += [("class", kept.of_class or "the cluster's default"), ("deleting it", deletion(kept.policy))]
        facts += [("behind it", kept.content or "nothing yet"), ("pipeline", kept.belongs.pipeline), ("run", kept.belongs.run)]
        facts += [
            ("volume", kept.belongs.volume),
            ("owner", kept.belongs.owner),
            ("expires", local_time(kept.expires) or "never"),
        ]
        facts += [("files listed in", kept.manifest)] if kept.manifest else []
        for claim in inventory.of("claim"):
            if claim.source == kept.name:
                pods = ", ".join(user.pod for user in claim.busy)
                mounted = f", mounted by {pods}" if pods else ""
                facts.append(("cloned as", f"claim {claim.name}, {size(claim.size)}, {claim.state}{mounted}"))
        lines += [*([""] if lines else []), *table([fact for fact in facts if fact[1]], indent="")]
    return lines


def _to_json(kept: Kept, inventory: Inventory) -> dict[str, object]:
    from kale_nb.report.cluster import kept_to_json

    return {**kept_to_json(kept), "clones": [claim.name for claim in inventory.of("claim") if claim.source == kept.name]}
