"""What a finished step left, for whoever looks at it later: outside of a run, in a namespace of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kale_nb import marshal
from kale_nb.errors import MarshalError
from kale_nb.runtime import randomness
from kale_nb.runtime.choice import with_companions
from kale_nb.runtime.manifest import Manifest, read_manifest
from kale_nb.runtime.session import STATE_PREFIX
from kale_nb.runtime.sources import show_sources
from kale_nb.runtime.state import apply_state, has_state
from kale_nb.runtime.surroundings import PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """The names that are in the namespace now, and what could not be as it was."""

    names: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def read_outputs(data: Path, step: str) -> Manifest:
    """Read what `step` left in a run's data folder. MarshalError when it left nothing: it did not finish."""
    try:
        return read_manifest(data, step)
    except MarshalError as error:
        if (data / step / "step.json").exists():
            raise
        raise MarshalError(f"step {step} did not finish in this run: it left nothing", hint="`kale show` tells why") from error


def variables(manifest: Manifest) -> list[str]:
    """Return the names of the variables that are there at the end of the step, sorted; classes and functions of the notebook's own are
    among them when a step changed something on them."""
    return sorted(n for n, v in manifest.names.items() if v.kind != "deleted" and not _is_hidden(n))


def _is_hidden(name: str) -> bool:
    return name.startswith(PREFIX) or name in randomness.NAMES


def bring_outputs(data: Path, manifest: Manifest, names: Sequence[str], namespace: dict[str, object]) -> Brought:
    """Put variables into a namespace, together with what shares objects with them and what functions in them refer to.

    MarshalError when one of `names` cannot be made again; nothing has changed in the namespace then.
    """
    for name in names:
        version = manifest.names[name]
        if version.kind == "failed":
            raise MarshalError(f"`{name}` could not be kept: {version.reason}", variable=name)
    warnings: list[str] = []
    show_sources(manifest.sources)
    bundles: dict[str, list[str]] = {}
    for name in with_companions(manifest, list(names)):
        version = manifest.names[name]
        if version.kind in ("value", "state") and not _is_hidden(name):
            bundles.setdefault(version.step, []).append(name)
    values: dict[str, object] = {}
    states: dict[str, Any] = {}
    for step in sorted(bundles, key=lambda s: (len(manifest.ancestors(s)), s)):
        keys = {STATE_PREFIX + n if manifest.names[n].kind == "state" else n: n for n in bundles[step]}
        for key, value in _read(data, step, list(keys), namespace).items():
            (states if key.startswith(STATE_PREFIX) else values)[keys[key]] = value
    namespace.update(values)
    changed: list[str] = []
    for name, state in states.items():
        mine = namespace.get(name)
        if has_state(mine, namespace):
            apply_state(mine, state)
            changed.append(name)
        else:
            warnings.append(f"`{name}` is not defined here as in the run: run the cell that defines it, then load again")
    return Brought(names=(*values, *changed), warnings=tuple(warnings))


def _read(data: Path, step: str, keys: list[str], namespace: dict[str, object]) -> dict[str, object]:
    try:
        return marshal.load(data / step / "values", keys, main=namespace, renew=True)
    except MarshalError as error:
        hint = error.hint or "run the cells of imports and functions of this notebook first: values refer to what these define"
        raise MarshalError(error.message, variable=error.variable, hint=hint) from error
