"""`%kale_load RUN STEP [names]`: variables that a step saved, in the live notebook."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.errors import KaleError, UsageError
from kale_nb.jupyter.commands import Parser, words_of
from kale_nb.jupyter.display import Screen
from kale_nb.jupyter.errors import CommandError, check_folder, told

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kale_nb.jupyter.executed import Executed
    from kale_nb.runs.record import RunRecord
    from kale_nb.runs.store import Store
    from kale_nb.runtime.manifest import Manifest


def run_load(shell: InteractiveShell, executed: Executed, line: str) -> None:
    """Do what a `%kale_load` line asks. CommandError, which tells itself in a few lines."""
    check_folder()
    try:
        _load(shell, line)
    except CommandError:
        raise
    except KaleError as error:
        raise told(error) from None


def _load(shell: InteractiveShell, line: str) -> None:
    from kale_nb.runtime.outputs import bring_outputs, read_outputs

    args = load_parser().parse_args(words_of(line))
    record = find_run(shell, args.run, args.workspace, args.runs_dir)
    try:
        step = record.step(args.step)
    except KeyError:
        names = ", ".join(step.name for step in record.steps)
        raise UsageError(f"the run {record.id} has no step {args.step!r}", hint=f"its steps are {names}") from None
    manifest = read_outputs(record.directory / "data", step.name)
    wanted = _wanted(manifest, step.name, args.names)
    brought = bring_outputs(record.directory / "data", manifest, wanted, shell.user_ns)
    screen = Screen(shell)
    if not brought.names:
        screen.say(f"step {step.name} of {record.id} kept no variables of its own: a step keeps what later steps may read")
    else:
        lines = [f"from step {step.name} of {record.id}:", *_table(shell, brought.names)]
        screen.say("\n".join(lines))
    for warning in brought.warnings:
        screen.warn(f"warning: {warning}")


def load_parser() -> Parser:
    """Return the parser of what follows `%kale_load`."""
    parser = Parser(prog="kale_load", add_help=False, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("step", metavar="STEP")
    parser.add_argument("names", metavar="NAME", nargs="*", default=[])
    parser.add_argument("--workspace", metavar="DIR", type=Path)
    parser.add_argument("--runs-dir", metavar="DIR", type=Path)
    return parser


def find_run(shell: InteractiveShell, text: str, workspace: Path | None = None, runs_dir: Path | None = None) -> RunRecord:
    """Return the run that `text` means; `last` is the latest. UsageError when there is none."""
    return run_store(shell, workspace, runs_dir).find("latest" if text == "last" else text)


def run_store(shell: InteractiveShell, workspace: Path | None = None, runs_dir: Path | None = None) -> Store:
    """Return the store of runs that is meant: of the folder of this notebook, or the nearest one above that has runs."""
    from kale_nb.jupyter.editing import told_path
    from kale_nb.runs.store import known_store

    if runs_dir is not None or workspace is not None:
        return known_store((workspace or Path.cwd()).expanduser().absolute(), runs_dir)
    file = told_path(shell)
    here = Path.cwd() if file is None or not file.exists() else file.parent
    stores = [known_store(place) for place in dict.fromkeys((here, Path.cwd(), *here.parents))]
    return next((store for store in stores if store.root.is_dir()), stores[0])


def _wanted(manifest: Manifest, step: str, patterns: Sequence[str]) -> list[str]:
    from kale_nb.runtime.outputs import variables

    every = variables(manifest)
    if not patterns:
        return [name for name in every if manifest.names[name].origin == step]
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = fnmatch.filter(every, pattern)
        if not matching:
            kept = f"{', '.join(every[:20])}{', ...' if len(every) > 20 else ''}" if every else "nothing"
            raise UsageError(
                f"step {step} kept no variable {pattern!r}", hint=f"a step keeps what later steps may read, here {kept}"
            )
        found.update(dict.fromkeys(matching))
    return list(found)


def _table(shell: InteractiveShell, names: Sequence[str]) -> list[str]:
    from kale_nb.report.style import clip, table

    rows = []
    for name in names:
        value = shell.user_ns[name]
        shape = getattr(value, "shape", None)
        facts = f"shape {shape}" if isinstance(shape, tuple) else _short(value)
        rows.append((name, type(value).__name__, clip(facts, 60)))
    return table(rows)


def _short(value: object) -> str:
    if isinstance(value, int | float | str | bool | None):
        return " ".join(repr(value).split())
    try:
        return f"{len(value)} items"  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - the user's own __len__ must not fail the load
        return ""
