"""`kale doctor`: whether a run can work here, or on a cluster, and what to do where it cannot."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.cli import messages
from kale_nb.cli.cluster_options import add_cluster_options, add_server_options, cluster_asked, server_asked
from kale_nb.cli.options import add_pipeline_option, byte_count
from kale_nb.errors import UsageError
from kale_nb.report.style import Style, columns

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled
    from kale_nb.engines.preflight import Diagnosis, Finding

_LOCAL = ("workspace", "max_workspace_size")
_KFP = (
    "host", "token_file", "cookie_file", "ca_file", "namespace", "kubeconfig", "context", "image", "workspace_claim", "snapshot_class",
    "storage_class", "only_workspace", "clone_claims", "create_volumes", "cleanup", "no_snapshot", "yaml",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = (
        "Look at everything that a run needs, on this machine or on a cluster, and tell what is there, what is missing, why it matters and "
        "what to do. Exits with 0 when a run can work, with 1 when not."
    )
    parser.add_argument("notebook", metavar="NOTEBOOK", nargs="?", help="look at what a run of this notebook or script needs")
    add_pipeline_option(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--engine", choices=("local", "kfp"), default="local", help="where it is to run (default local)")
    where.add_argument("--kfp", dest="engine", action="store_const", const="kfp", help="Kubeflow Pipelines: --engine kfp")
    parser.add_argument("--json", action="store_true", help="JSON for tools")
    parser.add_argument(
        "--yaml", action="store_true", help="print only the rights to ask for, as `kubectl apply -f -` takes them"
    )
    parser.add_argument("--workspace", metavar="DIR", type=Path, help="engine local: the folder that a run gets a copy of")
    parser.add_argument(
        "--max-workspace-size", metavar="SIZE", type=byte_count, help="engine local: as of `kale run` (default 4G)"
    )
    add_server_options(parser)
    add_cluster_options(parser)
    group = parser.add_argument_group("the run, on a cluster")
    group.add_argument("--image", metavar="REF", help="image of the steps whose marks name none")
    group.add_argument(
        "--workspace-claim", metavar="NAME", help="the claim that holds the notebook, where no notebook server tells it"
    )
    group.add_argument(
        "--snapshot-class", metavar="NAME", help="class of the snapshots (default: the one of the volume's driver)"
    )
    group.add_argument("--storage-class", metavar="NAME", help="of volumes that begin empty, where the marks name none")
    group.add_argument("--only-workspace", action="store_true", help="the notebook server's other volumes are left out")
    group.add_argument("--clone-claims", action="store_true", help="claims are cloned themselves, without snapshots")
    group.add_argument("--create-volumes", choices=("native", "script"), help="who makes the clones (default: as the server can)")
    group.add_argument("--cleanup", choices=("keep", "delete-on-success", "delete"), help="what becomes of them (default keep)")
    group.add_argument("--no-snapshot", action="store_true", help="a run without clones")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    for name in _LOCAL if args.engine == "kfp" else _KFP:
        if getattr(args, name):
            other = "local" if args.engine == "kfp" else "kfp"
            raise UsageError(
                f"--{name.replace('_', '-')} is for the engine {other}", hint=f"add --engine {other}, or leave it out"
            )
    if args.yaml and args.json:
        raise UsageError("--yaml and --json are two things", hint="--json holds the YAML too, as `asks`")
    diagnosis = _of_cluster(args) if args.engine == "kfp" else _of_machine(args)
    if args.yaml:
        sys.stdout.write(diagnosis.asks)
        _tell_unasked(diagnosis)
    elif args.json:
        print(json.dumps(_to_json(diagnosis), ensure_ascii=False, indent=2))
    else:
        from kale_nb.report.preflight import diagnosis_lines

        verdict = "a run can work" if args.notebook is None else f"{args.notebook} can run"
        print("\n".join(diagnosis_lines(diagnosis, Style(sys.stdout), min(columns(sys.stdout), 140), verdict=verdict)))
    return 0 if diagnosis.ready else 1


def _tell_unasked(diagnosis: Diagnosis) -> None:
    """Say on stderr why there are no rights to ask for."""
    from kale_nb.engines.preflight import Mark

    if diagnosis.asks:
        return
    for finding in diagnosis.of(Mark.MISSING):
        messages.say(f"{Style(sys.stderr).paint('missing:', 'bold', 'red')} {finding.found}")
        if finding.mend:
            messages.say(f"  hint: {finding.mend}")
    if diagnosis.ready:
        messages.say("no right is missing")


def _of_machine(args: argparse.Namespace) -> Diagnosis:
    from kale_nb.engines.local import preflight
    from kale_nb.planning import choose_workspace

    compiled, findings = _compiled(args)
    kernel = compiled.pipeline.kernel if compiled is not None else "python3"
    workspace, _ = choose_workspace(args.notebook or str(Path.cwd() / "notebook.ipynb"), args.workspace)
    if compiled is not None:
        findings = (*findings, *_planned(args.notebook, compiled, workspace, "local"))
    limit = args.max_workspace_size or 4 * 1024**3
    return preflight.diagnose(workspace.resolve(), kernel=kernel, max_bytes=limit, findings=findings)


def _of_cluster(args: argparse.Namespace) -> Diagnosis:
    from kale_nb.engines.kfp.submission.preflight import Checked, diagnose
    from kale_nb.engines.kfp.target import Cleanup, Target

    compiled, findings = _compiled(args)
    source = Path(args.notebook).absolute() if args.notebook else None
    folder = source.parent if source is not None and source.exists() else Path.cwd()
    checked = Checked(
        asked=server_asked(args),
        cluster=cluster_asked(args),
        environ=os.environ,
        folder=os.path.realpath(folder),
        hostname=os.uname().nodename,
        target=Target(
            image=args.image,
            snapshot=not args.no_snapshot,
            cleanup=Cleanup(args.cleanup or "keep"),
            native_volumes=args.create_volumes != "script",
        ),
        pipeline=compiled.pipeline if compiled is not None else None,
        stepbooks=compiled.stepbooks if compiled is not None else (),
        workspace=args.workspace_claim or "",
        snapshot_class=args.snapshot_class,
        storage_class=args.storage_class,
        only_workspace=args.only_workspace,
        clone_claims=args.clone_claims,
    )
    if compiled is not None:
        findings = (*findings, *_planned(args.notebook, compiled, folder, "kfp"))
    diagnosis = diagnose(checked)
    return replace(diagnosis, findings=(*findings, *diagnosis.findings))


def _planned(notebook: str, compiled: Compiled, workspace: Path, engine: str) -> tuple[Finding, ...]:
    """Plan the run; what it would be refused for, and what it would warn of, is told as findings."""
    from kale_nb.engines.preflight import Finding, Mark
    from kale_nb.planning import RunOptions, plan

    try:
        planned = plan(compiled.pipeline, RunOptions(workspace=workspace, engine=engine))
    except UsageError as error:
        refused = Finding(
            key="plan",
            part="Notebook",
            mark=Mark.MISSING,
            found=f"{notebook}: {error}",
            why="`kale run` refuses it, and nothing would be run",
            mend=error.hint or "",
        )
        return (refused,)
    return tuple(
        Finding(key=f"plan-{number}", part="Notebook", mark=Mark.WARNING, found=notice)
        for number, notice in enumerate(planned.notices, 1)
    )


def _compiled(args: argparse.Namespace) -> tuple[Compiled | None, tuple[Finding, ...]]:
    """Compile the notebook; what speaks against it is told as findings."""
    from kale_nb.cli.loading import load
    from kale_nb.diagnostics import CompileError, has_errors
    from kale_nb.engines.preflight import Finding, Mark

    if args.notebook is None:
        return None, ()
    try:
        return load(args.notebook, pipeline=args.pipeline, carry=args.no_snapshot), ()
    except CompileError as error:
        count = len([each for each in error.diagnostics if has_errors([each])])
        finding = Finding(
            key="notebook",
            part="Notebook",
            mark=Mark.MISSING,
            found=f"{args.notebook} cannot become a pipeline: {count} error{'s' * (count != 1)}",
            why="nothing would be run",
            mend=f"`kale check {args.notebook}` lists them",
        )
        return None, (finding,)


def _to_json(diagnosis: Diagnosis) -> dict[str, object]:
    return {
        "format": 1,
        "engine": diagnosis.engine,
        "ready": diagnosis.ready,
        "user": diagnosis.user,
        "findings": [
            {
                "key": finding.key,
                "part": finding.part,
                "state": finding.mark.value,
                "found": finding.found,
                "why": finding.why,
                "mend": finding.mend,
                "yaml": finding.yaml,
            }
            for finding in diagnosis.findings
        ],
        "asks": diagnosis.asks,
    }
