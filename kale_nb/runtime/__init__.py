"""What a stepbook imports: `load` before the step's own cells, `save` after them, `record_metrics` before a metrics cell.

Imported in every step, so it pulls in the standard library and `kale_nb.marshal` only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from kale_nb.runtime.session import Session

_session: Session | None = None


def load(
    data: str,
    *,
    step: str,
    after: Sequence[str] = (),
    needs: Sequence[str] = (),
    maybe: Sequence[str] = (),
    possible: Sequence[str] = (),
    touches: Sequence[str] = (),
    once: Sequence[str] = (),
    modules: Sequence[str] = (),
) -> None:
    """Bring variables of earlier steps into the notebook's namespace.

    Args:
        data: the run's data folder; each step has a folder of its name in it.
        step: the step that runs here.
        after: its direct predecessors, whose folders must be there.
        needs: names that it reads for sure.
        maybe: names that it reads on some path or by a function, taken if an ancestor left them.
        possible: names that nothing rules out, taken if they are there and not in conflict.
        touches: names bound by imports, functions and parameters cells whose values the step may change.
        once: names that those cells compute, which may come out otherwise in each process: the first step's values count.
        modules: dotted modules that must be imported where their package was received.

    Raises:
        MarshalError: an output is missing or damaged, or a needed value could not be written by its step.
        ConflictError: branches left different versions of a name that the step reads.
    """
    global _session
    _session = Session(data, step, after, _namespace())
    _session.load(needs, maybe, possible, touches, once, modules)


def record_metrics() -> None:
    """Take the numbers that the next cell prints as metrics of the run."""
    shell = _shell()
    if _session is not None and shell is not None:
        _session.metrics.arm(shell, _session.namespace)


def save(
    *,
    needs: Mapping[str, Sequence[str]] | None = None,
    maybe: Sequence[str] = (),
    possible: Sequence[str] = (),
    told: Sequence[str] = (),
    last: bool = False,
    result: str | None = None,
) -> None:
    """Leave variables for later steps.

    Args:
        needs: names that later steps read for sure, with those steps; one of them that cannot travel fails this step.
        maybe, possible: names that a later step may read; one that cannot travel is noted.
        told: process-wide state that the compile has warned of.
        last: no step follows this one.
        result: the name that the step ends with, shown as its result.

    Raises:
        MarshalError: a needed value cannot travel, or the disk refuses.
    """
    if _session is None:
        raise RuntimeError("the load cell of this notebook has not run")
    _session.save(needs or {}, maybe, possible, told, result, last=last)


def keep_everything() -> None:
    """Let `save` write all variables of the step, not only those that later steps read; one that cannot travel is noted."""
    if _session is not None:
        _session.everything = True


def search_in(folder: str) -> None:
    """Look for modules in a folder, relative to the working folder, as well: that of a script's package."""
    from kale_nb.runtime import scripts

    scripts.search_in(folder)


def load_module(path: str, name: str) -> ModuleType:
    """Import a script under a name of its own, because its file's name is another module's or is none."""
    from kale_nb.runtime import scripts

    return scripts.load_module(path, name)


def carry(sources: Mapping[str, tuple[str, str]]) -> None:
    """Make modules importable whose paths and sources are given."""
    from kale_nb.runtime import scripts

    scripts.carry(sources)


def watch(function: Callable[..., Any], *, values: int | None = None, more: bool = False, at: str | None = None) -> None:
    """Check what a step's function returns when it is called: its declared type, and the number of values that are unpacked.

    Args:
        values: how many values the body of the pipeline unpacks, at least if `more`; None when it does not unpack.
        at: where it does.
    """
    from kale_nb import sdk
    from kale_nb.runtime import scripts

    sdk.listen(scripts.Watch(function, values, more, at, log_metric))


def log_metric(name: str, value: float) -> None:
    """Take a number as a metric of the run. TypeError when it is none."""
    from kale_nb.runtime.metrics import as_number

    number = as_number(value)
    if number is None:
        raise TypeError(f"a metric is a number, and {name} is of type {type(value).__name__}")
    if _session is not None:
        _session.metrics.values[str(name)] = number


def keep(name: str, path: str) -> None:
    """Keep a file that the step wrote with the run. MarshalError when it is not there."""
    from kale_nb.runtime import scripts

    if _session is not None:
        scripts.keep_file(name, path, _session.data / _session.step)


def _namespace() -> dict[str, object]:
    return sys.modules["__main__"].__dict__


def _shell() -> Any:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    return get_ipython()
