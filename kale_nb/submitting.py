"""What people ask of a submission to Kubeflow Pipelines, as options of any command, and the engine that these describe."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kale_nb.errors import UsageError

if TYPE_CHECKING:
    from kale_nb.engines.kfp.submission.engine import Options
    from kale_nb.engines.kfp.submission.taking import Cloning
    from kale_nb.engines.kfp.target import Target
    from kale_nb.engines.protocol import Engine
    from kale_nb.pipeline.model import Pipeline

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def add_kfp_options(parser: argparse.ArgumentParser) -> None:
    """Declare how a pipeline is to run on Kubeflow Pipelines."""
    group = parser.add_argument_group("Kubeflow Pipelines")
    group.add_argument(
        "--image", metavar="REF", help="image of the steps whose marks name none (default of a run: the notebook server's)"
    )
    group.add_argument(
        "--mount",
        metavar="PATH",
        default="/home/jovyan",
        help="where steps see the workspace (default of a run: where the notebook server does; else /home/jovyan)",
    )
    group.add_argument(
        "--volume-root",
        metavar="DIR",
        type=Path,
        help="the folder here that is the root of the workspace's volume (default: the notebook's)",
    )
    group.add_argument(
        "--cleanup",
        choices=("keep", "delete-on-success", "delete"),
        default="keep",
        help="what becomes of the volumes made for a run (default keep)",
    )
    group.add_argument(
        "--package", metavar="REQUIREMENT", action="append", default=[], help="have each step pip install this first (any number)"
    )
    group.add_argument("--user", metavar="UID", type=id_of, help="numeric user that the steps run as")
    group.add_argument("--group", metavar="GID", type=id_of, help="numeric group that the steps run as")
    group.add_argument(
        "--create-volumes",
        choices=("native", "script"),
        default="native",
        help="make volumes by CreatePVC (the default; needs Kubeflow Pipelines 2.17) or by a step of ours",
    )


def add_submission_options(parser: argparse.ArgumentParser) -> None:
    """Declare how a pipeline is submitted, and of what its volumes are clones."""
    before = set(vars(parser.parse_args([])))
    add_kfp_options(parser)
    _add_server(parser.add_argument_group("submission to Kubeflow Pipelines"))
    _add_volumes(parser.add_argument_group("clones of the notebook server's volumes"))
    given = vars(parser.parse_args([]))
    parser.set_defaults(submission={name: given[name] for name in given if name not in before})


def _add_server(group: argparse._ArgumentGroup) -> None:
    add_address_options(group)
    group.add_argument(
        "--ui-host", metavar="URL", help="where the user interface is, when elsewhere (default: KF_PIPELINES_UI_ENDPOINT)"
    )
    group.add_argument("--namespace", metavar="NAME", help="namespace of runs and volumes (default: that of the notebook server)")
    group.add_argument(
        "--experiment", metavar="NAME", help="experiment of the run (default: the pipeline's, else Default); made if missing"
    )
    group.add_argument("--no-wait", action="store_true", help="submit and return; `kale show` looks later how it went")
    group.add_argument("--storage-class", metavar="NAME", help="of volumes that begin empty, where the marks name none")


def add_address_options(group: argparse._ArgumentGroup) -> None:
    """Declare where Kubeflow Pipelines is and as whom it is asked."""
    group.add_argument(
        "--host", metavar="URL", help="where the API is (default: KF_PIPELINES_ENDPOINT, else the cluster that this runs in)"
    )
    group.add_argument(
        "--token-file",
        "--sa-token-file",
        metavar="FILE",
        type=Path,
        help="a bearer token, read again for each request (default: KF_PIPELINES_SA_TOKEN_PATH)",
    )
    group.add_argument(
        "--cookie-file", metavar="FILE", type=Path, help="a session cookie, as NAME=VALUE, read again for each request"
    )
    group.add_argument("--ca-file", metavar="FILE", type=Path, help="certificates of the authorities to trust (PEM)")


def add_kubernetes_options(group: argparse._ArgumentGroup) -> None:
    """Declare which Kubernetes cluster is meant."""
    group.add_argument(
        "--kubeconfig",
        metavar="FILE",
        type=Path,
        help="how to reach Kubernetes (default: KUBECONFIG, the pod's service account, ~/.kube/config)",
    )
    group.add_argument("--context", metavar="NAME", help="which context of the kubeconfig")


def _add_volumes(group: argparse._ArgumentGroup) -> None:
    add_kubernetes_options(group)
    group.add_argument(
        "--workspace-claim", metavar="NAME", help="the claim that is the workspace (default: the notebook server's that holds it)"
    )
    group.add_argument("--only-workspace", action="store_true", help="leave the notebook server's other volumes out")
    group.add_argument("--snapshot-class", metavar="NAME", help="VolumeSnapshotClass (default: the one for the volume's driver)")
    group.add_argument(
        "--snapshot-timeout",
        metavar="TIME",
        type=seconds_of,
        default=600.0,
        help="how long snapshots are waited for, such as 90s or 20m (default 10m)",
    )
    group.add_argument(
        "--clone-claims", action="store_true", help="clone the claims themselves: for drivers that clone and take no snapshots"
    )
    group.add_argument("--one-node", action="store_true", help="run all steps on the notebook server's node")
    group.add_argument(
        "--keep-for",
        metavar="TIME",
        type=seconds_of,
        help="after this long `kale clean` may remove what was made on the cluster, such as 12h or 7d (default: when it is told to)",
    )


def id_of(text: str) -> int:
    """Read the number of a user or a group, as Kubernetes takes it.

    >>> id_of("1000")
    1000
    """
    if not (text.isascii() and text.isdigit() and int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is no id; write a number such as 1000, what `id -u` and `id -g` print")
    return int(text)


def seconds_of(text: str) -> float:
    """Read a time such as `90s`, `20m`, `12h`, `7d`.

    >>> seconds_of("20m"), seconds_of("1.5h"), seconds_of("30")
    (1200.0, 5400.0, 30.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write for example 90s, 20m, 12h or 7d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def target_of(args: argparse.Namespace, pipeline: Pipeline) -> tuple[Target, Path]:
    """Return the target that the options describe, and the folder here that is the workspace. UsageError when they do not fit."""
    from kale_nb.engines.kfp.target import Cleanup, Target
    from kale_nb.pipeline.volumes import shortest
    from kale_nb.planning import choose_workspace

    mount = shortest(args.mount)
    if not mount.startswith("/") or mount == "/":
        raise UsageError(f"--mount {args.mount} is no absolute path of a folder")
    workspace, folder = choose_workspace(pipeline.source, args.volume_root)
    target = Target(
        image=args.image,
        mount=mount,
        folder=folder.as_posix(),
        snapshot=not args.no_snapshot,
        cleanup=Cleanup(args.cleanup),
        packages=tuple(args.package),
        user=args.user,
        group=args.group,
        native_volumes=args.create_volumes == "native",
    )
    return target, workspace


def carries_code(args: argparse.Namespace, environ: Mapping[str, str]) -> bool:
    """Tell whether the code has to be in the pipeline, because there is no workspace, or it is not to be seen from here."""
    from kale_nb.engines.kfp.submission.places import is_inside

    return bool(args.no_snapshot or (args.engine == "kfp" and (args.workspace_claim is not None or not is_inside(environ))))


def engine_of(args: argparse.Namespace, pipeline: Pipeline, ask: Callable[[], bool] | None) -> Engine | None:
    """Return the kfp engine that the options describe; None when another engine is asked for, for which there must be none of them.

    Args:
        ask: asks whether the run is to be stopped on the cluster too, when the user interrupts.
    """
    if args.engine != "kfp":
        _refuse_others(args, args.submission.items())
        return None
    from kale_nb.engines.kfp.submission.address import find_address
    from kale_nb.engines.kfp.submission.engine import KfpEngine

    options = submission_of(args, pipeline, ask)
    find_address(options.asked, os.environ)  # an address that makes no sense is told before a run is begun
    return KfpEngine(options)


def submission_of(args: argparse.Namespace, pipeline: Pipeline, ask: Callable[[], bool] | None = None) -> Options:
    """Return how the options have a pipeline submitted. UsageError when they do not fit."""
    from kale_nb.engines.kfp.submission.address import Asked
    from kale_nb.engines.kfp.submission.engine import Options

    # A run on a cluster copies nothing here, so that the home folder may be the workspace without being named.
    here = {"volume_root": args.volume_root or folder_of(pipeline)}
    target, _ = target_of(argparse.Namespace(**{**vars(args), **here}), pipeline)
    asked = Asked(
        host=args.host,
        ui_host=args.ui_host,
        namespace=args.namespace,
        token_file=args.token_file,
        cookie_file=args.cookie_file,
        ca_file=args.ca_file,
    )
    return Options(
        asked=asked,
        experiment=args.experiment,
        wait=not args.no_wait,
        snapshot=False if args.no_snapshot else None,
        target=target,
        storage_class=args.storage_class,
        cloning=_cloning(args),
        ask=ask,
    )


def _cloning(args: argparse.Namespace) -> Cloning:
    from kale_nb.engines.kfp.cluster.snapshots import Patience
    from kale_nb.engines.kfp.submission.taking import Cloning

    cloning = Cloning(
        kubeconfig=args.kubeconfig,
        context=args.context,
        workspace_claim=args.workspace_claim,
        only_workspace=args.only_workspace,
        snapshot_class=args.snapshot_class,
        clone_claims=args.clone_claims,
        one_node=args.one_node,
        keep_for=args.keep_for,
        patience=Patience(timeout=args.snapshot_timeout),
    )
    if args.no_snapshot:
        of_clones = (
            "workspace_claim",
            "only_workspace",
            "snapshot_class",
            "snapshot_timeout",
            "clone_claims",
            "one_node",
            "keep_for",
        )
        for name in of_clones:
            if getattr(args, name) != args.submission[name]:
                raise UsageError(f"{_option(name)} is for clones, and --no-snapshot makes none", hint="leave one of them out")
    if args.clone_claims and args.snapshot_class is not None:
        raise UsageError("--clone-claims takes no snapshots, so --snapshot-class means nothing", hint="leave one of them out")
    return cloning


def _refuse_others(args: argparse.Namespace, options: Iterable[tuple[str, Any]]) -> None:
    for name, default in options:
        if getattr(args, name) != default:
            raise UsageError(f"{_option(name)} is for Kubeflow Pipelines", hint="add --kfp, or leave it out")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def folder_of(pipeline: Pipeline) -> Path:
    """Return the folder of the notebook, or the current one."""
    source = Path(pipeline.source).absolute()
    return source.parent if source.exists() else Path.cwd()
