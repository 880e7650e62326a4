"""Marks and data flow become a `Pipeline`.

`lower` parses every code cell, reads the facts of the prelude and of each step, runs every check and returns the pipeline with all
findings. The pipeline is None when the graph itself is broken (an unknown `prev`, a cycle); what does not depend on the broken part is
judged all the same, so that one mistake does not hide the others, and nothing is said that may only follow from it (see `_Doubt`).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kale_nb.annotations.marks import Marked, MarkedCell, Role
from kale_nb.annotations.params import read_params
from kale_nb.dataflow.broken import stand_in, words_of
from kale_nb.dataflow.facts import BlockFacts, Place
from kale_nb.dataflow.flow import Flow, StepBlock, infer
from kale_nb.dataflow.text import TextError, parse_cell
from kale_nb.dataflow.walk import read_block
from kale_nb.diagnostics import Diagnostic, Severity, has_errors, rule
from kale_nb.lowering import graph, interleaved, naming, parallel, paths, prelude, travel
from kale_nb.lowering.findings import Speaker
from kale_nb.names import StepName, VarName
from kale_nb.pipeline.model import Need, Offer, Pipeline, Step

SYNTAX = rule(
    "KN001",
    "syntax-error",
    Severity.ERROR,
    what="A cell is not valid Python (nor IPython).",
    why="It cannot run, and nothing can be inferred from it.",
    example="%%step a\nx = (1,",
    mend="Correct the cell; skip cells (tag `skip`) are not read.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A pipeline and, per step, the prelude names that it may change; with everything that was found on the way.

    Attributes:
        once: names that imports and functions cells compute, which may come out otherwise in another process.
        told: for steps that others follow, the process-wide state that their text shows them to set.
    """

    pipeline: Pipeline | None
    traced: dict[StepName, tuple[str, ...]]
    modules: dict[StepName, tuple[str, ...]]
    diagnostics: tuple[Diagnostic, ...]
    once: tuple[str, ...] = ()
    told: dict[StepName, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class _Blocks:
    steps: tuple[StepBlock, ...]
    prelude: BlockFacts
    skipped: BlockFacts
    last_bind: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What cannot be judged because of mistakes reported elsewhere.

    Attributes:
        names: words of cells that are not Python, and names bound by code that belongs to no step.
        steps: those whose ancestors are not known.
    """

    names: frozenset[str]
    steps: frozenset[StepName]


def lower(marked: Marked) -> Lowered:
    """Turn a marked source into a pipeline. Pure; never raises for anything the author wrote."""
    speaker = Speaker(marked)
    trees, broken, syntax = _parse(marked, speaker)
    order, order_findings = graph.resolve_order(marked, speaker)
    params, param_findings = read_params(marked.cells, marked.source.path)
    findings = [*syntax, *order_findings, *param_findings]
    if not marked.steps:
        return Lowered(pipeline=None, traced={}, modules={}, diagnostics=tuple(findings))
    blocks = _facts(marked, trees, order.after)
    flow = infer(blocks.steps, blocks.prelude)
    findings += paths.check_cells({i: tree for i, tree in trees.items() if i not in skipped_cells(marked)}, speaker)
    findings += _check(blocks, flow, _Doubt(broken | _homeless(marked, trees), order.doubtful), speaker)
    if not has_errors(order_findings):
        findings += interleaved.check_interleaved(marked, blocks.steps, trees, blocks.prelude, speaker)
    if has_errors(order_findings):
        return Lowered(pipeline=None, traced={}, modules={}, diagnostics=tuple(findings))
    steps = tuple(_step(i, marked, block, flow, trees, speaker) for i, block in enumerate(blocks.steps))
    settings = marked.settings
    pipeline = Pipeline(
        name=settings.name or marked.source.stem,
        source=marked.source.path,
        source_sha256=marked.source.sha256,
        steps=steps,
        params=params,
        kernel=str(marked.source.metadata.get("kernelspec", {}).get("name") or "python3"),
        experiment=settings.experiment,
        description=settings.description,
        image=settings.image,
        volumes=settings.volumes,
        marshal_volume=settings.marshal_volume,
        autosnapshot=settings.autosnapshot,
        service_account=settings.service_account,
        explicit_order=order.explicit,
    )
    followed = {p for b in blocks.steps for p in b.after}
    told = {b.name: tuple(dict.fromkeys(c.what for c in b.facts.state_changes)) for b in blocks.steps if b.name in followed}
    modules = {b.name: _modules_before(b, blocks.steps) for b in blocks.steps}
    return Lowered(
        pipeline=pipeline,
        traced=dict(flow.traced),
        modules=modules,
        diagnostics=tuple(findings),
        once=_once(marked, blocks),
        told=told,
    )


def _parse(marked: Marked, speaker: Speaker) -> tuple[dict[int, ast.Module], frozenset[str], list[Diagnostic]]:
    """Parse every code cell. One that is not Python is told, has a stand-in among the trees, and its words are returned."""
    trees: dict[int, ast.Module] = {}
    words: set[str] = set()
    findings: list[Diagnostic] = []
    for cell in marked.cells:
        if cell.role is Role.TEXT:
            continue
        parsed = parse_cell(cell.code)
        if not isinstance(parsed, TextError):
            trees[cell.cell.index] = parsed
        elif cell.role is not Role.SKIP:
            trees[cell.cell.index] = stand_in(cell.code)
            words |= words_of(cell.code)
            place = Place(cell.cell.index, parsed.line, max(1, parsed.column), parsed.end_column)
            findings.append(speaker.say(SYNTAX, place, parsed.message, "correct the cell; a cell tagged `skip` is not read"))
    return trees, frozenset(words), findings


def skipped_cells(marked: Marked) -> frozenset[int]:
    """Return the cells that never run."""
    return frozenset(c.cell.index for c in marked.cells if c.role is Role.SKIP)


def _homeless(marked: Marked, trees: dict[int, ast.Module]) -> frozenset[str]:
    """Names that are bound by code before the first mark, which is reported."""
    cells = [(c.cell.index, trees[c.cell.index]) for c in marked.cells if c.role is Role.NOTHING and c.cell.index in trees]
    return read_block(cells).may_bind


def _facts(marked: Marked, trees: dict[int, ast.Module], after: dict[StepName, tuple[StepName, ...]]) -> _Blocks:
    def block(cells: Sequence[MarkedCell], before: BlockFacts | None = None) -> BlockFacts:
        return read_block([(c.cell.index, trees[c.cell.index]) for c in cells if c.cell.index in trees], before)

    prelude = block(prelude_order(marked.prelude))
    steps = tuple(StepBlock(s.name, after[s.name], block(s.cells, prelude)) for s in marked.steps)
    last_bind: dict[str, int] = {}
    for cell in marked.prelude:
        for name in block([cell]).may_bind:
            last_bind[name] = cell.cell.index
    return _Blocks(steps, prelude, block([c for c in marked.cells if c.role is Role.SKIP]), last_bind)


def prelude_order(cells: Sequence[MarkedCell]) -> tuple[MarkedCell, ...]:
    """Return the prelude's cells as steps run them: source order, parameters cells first unless they read what others bind."""
    params = [c for c in cells if c.role is Role.PARAMETERS]
    others = [c for c in cells if c.role is not Role.PARAMETERS]
    return (*params, *others) if params_stand_alone(cells) else tuple(cells)


def _once(marked: Marked, blocks: _Blocks) -> tuple[str, ...]:
    params = _quick_facts([c for c in marked.prelude if c.role is Role.PARAMETERS])
    prelude = blocks.prelude
    computed = prelude.may_bind - prelude.scopes.keys() - prelude.imports.keys() - prelude.fixed - params.may_bind
    return tuple(sorted(computed))


def params_stand_alone(cells: Sequence[MarkedCell]) -> bool:
    """Tell whether the parameters cells can run before the imports and functions cells with the same outcome."""
    params = _quick_facts([c for c in cells if c.role is Role.PARAMETERS])
    others = _quick_facts([c for c in cells if c.role is not Role.PARAMETERS])
    return not ({r.name for r in params.reads} & others.may_bind) and not (params.may_bind & others.may_bind)


def _quick_facts(cells: Sequence[MarkedCell]) -> BlockFacts:
    trees = [(c.cell.index, parse_cell(c.code)) for c in cells]
    return read_block([(i, t) for i, t in trees if isinstance(t, ast.Module)])


def _without_doubtful(flow: Flow, names: naming.Names, doubt: _Doubt) -> Flow:
    """Keep what stands whatever the doubtful parts turn out to be."""

    def sure(name: str, *steps: StepName) -> bool:
        return name not in doubt.names and doubt.steps.isdisjoint(steps)

    return replace(
        flow,
        missing=tuple(m for m in flow.missing if sure(m.read.name, *([m.step] if names.binders.get(m.read.name) else []))),
        conflicts=tuple(c for c in flow.conflicts if sure(c.read.name, c.step, *c.writers)),
        races=tuple(r for r in flow.races if sure(r.read.name, r.reader, r.writer)),
        reach={s: frozenset() if s in doubt.steps else reads - doubt.names for s, reads in flow.reach.items()},
    )


def _check(blocks: _Blocks, flow: Flow, doubt: _Doubt, speaker: Speaker) -> list[Diagnostic]:
    names = naming.Names(blocks.steps, blocks.prelude, blocks.skipped)
    flow = _without_doubtful(flow, names, doubt)
    before = blocks.prelude
    before = replace(
        before, reads=tuple(r for r in before.reads if r.name not in doubt.names), may_bind=before.may_bind - doubt.names
    )
    found = [
        *naming.check_missing(flow, names, speaker),
        *naming.check_functions(blocks.steps, flow.reach, names, blocks.prelude, speaker),
        *naming.check_imports(blocks.steps, flow, blocks.prelude, speaker),
        *naming.check_history(blocks.steps, flow, names, speaker),
        *parallel.check_joins(flow, names, speaker),
        *parallel.check_races(flow, names, speaker),
        *prelude.check_prelude(before, blocks.steps, names, speaker),
        *prelude.check_overwrites(blocks.last_bind, before, blocks.steps, speaker),
        *travel.check_stuck(blocks.steps, flow, speaker),
        *travel.check_state(blocks.steps, flow, blocks.prelude, speaker),
    ]
    return sorted(found, key=lambda d: (d.location.cell or 0, d.location.line or 0, d.location.column or 0, d.rule.code))


def _step(index: int, marked: Marked, block: StepBlock, flow: Flow, trees: dict[int, ast.Module], speaker: Speaker) -> Step:
    marks = marked.steps[index]
    needs = tuple(
        Need(
            name=VarName(w.name),
            certainty=w.certainty,
            producers=w.producers,
            location=speaker.location(w.read.place) if w.read is not None else None,
        )
        for w in flow.wants.get(block.name, ())
    )
    offers = tuple(Offer(name=VarName(n), certainty=c) for n, c in flow.offers.get(block.name, {}).items())
    code = [c for c in marks.cells if c.role in (Role.STEP, Role.METRICS)]
    last = [c for c in code if c.role is Role.STEP]
    return Step(
        name=block.name,
        index=index,
        after=block.after,
        settings=marks.settings,
        cells=tuple(c.cell.index for c in code),
        needs=needs,
        offers=offers,
        rebinds=tuple(VarName(n) for n in sorted(block.facts.may_bind)),
        prelude_reads=tuple(
            VarName(n) for n in flow.traced[block.name] if n in block.facts.mentions or n in flow.reach[block.name]
        ),
        result=_trailing(last, trees),
        location=marks.location,
    )


def _trailing(cells: Sequence[MarkedCell], trees: dict[int, ast.Module]) -> VarName | None:
    """The bare name that the last cell with code ends with."""
    for cell in reversed(cells):
        tree = trees.get(cell.cell.index)
        if tree is not None and tree.body:
            last = tree.body[-1]
            if isinstance(last, ast.Expr) and isinstance(last.value, ast.Name) and not cell.code.rstrip().endswith(";"):
                return VarName(last.value.id)
            return None
    return None


def _modules_before(block: StepBlock, steps: Sequence[StepBlock]) -> tuple[str, ...]:
    """Dotted modules that the step imports: `import a.b` binds `a`, and whoever receives `a` needs `a.b` imported as well."""
    return block.facts.submodules
