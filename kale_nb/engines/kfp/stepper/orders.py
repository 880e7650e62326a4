"""What a step's runner is told, read and checked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kale_nb.engines.kfp.code import CODE_FOLDER, unpack
from kale_nb.errors import EngineError, VolumeError
from kale_nb.pipeline.model import Pipeline

_REMOTE = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One step to run.

    Attributes:
        home: the workspace's mount; None when there is none.
        code: folder of the run in the workspace: code, executed notebooks, logs; None without a workspace.
        folder: the notebook's folder relative to the workspace.
        data: folder through which values pass; None: as artifacts, of the tasks in `before`.
        about: `source`, `kernel`, `timeout` and `params` (see `commands.about`).
        pipeline: what `pipeline.json` says, where there is one.
    """

    step: str
    book: Mapping[str, Any]
    home: Path | None
    code: Path | None
    folder: str
    data: Path | None
    before: tuple[str, ...]
    about: Mapping[str, Any]
    pipeline: Pipeline | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInput:
    """What Kubeflow says of the task: values of parameters, and where artifacts lie in the container.

    Attributes:
        outputs: the whole entry of each output artifact, as it is to be handed back.
        output_file: where what is told of the outputs is to be written.
    """

    values: Mapping[str, Any]
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Mapping[str, Any]]
    output_file: Path | None


def read_order(words: Sequence[str]) -> Order:
    """Read the second argument, and with it the stepbook, which must be the one that was compiled.

    VolumeError when the clone does not hold it, EngineError when the arguments are not ours.
    """
    try:
        told = json.loads(words[1])
        step, digest = str(told["step"]), str(told["sha256"])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise EngineError(f"the runner was not started by a compiled pipeline: {error!r}") from error
    home = Path(told["home"]) if "home" in told else None
    code = None if home is None else home / CODE_FOLDER / str(told["code"])
    pipeline = None
    about: Mapping[str, Any] = told
    if len(words) > 2:
        if home is not None:
            _refuse_empty(home)
        content = unpack(words[2])
        _check(content, digest, "the pipeline")
    elif code is not None and home is not None:
        content = _from_clone(home, code, step)
        _check(content, digest, f"{code}/steps/{step}.ipynb")
        pipeline, about = _pipeline(code, step)
    else:
        raise EngineError("the runner was not started by a compiled pipeline: there is no stepbook")
    return Order(
        step=step,
        book=json.loads(content.decode("utf-8", "surrogatepass")),
        home=home,
        code=code,
        folder=str(told.get("folder", ".")),
        data=Path(told["data"]) if "data" in told else code / "data" if code is not None else None,
        before=tuple(told.get("before", ())),
        about=about,
        pipeline=pipeline,
    )


def _from_clone(home: Path, code: Path, step: str) -> bytes:
    """Read the stepbook; VolumeError says what the clone is instead of the snapshot's content."""
    path = code / "steps" / f"{step}.ipynb"
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise VolumeError(f"{error.filename} cannot be read by user {os.getuid()}, group {os.getgid()}", hint=_AS_USER) from error
    except OSError:
        pass
    _refuse_empty(home)
    raise VolumeError(
        f"the workspace at {home} does not hold the code of this pipeline: {path.relative_to(home)} is missing",
        hint="the snapshot was taken before the pipeline was compiled, or is of another volume: submit it again",
    )


def _refuse_empty(home: Path) -> None:
    """Refuse a workspace that holds nothing but what is made in any: it is no clone."""
    if not home.is_dir():
        raise VolumeError(
            f"there is no workspace at {home}", hint="the step must be run by its compiled pipeline, which mounts it"
        )
    if _is_bare(home):
        raise VolumeError(
            f"the workspace at {home} is empty: the volume was made without its snapshot",
            hint="Kubeflow Pipelines before 2.17 ignores `data_source`: update it, or compile with --create-volumes script",
        )


def _is_bare(home: Path) -> bool:
    """Tell whether a workspace holds nothing but what a new volume has and what steps of this run have made there."""
    hidden, kept = CODE_FOLDER.split("/")
    if not set(os.listdir(home)) <= {"lost+found", hidden}:
        return False
    made = home / hidden
    if not made.is_dir():
        return not made.exists()
    return set(os.listdir(made)) <= {kept} and not any((folder / "steps").exists() for folder in (made / kept).glob("*"))


_AS_USER = "the step must run as the notebook server's user: compile with --user and --group (`id -u` and `id -g` there)"


def _check(content: bytes, digest: str, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise VolumeError(
            f"the stepbook in {where} is not the one that was compiled: its SHA-256 begins with {found[:12]}, not {digest[:12]}",
            hint="the snapshot is of another moment or another volume than the pipeline: submit it again",
        )


def _pipeline(code: Path, step: str) -> tuple[Pipeline, Mapping[str, Any]]:
    from kale_nb.engines.kfp.commands import about
    from kale_nb.pipeline import codec

    path = code / "pipeline.json"
    try:
        pipeline = codec.from_json(json.loads(path.read_text(encoding="utf-8", errors="surrogatepass")))
        return pipeline, about(pipeline, next(s for s in pipeline.steps if s.name == step))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise VolumeError(
            f"{path} cannot be read: {error!r}",
            hint="it was written by another version of kale-nb: use the same one here and there",
        ) from error


def read_task(text: str) -> TaskInput:
    """Read the first argument: KFP's executor input, as JSON. EngineError when it is not."""
    try:
        told = json.loads(text)
        inputs, outputs = told.get("inputs", {}), told.get("outputs", {})
        file = outputs.get("outputFile")
        return TaskInput(
            values=inputs.get("parameterValues", {}),
            inputs={name: local_path(listed["artifacts"][0]) for name, listed in inputs.get("artifacts", {}).items()},
            outputs={name: listed["artifacts"][0] for name, listed in outputs.get("artifacts", {}).items()},
            output_file=Path(file) if file else None,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise EngineError(f"the runner was not started by Kubeflow Pipelines: {error!r}") from error


def local_path(artifact: Mapping[str, Any]) -> Path:
    """Return where an artifact is in the container: KFP's launcher maps `minio://bucket/key` to `/minio/bucket/key`, and so on.

    >>> str(local_path({"uri": "s3://bucket/runs/report"}))
    '/s3/bucket/runs/report'
    """
    custom = artifact.get("customPath")
    if custom:
        return Path(custom)
    uri = str(artifact["uri"])
    for scheme, folder in _REMOTE.items():
        if uri.startswith(scheme):
            return Path(folder + uri[len(scheme) :])
    return Path(uri)
