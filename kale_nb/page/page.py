"""The page as a whole: what the pipeline is called and takes, its graph, what every step begins with, and the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kale_nb.annotations.marks import Marked, MarkedCell, Role
from kale_nb.page.cells import Cells
from kale_nb.page.style import STYLE
from kale_nb.pipeline import order
from kale_nb.pipeline.model import Certainty, Need, Offer, Pipeline, Step
from kale_nb.pipeline.params import to_source
from kale_nb.report.settings import pipeline_settings, step_settings

if TYPE_CHECKING:
    from kale_nb.compiler import Compiled
    from kale_nb.diagnostics import Diagnostic
    from kale_nb.names import StepName

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The page runs nothing and asks nobody for anything."""
_LONGEST_VALUE = 500
_MOST_NAMES = 30


def page_html(
    compiled: Compiled,
    outputs: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
    attachments: Mapping[int, Mapping[str, Any]] | None = None,
) -> str:
    """Return the page of a notebook's pipeline.

    Args:
        compiled: with the marks of its notebook; from a notebook therefore.
        outputs: what cells showed when the notebook was saved, as nbformat has it, by the number of the cell.
        attachments: the pictures that markdown cells hold, likewise.
    """
    assert compiled.marked is not None
    pipeline = compiled.pipeline
    cells = Cells(outputs or {}, attachments or {})
    steps = order.topological(pipeline)
    parts = [
        _top(pipeline),
        _graph(pipeline),
        _findings(compiled.diagnostics),
        _prelude(compiled.marked, cells),
        *(_step(pipeline, pipeline.step(name), number, compiled.marked, cells) for number, name in enumerate(steps, 1)),
        _left_out(compiled.marked, cells),
    ]
    title = escape(pipeline.name)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<a class="to-text" href="#steps">To the steps</a>\n<main>\n{"".join(parts)}</main>\n</body>\n</html>\n'
    )


def _top(pipeline: Pipeline) -> str:
    count = f"{len(pipeline.steps)} step{'s' if len(pipeline.steps) != 1 else ''}"
    head = f'<h1>{escape(pipeline.name)}</h1>\n<p class="lead">{count}, from <code>{escape(pipeline.source)}</code></p>\n'
    if pipeline.description:
        head += f"<p>{escape(pipeline.description)}</p>\n"
    facts = [(f'<span class="dim">{escape(name)}</span>', escape(value)) for name, value in pipeline_settings(pipeline)]
    params = [
        (
            f'<code id="param-{escape(p.name)}">{escape(p.name)}</code>',
            f"<code>{escape(_cut(to_source(p.default)))}</code>",
            escape(p.type + (" or None" if p.optional else "")),
            escape(p.description or ""),
        )
        for p in pipeline.params
    ]
    return (
        f"<header>\n{head}</header>\n"
        + _table(facts, kind="facts")
        + (f'<h3 class="params">Parameters</h3>\n{_table(params, ("name", "default", "type", "meaning"))}' if params else "")
    )


def _graph(pipeline: Pipeline) -> str:
    from kale_nb.graph.svg import draw_svg

    svg = draw_svg(pipeline, links={step.name: _href(step.name) for step in pipeline.steps})
    return (
        f'<nav class="graph scroll" id="graph" tabindex="0" aria-label="The steps and what passes between them">\n{svg}</nav>\n'
    )


def _findings(found: Iterable[Diagnostic]) -> str:
    told = []
    for d in found:
        at = d.location.cell
        line = f", line {d.location.line}" if d.location.line else ""
        where = f' <a href="#cell-{at}">cell {at}</a>{line}' if at else ""
        hint = f'<p class="dim">{escape(d.hint)}</p>' if d.hint else ""
        head = f'<p><strong>{d.level.value}</strong>{where} <span class="dim">{d.rule.code} {escape(d.rule.slug)}</span></p>'
        told.append(f'<div class="finding">{head}<p>{escape(d.message)}</p>{hint}</div>\n')
    head = '<section aria-labelledby="findings"><header><h2 id="findings">Findings</h2></header>\n'
    return f"{head}{''.join(told)}</section>\n" if told else ""


def _prelude(marked: Marked, cells: Cells) -> str:
    roles = (Role.PARAMETERS, Role.IMPORTS, Role.FUNCTIONS, Role.NOTHING)
    mine = [c for c in marked.cells if c.role in roles or (c.role is Role.TEXT and c.step is None)]
    if not any(c.cell.source.strip() for c in mine):
        return '<div id="steps"></div>\n'
    title = "Before every step" if marked.prelude else "Before the steps"
    return (
        f'<section id="steps" aria-labelledby="before"><header><h2 id="before">{title}</h2>'
        f'<a class="back" href="#graph">↑ graph</a></header>\n{cells.html(mine)}</section>\n'
    )


