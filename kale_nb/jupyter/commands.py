"""`%pipeline`: from the words on its line to what it shows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kale_nb.annotations.arguments import split_words
from kale_nb.diagnostics import CompileError
from kale_nb.errors import KaleError, UsageError
from kale_nb.jupyter import display, helps
from kale_nb.jupyter.display import Screen
from kale_nb.jupyter.editing import Edited, edited_notebook
from kale_nb.jupyter.errors import CommandError, PipelineFailed, check_folder, told

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kale_nb.compiler import Checked, Compiled
    from kale_nb.jupyter.executed import Executed
    from kale_nb.pipeline.model import Pipeline

VERBS = ("check", "graph", "run", "help")
_OF_THE_COMMAND = ("compile", "show", "verify", "runs", "explain", "status")


class Parser(argparse.ArgumentParser):
    """An argument parser that raises where others end the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`%{self.prog.split()[0]}?` lists what it takes")

    def offers(self, last: str) -> list[str]:
        """Return what may come after the word `last`: options, or the values that the option `last` takes, where they are known."""
        for action in self._actions:
            if last in action.option_strings and action.nargs is None:
                return [str(choice) for choice in action.choices or ()]
        return [option for action in self._actions for option in action.option_strings]


def words_of(line: str) -> list[str]:
    """Split a magic's line; UsageError when a quote is left open."""
    words = split_words(line)
    for word in words:
        if not word.closed:
            raise UsageError(f"a quote is left open in `{word.text}`")
    return [word.text for word in words]


def run_command(shell: InteractiveShell, executed: Executed, line: str) -> None:
    """Do what a `%pipeline` line asks. CommandError, PipelineFailed or PipelineStopped, which tell themselves in a few lines."""
    check_folder()
    try:
        _dispatch(shell, executed, words_of(line), line)
    except (CommandError, PipelineFailed):
        raise
    except KaleError as error:
        raise told(error) from None


def _dispatch(shell: InteractiveShell, executed: Executed, words: Sequence[str], line: str) -> None:
    screen = Screen(shell)
    match list(words):
        case []:
            _settings(screen, edited_notebook(shell, executed))
        case ["check", *rest]:
            _check(screen, edited_notebook(shell, executed, _only_name("check", rest)))
        case ["graph", *rest]:
            _graph(screen, edited_notebook(shell, executed, _only_name("graph", rest)))
        case ["run", *rest]:
            _run(shell, executed, screen, rest)
        case ["help" | "-h" | "--help", *_]:
            screen.say(helps.PIPELINE)
        case [word, *_] if word in _OF_THE_COMMAND:
            raise UsageError(
                f"`%pipeline {word}` is not for notebooks", hint=f"in a terminal: `kale {word}`; here: `!kale {word} ...`"
            )
        case [word, *_] if not word.startswith("-"):
            from kale_nb.annotations.spelling import nearest

            meant = nearest(word, VERBS)
            hint = f"did you mean `{meant}`?" if meant else f"it knows {', '.join(VERBS)}"
            raise UsageError(f"`%pipeline {word}` is not known", hint=hint)
        case _:
            _check_settings(line)


def _only_name(verb: str, words: Sequence[str]) -> str | None:
    parser = Parser(prog=f"pipeline {verb}", add_help=False)
    parser.add_argument("notebook", nargs="?")
    name = parser.parse_args(words).notebook
    return name if isinstance(name, str) else None


def _check_settings(line: str) -> None:
    """Settings do nothing while the notebook lives; what cannot be read is told now."""
    from kale_nb.jupyter.marks import mark_problems

    problems = mark_problems(f"%pipeline {line}\n")
    if problems:
        raise CommandError(problems[0].message, [line for d in problems for line in d.render().split("\n")])


def announce(screen: Screen, edited: Edited) -> None:
    """Say what is compiled, where that is not plain."""
    for note in edited.notes:
        screen.say(note)
    for warning in edited.warnings:
        screen.warn(f"warning: {warning}")


def _settings(screen: Screen, edited: Edited) -> None:
    from kale_nb.compiler import check_source
    from kale_nb.report.findings import counted
    from kale_nb.report.style import table

    announce(screen, edited)
    checked = check_source(edited.source)
    pipeline = checked.pipeline
    if pipeline is None:
        raise _refused(screen, checked.diagnostics)
    facts = settings_facts(pipeline, edited)
    found = f"%pipeline check: {counted(checked.diagnostics)}"
    rich = [(display.dim(escape(name)), escape(value)) for name, value in facts]
    html = display.heading(f"pipeline {escape(pipeline.name)}") + display.table(rich) + f"<div>{display.dim(found)}</div>"
    screen.show("\n".join([f"pipeline {pipeline.name}", *table(facts), found]), {"text/html": html})


