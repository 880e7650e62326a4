"""The cases: files `cases/*.txt`, each a group; read here.

#### the truth that the case tests, as a sentence
#: same                              what must come out (see `verdicts.Expectation.kind`), with words a refusal must hold:
#: refused x left right
#: prints STEP: text                 what a step prints, white space aside
#: warns word word                   words the warnings must hold
#: style magics                      written with cell magics instead of tags
#: with lr = 0.5                     run with another parameter value
#: real                              also run through `kale run`
%%step a
...
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from tests.differential.notebooks import Notebook, parse_notebook
from tests.differential.verdicts import Expectation

FOLDER = Path(__file__).with_name("cases")
KINDS = (
    "same",
    "dag",
    "refused",
    "refused_at_run",
    "refused_somewhere",
    "same_or_refused",
    "dag_or_refused",
    "same_or_warned",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A small notebook and its truth."""

    group: str
    name: str
    notebook: Notebook
    expected: Expectation
    style: str = "tags"
    override: str = ""
    real: bool = False

    @property
    def id(self) -> str:
        """Name for pytest."""
        return f"{self.group}: {self.name}"


@functools.cache
def all_cases() -> tuple[Case, ...]:
    """Read every case; names are unique."""
    found = [case for path in sorted(FOLDER.glob("*.txt")) for case in _read(path)]
    seen: set[str] = set()
    for case in found:
        if case.id in seen:
            raise ValueError(f"two cases are called {case.id!r}")
        seen.add(case.id)
    return tuple(found)


def _read(path: Path) -> list[Case]:
    parts = re.split(r"^#### (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [_case(path.stem, name.strip(), body) for name, body in zip(parts[1::2], parts[2::2], strict=True)]


def _case(group: str, name: str, body: str) -> Case:
    kind = "same"
    names: tuple[str, ...] = ()
    prints: dict[str, str] = {}
    warns: tuple[str, ...] = ()
    style, override, real = "tags", "", False
    lines = body.strip("\n").split("\n")
    while lines and lines[0].startswith("#:"):
        word, _, rest = lines.pop(0)[2:].strip().partition(" ")
        if word in KINDS:
            kind, names = word, tuple(rest.split())
        elif word == "prints":
            step, _, text = rest.partition(":")
            prints[step.strip()] = " ".join(text.split())
        elif word == "warns":
            warns = tuple(rest.split())
        elif word == "style":
            style = rest
        elif word == "with":
            override = rest
        elif word == "real":
            real = True
        else:
            raise ValueError(f"{group}: {name}: what is {word!r}?")
    expected = Expectation(kind=kind, names=names, prints=prints, warns=warns)
    notebook = parse_notebook("\n".join(lines))
    return Case(group=group, name=name, notebook=notebook, expected=expected, style=style, override=override, real=real)
