"""The decorators that turn plain Python functions into steps and pipelines: `from kale.sdk import pipeline, step`.

A decorated function stays what it is: called, it runs. While kale reads a script a *listener* is set, and the call of a step is noted down
instead. Every step of a run imports this module, so it costs a few milliseconds and needs nothing but the standard library.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import ParamSpec

    P = ParamSpec("P")

__all__ = ["artifact", "log_metric", "pipeline", "step"]

R = TypeVar("R")
F = TypeVar("F", bound="Callable[..., Any]")

STEP = "__kale_step__"
"""The attribute of a decorated function that holds its `StepMark`."""
PIPELINE = "__kale_pipeline__"
"""The attribute of a decorated function that holds its `PipelineMark`."""

STEP_SETTINGS = (
    "name", "image", "labels", "annotations", "limits", "requests", "env", "secrets", "retry_count", "retry_interval", "retry_factor",
    "retry_max_interval", "timeout", "cache", "after", "config_maps", "secret_files", "config_map_files", "node_selector", "tolerations",
    "node_affinity", "pull_secrets", "pull_policy", "run_as_user", "run_as_group",
)  # fmt: skip
PIPELINE_SETTINGS = (
    "name", "experiment", "description", "image", "volumes", "marshal_volume", "marshal_volume_size", "marshal_path", "autosnapshot",
    "steps_defaults", "timeout", "cache", "service_account",
)  # fmt: skip


class SettingError(TypeError):
    """A decorator was given an argument that it does not have, or was put where it does not belong."""


class StepMark:
    """What `@step` said. `module` and `line` are those of the decorator; `settings` holds only what was given."""

    __slots__ = ("artifacts", "function", "line", "module", "path", "settings")

    def __init__(self, function: Callable[..., Any], settings: dict[str, Any], place: tuple[str, str, int]) -> None:
        self.function = function
        self.settings = settings
        self.module, self.path, self.line = place
        self.artifacts: list[tuple[str, str]] = []


class PipelineMark:
    """What `@pipeline` said."""

    __slots__ = ("function", "line", "module", "path", "settings")

    def __init__(self, function: Callable[..., Any], settings: dict[str, Any], place: tuple[str, str, int]) -> None:
        self.function = function
        self.settings = settings
        self.module, self.path, self.line = place


class Listener(Protocol):
    """Takes over what decorated functions do when they are called."""

    def step(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Called instead of a step."""

    def pipeline(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Called instead of a pipeline."""

    def metric(self, name: str, value: float) -> None:
        """Called for a metric."""


_listener: Listener | None = None


def listen(listener: Listener | None) -> Listener | None:
    """Set who takes the calls of steps and pipelines, None for nobody; return who did."""
    global _listener
    before, _listener = _listener, listener
    return before


def run_plainly(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the user's function of a step as plain Python does: `after=`, which only orders steps, is taken off."""
    if "after" in kwargs and not takes_after(function):
        kwargs = {k: v for k, v in kwargs.items() if k != "after"}
    return function(*args, **kwargs)


def takes_after(function: Callable[..., Any]) -> bool:
    """Tell whether a function has a parameter of its own that `after=` would fill."""
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return "after" in names or bool(code.co_flags & 0x08)  # CO_VARKEYWORDS


if TYPE_CHECKING:

    @overload
    def step(name: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def step(
        name: str | None = ...,
        *,
        image: str | None = ...,
        labels: Mapping[str, str] | None = ...,
        annotations: Mapping[str, str] | None = ...,
        limits: Mapping[str, str | int | float] | None = ...,
        requests: Mapping[str, str | int | float] | None = ...,
        env: Mapping[str, str] | None = ...,
        secrets: Iterable[str | Sequence[str]] | None = ...,
        retry_count: int | None = ...,
        retry_interval: float | str | None = ...,
        retry_factor: float | None = ...,
        retry_max_interval: float | str | None = ...,
        timeout: float | str | None = ...,
        cache: bool | None = ...,
        after: str | Callable[..., Any] | Iterable[str | Callable[..., Any]] | None = ...,
        config_maps: Sequence[str] | None = ...,
        secret_files: Sequence[str] | None = ...,
        config_map_files: Sequence[str] | None = ...,
        node_selector: Mapping[str, str] | None = ...,
        tolerations: Sequence[str | Mapping[str, Any]] | None = ...,
        node_affinity: Sequence[Mapping[str, Any]] | None = ...,
        pull_secrets: Sequence[str] | None = ...,
        pull_policy: str | None = ...,
        run_as_user: int | None = ...,
        run_as_group: int | None = ...,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def step(name: Any = None, **settings: Any) -> Any:
    """Make a function a step of a pipeline.

    Args:
        name: how the step is called; the function's name without it.
        image: container image, where steps run in containers.
        labels, annotations: for the step's pod.
        limits, requests: resources by name: `{"nvidia.com/gpu": 1}`, `{"memory": "4Gi"}`.
        env: environment variables.
        secrets: keys of secrets as environment variables: `"secret:key:VARIABLE"`.
        retry_count, retry_interval, retry_factor, retry_max_interval: how a failed step is tried again.
        timeout: seconds, or `"10m"`.
        cache: whether an earlier result may be taken.
        after: steps (functions or names) that must have finished, beside those whose results it takes.
        config_maps: keys of config maps as environment variables: `"config-map:key:VARIABLE"`.
        secret_files, config_map_files: secrets and config maps as folders: `"name:/path"`.
        node_selector, tolerations, node_affinity: where the step's pod may run.
        pull_secrets, pull_policy: how its image is pulled.
        run_as_user, run_as_group: numeric ids that it runs as.
    """
    if callable(name):
        return _make_step(name, {}, _place())
    _refuse_unknown("step", settings, STEP_SETTINGS)
    given = {"name": name, **settings} if name is not None else settings
    place = _place()
    return lambda function: _make_step(function, given, place)


def _make_step(function: Any, settings: dict[str, Any], place: tuple[str, str, int]) -> Callable[..., Any]:
    if not callable(function):
        what = "a static or class method" if isinstance(function, staticmethod | classmethod) else f"a {type(function).__name__}"
        raise SettingError(f"@step takes a function, not {what}")
    if hasattr(function, PIPELINE):
        raise SettingError(f"{getattr(function, '__name__', function)} is a pipeline and cannot be a step as well")
    if hasattr(function, STEP):
        raise SettingError(f"{getattr(function, '__name__', function)} is a step already")

    @functools.wraps(function)
    def call_step(*args: Any, **kwargs: Any) -> Any:
        if _listener is not None:
            return _listener.step(call_step, args, kwargs)
        return run_plainly(function, args, kwargs)

    mark = StepMark(function, settings, place)
    mark.artifacts += getattr(function, "__kale_artifacts__", ())
    setattr(call_step, STEP, mark)
    return call_step


if TYPE_CHECKING:

    @overload
    def pipeline(name: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def pipeline(
        name: str | None = ...,
        experiment: str | None = ...,
        description: str | None = ...,
        *,
        image: str | None = ...,
        volumes: Iterable[str | Mapping[str, Any]] | None = ...,
        marshal_volume: bool | None = ...,
        marshal_volume_size: str | int | None = ...,
        marshal_path: str | None = ...,
        autosnapshot: bool | None = ...,
        steps_defaults: Mapping[str, Any] | Iterable[str] | None = ...,
        timeout: float | str | None = ...,
        cache: bool | None = ...,
        service_account: str | None = ...,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def pipeline(name: Any = None, experiment: Any = None, description: Any = None, **settings: Any) -> Any:
    """Make a function, whose body calls steps, a pipeline. Its parameters are the pipeline's, with their defaults.

    Args:
        name: how the pipeline is called; the function's name without it.
        experiment: the group of runs that its runs belong to.
        description: in words; the function's docstring without it.
        image: container image of all steps.
        volumes: `"./folder:/mount/point"`, `"name:/mount/point:5Gi"`, or mappings with `name`, `mount_point`, `source`, `size`, `type`.
        marshal_volume, marshal_volume_size, marshal_path: where values pass from step to step, where that is a volume.
        autosnapshot: whether a snapshot is taken after each step, so that any can be run again from there.
        steps_defaults: settings of every step, as a mapping of `@step`'s arguments.
        timeout, cache: defaults of every step.
        service_account: that the pods of a run on a cluster have.
    """
    if callable(name):
        return _make_pipeline(name, {}, _place())
    _refuse_unknown("pipeline", settings, PIPELINE_SETTINGS)
    named = {"name": name, "experiment": experiment, "description": description}
    given = {**{k: v for k, v in named.items() if v is not None}, **settings}
    place = _place()
    return lambda function: _make_pipeline(function, given, place)


def _make_pipeline(function: Any, settings: dict[str, Any], place: tuple[str, str, int]) -> Callable[..., Any]:
    if not callable(function):
        raise SettingError(f"@pipeline takes a function, not a {type(function).__name__}")
    if hasattr(function, STEP):
        raise SettingError(f"{getattr(function, '__name__', function)} is a step and cannot be a pipeline as well")

    @functools.wraps(function)
    def call_pipeline(*args: Any, **kwargs: Any) -> Any:
        if _listener is not None:
            return _listener.pipeline(call_pipeline, args, kwargs)
        return function(*args, **kwargs)

    setattr(call_pipeline, PIPELINE, PipelineMark(function, settings, place))
    return call_pipeline


def artifact(name: str, path: str) -> Callable[[F], F]:
    """Keep a file that the step writes: `path`, relative to the script's folder, is kept with the run as `name`.

    Stands above or below `@step`.
    """
    given: tuple[object, ...] = (name, path)
    if not all(isinstance(text, str) and text for text in given):
        raise SettingError("@artifact takes a name and a path")

    def keep(function: F) -> F:
        mark = getattr(function, STEP, None)
        if mark is not None:
            mark.artifacts.append((name, path))
        else:
            kept = (*getattr(function, "__kale_artifacts__", ()), (name, path))
            function.__kale_artifacts__ = kept  # type: ignore[attr-defined]
        return function

    return keep


def log_metric(name: str, value: float) -> None:
    """Keep a number with the run, as a metric of the step that calls this. As plain Python it does nothing."""
    if _listener is not None:
        _listener.metric(name, value)


def _place() -> tuple[str, str, int]:
    """The module, file and line that use a decorator."""
    frame = sys._getframe(2)
    return frame.f_globals.get("__name__", "__main__"), frame.f_code.co_filename, frame.f_lineno


def _refuse_unknown(decorator: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean `{near[0]}`?" if near else f"; it takes {', '.join(known)}"
            raise SettingError(f"@{decorator} has no argument `{name}`{hint}")
