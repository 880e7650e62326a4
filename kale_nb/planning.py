"""The plan of a run: everything that can be decided before anything happens: the workspace, the steps, the values of the parameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kale_nb.engines.local.views import mount_points
from kale_nb.errors import UsageError
from kale_nb.names import RunId, StepName
from kale_nb.pipeline import order
from kale_nb.pipeline.model import Pipeline, Volume
from kale_nb.pipeline.params import check_value, parse_value
from kale_nb.pipeline.volumes import merged, with_volumes
from kale_nb.results.reuse import Reuse
from kale_nb.scripts.modules import package_root
from kale_nb.volumes.ignore import user_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a pipeline is to be run.

    Attributes:
        params: values by name; each is checked against its parameter.
        until: run only these steps and what they need; empty runs all.
        jobs: steps at once; 0 lets the engine choose.
        fail_fast: stop running steps when one fails; otherwise let independent branches finish.
        output_dir: where executed stepbooks are put as well.
        workspace: the folder that the run gets a clone of; None takes the folder of the notebook.
        runs_dir: where the run's folder is made; None takes `.kale/runs` of the workspace.
        snapshots: the snapshot that a volume is cloned from, by volume (`workspace` is one); of the others a new one is taken.
        origins: the snapshots that it all began with, by volume, where those of `snapshots` were taken in the middle of a run.
        repeats: the run of which this one is a repetition.
        reuse: steps that do not run because an earlier run's outcome of them is taken; `until` is then of no account.
        cwd: the notebook's folder relative to the workspace; None finds out.
        notices: warnings that belong into the record of the run.
        volumes: data volumes to add, or to put in the place of those of the same name, their sources absolute or relative to the notebook.
        folders: folder of this machine for a data volume, by the volume's name.
        live: run in the workspace itself instead of a clone.
        isolation: whether steps see volumes at their own paths: `auto` where the machine allows it, `mount` or not at all, `none` never.
        conflicts: what it is when two steps that may run at the same time write one file: `warning` or `error`.
        empty: run in an empty folder instead of a clone; for stepbooks that carry their code.
        max_bytes: refuse to clone a workspace larger than this.
    """

    params: Mapping[str, object] = field(default_factory=dict)
    until: tuple[str, ...] = ()
    jobs: int = 0
    fail_fast: bool = False
    output_dir: Path | None = None
    workspace: Path | None = None
    runs_dir: Path | None = None
    snapshots: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    repeats: RunId | None = None
    reuse: Reuse | None = None
    cwd: Path | None = None
    notices: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)
    live: bool = False
    isolation: str = "auto"
    conflicts: str = "warning"
    empty: bool = False
    max_bytes: int = 4 * 1024**3
    engine: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will do, decided and not begun.

    Attributes:
        workspace: absolute.
        cwd: the notebook's folder relative to the workspace.
        steps: the steps to run, closed under predecessors, in source order.
        volumes: the data volumes, their sources absolute.
        live: the run works in the workspace itself.
        notices: what may be meant otherwise, to be told as warnings.
    """

    workspace: Path
    cwd: Path
    steps: tuple[StepName, ...]
    params: Mapping[str, object]
    volumes: tuple[Volume, ...] = ()
    live: bool = False
    notices: tuple[str, ...] = ()


def plan(pipeline: Pipeline, options: RunOptions) -> Plan:
    """Decide what a run of `pipeline` will do; touches nothing. UsageError when an option does not fit."""
    if options.jobs < 0:
        raise UsageError(f"--jobs {options.jobs} is negative", hint="0 lets the engine choose")
    workspace, cwd = choose_workspace(pipeline.source, options.workspace)
    _refuse_runs_in_clones(workspace, absolute(options.runs_dir))
    volumes = _volumes(pipeline, options)
    if options.engine == "local":
        mount_points(volumes, pipeline.marshal_volume)
    return Plan(
        workspace=workspace,
        cwd=cwd if options.cwd is None else options.cwd,
        steps=steps_until(pipeline, options.until) if options.reuse is None else options.reuse.rerun,
        params=checked_params(pipeline, options.params),
        volumes=volumes,
        live=options.live,
        notices=_not_cloned(pipeline, options, volumes),
    )


def _volumes(pipeline: Pipeline, options: RunOptions) -> tuple[Volume, ...]:
    """Return the pipeline's volumes with those of the options. UsageError for a name that is no volume, a folder that is none, and two
    volumes at one place."""
    volumes = with_volumes(pipeline.volumes, options.volumes, _folders(options), _home(pipeline))
    for volume in volumes:
        if volume.source is not None and volume.name not in options.snapshots and not Path(volume.source).is_dir():
            raise UsageError(
                f"the volume {volume.name} is to be {volume.source}, which is no folder",
                hint=f"name another with --volume {volume.name}=./folder",
            )
    return volumes


def _home(pipeline: Pipeline) -> Path:
    """Return the folder to which the volumes of a pipeline are relative."""
    notebook = Path(pipeline.source)
    known = notebook.exists() or (notebook.is_absolute() and notebook.parent.is_dir())  # of a run done again it may be gone
    return notebook.absolute().parent if known else Path.cwd()


def _not_cloned(pipeline: Pipeline, options: RunOptions, volumes: Iterable[Volume]) -> tuple[str, ...]:
    """Tell of volumes that begin empty although there is a folder of their name, which may have been meant."""
    if options.repeats is not None:
        return ()
    here = {volume.name for volume in options.volumes}
    empty = (v for v in volumes if v.kind == "new" and v.source is None and v.name not in options.snapshots)
    return tuple(
        f"the volume {volume.name} begins empty, and there is a folder ./{volume.name}; write ./{volume.name}:{volume.mount_point} "
        "for a clone of it"
        for volume in empty
        if ((Path.cwd() if volume.name in here else _home(pipeline)) / volume.name).is_dir()
    )


def _folders(options: RunOptions) -> dict[str, str]:
    return {name: str(folder.absolute()) for name, folder in options.folders.items()}


def as_asked(pipeline: Pipeline, options: RunOptions) -> Pipeline:
    """Return a pipeline with the volumes that it runs with, so that the run can be done again with them."""
    return replace(pipeline, volumes=merged(pipeline.volumes, options.volumes, _folders(options)))


def steps_until(pipeline: Pipeline, until: Iterable[str] = ()) -> tuple[StepName, ...]:
    """Return the steps named and all that must come before them, in source order; all steps when none is named.

    UsageError when a name is no step, with the nearest names.
    """
    names = [step.name for step in pipeline.steps]
    wanted: set[str] = set()
    for target in until:
        if target not in names:
            raise UsageError(f"there is no step {target!r} in {pipeline.name}", hint=_nearest(target, names, "its steps are"))
        wanted.add(target)
        wanted.update(order.ancestors(pipeline, StepName(target)))
    return tuple(name for name in names if not wanted or name in wanted)


def checked_params(pipeline: Pipeline, given: Mapping[str, object]) -> dict[str, object]:
    """Return the values given, as their parameters' types; UsageError for a name that is no parameter or a value that does not fit."""
    params = {param.name: param for param in pipeline.params}
    checked: dict[str, object] = {}
    for name, value in given.items():
        if name not in params:
            raise no_such_param(pipeline, name)
        checked[name] = check_value(params[name], value)
    return checked


