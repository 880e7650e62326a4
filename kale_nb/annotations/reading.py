"""Cells and their marks put in relation: which cell is what, and which step is made of which cells.

Takes a `Source`, gives a `Marked` and every diagnostic of the marks, all at once. How cells without a mark are read:

- after a cell of a step (or its metrics) they belong to that step (or its metrics), after an imports, functions or parameters cell to
  that role, as in Kale;
- a skip cell vanishes: what follows it belongs to whatever stands above it. Kale reads it so, and its own example notebooks rely on it
  (a plot tagged `skip` in the middle of a step). A note says so, because the other reading is as easy to have in mind;
- before any mark, code is an error; comments, blank lines, `%pipeline` and `%load_ext kale_nb` are not code.

Two roles on one cell are an error, except that `imports` and `functions` agree well enough (the first counts, with a warning), and
that a step mark beside a metrics mark makes metrics of that step. The empty `block:` that Kale's panel writes is no mark. `prev:` and
settings may stand on any cell of a step, marked or not; on a skip cell they vanish with it. papermill's `injected-parameters` cell is
part of the parameters, wherever it stands, and does not change to which cell the unmarked cells after it belong.

A markdown cell belongs to the step of the next code cell, because headings stand above what they describe; after the last code cell to
the step above it. Marks on a markdown cell do nothing and are reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from kale_nb.annotations.asks import Ask, Place, merge
from kale_nb.annotations.claims import CellMarks, Claim, Wanted
from kale_nb.annotations.combining import combine
from kale_nb.annotations.lines import is_blank
from kale_nb.annotations.magics import read_magics
from kale_nb.annotations.marks import After, Marked, MarkedCell, Role, StepMarks
from kale_nb.annotations.settings import PipelineAsk, read_metadata
from kale_nb.annotations.tags import read_tags
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.location import Location
from kale_nb.names import StepName, is_step_name, kubernetes_name
from kale_nb.source.cells import Cell, CellKind, Source

NO_CELLS = rule(
    "KN010",
    "no-code",
    Severity.ERROR,
    what="The notebook has no cells, or none that holds code.",
    why="There is nothing to run.",
    example="# markdown cell\nThe results of last week.",
    mend="Give a notebook with code cells.",
)
TWO_STEPS = rule(
    "KN101",
    "two-steps-on-one-cell",
    Severity.ERROR,
    what="One cell carries the marks of two steps.",
    why="A cell runs in one step.",
    example="%%step load\n%%step train\nx = 1",
    mend="Keep one mark, or split the cell.",
)
TWO_ROLES = rule(
    "KN103",
    "two-roles-on-one-cell",
    Severity.ERROR,
    what="One cell is marked as two things at once, such as a step and imports, or a step and skip.",
    why="Imports run in every step, a step's cell in one, a skip cell in none: no reading fits both.",
    example="%%step load\n%%imports\nimport os",
    mend="Keep one mark, or split the cell.",
)
COLLISION = rule(
    "KN104",
    "step-names-collide",
    Severity.ERROR,
    what="Two step names are the same once they are spelled for Kubernetes.",
    why="On a cluster the two would be one; here their files would be mixed up on systems that ignore case.",
    example="%%step Train_1\nx = 1\n\n%%step train-1\ny = 2",
    mend="Rename one of them.",
)
BEFORE_MARKS = rule(
    "KN105",
    "code-before-marks",
    Severity.ERROR,
    what="Code stands before the first mark.",
    why="It belongs to no step, so no step would run it.",
    example="x = 1\n\n%%step train\nprint(x)",
    mend="Mark the cell: `imports` or `functions` for what every step needs, `step:NAME`, `parameters`, or `skip`.",
)
EARLY_METRICS = rule(
    "KN106",
    "metrics-before-steps",
    Severity.ERROR,
    what="A metrics cell stands before any step.",
    why="Metrics are taken at the end of the step above them.",
    example="%%metrics\nprint(1)\n\n%%step train\nx = 1",
    mend="Move it below the step whose values it prints.",
)
NO_STEPS = rule(
    "KN107",
    "no-steps",
    Severity.ERROR,
    what="No cell is marked as a step.",
    why="A pipeline is made of steps.",
    example="%%imports\nimport os",
    mend="Give the cells that do the work a tag `step:NAME` or a first line `%%step NAME`.",
)
NO_STEP_HERE = rule(
    "KN108",
    "mark-without-step",
    Severity.WARNING,
    what="A `prev:` or a setting stands on a cell that belongs to no step.",
    why="There is no step that could wait or be configured, so the mark does nothing.",
    example="# tags: imports, prev:load\nimport os\n\n%%step load\nprint(os.sep)",
    mend="Move the tag to a cell of the step that it is meant for.",
)
ON_TEXT = rule(
    "KN112",
    "mark-on-text",
    Severity.WARNING,
    what="A mark stands on a markdown or raw cell.",
    why="Only code cells can be marked; the mark does nothing.",
    example="# markdown cell, tags: step:load\nWhere the data come from.\n\n%%step load\nx = 1",
    mend="Move the tag to the code cell.",
)
AFTER_SKIP = rule(
    "KN113",
    "unmarked-after-skip",
    Severity.NOTE,
    what="A code cell without a mark follows a skip cell.",
    why="It is not skipped: it belongs to the step above the skip cell, which may not be what was meant.",
    example="%%step load\nx = 1\n\n%%skip\nprint(x)\n\ny = x + 1",
    mend="Mark it: `skip`, or the step that it belongs to.",
)
EMPTY_MARK = rule(
    "KN114",
    "empty-step-mark",
    Severity.WARNING,
    what="A tag `step:` or `block:` names no step.",
    why="Its cell is read as if it had no mark.",
    example="%%step load\nx = 1\n\n# tags: step:\nprint(x)",
    mend="Name the step, or remove the tag.",
)
PREV_UNMARKED = rule(
    "KN115",
    "prev-on-unmarked-cell",
    Severity.WARNING,
    what="A `prev:` stands on a cell that names no step itself.",
    why="It counts for the step above, which is right only if a step mark was not forgotten.",
    example="%%step load\nx = 1\n\n%%step train --after load\ny = x\n\n# tags: prev:load\nprint(y)",
    mend="Add `step:NAME` to the cell.",
)

_PRELUDE = (Role.PARAMETERS, Role.IMPORTS, Role.FUNCTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What a cell is, as far as the cells after it need to know."""

    role: Role = Role.NOTHING
    step: StepName | None = None


