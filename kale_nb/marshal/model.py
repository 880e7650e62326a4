"""The words of the marshal store and its interface: `save`, `load`, `describe`, `trace`.

A *bundle* is a directory that holds the named values of one step as one object graph. `main` is always the namespace of the user's
notebook (the kernel's `__main__.__dict__`); `by_reference` are the names in it whose classes and functions every step defines again
for itself (from imports and functions cells), which therefore travel as a reference and come back as the reader's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kale_nb.errors import MarshalError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a bundle tells about one of its values without unpickling anything.

    Attributes:
        type: qualified type name, such as `pandas.core.frame.DataFrame`.
        size: bytes in the bundle, shared bytes counted at the first name that holds them.
        group: values with the same number share mutable objects (or memory) and must be loaded together.
        globals: names of `main` that functions and methods stored by value inside this value refer to.
        facts: small facts for people: shape, dtype, length.
    """

    name: str
    type: str
    size: int
    group: int
    globals: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The outcome of a save: what was written, and what could not be, each with a MarshalError naming variable and culprit."""

    entries: tuple[Entry, ...]
    failures: Mapping[str, MarshalError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The state of a value at one moment, for finding out later whether it was changed in place.

    Attributes:
        digest: equal for two moments of the same object in one process when nothing reachable from it changed; None when the value
            cannot be walked.
        objects: identities (`id`) of the mutable objects reachable from it, memory owners of arrays included; two values whose sets
            meet are aliases in part.
        globals: as in `Entry`.
        size: bytes that went into the digest.
        order: differs where the same objects were met in another order, as after a swap of two that are equal.
    """

    digest: bytes | None
    objects: frozenset[int]
    globals: tuple[str, ...] = ()
    size: int = 0
    order: int = 0
