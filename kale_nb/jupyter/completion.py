"""What Tab offers on the lines of our magics: options, verbs, names of steps, parameters and runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kale_nb.errors import KaleError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kale_nb.annotations.marks import Marked
    from kale_nb.jupyter.executed import Executed
    from kale_nb.source.cells import Source

_LOAD_OPTIONS = ("workspace", "runs-dir")


def complete(shell: InteractiveShell, executed: Executed, before: str) -> tuple[str, list[str]]:
    """Return the word that is being written, and what may stand for it.

    Where the word is the user's own, as the name of a new step or the value of a setting, it stands for itself: IPython, when it is offered
    nothing, offers names of Python.

    Args:
        before: the line up to the cursor, with the magic and at least one blank.
    """
    words = before.split()
    command = words[0].lstrip("%")
    ended = before[-1:].isspace()
    word, written = ("", words[1:]) if ended else (words[-1], words[1:-1])
    try:
        offers = list(_offers(shell, executed, command, written, word))
    except (KaleError, OSError):
        offers = []
    fitting = [offer for offer in offers if offer.startswith(word)]
    own = command == "step" or (command == "pipeline" and (written or [word])[0].startswith("-"))
    return word, fitting or ([word] if own else [])


def _offers(shell: InteractiveShell, executed: Executed, command: str, written: list[str], word: str) -> Iterable[str]:
    last = written[-1] if written else ""
    match command:
        case "step" if last == "--after" or word.startswith("--after="):
            return _names_list(_steps(shell, executed), word)
        case "step" if not written and not word.startswith("-"):
            return _steps(shell, executed)
        case "step":
            return _setting_offers(("after", *_asks()), last, word)
        case "pipeline" if not written and not word.startswith("-"):
            return ("check", "graph", "run", "help", *_options(_pipeline_options()))
        case "pipeline" if written and written[0] == "run":
            return _run_offers(shell, executed, last)
        case "pipeline" if not written or written[0].startswith("-"):
            return _setting_offers(_pipeline_options(), last, word)
        case "kale_load":
            return _load_offers(shell, [w for w in written if not w.startswith("-")], word)
        case _:
            return ()


def _asks() -> tuple[str, ...]:
    from kale_nb.annotations.asks import ALL

    return ALL


def _pipeline_options() -> tuple[str, ...]:
    from kale_nb.annotations.options import PIPELINE_OPTIONS

    return PIPELINE_OPTIONS


def _setting_offers(names: Iterable[str], last: str, word: str) -> list[str]:
    """Return the options, or the values of the one that stands before."""
    from kale_nb.annotations.asks import VALUES
    from kale_nb.annotations.options import PIPELINE_FLAGS

    option, equals, _ = word.partition("=")
    if equals:
        return [f"{option}={value}" for value in VALUES.get(option.lstrip("-"), ())]
    if last.startswith("--") and "=" not in last and last.lstrip("-") not in PIPELINE_FLAGS:
        return list(VALUES.get(last.lstrip("-"), ()))
    return _options(names)


def _options(names: Iterable[str]) -> list[str]:
    return [f"--{name}" for name in names]


def _names_list(names: Iterable[str], word: str) -> list[str]:
    """Complete the last name of `a,b`."""
    lead = re.match(r"(?:--after=)?(?:[^,]*,)*", word)
    start = lead.group() if lead is not None else ""
    taken = start.removeprefix("--after=").split(",")
    return [start + name for name in names if name not in taken]


def _run_offers(shell: InteractiveShell, executed: Executed, last: str) -> Iterable[str]:
    if last in ("-p", "--param"):
        return [f"{name}=" for name in _params(shell, executed)]
    if last == "--until":
        return _steps(shell, executed)
    from kale_nb.jupyter.commands import run_parser

    return run_parser().offers(last)


def _load_offers(shell: InteractiveShell, written: list[str], word: str) -> Iterable[str]:
    from kale_nb.jupyter.loading import find_run, run_store
    from kale_nb.runtime.outputs import read_outputs, variables

    if word.startswith("-"):
        return _options(_LOAD_OPTIONS)
    if not written:
        return ("last", *(record.id for record in reversed(run_store(shell).records()[-50:])))
    record = find_run(shell, written[0])
    if len(written) == 1:
        return [step.name for step in record.steps]
    return variables(read_outputs(record.directory / "data", written[1]))


def _sources(shell: InteractiveShell, executed: Executed) -> Iterable[Source]:
    """The saved notebook and what ran here: either may know a step that the other does not."""
    from kale_nb.jupyter.editing import told_path
    from kale_nb.source.notebook import read_notebook

    path = told_path(shell)
    if path is not None and path.exists():
        yield read_notebook(path)
    yield executed.source()


def _marked(shell: InteractiveShell, executed: Executed) -> Iterable[Marked]:
    from kale_nb.annotations.reading import read_marks

    for source in _sources(shell, executed):
        yield read_marks(source)[0]


def _steps(shell: InteractiveShell, executed: Executed) -> list[str]:
    return list(dict.fromkeys(str(step.name) for marked in _marked(shell, executed) for step in marked.steps))


def _params(shell: InteractiveShell, executed: Executed) -> list[str]:
    from kale_nb.compiler import check_source

    found: dict[str, None] = {}
    for source in _sources(shell, executed):
        pipeline = check_source(source).pipeline
        found.update(dict.fromkeys(p.name for p in pipeline.params) if pipeline is not None else {})
    return list(found)