@dataclass(slots=True)
class _Draft:
    """A step while its cells are gathered."""

    location: Location
    after: list[After] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    cells: list[MarkedCell] = field(default_factory=list)


def read_marks(source: Source) -> tuple[Marked, tuple[Diagnostic, ...]]:
    """Read every mark of a source. Never raises; what is wrong is in the diagnostics, and the rest is read as well as it can be."""
    reading = _Reading(source)
    for cell in source.cells:
        reading.read(cell)
    return reading.finish()


class _Reading:
    """One source while it is read, cell by cell."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.cells: list[MarkedCell] = []
        self.drafts: dict[StepName, _Draft] = {}
        self.pipeline: list[PipelineAsk] = []
        self.problems: list[Diagnostic] = []
        self.above = _Standing()
        self.skipping = False

    def read(self, cell: Cell) -> None:
        tags = read_tags(cell, self.source.path)
        if cell.kind is not CellKind.CODE:
            self.text(cell, tags)
            return
        magics = read_magics(cell, self.source.path)
        marks = _joined(tags, magics)
        self.problems += marks.problems
        self.pipeline += marks.pipeline
        place = Place(location=Location(path=self.source.path, cell=cell.index))
        standing = self.standing(cell, marks, place)
        self.problems += marks.live if standing.role not in (Role.SKIP, Role.NOTHING) else ()
        self.skipping = standing.role is Role.SKIP
        if not self.skipping and "injected-parameters" not in cell.tags:
            self.above = standing
        self.cells.append(MarkedCell(cell=cell, role=standing.role, code=marks.code, step=standing.step))
        self.attach(marks, standing)

    def text(self, cell: Cell, tags: CellMarks) -> None:
        marks = [claim.spelled for claim in tags.claims] + [wanted.spelled for wanted in tags.after]
        if marks:
            place = Place(location=Location(path=self.source.path, cell=cell.index))
            kind = "markdown" if cell.kind is CellKind.MARKDOWN else "raw"
            self.problems.append(
                place.report(ON_TEXT, f"`{marks[0]}` stands on a {kind} cell and does nothing", "move the tag to the code cell")
            )
        self.cells.append(MarkedCell(cell=cell, role=Role.TEXT, code=cell.source))

    def standing(self, cell: Cell, marks: CellMarks, place: Place) -> _Standing:
        """Decide what a code cell is."""
        claim = self.decide(marks.claims)
        if claim is None:
            return self.unmarked(cell, marks, place)
        if claim.role is Role.METRICS:
            named = next((c.step for c in marks.claims if c.step is not None), None)
            step = named or self.step_above()
            if step is None:
                hint = "move it below the step whose values it prints"
                self.problems.append(claim.place.report(EARLY_METRICS, f"`{claim.spelled}` stands before any step", hint))
                return _Standing(role=Role.SKIP)
            self.drafts.setdefault(step, _Draft(location=claim.place.location))
            return _Standing(role=Role.METRICS, step=step)
        if claim.role is Role.STEP and claim.step is not None:
            self.drafts.setdefault(claim.step, _Draft(location=claim.place.location))
            return _Standing(role=Role.STEP, step=claim.step)
        return _Standing(role=claim.role)

    def decide(self, claims: Sequence[Claim]) -> Claim | None:
        """Choose the claim that counts and report those that contradict it."""
        for claim in claims:
            if claim.role is Role.STEP and claim.step is None:
                level = Severity.NOTE if claim.spelled.startswith("block") else None
                message = f"`{claim.spelled}` names no step; the cell is read as unmarked"
                self.problems.append(claim.place.report(EMPTY_MARK, message, "name the step, or remove the tag", level))
        named = [claim for claim in claims if claim.role is not Role.STEP or claim.step is not None]
        if not named:
            return None
        first, *others = named
        for other in others:
            self.contradiction(first, other)
        metrics = next((claim for claim in named if claim.role is Role.METRICS), None)
        return metrics if metrics is not None and first.role is Role.STEP else first

    def contradiction(self, first: Claim, other: Claim) -> None:
        roles = {first.role, other.role}
        if roles == {Role.STEP}:
            if first.step != other.step:
                self.problems.append(
                    other.place.report(
                        TWO_STEPS,
                        f"the cell is marked for step `{first.step}` and for step `{other.step}`",
                        "keep one mark, or split the cell in two",
                    )
                )
        elif roles == {Role.IMPORTS, Role.FUNCTIONS}:
            self.problems.append(
                other.place.report(
                    TWO_ROLES,
                    f"the cell is marked `{first.spelled}` and `{other.spelled}`; the first counts",
                    "keep one",
                    Severity.WARNING,
                )
            )
        elif len(roles) == 2 and roles != {Role.STEP, Role.METRICS}:
            self.problems.append(
                other.place.report(
                    TWO_ROLES,
                    f"the cell is marked `{first.spelled}` and `{other.spelled}`",
                    "keep one mark, or split the cell in two",
                )
            )

    def unmarked(self, cell: Cell, marks: CellMarks, place: Place) -> _Standing:
        idle = all(is_blank(line) for line in marks.code.split("\n"))
        if self.above.role is Role.NOTHING:
            if not idle:
                self.before_marks(cell, marks)
            return _Standing()
        if self.skipping and not idle:
            owner = f"step `{self.above.step}`" if self.above.step is not None else f"the {self.above.role.value} cell"
            message = f"the cell has no mark; it belongs to {owner} above the skip cell"
            self.problems.append(place.report(AFTER_SKIP, message, "tag it `skip` if it should not run"))
        return self.above

    def before_marks(self, cell: Cell, marks: CellMarks) -> None:
        lines = cell.source.split("\n")
        row = next((i for i, line in enumerate(marks.code.split("\n")) if not is_blank(line)), 0)
        line = lines[min(row, len(lines) - 1)]
        start = len(line) - len(line.lstrip())
        place = Place(
            location=Location(path=self.source.path, cell=cell.index, line=row + 1, column=start + 1),
            source_line=line,
            end_column=len(line.rstrip()) + 1,
        )
        hint = "mark the cell: `imports`, `functions`, `parameters`, `step:NAME` or `skip`"
        self.problems.append(place.report(BEFORE_MARKS, "this code stands before the first mark and belongs to no step", hint))

    def step_above(self) -> StepName | None:
        if self.above.step is not None:
            return self.above.step
        return next((cell.step for cell in reversed(self.cells) if cell.step is not None), None)

    def attach(self, marks: CellMarks, standing: _Standing) -> None:
        """Give the step of a cell the cell's predecessors and settings."""
        if standing.role is Role.SKIP:
            return
        if standing.step is None:
            self.lost(
                [(wanted.spelled, wanted.place) for wanted in marks.after] + [(ask.spelled, ask.place) for ask in marks.asks]
            )
            return
        draft = self.drafts[standing.step]
        draft.after += [wanted.after for wanted in marks.after]
        draft.asks += marks.asks
        if marks.after and not any(claim.step for claim in marks.claims) and standing.role is Role.STEP:
            self.prev_on_unmarked(marks.after[0], standing.step)

    def prev_on_unmarked(self, wanted: Wanted, step: StepName) -> None:
        self.problems.append(
            wanted.place.report(
                PREV_UNMARKED,
                f"`{wanted.spelled}` stands on a cell that names no step; it counts for step `{step}` above",
                "add `step:NAME` to the cell if it was meant to be a step of its own",
            )
        )

    def lost(self, marks: Iterable[tuple[str, Place]]) -> None:
        for spelled, place in marks:
            self.problems.append(
                place.report(
                    NO_STEP_HERE, f"`{spelled}` stands on a cell that belongs to no step", "move it to a cell of its step"
                )
            )

    def finish(self) -> tuple[Marked, tuple[Diagnostic, ...]]:
        metadata, found = read_metadata(self.source)
        settings, defaults, conflicts = combine(metadata, self.pipeline)
        self.problems += [*found, *conflicts]
        cells = _with_text_placed(self.cells)
        for cell in cells:
            if cell.step is not None:
                self.drafts[cell.step].cells.append(cell)
        steps: list[StepMarks] = []
        for name, draft in self.drafts.items():
            merged, contradictions = merge(name, draft.asks, defaults)
            self.problems += contradictions
            steps.append(
                StepMarks(name=name, location=draft.location, after=tuple(draft.after), settings=merged, cells=tuple(draft.cells))
            )
        self.check_whole(steps)
        marked = Marked(
            source=self.source,
            cells=cells,
            steps=tuple(steps),
            prelude=tuple(cell for cell in cells if cell.role in _PRELUDE),
            settings=settings,
        )
        return marked, tuple(sorted(self.problems, key=_order))

    def name_place(self, step: StepMarks) -> Place:
        """Where the name of a step is written first, with its line when it is written in a magic."""
        at = step.location
        if at.cell is None or at.line is None or at.column is None:
            return Place(location=at)
        line = self.source.cells[at.cell - 1].source.split("\n")[at.line - 1]
        return Place(location=at, source_line=line, end_column=at.column + len(step.name))

    def check_whole(self, steps: Sequence[StepMarks]) -> None:
        whole = Place(location=Location(path=self.source.path))
        if not any(cell.cell.kind is CellKind.CODE for cell in self.cells):
            what = "cells" if not self.cells else "code cells"
            self.problems.append(whole.report(NO_CELLS, f"the notebook has no {what}", "give a notebook that holds code"))
        elif not steps:
            if all(cell.role in (Role.NOTHING, Role.TEXT) for cell in self.cells):
                self.problems = [problem for problem in self.problems if problem.rule is not BEFORE_MARKS]
            hint = "tag the cells that do the work `step:NAME`, or begin them with `%%step NAME`"
            self.problems.append(whole.report(NO_STEPS, "no cell is marked as a step", hint))
        seen: dict[str, StepMarks] = {}
        for step in steps:
            if not is_step_name(step.name):
                continue
            safe = kubernetes_name(step.name)
            first = seen.setdefault(safe, step)
            if first is not step:
                self.problems.append(
                    self.name_place(step).report(
                        COLLISION,
                        f"steps `{step.name}` and `{first.name}` are both `{safe}` once made safe for Kubernetes",
                        f"rename one of them; `{first.name}` stands in cell {first.location.cell}",
                    )
                )


def _joined(tags: CellMarks, magics: CellMarks) -> CellMarks:
    return replace(
        magics,
        claims=magics.claims + tags.claims,
        after=magics.after + tags.after,
        asks=magics.asks + tags.asks,
        problems=tags.problems + magics.problems,
    )


def _with_text_placed(cells: Sequence[MarkedCell]) -> tuple[MarkedCell, ...]:
    """Give each text cell the step of the next code cell, or of the last one."""
    placed: list[MarkedCell] = []
    following: StepName | None = next((cell.step for cell in reversed(cells) if cell.role is not Role.TEXT), None)
    for cell in reversed(cells):
        if cell.role is Role.TEXT:
            placed.append(replace(cell, step=following) if following is not None else cell)
        else:
            following = cell.step
            placed.append(cell)
    return tuple(reversed(placed))


def _order(problem: Diagnostic) -> tuple[int, int, int, str]:
    at = problem.location
    return (at.cell or 0, at.line or 0, at.column or 0, problem.rule.code)
