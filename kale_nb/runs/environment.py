"""The environment that a run had: its Python, the machine's kind, the installed distributions, and the git state of its workspace.

It is kept in `environment.json` of the run's folder; the record keeps only the fingerprint, so that two runs compare at a glance.
Distributions are read from the names of the `.dist-info` and `.egg-info` folders on the module search path: a millisecond for
hundreds, and nothing is opened. The folder of the notebook is no place of installed distributions and is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kale_nb.runs.git import ChangesAsked, GitState, git_state

FILE = "environment.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What code finds around it.

    Attributes:
        python: its version, such as `3.11.2`.
        implementation: such as `cpython`.
        system: such as `linux`.
        machine: such as `x86_64`.
        executable: the interpreter; not part of the fingerprint.
        distributions: version by normalised name; an empty version is not known.
    """

    python: str
    implementation: str
    system: str
    machine: str
    executable: str = ""
    distributions: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """sha256 of all but the interpreter's path: equal for equal environments in different places."""
        told = {**asdict(self), "distributions": dict(sorted(self.distributions.items()))}
        del told["executable"]
        return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What `environment.json` tells of a run. `git` is None when the workspace is in no repository."""

    environment: Environment
    git: GitState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How an environment differs from an earlier one.

    Attributes:
        facts: what else differs (`python`, `implementation`, `system`, `machine`), with the values then and now.
        changed: distributions of another version, with the versions then and now.
        missing: distributions that are gone, with their version then.
        added: distributions that are new, with their version now.
    """

    facts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.facts or self.changed or self.missing or self.added)

    def sentences(self, most: int = 8) -> list[str]:
        """Return what differs, one sentence for each kind, with at most `most` names each.

        >>> Drift(changed={"numpy": ("1.26", "2.1")}, missing={"dill": "0.3"}).sentences()
        ['other versions: numpy 1.26 -> 2.1', 'not installed any more: dill 0.3']
        """
        told = [f"{name}: {then} -> {now}" for name, (then, now) in self.facts.items()]
        told += _listed("other versions", [f"{n} {then} -> {now}" for n, (then, now) in sorted(self.changed.items())], most)
        told += _listed("not installed any more", [f"{n} {version}".strip() for n, version in sorted(self.missing.items())], most)
        told += _listed("newly installed", [f"{n} {version}".strip() for n, version in sorted(self.added.items())], most)
        return told


def drift(then: Environment, now: Environment) -> Drift:
    """Compare two environments."""
    facts = {}
    for name in ("python", "implementation", "system", "machine"):
        old, new = getattr(then, name), getattr(now, name)
        if old != new:
            facts[name] = (old, new)
    old, new = then.distributions, now.distributions
    return Drift(
        facts=facts,
        changed={n: (v, new[n]) for n, v in old.items() if n in new and new[n] != v},
        missing={n: v for n, v in old.items() if n not in new},
        added={n: v for n, v in new.items() if n not in old},
    )


def this_environment() -> Environment:
    """Return the environment of this process."""
    return Environment(
        python=platform.python_version(),
        implementation=sys.implementation.name,
        system=sys.platform,
        machine=os.uname().machine if hasattr(os, "uname") else platform.machine(),
        executable=sys.executable,
        distributions=installed(_places()),
    )


def environment_of(python: str) -> Environment | None:
    """Return the environment of another interpreter, as its folders tell it, without starting it; None when they do not tell.

    Only what lies in its own prefix is seen, not what its user or `PYTHONPATH` adds.
    """
    prefix = Path(os.path.abspath(python)).parent.parent
    libraries = sorted(prefix.glob("lib/python3*/*-packages"))
    settings = dict(_settings(prefix / "pyvenv.cfg"))
    if not libraries:
        return None
    version = settings.get("version") or settings.get("version_info") or libraries[-1].parent.name.removeprefix("python")
    return Environment(
        python=version.partition(".final")[0],
        implementation=sys.implementation.name,
        system=sys.platform,
        machine=os.uname().machine if hasattr(os, "uname") else platform.machine(),
        executable=os.path.abspath(python),
        distributions=installed(map(os.fspath, libraries)),
    )


def note_environment(directory: Path, environment: Environment) -> None:
    """Write another environment into a run's `environment.json`, for its steps run in that one. OSError when the disk refuses."""
    known = read_surroundings(directory)
    write_surroundings(directory, Surroundings(environment=environment, git=known.git if known is not None else None))


def installed(places: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions whose folders lie in `places`, by normalised name; the first place wins."""
    found: dict[str, str] = {}
    for place in places:
        try:
            names = os.listdir(place)
        except OSError:
            continue
        here: dict[str, str] = {}
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                project, version = _project(name)
                if version or project not in here:
                    here[project] = version
        found = {**here, **found}
    return found


def write_surroundings(directory: Path, surroundings: Surroundings) -> None:
    """Write `environment.json` into a run's folder, whole or not at all. OSError when the disk refuses."""
    told: dict[str, object] = {"format": FORMAT, **asdict(surroundings.environment)}
    told["distributions"] = dict(sorted(surroundings.environment.distributions.items()))
    if surroundings.git is not None:
        told["git"] = asdict(surroundings.git)
    part = directory / f"{FILE}.part"
    part.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", errors="backslashreplace")
    os.replace(part, directory / FILE)


def read_surroundings(directory: Path) -> Surroundings | None:
    """Read what a run's folder tells of its environment; None when it tells nothing that can be read."""
    try:
        told = json.loads((directory / FILE).read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            return None
        git = told.get("git")
        environment = Environment(
            **{name: str(told[name]) for name in ("python", "implementation", "system", "machine", "executable")},
            distributions={str(name): str(version) for name, version in told["distributions"].items()},
        )
        known = None if git is None else GitState(**{n: git.get(n) for n in ("commit", "branch", "changed", "untracked")})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Surroundings(environment=environment, git=known)


@contextlib.contextmanager
def noted(environment: Environment, workspace: Path, directory: Path) -> Iterator[None]:
    """Write `environment.json` now, and at the end of the block once more with what git has answered meanwhile.

    A disk that refuses is no reason to stop a run: the record has the fingerprint.
    """
    git = git_state(workspace)
    asked = ChangesAsked(workspace) if git is not None else None
    with contextlib.suppress(OSError):
        write_surroundings(directory, Surroundings(environment=environment, git=git))
    try:
        yield
    finally:
        if git is not None and asked is not None:
            known = asked.answer(git)
            told = read_surroundings(directory)
            with contextlib.suppress(OSError):
                write_surroundings(directory, Surroundings(environment=told.environment if told else environment, git=known))


def _project(name: str) -> tuple[str, str]:
    """Return name and version that the name of a metadata folder tells.

    >>> _project("Jinja2-3.1.4.dist-info"), _project("foo_bar.egg-info"), _project("six-1.16.0-py3.11.egg-info")
    (('jinja2', '3.1.4'), ('foo-bar', ''), ('six', '1.16.0'))
    """
    project, _, version = name.rpartition(".")[0].partition("-")
    return re.sub(r"[-_.]+", "-", project).lower(), version.partition("-")[0]


def _settings(file: Path) -> Iterator[tuple[str, str]]:
    """Read the `name = value` lines of a `pyvenv.cfg`."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        name, _, value = line.partition("=")
        yield name.strip().lower(), value.strip()


def _places() -> list[str]:
    here = os.getcwd()
    return [place for place in dict.fromkeys(sys.path) if place and os.path.abspath(place) != here]


def _listed(title: str, items: list[str], most: int) -> list[str]:
    if not items:
        return []
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return [f"{title}: {', '.join(items[:most])}{more}"]
