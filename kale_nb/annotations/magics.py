"""Cell magics as marks, read from the text of a cell.

`%%step NAME [options]`, `%%imports`, `%%functions`, `%%parameters`, `%%metrics`, `%%skip` count when they are the first line of a code
cell that is neither blank nor a comment, as in IPython; further down they are reported. The line magic `%pipeline` may stand wherever a
statement may. In the code that goes on, marks are comments, and every line keeps its number: when the line after a mark is another
cell magic, that one moves up to the first line (`%%time`), or the mark becomes a blank line when the magic's body is no Python
(`%%writefile` would write the comment). The comment is indented as the code below it, because IPython runs a cell that is indented as a
whole, by the indent of its first line.

What only the live notebook understands becomes a comment too: `%load_ext kale_nb`, `%pipeline run` and the like (so no run begins
another), questions such as `%%step?`. `%kale_load` and `x = %pipeline ...` bind names, which a step would miss: they are reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kale_nb.annotations.arguments import split_words
from kale_nb.annotations.claims import NEAR_MISS, CellMarks, Claim, check_name
from kale_nb.annotations.lines import is_blank, statement_starts
from kale_nb.annotations.marks import Role
from kale_nb.annotations.options import BAD_MARK, PIPELINE_VERBS, CellReading, Options
from kale_nb.annotations.spelling import nearest
from kale_nb.diagnostics import Severity, rule
from kale_nb.names import StepName
from kale_nb.source.cells import Cell, CellKind

NOT_FIRST = rule(
    "KN110",
    "mark-not-first",
    Severity.ERROR,
    what="A mark such as `%%step` stands below other code of its cell.",
    why="IPython refuses a cell magic there, and the lines above it would belong to another step.",
    example="%%step load\nx = 1\n%%step train\ny = x",
    mend="Make it the first line of a cell of its own.",
)

LIVE_COMMAND = rule(
    "KN116",
    "live-command-in-step",
    Severity.ERROR,
    what="A cell of the pipeline binds names by a command to the live notebook: `%kale_load`, or `x = %pipeline ...`.",
    why="The command works on runs that ended, in the notebook only: in a run of its own the step would not have these names.",
    example="%%step load\nx = 1\n\n%kale_load last load x\nprint(x)",
    mend="Mark the cell `%%skip`; a step gets the values of other steps by `--after`.",
)

MARKS = {
    "step": Role.STEP,
    "imports": Role.IMPORTS,
    "functions": Role.FUNCTIONS,
    "parameters": Role.PARAMETERS,
    "metrics": Role.METRICS,
    "skip": Role.SKIP,
}
PYTHON_BODIES = ("time", "timeit", "capture", "prun")
_IPYTHONS_OWN = (
    "script",
    "sh",
    "sx",
    "system",
    "svg",
    "SVG",
    "ruby",
    "pypy",
    "perl",
    "time",
    "timeit",
    "prun",
    "cmd",
    "file",
    "js",
)
_SLIPS = {
    "params": "parameters",
    "param": "parameters",
    "parameter": "parameters",
    "pipeline-parameters": "parameters",
    "pipeline_parameters": "parameters",
    "pipeline-metrics": "metrics",
    "pipeline_metrics": "metrics",
    "block": "step",
    "import": "imports",
    "function": "functions",
    "metric": "metrics",
}
_CELL_MAGIC = re.compile(r"(\s*)%%(\s*)(\S+)")
_PIPELINE = re.compile(r"(\s*)%pipeline(?=\s|$)")
_LOAD_US = re.compile(r"(\s*)%(?:re)?load_ext\s+(?:kale_nb|kale)\b")
_OURS = "|".join((*MARKS, "pipeline", "kale_load"))
_QUESTION = re.compile(rf"\s*(?:\?\??\s*%{{1,2}}(?:{_OURS})|%{{1,2}}(?:{_OURS})\s*\?\??)\s*$")
_BINDS = re.compile(r"(\s*)(?:%kale_load|[\w.,\s]+=\s*%(?:pipeline|kale_load))(?=\s|$)")
_SINGLE = re.compile(r"(\s*)%(step|imports|functions|parameters|metrics)(?=\s|$)")


def read_magics(cell: Cell, path: str, *, live: bool = False) -> CellMarks:
    """Read the mark magics of a cell; a cell that is no code has none.

    Args:
        live: leave the lines that speak to the live notebook, `%pipeline` included, in the code.
    """
    if cell.kind is not CellKind.CODE or "%" not in cell.source:
        return CellMarks(code=cell.source)
    lines = cell.source.split("\n")
    reading = CellReading(path=path, cell=cell, lines=lines, code=list(lines), keeps=live)
    other = _read_head(reading)
    if other is None or other in PYTHON_BODIES:
        _read_body(reading)
    return CellMarks(
        code="\n".join(reading.code),
        claims=tuple(reading.claims),
        after=tuple(reading.after),
        asks=tuple(reading.asks),
        pipeline=tuple(reading.pipeline),
        problems=tuple(reading.problems),
        live=tuple(reading.live),
    )


def _read_head(reading: CellReading) -> str | None:
    """Read the cell magics that open the cell; return the name of the first that is not ours."""
    marked: list[int] = []
    for row, line in enumerate(reading.lines):
        if is_blank(line):
            continue
        match = _CELL_MAGIC.match(line)
        if match is None or _QUESTION.match(line):
            return None
        gap, name = match.group(2), match.group(3)
        if name not in MARKS or gap:
            _near_miss(reading, row, match)
            _lift(reading, row, name, marked)
            return name
        marked.append(row)
        reading.code[row] = f"{_indent_below(reading.lines, row, match.group(1))}# {line.lstrip()}"
        _read_mark(reading, row, match)
    return None


def _indent_below(lines: Sequence[str], row: int, own: str) -> str:
    """Return the indent of the code below a mark: IPython takes that of a cell's first line off all lines, and the comment is the first."""
    for line in lines[row + 1 :]:
        magic = _CELL_MAGIC.match(line)
        if line.strip() and not (magic and magic.group(3) in MARKS):
            return line[: len(line) - len(line.lstrip())]
    return own


