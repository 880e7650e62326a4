"""What a test gives to a step: checked against what the step reads, and left where its predecessors leave their variables.

The values are written by the very code that writes a step's variables at its end: a predecessor of the step seems to have run.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from kale_nb.errors import MarshalError, UsageError
from kale_nb.marshal import identity
from kale_nb.names import StepName
from kale_nb.pipeline.model import Certainty, Pipeline, Step
from kale_nb.runtime.manifest import read_manifest
from kale_nb.runtime.session import Session
from kale_nb.runtime.surroundings import Surroundings
from kale_nb.testing.result import passing


def check_inputs(pipeline: Pipeline, step: Step, inputs: Mapping[str, object]) -> None:
    """Raise UsageError when a needed input is missing or the step does not read one of those given."""
    readable = {need.name for need in step.needs} | set(step.prelude_reads)
    params = {param.name for param in pipeline.params}
    for name in inputs:
        if name in params and all(need.name != name for need in step.needs):
            raise UsageError(
                f"`{name}` is a parameter of {pipeline.name}, not an input of step `{step.name}`",
                hint=f"give it as params={{{name!r}: ...}}",
            )
        if name not in readable:
            raise UsageError(
                f"step `{step.name}` does not read `{name}`, so the input would test nothing", hint=_nearest(name, step, params)
            )
    missing = [need for need in step.needs if need.certainty is Certainty.REQUIRED and need.producers and need.name not in inputs]
    if missing:
        told = " and ".join(f"`{need.name}` ({_makers(need.producers)})" for need in missing)
        example = ", ".join(f"{need.name!r}: ..." for need in missing)
        raise UsageError(f"step `{step.name}` reads {told}, which was not given", hint=f"give it: inputs={{{example}}}")


def leave_inputs(
    data: Path, step: Step, inputs: Mapping[str, object], namespace: dict[str, object], prelude: Mapping[str, object]
) -> None:
    """Write the inputs as what the step's predecessors leave. MarshalError when a value cannot travel between steps.

    Args:
        data: the run's data folder.
        namespace: the globals of the notebook's functions among the inputs; what they refer to comes along, if it is there.
        prelude: what the notebook's imports and functions cells make, if the test uses it; instances of its classes are the step's own.
    """
    first, *others = step.after
    empty = data / ".nothing-beside"
    empty.mkdir(parents=True)
    with passing, identity.apart(identity.Table()):
        before = dict(namespace)
        given = dict(inputs)
        try:
            while True:
                namespace.clear()
                namespace.update(prelude)
                session = _session(data, first, namespace, empty)
                namespace.update(given)
                session.save({}, list(given), [], [], None, last=True)
                made = read_manifest(data, first).names
                more = {n for version in made.values() for n in version.globals} - given.keys() - prelude.keys()
                if not more & before.keys():
                    break
                given |= {n: before[n] for n in more & before.keys()}
        finally:
            namespace.clear()
            namespace.update(before)
    for name in inputs:
        if name in made and made[name].kind == "failed":
            raise MarshalError(f"the input `{name}` cannot be passed to a step: {made[name].reason}", variable=name)
    for other in others:
        _session(data, other, {"__name__": "__main__"}, empty).save({}, [], [], [], None, last=True)


def _session(data: Path, name: StepName, namespace: dict[str, object], beside: Path) -> Session:
    session = Session(str(data), name, [], namespace, around=Surroundings(str(beside)))
    session.load([], [], [], [], [], [])
    return session


def _makers(producers: Sequence[StepName]) -> str:
    return f"of step {' or '.join(f'`{name}`' for name in producers)}"


def _nearest(name: str, step: Step, params: set[str]) -> str:
    needs = [need.name for need in step.needs]
    close = difflib.get_close_matches(name, [*needs, *step.prelude_reads, *params], n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    sure = [need.name for need in step.needs if need.certainty is Certainty.REQUIRED] or needs
    return f"it reads {', '.join(sure)}" if sure else "it reads no variable of another step"