def read_params(pipeline: Pipeline, texts: Iterable[str]) -> dict[str, object]:
    """Return the values of `NAME=VALUE` texts, as their parameters' types; UsageError for a text that is none of them."""
    params = {param.name: param for param in pipeline.params}
    values: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise UsageError(f"-p {text!r} has no value", hint=f"write -p {name or 'NAME'}=VALUE")
        if name not in params:
            raise no_such_param(pipeline, name)
        values[name] = parse_value(params[name], value)
    return values


def no_such_param(pipeline: Pipeline, name: str) -> UsageError:
    """Return the error for a parameter that the pipeline does not have."""
    names = [param.name for param in pipeline.params]
    if not names:
        return UsageError(f"{pipeline.name} has no parameter {name!r}", hint="tag the cell that assigns it `parameters`")
    return UsageError(f"{pipeline.name} has no parameter {name!r}", hint=_nearest(name, names, "its parameters are"))


def choose_workspace(source: str, asked: Path | None = None) -> tuple[Path, Path]:
    """Return the workspace, absolute, and the notebook's folder relative to it.

    UsageError for a folder that is no folder, for `/`, and for the home folder unless it was asked for by name.
    """
    notebook = Path(source).absolute()
    home = notebook.parent if notebook.exists() else Path.cwd()
    whole = Path(package_root(str(notebook))) if notebook.suffix == ".py" and notebook.exists() else home
    workspace = whole if asked is None else asked.expanduser().absolute()
    if not workspace.is_dir():
        raise UsageError(f"the workspace {workspace} is not a folder")
    real = workspace.resolve()
    if real == real.parent:
        raise UsageError(
            f"{workspace} cannot be the workspace: a run would copy the whole machine", hint="name a folder with --workspace"
        )
    if asked is None and real == Path.home().resolve():
        raise UsageError(
            f"the workspace would be your home folder {workspace}, all of which a run would copy",
            hint="move the notebook into a folder of its own, or say --workspace to mean it",
        )
    try:
        return workspace, home.resolve().relative_to(real)
    except ValueError:
        return workspace, Path()


def _refuse_runs_in_clones(workspace: Path, runs_dir: Path | None) -> None:
    """Refuse a runs folder in the workspace that clones would hold, and with it all earlier runs and their clones."""
    if runs_dir is None or not runs_dir.resolve().is_relative_to(workspace.resolve()):
        return
    inside = runs_dir.resolve().relative_to(workspace.resolve())
    ignored = user_rules(workspace, ())
    if ".kale" in inside.parts or (inside.parts and ignored is not None and ignored(f"{inside.as_posix()}/run/run.json")):
        return
    raise UsageError(
        f"the runs folder {runs_dir} lies in the workspace {workspace}, which every run copies",
        hint="name a folder outside of it, or list it in .kaleignore",
    )


def _nearest(name: str, names: Sequence[str], intro: str) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:12])
    return f"{intro} {shown}{', ...' if len(names) > 12 else ''}"


def absolute(path: Path | None) -> Path | None:
    """Return a path as seen from anywhere, `~` resolved; None for none."""
    return None if path is None else path.expanduser().absolute()