def _lift(reading: CellReading, row: int, name: str, marked: Sequence[int]) -> None:
    """Make another cell magic the first line again, as IPython needs it."""
    if not marked:
        return
    if name in PYTHON_BODIES:
        reading.code.insert(0, reading.code.pop(row))
    else:
        reading.code[:row] = [""] * row


def _near_miss(reading: CellReading, row: int, match: re.Match[str]) -> None:
    name = re.split(r"[:=(]", match.group(3))[0]
    lowered = name.lower()
    meant = lowered if lowered in MARKS else _SLIPS.get(lowered)
    if meant is None and name not in _IPYTHONS_OWN:
        meant = nearest(lowered, MARKS) if len(lowered) > 2 else None
    if meant is not None:
        place = reading.place(row, match.start(0) + len(match.group(1)), match.end(3))
        rest = (match.group(3)[len(name) + 1 :] + reading.lines[row][match.end(3) :]).strip()
        wanted = f"%%{meant} {rest}".strip()
        written = reading.lines[row].strip()
        reading.problems.append(
            place.report(NEAR_MISS, f"`{written}` is no mark; did you mean `{wanted}`?", f"write `{wanted}` if a mark is meant")
        )
    elif lowered == "pipeline":
        place = reading.place(row, match.start(0) + len(match.group(1)), match.end(3))
        reading.problems.append(place.report(NEAR_MISS, "`%pipeline` is a line magic", "write it with one `%`"))


def _read_body(reading: CellReading) -> None:
    starts = statement_starts(reading.code)
    row = 0
    while row < len(reading.code):
        line = reading.code[row]
        if not starts[row] or "%" not in line:
            row += 1
        elif _BINDS.match(line) is not None:
            row = _read_binding(reading, row)
        elif _PIPELINE.match(line) is not None:
            row = _read_pipeline(reading, row)
        elif _LOAD_US.match(line) is not None or _QUESTION.match(line) is not None:
            _silence(reading, row, row + 1)
            row += 1
        else:
            _misplaced(reading, row)
            row += 1


