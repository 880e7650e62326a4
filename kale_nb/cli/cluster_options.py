"""Options that say which cluster is meant, for commands that look at one without submitting to it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kale_nb.submitting import add_address_options, add_kubernetes_options

if TYPE_CHECKING:
    from kale_nb.engines.kfp.cluster.connection import ClusterAsked
    from kale_nb.engines.kfp.submission.address import Asked


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Declare where the cluster is and as whom it is asked."""
    group = parser.add_argument_group("the cluster")
    group.add_argument(
        "--namespace", metavar="NAME", help="of runs, volumes and snapshots (default: that of the notebook server)"
    )
    add_kubernetes_options(group)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Declare where Kubeflow Pipelines is and as whom it is asked."""
    add_address_options(parser.add_argument_group("Kubeflow Pipelines"))


def cluster_asked(args: argparse.Namespace) -> ClusterAsked:
    """Return which cluster the options mean."""
    from kale_nb.engines.kfp.cluster.connection import ClusterAsked

    return ClusterAsked(kubeconfig=args.kubeconfig, context=args.context, namespace=args.namespace)


def server_asked(args: argparse.Namespace) -> Asked:
    """Return which Kubeflow Pipelines the options mean."""
    from kale_nb.engines.kfp.submission.address import Asked

    return Asked(
        host=args.host,
        namespace=args.namespace,
        token_file=args.token_file,
        cookie_file=args.cookie_file,
        ca_file=args.ca_file,
    )
