"""Which versions a joining step takes: decided from its predecessors' manifests alone, before anything is read.

`refuse_conflicts` says where there is no telling, `with_companions` adds what must come along, `find_twins` looks at values that branches
tied to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kale_nb.errors import ConflictError
from kale_nb.runtime import randomness
from kale_nb.runtime.manifest import Manifest, Version


def refuse_conflicts(incoming: Manifest, names: Iterable[str]) -> None:
    """Raise ConflictError for a name of which unrelated versions meet."""
    for name in names:
        versions = incoming.conflicts.get(name)
        if versions is not None:
            steps = " and ".join(f"`{v.step}`" for v in versions)
            raise ConflictError(
                f"`{name}` was changed in steps {steps}, which run in parallel, and step `{incoming.step}` reads it: "
                "there is no telling which version is meant",
                variable=name,
                hint="use different names in the branches, or put the steps one after the other with `prev:`",
            )


def with_companions(incoming: Manifest, names: Sequence[str]) -> list[str]:
    """Add what shares objects with the names, and what functions inside them refer to."""
    members: dict[tuple[str, int], list[str]] = {}
    for name, version in incoming.names.items():
        if version.group >= 0:
            members.setdefault((version.step, version.group), []).append(name)
    found: dict[str, None] = {}
    pending = list(reversed(names))
    while pending:
        name = pending.pop()
        known = incoming.names.get(name)
        if name in found or known is None or name in incoming.conflicts:
            continue
        found[name] = None
        pending += members.get((known.step, known.group), [])
        pending += [n for n in known.globals if n in incoming.names]
    return [n for n in found if n not in randomness.NAMES]


def find_twins(incoming: Manifest, wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the names among `wanted` that share objects of which two branches wrote a copy each, with these steps.

    Raises ConflictError where one branch changed a value while the other tied a second name to it as it was: it cannot be both.
    """
    twins: dict[str, tuple[str, ...]] = {}
    chosen = {n: incoming.names[n] for n in wanted}
    for name in wanted:
        for old in incoming.outdated.get(name, ()):
            if old.step == old.origin or old.group < 0 or old.step in incoming.ancestors(chosen[name].step):
                continue
            if old.origin == chosen[name].origin:
                twins.update(_twins(name, old, chosen))
                continue
            tied = [n for n, v in chosen.items() if n != name and (v.step, v.group) == (old.step, old.group)]
            if tied:
                raise ConflictError(
                    f"step `{chosen[name].step}` changed `{name}` while step `{old.step}`, which runs in parallel, made `{tied[0]}` "
                    f"share objects with it, and step `{incoming.step}` reads both",
                    variable=name,
                    hint="copy the value in one of the branches, or put the steps one after the other with `prev:`",
                )
    return twins


def _twins(name: str, old: Version, chosen: Mapping[str, Version]) -> dict[str, tuple[str, ...]]:
    """Two branches wrote one unchanged value again beside values of their own: here it is there twice."""
    mine = [n for n, v in chosen.items() if (v.step, v.group) == (chosen[name].step, chosen[name].group)]
    theirs = [n for n, v in chosen.items() if (v.step, v.group) == (old.step, old.group)]
    return dict.fromkeys((*mine, *theirs), (chosen[name].step, old.step)) if theirs else {}
