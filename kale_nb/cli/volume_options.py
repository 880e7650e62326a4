"""Options of `kale run` about volumes: data volumes, what steps see of them, running in the live folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.errors import UsageError

if TYPE_CHECKING:
    from kale_nb.pipeline.model import Pipeline, Volume
    from kale_nb.planning import RunOptions


def add_volume_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--volume`, `--isolation` and `--conflicts`."""
    parser.add_argument(
        "--volume",
        metavar="VOLUME",
        action="append",
        default=[],
        help="a data volume: ./folder:/path (a clone of the folder at /path), ./folder:/path:ro (the folder itself, to read), NAME:/path "
        "(empty), or NAME=./folder for one that the pipeline has (any number)",
    )
    parser.add_argument(
        "--isolation",
        choices=("auto", "mount", "none"),
        default="auto",
        help="whether steps see the clones at the paths of the originals: where the machine allows it (auto, the default), in any case, "
        "so that a run where it cannot be is refused (mount), or never (none)",
    )
    parser.add_argument(
        "--conflicts",
        choices=("warning", "error"),
        default="warning",
        help="what it is when steps that may run at the same time write one file (default warning)",
    )


def with_volume_options(options: RunOptions, args: argparse.Namespace, pipeline: Pipeline) -> RunOptions:
    """Return the options with those of the command line about volumes.

    A volume that is given is what it is now, also where a run is done again that had a snapshot of it. UsageError for a volume that
    cannot be read, and for one that steps had otherwise whose outcome is taken.
    """
    from kale_nb.annotations.volumes import SHAPES, read_folder, read_volume

    volumes: list[Volume] = []
    folders: dict[str, Path] = {}
    for text in args.volume:
        named = read_folder(text)
        if named is not None:
            folders[named[0]] = _here(named[1])
            continue
        volume = read_volume(text)
        if isinstance(volume, str):
            raise UsageError(f"--volume {text}: {volume}", hint=SHAPES)
        volumes.append(volume if volume.source is None else replace(volume, source=str(_here(volume.source))))
    given = {*folders, *(volume.name for volume in volumes)}
    _check_reuse(options, sorted(given & {volume.name for volume in pipeline.volumes}))
    live = args.no_snapshot and not pipeline.source.endswith(".py")
    return replace(
        options,
        volumes=tuple(volumes),
        folders=folders,
        snapshots={name: snapshot for name, snapshot in options.snapshots.items() if name not in given},
        isolation=args.isolation,
        conflicts=args.conflicts,
        live=live,
        empty=args.no_snapshot and not live,
    )


def _check_reuse(options: RunOptions, changed: Sequence[str]) -> None:
    """Refuse to change volumes that steps have seen whose outcome is taken from an earlier run."""
    if options.reuse is not None and options.reuse.steps and changed:
        steps = ", ".join(step.name for step in options.reuse.steps)
        raise UsageError(
            f"--volume changes {', '.join(changed)}, and the outcome of {steps} would be taken from run {options.reuse.run}, "
            "which had it otherwise",
            hint=f"do all of it again, without --step: kale run --from {options.reuse.run} --volume ...",
        )


def _here(folder: str) -> Path:
    return Path(folder).expanduser().absolute()
