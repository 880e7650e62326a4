"""Changes in place that a step beside the changer should have seen: pure, fed with what steps report as they finish.

Steps that run in parallel each have their own copy of a value from before. When the upper one in the notebook changes its copy in place,
the lower one would have read the changed value there; in the pipeline it read the old one. The compiler refuses what the text shows; what
only the run shows (a method that changes its object, a change inside a function of a library) is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kale_nb.names import StepName
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.order import ancestors_of, predecessors
from kale_nb.runs.events import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a finished step did with the values it found.

    Attributes:
        changed: names whose values it changed in place.
        used: names that it received and reads.
        origins: for names received, the step that gave the value its content; a name that is not there came with the step itself.
        definitions: those of the changed names that are classes and functions of the notebook, of which attributes were changed.
    """

    changed: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict)
    definitions: frozenset[str] = frozenset()


class Beside:
    """Holds what each finished step did, and tells of a new one whether its values are those of the notebook."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._index = {step.name: step.index for step in pipeline.steps}
        self._prelude = {step.name: frozenset(step.prelude_reads) for step in pipeline.steps}
        self._ancestors = ancestors_of(predecessors(pipeline))
        self._done: dict[StepName, Touched] = {}
        self._script = pipeline.source.endswith(".py")

    def finished(self, step: StepName, touched: Touched) -> Failure | None:
        """Take note of a step that has ended well; return why it has not, when a parallel step and it disagree on a value."""
        touched = replace(touched, used=touched.used | self._prelude[step])
        self._done[step] = touched
        if not touched.changed and not touched.used:
            return None
        for other in sorted(self._done, key=self._index.__getitem__):
            if other == step or other in self._ancestors[step] or step in self._ancestors[other]:
                continue
            upper, lower = sorted((step, other), key=self._index.__getitem__)
            names = torn_names(self._done[upper], self._done[lower])
            if names:
                return _failure(upper, lower, names, script=self._script)
        return None


def torn_names(upper: Touched, lower: Touched) -> list[str]:
    """Return the names that the upper of two parallel steps changed in place and the lower read as they were before, sorted.

    Counters and the like on classes and functions are left out: most often nobody looks at them.

    >>> changer = Touched(changed=frozenset({"rows"}), used=frozenset({"rows"}), origins={"rows": "a"})
    >>> torn_names(changer, Touched(used=frozenset({"rows"}), origins={"rows": "a"}))
    ['rows']
    >>> torn_names(changer, Touched(used=frozenset({"rows"}), origins={"rows": "b"}))
    []
    """
    common = (upper.changed - upper.definitions) & lower.used
    return sorted(n for n in common if upper.origins.get(n) == lower.origins.get(n))


def _failure(upper: StepName, lower: StepName, names: Iterable[str], *, script: bool) -> Failure:
    quoted = [f"`{name}`" for name in names]
    listed = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
    how = f"`after={upper!r}`" if script else f"tag `prev:{upper}`, or `--after {upper}`"
    return Failure(
        kind="conflict",
        message=f"step `{upper}` changed {listed} in place while step `{lower}`, which runs in parallel, read it: in the "
        f"{'script' if script else 'notebook'} `{lower}` stands below and would have seen the change, here it worked on its own copy",
        hint=f"let `{lower}` follow `{upper}` ({how}), or let `{upper}` change a copy under another name",
    )
