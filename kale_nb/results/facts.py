"""What is known of the variables that a step left, also when their values are gone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kale_nb.errors import MarshalError
from kale_nb.marshal import digests
from kale_nb.results.weighing import value_folders

_DIGESTS = "digests.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What is known of a variable.

    Attributes:
        type: qualified name of its type.
        size: bytes that it takes among the values.
        facts: shape, dtype, length, where it has them.
        digest: of its content and of what shares objects with it; None when that is not known any more.
    """

    type: str
    size: int
    facts: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None

    def same_kind(self, other: Fact) -> bool:
        """Whether type and facts are those of `other`."""
        return self.type == other.type and dict(self.facts) == dict(other.facts)

    def describe(self) -> str:
        """Say it in words.

        >>> Fact(type="numpy.ndarray", size=800, facts={"shape": "(100,)", "dtype": "float64"}).describe()
        'numpy.ndarray (100,) float64'
        """
        told = [f"{name} {value}" if name not in ("shape", "dtype") else value for name, value in self.facts.items()]
        return " ".join([self.type, *told])


def step_facts(folder: Path) -> dict[str, Fact]:
    """Return what is known of the variables that a step wrote, by name. `folder`: the step's own, in the data of the run."""
    values = folder / "values"
    try:
        entries = json.loads((values / "index.json").read_text(encoding="utf-8"))["entries"]
        known = _digests(values)
        return {
            entry["name"]: Fact(
                type=entry["type"], size=entry["size"], facts=dict(entry["facts"]), digest=known.get(entry["name"])
            )
            for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def keep_digests(directory: Path) -> None:
    """Write the digests of all variables of a run beside the facts on them, so that they stay when the values go."""
    for values in value_folders(directory):
        try:
            known = digests(values)
        except MarshalError:
            continue
        part = values / f".{_DIGESTS}.{os.getpid()}"
        part.write_text(json.dumps(known), encoding="utf-8")
        os.replace(part, values / _DIGESTS)


def _digests(values: Path) -> dict[str, str]:
    try:
        return digests(values)
    except MarshalError:
        pass
    try:
        known = json.loads((values / _DIGESTS).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in known.items()}
    except (OSError, ValueError, AttributeError):
        return {}
