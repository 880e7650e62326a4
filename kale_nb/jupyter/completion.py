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

_STEP_OPTIONS = (
    "after retries retry-interval retry-factor retry-max-interval timeout env secret cpu memory limit request image cache report label "
    "annotation"
)
_PIPELINE_OPTIONS = "name experiment description image volume marshal-volume marshal-volume-size autosnapshot retries timeout"
_LOAD_OPTIONS = "workspace runs-dir"


def complete(shell: InteractiveShell, executed: Executed, before: str) -> tuple[str, list[str]]:
    """Return the word that is being written, and what may stand for it.

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
    return word, [offer for offer in offers if offer.startswith(word)]


def _offers(shell: InteractiveShell, executed: Executed, command: str, written: list[str], word: str) -> Iterable[str]:
    last = written[-1] if written else ""
    match command:
        case "step" if last == "--after" or word.startswith("--after="):
            return _names_list(_steps(shell, executed), word)
        case "step" if not written and not word.startswith("-"):
            return _steps(shell, executed)
        case "step" if not last.startswith("--"):
            return _options(_STEP_OPTIONS)
        case "pipeline" if not written and not word.startswith("-"):
            return ("check", "graph", "run", "help", *_options(_PIPELINE_OPTIONS))
        case "pipeline" if written and written[0] == "run":
            return _run_offers(shell, executed, last)
        case "pipeline" if (not written or written[0].startswith("-")) and not last.startswith("--"):
            return _options(_PIPELINE_OPTIONS)
        case "kale_load":
            return _load_offers(shell, [w for w in written if not w.startswith("-")], word)
        case _:
            return ()


def _options(names: str) -> list[str]:
    return [f"--{name}" for name in names.split()]


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
