"""`kale compile`: write the pipeline file and one notebook a step, or a pipeline for Kubeflow Pipelines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.cli import messages
from kale_nb.cli.options import add_script_options
from kale_nb.errors import UsageError
from kale_nb.sizes import size
from kale_nb.submitting import add_kfp_options, target_of

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("notebook", metavar="NOTEBOOK", help="the notebook or script to compile")
    add_script_options(parser)
    parser.add_argument(
        "--target",
        choices=("folder", "kfp"),
        default="folder",
        help="a folder (the default), or kfp: a file for Kubeflow Pipelines",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        type=Path,
        help="the folder, or with --target kfp the file, to write (default: NOTEBOOK with the suffix .kale, or .yaml)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    add_kfp_options(parser)
    parser.add_argument("--validate", action="store_true", help="have kfp, which must be installed, read what was written")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kale_nb.compiler import compile_path

    compiled = compile_path(args.notebook, pipeline=args.pipeline, carry=args.no_snapshot)
    if not args.quiet:
        messages.diagnostics(compiled.diagnostics)
    return _write_kfp(args, compiled) if args.target == "kfp" else _write_folder(args, compiled)


def _write_folder(args: argparse.Namespace, compiled: Compiled) -> int:
    from kale_nb.compiler import write_compiled

    directory = args.output if args.output is not None else Path(args.notebook).with_suffix(".kale")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file", hint="name a folder with -o")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / "pipeline.json").exists():
        raise UsageError(f"{directory} holds other files", hint="name an empty or new folder with -o")
    try:
        write_compiled(compiled, directory)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}", hint="name another folder with -o") from error
    if not args.quiet:
        count = len(compiled.stepbooks)
        print(f"{directory}: pipeline.json and {count} stepbook{'s' if count != 1 else ''}")
    return 0


def _write_kfp(args: argparse.Namespace, compiled: Compiled) -> int:
    from kale_nb.engines.kfp.code import stage_code
    from kale_nb.engines.kfp.compiling import compile_kfp
    from kale_nb.report.summary import near

    target, workspace = target_of(args, compiled.pipeline)
    package = compile_kfp(compiled.pipeline, compiled.stepbooks, target)
    if not args.quiet:
        messages.diagnostics(package.diagnostics)
    path = args.output if args.output is not None else Path(args.notebook).with_suffix(".yaml")
    if not _is_ours(path):
        raise UsageError(
            f"{path} is there already and is no compiled pipeline", hint="name another file with -o, or move that one away"
        )
    if args.validate:
        from kale_nb.engines.kfp.validating import validate

        validate(package.text)
    try:
        path.write_text(package.text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name another file with -o") from error
    staged = stage_code(package.plan.code, workspace) if target.snapshot else None
    if not args.quiet:
        count = len(package.plan.tasks)
        print(f"{path}: {count} step{'s' if count != 1 else ''}, {size(len(package.text))}")
        if staged is not None:
            print(f"{near(staged)}: the stepbooks, which a snapshot of the workspace has to hold")
        for claim in package.plan.claims:
            needed = [n for what, n in claim.parameters.items() if _has_no_default(what, claim)]
            if needed:
                print(f"{claim.task}: a submission has to give {', '.join(needed)}")
    return 0


def _is_ours(path: Path) -> bool:
    """Tell whether writing to a path loses nothing of the user's: it is new, empty, no regular file, or a pipeline compiled before."""
    if not path.is_file():
        return True
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return not text.strip() or all(f"\n{key}:" in f"\n{text}" for key in ("deploymentSpec", "pipelineInfo", "schemaVersion"))


def _has_no_default(what: str, claim: object) -> bool:
    from kale_nb.engines.kfp.plan import Claim, Origin

    assert isinstance(claim, Claim)
    match what:
        case "source":
            return claim.origin is Origin.CLONE
        case "size":
            return claim.size is None
        case "class":
            return claim.storage_class is None
        case _:
            return False
