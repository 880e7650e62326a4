"""Pipeline parameters: typed values that a run may set.

A parameter is an assignment in a parameters cell whose value is a literal, an expression of literals, or a call of `datetime`'s
types with literals. Its type is that of its annotation, else that of its default. Values are Python objects; in files and in
injected cells they are Python source (`to_source`), so tuples, sets, bytes and dates come back as what they were.
"""

from __future__ import annotations

from dataclasses import dataclass

from kale_nb.location import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A value settable per run.

    Attributes:
        name: the variable's name.
        type: how people and messages call its type: `int`, `float`, `str`, `bool`, `None`, `list`, `tuple`, `dict`, `set`,
            `frozenset`, `bytes`, `complex`, `date`, `datetime`, `time`, `timedelta`, or `any`.
        default: the value in the source.
        optional: None is allowed beside the type (`x: int | None = 3`).
        description: the comment on the assignment's line.
    """

    name: str
    type: str
    default: object
    optional: bool = False
    description: str | None = None
    location: Location | None = None
