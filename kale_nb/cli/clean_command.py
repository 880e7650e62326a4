"""`kale clean`: remove what runs left on a cluster: claims and snapshots."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from kale_nb.cli import messages
from kale_nb.cli.cluster_options import add_cluster_options, add_server_options, cluster_asked, server_asked
from kale_nb.cli.gc_command import age, count
from kale_nb.cli.options import add_places
from kale_nb.errors import KaleError, UsageError
from kale_nb.report.style import Style, clip, is_terminal, table
from kale_nb.sizes import size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kale_nb.engines.kfp.cluster.api import Cluster
    from kale_nb.engines.kfp.cluster.inventory import Inventory
    from kale_nb.engines.kfp.cluster.removing import Fate, Outcome, Selection
    from kale_nb.engines.kfp.submission.alive import Known


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = (
        "Tell which volumes and snapshots that kale made on a cluster may go, and remove them when that is confirmed or --yes is given. "
        "Without a limit: those that have expired. What is in use, belongs to a run that goes on, or is not kale's is never touched."
    )
    what = parser.add_argument_group("what it is about")
    what.add_argument("--run", metavar="RUN", action="append", default=[], help="all of this run (any number)")
    what.add_argument("--pipeline", metavar="NAME", help="only of this pipeline")
    owner = what.add_mutually_exclusive_group()
    owner.add_argument("--owner", metavar="NAME", help="only what belongs to this owner")
    owner.add_argument("--mine", action="store_true", help="only what a submission from here would own")
    limits = parser.add_argument_group("limits, each of its own")
    limits.add_argument("--older-than", metavar="AGE", type=age, help="runs older than this, such as 30d, 12h or 2w")
    limits.add_argument("--expired", action="store_true", help="what has expired (the default when no limit is given)")
    limits.add_argument("--keep", metavar="N", type=count, help="runs beyond the newest so many")
    limits.add_argument("--all", action="store_true", help="all of it")
    sure = parser.add_mutually_exclusive_group()
    sure.add_argument("-y", "--yes", action="store_true", help="remove, without being asked")
    sure.add_argument("-n", "--dry-run", action="store_true", help="only tell what would go (so it is where nobody can be asked)")
    parser.add_argument("--wait", metavar="SECONDS", type=float, default=20.0, help="for objects to be gone (default 20)")
    parser.add_argument("--json", action="store_true", help="JSON for tools")
    job = parser.add_argument_group("as a CronJob")
    job.add_argument(
        "--cronjob", action="store_true", help="print a manifest that runs `kale clean` with these options in the cluster"
    )
    job.add_argument("--schedule", metavar="CRON", default="0 3 * * *", help="when (default '0 3 * * *')")
    job.add_argument("--image", metavar="REF", help="an image with kale-nb and the Kubernetes client")
    add_cluster_options(parser)
    add_server_options(parser)
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.engines.kfp.cluster.connection import find_cluster
    from kale_nb.engines.kfp.cluster.inventory import read_inventory
    from kale_nb.engines.kfp.cluster.removing import choose

    if args.cronjob:
        return _cronjob(args)
    if args.image:
        raise UsageError("--image is of the CronJob", hint="add --cronjob, or leave it out")
    cluster = find_cluster(cluster_asked(args), os.environ)
    selection = _selection(args, cluster)
    inventory = read_inventory(cluster)
    named = {f.kept.belongs.run: f.kept.belongs.pipeline for f in choose(inventory, selection) if f.why and f.kept.belongs.run}
    known = _known(args, named)
    fates = choose(inventory, selection, known.alive, known.ended)
    style = Style(sys.stdout)
    going = [fate for fate in fates if fate.goes]
    if not args.json:
        print("\n".join(_lines(inventory, fates, style)))
        _tell_unknown(inventory, known, bool(going))
    sure = args.yes or (bool(going) and not args.dry_run and not args.json and _asks() and _confirmed(len(going)))
    outcome = _remove(cluster, fates, args) if sure and going else None
    if args.json:
        print(json.dumps(_to_json(inventory, fates, outcome, known), ensure_ascii=False, indent=2))
    elif outcome is not None:
        print("\n".join(_outcome_lines(outcome, style)))
    elif going and not args.dry_run and not _asks():
        print("nothing was removed: --yes removes it")
    return 1 if outcome is not None and outcome.failed else 0


def _selection(args: argparse.Namespace, cluster: Cluster) -> Selection:
    from kale_nb.engines.kfp.cluster.removing import Selection

    made = Selection(
        runs=tuple(args.run),
        pipeline=args.pipeline,
        owner=_mine(cluster) if args.mine else args.owner,
        older_than=args.older_than,
        expired=args.expired,
        keep=args.keep,
        everything=args.all,
    )
    if made.limited:
        return made
    from dataclasses import replace

    return replace(made, expired=True)


def _mine(cluster: Cluster) -> str:
    from kale_nb.engines.kfp.cluster.inventory import owner_here

    owner = owner_here(cluster, os.environ, os.uname().nodename, os.getcwd())
    if not owner:
        raise UsageError("nothing says who you are", hint="set KALE_OWNER, or name an owner with --owner")
    return owner


def _known(args: argparse.Namespace, runs: dict[str, str]) -> Known:
    """Find out which runs go on."""
    from kale_nb.cli.kept_runs import run_store
    from kale_nb.engines.kfp.submission.address import find_address
    from kale_nb.engines.kfp.submission.alive import find_out
    from kale_nb.engines.kfp.submission.client import Client

    client, why = None, ""
    try:
        client = Client(find_address(server_asked(args), os.environ), patience=4.0, within=10.0)
    except UsageError as error:
        if args.host:
            raise
        why = error.message
    return find_out(runs, run_store(args.workspace, args.runs_dir).records() if runs else (), client, why)


def _asks() -> bool:
    return sys.stdin is not None and is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _confirmed(number: int) -> bool:
    sys.stdout.write(f"\nremove {'it' if number == 1 else f'these {number}'}? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _remove(cluster: Cluster, fates: Sequence[Fate], args: argparse.Namespace) -> Outcome:
    from kale_nb.engines.kfp.cluster.removing import remove

    return remove(cluster, fates, patience=max(0.0, args.wait), said=messages.say if not args.json else lambda text: None)


def _tell_unknown(inventory: Inventory, known: Known, going: bool) -> None:
    for text in inventory.unseen:
        messages.warning(text)
    if known.unasked and going:
        messages.warning(
            f"Kubeflow Pipelines was not asked which runs go on ({known.unasked}): pods and records here tell what they can"
        )


def _lines(inventory: Inventory, fates: Sequence[Fate], style: Style) -> list[str]:
    from kale_nb.engines.kfp.cluster.removing import cost_of
    from kale_nb.report.cluster import age_of, cost_lines

    if not inventory.objects:
        return [f"kale made nothing that is in namespace {inventory.namespace} now"]
    if not fates:
        return [f"none of the {len(inventory.objects)} things that kale made in namespace {inventory.namespace} is meant"]
    heads = ("", "name", "age", "size", "pipeline", "run", "owner", "state", "")
    rows = [
        (
            fate.kept.kind,
            fate.kept.name,
            age_of(fate.kept, inventory.now),
            size(fate.kept.size) if fate.kept.size else "?",
            fate.kept.belongs.pipeline,
            fate.kept.belongs.run,
            fate.kept.belongs.owner,
            clip(fate.kept.state, 40),
            style.paint(f"would go: {fate.why}", "red") if fate.goes else f"stays: {fate.why}" if fate.why else "",
        )
        for fate in fates
    ]
    going = [fate.kept for fate in fates if fate.goes]
    return [*table([heads, *rows], right=(2, 3), indent=""), *cost_lines(going, cost_of(going), "would remove")]


def _outcome_lines(outcome: Outcome, style: Style) -> list[str]:
    from kale_nb.engines.kfp.cluster.removing import cost_of
    from kale_nb.report.cluster import cost_lines

    lines = [f"{style.paint('failed', 'red')}: {kept.kind} {kept.name}: {why}" for kept, why in outcome.failed]
    lines += [
        f"{style.paint('terminating', 'yellow')}: {kept.kind} {kept.name}, held by {why}; it goes by itself when that lets go"
        for kept, why in outcome.terminating
    ]
    return [*lines, *cost_lines(outcome.gone, cost_of(outcome.gone), "removed")]


def _to_json(inventory: Inventory, fates: Sequence[Fate], outcome: Outcome | None, known: Known) -> dict[str, object]:
    from kale_nb.engines.kfp.cluster.removing import cost_of
    from kale_nb.report.cluster import cost_to_json, kept_to_json

    ends: dict[str, tuple[str, str]] = {}
    if outcome is not None:
        ends |= {kept.uid: ("removed", "") for kept in outcome.gone}
        ends |= {kept.uid: ("terminating", why) for kept, why in outcome.terminating}
        ends |= {kept.uid: ("failed", why) for kept, why in outcome.failed}
    objects = [
        {
            **kept_to_json(fate.kept),
            "goes": fate.goes,
            "why": fate.why,
            "outcome": ends.get(fate.kept.uid, ("", ""))[0],
            "reason": ends.get(fate.kept.uid, ("", ""))[1],
        }
        for fate in fates
    ]
    going = [fate.kept for fate in fates if fate.goes]
    return {
        "format": 1,
        "namespace": inventory.namespace,
        "removed": outcome is not None,
        "objects": objects,
        "cost": cost_to_json(cost_of(going)),
        "unseen": [*inventory.unseen, *([known.unasked] if known.unasked and going else [])],
    }


def _cronjob(args: argparse.Namespace) -> int:
    from kale_nb.engines.kfp.cluster.connection import find_cluster
    from kale_nb.engines.kfp.cluster.cronjob import cronjob_yaml

    if not args.image:
        raise UsageError("a CronJob needs an image", hint="name one that has kale-nb and the Kubernetes client with --image")
    namespace = args.namespace
    cluster = None
    if args.mine or not namespace:
        try:
            cluster = find_cluster(cluster_asked(args), os.environ)
        except KaleError as error:
            raise UsageError("nothing says for which namespace the CronJob is", hint="name it with --namespace") from error
        namespace = namespace or cluster.namespace
    words = [f"--run={each}" for each in args.run]
    words += [f"--pipeline={args.pipeline}"] if args.pipeline else []
    owner = _mine(cluster) if args.mine and cluster is not None else args.owner
    words += [f"--owner={owner}"] if owner else []
    words += [f"--older-than={args.older_than / 86400:g}d"] if args.older_than is not None else []
    words += [f"--keep={args.keep}"] if args.keep is not None else []
    words += ["--expired"] if args.expired else []
    words += ["--all"] if args.all else []
    words += [f"--host={args.host}"] if args.host else []
    sys.stdout.write(cronjob_yaml(namespace=namespace, schedule=args.schedule, image=args.image, words=words))
    return 0