def settings_facts(pipeline: Pipeline, edited: Edited) -> list[tuple[str, str]]:
    """Return what is set for a pipeline and its steps, by name."""
    from kale_nb.pipeline.params import to_source
    from kale_nb.report.settings import pipeline_settings, step_settings

    facts = [("compiled from", pipeline.source), ("workspace", str(edited.folder))]
    facts += [("description", pipeline.description)] if pipeline.description else []
    facts += pipeline_settings(pipeline)
    facts.append(("steps", ", ".join(step.name for step in pipeline.steps)))
    facts.extend((f"parameter {p.name}", f"{to_source(p.default)}  ({p.type})") for p in pipeline.params)
    for step in pipeline.steps:
        settings = step_settings(step)
        if settings:
            facts.append((f"step {step.name}", ", ".join(f"{name} {value}" for name, value in settings)))
    return facts


def _check(screen: Screen, edited: Edited) -> None:
    from kale_nb.compiler import check_source

    announce(screen, edited)
    checked = check_source(edited.source)
    _show_check(screen, edited.source.path, checked)


def _show_check(screen: Screen, title: str, checked: Checked) -> None:
    from kale_nb.jupyter.findings import check_html
    from kale_nb.report.findings import counted, painted

    lines = [painted(d, screen.style) for d in checked.diagnostics]
    if checked.pipeline is not None:
        lines.extend(_drawing(screen, checked.pipeline))
    lines.append(f"{title}: {counted(checked.diagnostics)}")
    screen.show("\n".join(lines), {"text/html": check_html(title, checked.pipeline, checked.diagnostics)})


def _refused(screen: Screen, diagnostics: Sequence[object]) -> CommandError:
    from kale_nb.report.findings import counted, painted

    found = CompileError(diagnostics).diagnostics  # type: ignore[arg-type]
    from kale_nb.jupyter.findings import findings_html

    screen.show("\n".join(painted(d, screen.style) for d in found), {"text/html": findings_html(found)})
    summary = f"{counted(found)}: nothing was run"
    return CommandError(summary, [f"error: {summary}"])


def _graph(screen: Screen, edited: Edited) -> None:
    from kale_nb.compiler import check_source
    from kale_nb.graph.svg import draw_svg

    announce(screen, edited)
    checked = check_source(edited.source)
    if checked.pipeline is None:
        raise _refused(screen, checked.diagnostics)
    screen.show("\n".join(_drawing(screen, checked.pipeline)), {"image/svg+xml": draw_svg(checked.pipeline)})


def _drawing(screen: Screen, pipeline: Pipeline) -> list[str]:
    from kale_nb.report.drawing import text_lines

    return text_lines(pipeline, screen.style, 0 if screen.is_rich else 100, {}, {})


def _run(shell: InteractiveShell, executed: Executed, screen: Screen, words: Sequence[str]) -> None:
    from kale_nb import planning
    from kale_nb.jupyter.running import run_pipeline
    from kale_nb.submitting import engine_of, folder_of

    args = run_parser().parse_args(words)
    if args.no_snapshot and args.engine != "kfp":
        raise UsageError(
            "--no-snapshot is for Kubeflow Pipelines here", hint="add --kfp; a run on this machine always has its own copy"
        )
    edited = edited_notebook(shell, executed, args.notebook)
    announce(screen, edited)
    compiled = _compiled(screen, edited)
    on_cluster = args.engine == "kfp"
    options = planning.RunOptions(
        params=planning.read_params(compiled.pipeline, args.param),
        until=tuple(args.until),
        jobs=args.jobs,
        fail_fast=args.fail_fast,
        output_dir=args.output_dir,
        workspace=folder_of(compiled.pipeline) if on_cluster and args.workspace is None else args.workspace,
        runs_dir=args.runs_dir,
        engine=args.engine,
        live=args.no_snapshot,
    )
    planning.plan(compiled.pipeline, options)
    engine = engine_of(args, compiled.pipeline, None)  # an interrupt leaves a run on a cluster alone: nobody can be asked
    if compiled.diagnostics:
        from kale_nb.jupyter.findings import findings_html
        from kale_nb.report.findings import painted

        text = "\n".join(painted(d, screen.style) for d in compiled.diagnostics)
        screen.show(text, {"text/html": findings_html(compiled.diagnostics)})
    run_pipeline(screen, compiled, options, engine)


def _compiled(screen: Screen, edited: Edited) -> Compiled:
    from kale_nb.compiler import compile_source

    try:
        return compile_source(edited.source)
    except CompileError as error:
        raise _refused(screen, error.diagnostics) from None


def run_parser() -> Parser:
    """Return the parser of what follows `%pipeline run`: options of `kale run`, with its meaning."""
    from kale_nb.submitting import add_submission_options

    parser = Parser(prog="pipeline run", add_help=False, allow_abbrev=False)
    parser.add_argument("notebook", nargs="?")
    parser.add_argument("-p", "--param", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--until", metavar="STEP", action="append", default=[])
    parser.add_argument("-j", "--jobs", metavar="N", type=int, default=0)
    parser.add_argument("--fail-fast", action="store_true")
    parser.add_argument("--workspace", metavar="DIR", type=Path)
    parser.add_argument("--runs-dir", metavar="DIR", type=Path)
    parser.add_argument("--output-dir", metavar="DIR", type=Path)
    parser.add_argument("--no-snapshot", action="store_true")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--engine", metavar="NAME", default="local")
    where.add_argument("--kfp", dest="engine", action="store_const", const="kfp")
    add_submission_options(parser)
    return parser