def _misplaced(reading: CellReading, row: int) -> None:
    line = reading.code[row]
    magic = _CELL_MAGIC.match(line)
    if magic is not None and magic.group(3) in MARKS and not magic.group(2):
        place = reading.place(row, len(magic.group(1)), magic.end(3))
        hint = "make it the first line of a cell of its own"
        reading.problems.append(place.report(NOT_FIRST, f"`{line.strip()}` is not the first line of its cell", hint))
        return
    single = _SINGLE.match(line)
    if single is not None:
        place = reading.place(row, len(single.group(1)), single.end(2))
        meant = f"%{line.strip()}"
        reading.problems.append(
            place.report(NEAR_MISS, f"`{line.strip()}` is no mark; did you mean `{meant}`?", "cell magics begin with `%%`")
        )


def _silence(reading: CellReading, start: int, stop: int) -> None:
    """Turn lines into comments that leave the block around them valid."""
    if reading.keeps:
        return
    for row in range(start, stop):
        line = reading.code[row]
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        reading.code[row] = f"{indent}pass  # {bare}" if indent and row == start else f"{indent}# {bare}"


def _read_mark(reading: CellReading, row: int, match: re.Match[str]) -> None:
    name = match.group(3)
    role = MARKS[name]
    place = reading.place(row, len(match.group(1)), match.end(3))
    spelled = f"%%{name}"
    words = [] if role is Role.SKIP else list(split_words(reading.lines[row], match.end(3)))
    if role is not Role.STEP:
        reading.claims.append(Claim(role=role, step=None, spelled=spelled, place=place))
        for word in words[:1]:
            hint = f"write `{spelled}` alone on its line"
            reading.problems.append(reading.word_place(row, word).report(BAD_MARK, f"`{spelled}` takes no `{word.text}`", hint))
        return
    names = Options(reading, row, words).read_step()
    if not names:
        reading.problems.append(place.report(BAD_MARK, "`%%step` names no step", "write `%%step NAME`, such as `%%step train`"))
        return
    first, *more = names
    spelled = f"%%step {first.text}"
    at = reading.word_place(row, first)
    problem = check_name(first.text, at, spelled)
    if problem is not None:
        reading.problems.append(problem)
    elif more:
        joined = "_".join(word.text for word in names)
        reading.problems.append(
            reading.place(row, more[0].start, more[-1].end).report(
                BAD_MARK,
                f"`{more[0].text}` is one word too many after `{spelled}`",
                f"a name has no spaces: `%%step {joined}`; predecessors are given by `--after {more[0].text}`",
            )
        )
    reading.claims.append(Claim(role=role, step=StepName(first.text), spelled=spelled, place=at))


def _read_pipeline(reading: CellReading, row: int) -> int:
    """Read a `%pipeline` line and those that continue it; return the row after them.

    With a verb (`%pipeline run`) it is a command to the live notebook and sets nothing.
    """
    stop = _end(reading, row)
    match = _PIPELINE.match(reading.lines[row])
    begin = match.end() if match is not None else 0
    words = [split_words(reading.lines[each].removesuffix("\\"), begin if each == row else 0) for each in range(row, stop)]
    if not (words[0] and words[0][0].text in PIPELINE_VERBS):
        for offset, found in enumerate(words):
            Options(reading, row + offset, found).read_pipeline()
    _silence(reading, row, stop)
    return stop


def _read_binding(reading: CellReading, row: int) -> int:
    """Note a command that would bring names into the live notebook; return the row after it."""
    stop = _end(reading, row)
    line = reading.lines[row]
    start = len(line) - len(line.lstrip())
    place = reading.place(row, start, len(line.rstrip()))
    hint = "mark its cell `%%skip`; a step gets the values of other steps by `--after`"
    reading.live.append(place.report(LIVE_COMMAND, f"`{line.strip()}` speaks to the live notebook, and no step can run it", hint))
    _silence(reading, row, stop)
    return stop


def _end(reading: CellReading, row: int) -> int:
    """Return the row after a line and those that continue it."""
    stop = row + 1
    while reading.lines[stop - 1].endswith("\\") and stop < len(reading.lines):
        stop += 1
    return stop