def _step(pipeline: Pipeline, step: Step, number: int, marked: Marked, cells: Cells) -> str:
    facts = step_settings(step)
    told = _table([(f'<span class="dim">{escape(n)}</span>', escape(v)) for n, v in facts], kind="facts")
    after = "after " + ", ".join(map(_link, step.after)) if step.after else "waits for no step"
    return (
        f'<section id="{_anchor(step.name)}" aria-labelledby="name-{escape(step.name)}">\n'
        f'<header><h2 id="name-{escape(step.name)}"><span class="number">{number}</span>{escape(step.name)}</h2>'
        f'<span class="dim">{after}</span><a class="back" href="#graph">↑ graph</a></header>\n'
        f'<div class="ports">\n<div><h3>Inputs</h3>{_inputs(pipeline, step)}</div>\n'
        f"<div><h3>Outputs</h3>{_outputs(pipeline, step)}</div>\n"
        + (f"<div><h3>Settings</h3>{told}</div>\n" if told else "")
        + f"</div>\n{cells.html(marked.steps[step.index].cells)}</section>\n"
    )


def _inputs(pipeline: Pipeline, step: Step) -> str:
    surely = [need for need in step.needs if need.producers and need.certainty is not Certainty.POSSIBLE]
    changed = [need.name for need in step.needs if not need.producers and need.certainty is not Certainty.POSSIBLE]
    perhaps = [need.name for need in step.needs if need.certainty is Certainty.POSSIBLE]
    known = {param.name for param in pipeline.params}
    params = [f'<a href="#param-{escape(n)}"><code>{escape(n)}</code></a>' for n in step.prelude_reads if n in known]
    return _ports(
        _table([(f"<code>{escape(need.name)}</code>", _origin(need), _read_at(need)) for need in surely]),
        _line("parameters", params),
        _names("as changed by an earlier step, if one did:", changed),
        _names("perhaps", perhaps),
    )


def _origin(need: Need) -> str:
    maybe = ' <span class="dim">if it has it</span>' if need.certainty is Certainty.LIKELY else ""
    return f'<span class="dim">from</span> {", ".join(map(_link, need.producers))}{maybe}'


def _read_at(need: Need) -> str:
    at = need.location
    return f'<a class="dim" href="#cell-{at.cell}">cell {at.cell}</a>' if at is not None and at.cell is not None else ""


def _outputs(pipeline: Pipeline, step: Step) -> str:
    rows: list[tuple[str, str]] = []
    changed: list[str] = []
    for offer in step.offers:
        if offer.certainty is Certainty.POSSIBLE:
            continue
        readers = _readers(pipeline, step, offer)
        if readers:
            rows.append((f"<code>{escape(offer.name)}</code>", f'<span class="dim">to</span> {", ".join(map(_link, readers))}'))
        else:
            changed.append(offer.name)
    return _ports(
        _table(rows),
        _line("result", [f"<code>{escape(step.result)}</code>"] if step.result else []),
        _names("if it changed it:", changed),
        _names("perhaps", [offer.name for offer in step.offers if offer.certainty is Certainty.POSSIBLE]),
    )


def _ports(*parts: str) -> str:
    return "".join(parts) or '<p class="dim">none</p>'


def _readers(pipeline: Pipeline, step: Step, offer: Offer) -> list[StepName]:
    return [s.name for s in pipeline.steps if any(n.name == offer.name and step.name in n.producers for n in s.needs)]


def _names(what: str, names: Sequence[str]) -> str:
    more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return _line(what, [*(f"<code>{escape(name)}</code>" for name in names[:_MOST_NAMES]), *more])


def _line(what: str, shown: Sequence[str]) -> str:
    return f'<p><span class="dim">{what}</span> {", ".join(shown)}</p>' if shown else ""


def _left_out(marked: Marked, cells: Cells) -> str:
    mine: list[MarkedCell] = [cell for cell in marked.cells if cell.role is Role.SKIP]
    if not mine:
        return ""
    count = f"{len(mine)} cell{'s' if len(mine) != 1 else ''}"
    return f"<section><details><summary><h2>Left out: {count}</h2></summary>\n{cells.html(mine)}</details></section>\n"


def _table(rows: Sequence[Sequence[str]], head: Sequence[str] = (), kind: str = "") -> str:
    if not rows:
        return ""
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    top = f"<thead><tr>{names}</tr></thead>" if head else ""
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    given = f' class="{kind}"' if kind else ""
    return f'<div class="scroll"><table{given}>{top}<tbody>{body}</tbody></table></div>\n'


def _anchor(step: str) -> str:
    return f"step-{escape(step)}"


def _href(step: str) -> str:
    return f"#step-{quote(step)}"


def _link(step: str) -> str:
    return f'<a href="{_href(step)}">{escape(step)}</a>'


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
