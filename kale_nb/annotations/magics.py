"""Cell magics as marks, read from the text of a cell.

`%%step NAME [options]`, `%%imports`, `%%functions`, `%%parameters`, `%%metrics`, `%%skip` count when they are the first line of a code
cell that is neither blank nor a comment, as in IPython; further down they are reported. The line magic `%pipeline` may stand wherever a
statement may. In the code that goes on, marks are comments, and every line keeps its number: when the line after a mark is another
cell magic, that one moves up to the first line (`%%time`), or the mark becomes a blank line when the magic's body is no Python
(`%%writefile` would write the comment). `%load_ext kale_nb` becomes a comment too: a step has no use for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from kale_nb.annotations.arguments import Word, split_words
from kale_nb.annotations.asks import ALL, BAD_VALUE, Ask, Place, read_ask
from kale_nb.annotations.claims import NEAR_MISS, CellMarks, Claim, Wanted, check_name, split_names
from kale_nb.annotations.lines import is_blank, statement_starts
from kale_nb.annotations.marks import After, Role
from kale_nb.annotations.settings import PipelineAsk, read_volume, truth
from kale_nb.annotations.spelling import nearest
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.location import Location
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
BAD_MARK = rule(
    "KN111",
    "bad-mark",
    Severity.ERROR,
    what="The line of a mark magic cannot be read: an unknown option, a missing name, an open quote, a word too many.",
    why="What was asked for would be lost.",
    example="%%step train --afetr load\nfit()",
    mend="Write the line as the hint shows.",
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
_OPTION_SLIPS = {
    "prev": "--after NAME",
    "depends": "--after NAME",
    "depends-on": "--after NAME",
    "gpu": "--limit nvidia.com/gpu=1",
    "retry": "--retries 3",
    "no-cache": "--cache disabled",
    "no-report": "--report disabled",
    "mem": "--memory 4Gi",
}
_CELL_MAGIC = re.compile(r"(\s*)%%(\s*)(\S+)")
_PIPELINE = re.compile(r"(\s*)%pipeline(?=\s|$)")
_LOAD_US = re.compile(r"(\s*)%(?:re)?load_ext\s+(?:kale_nb|kale)\b")
_SINGLE = re.compile(r"(\s*)%(step|imports|functions|parameters|metrics)(?=\s|$)")
_PIPELINE_TEXTS = {"name": "name", "experiment": "experiment", "description": "description", "image": "image"}
_PIPELINE_FLAGS = {"marshal-volume": "marshal_enabled", "autosnapshot": "autosnapshot"}
_PIPELINE_MORE = {"marshal-volume-size": "marshal_size", "marshal-path": "marshal_path"}
_PIPELINE_VERBS = ("run", "check", "compile", "graph", "show", "verify", "help", "status")
_PIPELINE_OPTIONS = (*_PIPELINE_TEXTS, *_PIPELINE_FLAGS, *_PIPELINE_MORE, "volume", *(a for a in ALL if a != "image"))


@dataclass(slots=True)
class _Reading:
    """One cell while it is read: the only mutable thing here."""

    path: str
    cell: Cell
    lines: list[str]
    code: list[str]
    claims: list[Claim] = field(default_factory=list)
    after: list[Wanted] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    pipeline: list[PipelineAsk] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)

    def place(self, row: int, start: int, end: int) -> Place:
        location = Location(path=self.path, cell=self.cell.index, line=row + 1, column=start + 1)
        return Place(location=location, source_line=self.lines[row], end_column=end + 1)

    def word_place(self, row: int, word: Word) -> Place:
        return self.place(row, word.start, word.end)


def read_magics(cell: Cell, path: str) -> CellMarks:
    """Read the mark magics of a cell; a cell that is no code has none."""
    if cell.kind is not CellKind.CODE or "%" not in cell.source:
        return CellMarks(code=cell.source)
    lines = cell.source.split("\n")
    reading = _Reading(path=path, cell=cell, lines=lines, code=list(lines))
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
    )


def _read_head(reading: _Reading) -> str | None:
    """Read the cell magics that open the cell; return the name of the first that is not ours."""
    marked: list[int] = []
    for row, line in enumerate(reading.lines):
        if is_blank(line):
            continue
        match = _CELL_MAGIC.match(line)
        if match is None:
            return None
        gap, name = match.group(2), match.group(3)
        if name not in MARKS or gap:
            _near_miss(reading, row, match)
            _lift(reading, row, name, marked)
            return name
        marked.append(row)
        reading.code[row] = f"# {line.lstrip()}"
        _read_mark(reading, row, match)
    return None


def _lift(reading: _Reading, row: int, name: str, marked: Sequence[int]) -> None:
    """Make another cell magic the first line again, as IPython needs it."""
    if not marked:
        return
    if name in PYTHON_BODIES:
        reading.code.insert(0, reading.code.pop(row))
    else:
        reading.code[:row] = [""] * row


def _near_miss(reading: _Reading, row: int, match: re.Match[str]) -> None:
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
            place.report(
                NEAR_MISS, f"`{written}` is no mark; did you mean `{wanted}`?", f"write `{wanted}` if it is meant for us"
            )
        )
    elif lowered == "pipeline":
        place = reading.place(row, match.start(0) + len(match.group(1)), match.end(3))
        reading.problems.append(place.report(NEAR_MISS, "`%pipeline` is a line magic", "write it with one `%`"))


def _read_body(reading: _Reading) -> None:
    starts = statement_starts(reading.code)
    row = 0
    while row < len(reading.code):
        line = reading.code[row]
        if not starts[row] or "%" not in line:
            row += 1
        elif _PIPELINE.match(line) is not None:
            row = _read_pipeline(reading, row)
        elif _LOAD_US.match(line) is not None:
            _silence(reading, row, row + 1)
            row += 1
        else:
            _misplaced(reading, row)
            row += 1


def _misplaced(reading: _Reading, row: int) -> None:
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


def _silence(reading: _Reading, start: int, stop: int) -> None:
    """Turn lines into comments that leave the block around them valid."""
    for row in range(start, stop):
        line = reading.code[row]
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        reading.code[row] = f"{indent}pass  # {bare}" if indent and row == start else f"{indent}# {bare}"


def _read_mark(reading: _Reading, row: int, match: re.Match[str]) -> None:
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
    names = _Options(reading, row, words).read_step()
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


class _Options:
    """Walks the words of a magic's line."""

    def __init__(self, reading: _Reading, row: int, words: Sequence[Word]) -> None:
        self.reading = reading
        self.row = row
        self.words = list(words)
        self.at = 0
        for word in self.words:
            if not word.closed:
                self.problem(word, f"a quote is left open in `{word.text}`", "close the quote")

    def problem(self, word: Word, message: str, hint: str | None) -> None:
        self.reading.problems.append(self.reading.word_place(self.row, word).report(BAD_MARK, message, hint))

    def read_step(self) -> list[Word]:
        """Read options into the cell's asks; return the words that are none."""
        names: list[Word] = []
        while (word := self.next()) is not None:
            if not word.text.startswith("-"):
                names.append(word)
                continue
            option, given = _split_option(word)
            if option == "after":
                self.read_after(word, given)
            elif option in ALL:
                ask = self.read_ask(word, option, given)
                if ask is not None:
                    self.reading.asks.append(ask)
            else:
                self.unknown(word, option, given, ("after", *ALL))
        return names

    def next(self) -> Word | None:
        if self.at >= len(self.words):
            return None
        self.at += 1
        return self.words[self.at - 1]

    def value(self, word: Word, given: str | None) -> tuple[str | None, Word]:
        """Return the text of an option's value and the words from option to value as one."""
        if given is not None:
            return given, word
        if self.at < len(self.words) and not self.words[self.at].text.startswith("--"):
            value = self.words[self.at]
            self.at += 1
            return value.text, Word(text=f"{word.text} {value.text}", start=word.start, end=value.end)
        return None, word

    def missing(self, word: Word, shape: str) -> None:
        place = self.reading.word_place(self.row, word)
        self.reading.problems.append(place.report(BAD_VALUE, f"`{word.text}`: there is no value", f"write `{shape}`"))

    def read_after(self, word: Word, given: str | None) -> None:
        text, whole = self.value(word, given)
        if text is None:
            self.missing(word, "--after NAME")
            return
        first = self.words[self.at - 1]
        self.add_after(text, first if given is None else word, whole.text)
        while text.rstrip().endswith(",") and self.at < len(self.words) and not self.words[self.at].text.startswith("-"):
            follow = self.words[self.at]
            self.at += 1
            text = follow.text
            self.add_after(text, follow, f"--after {text}")

    def add_after(self, text: str, word: Word, spelled: str) -> None:
        line = self.reading.lines[self.row]
        names = split_names(text)
        cursor = word.start
        for name in names or [text]:
            found = line.find(name, cursor, word.end) if name else -1
            start, end = (found, found + len(name)) if found >= 0 else (word.start, word.end)
            cursor = end if found >= 0 else cursor
            place = self.reading.place(self.row, start, end)
            problem = check_name(name, place, spelled)
            if problem is not None:
                self.reading.problems.append(problem)
            if names:
                wanted = Wanted(after=After(name=StepName(name), location=place.location), spelled=spelled, place=place)
                self.reading.after.append(wanted)

    def read_ask(self, word: Word, option: str, given: str | None) -> Ask | None:
        text, whole = self.value(word, given)
        place = self.reading.word_place(self.row, whole)
        ask = read_ask(option, text or "", place, separator="=", spelled=whole.text)
        if isinstance(ask, Ask):
            return ask
        self.reading.problems.append(ask)
        return None

    def unknown(self, word: Word, option: str, given: str | None, known: Sequence[str]) -> None:
        near = nearest(option, known)
        hint = _OPTION_SLIPS.get(option) if "after" in known else None
        if near is not None:
            hint = f"--{near}"
        self.problem(
            word, f"there is no option `{word.text.split('=')[0]}`", f"did you mean `{hint}`?" if hint else _listed(known)
        )
        self.value(word, given)

    def read_pipeline(self) -> None:
        """Read the options of `%pipeline`. A line with a verb (`%pipeline run`) is a command to the live notebook, not a setting."""
        if self.words and self.words[0].text in _PIPELINE_VERBS:
            return
        while (word := self.next()) is not None:
            if not word.text.startswith("-"):
                self.problem(word, f"`%pipeline` takes no `{word.text}`", "settings are options: `%pipeline --name titanic`")
                continue
            option, given = _split_option(word)
            self.read_pipeline_option(word, option, given)

    def read_pipeline_option(self, word: Word, option: str, given: str | None) -> None:
        positive = option.removeprefix("no-")
        if positive in _PIPELINE_FLAGS:
            self.read_flag(word, positive, given, negated=positive != option)
        elif option in _PIPELINE_TEXTS or option in _PIPELINE_MORE:
            text, whole = self.value(word, given)
            if not text:
                self.missing(word, f"--{option} VALUE")
            else:
                self.add(_PIPELINE_TEXTS.get(option) or _PIPELINE_MORE[option], text, whole)
        elif option == "volume":
            text, whole = self.value(word, given)
            volume = read_volume(text or "")
            if isinstance(volume, str):
                place = self.reading.word_place(self.row, whole)
                self.reading.problems.append(
                    place.report(BAD_VALUE, f"`{whole.text}`: {volume}", "write `--volume data:/data:5Gi`")
                )
            else:
                self.add("volume", volume, whole)
        elif option in ALL:
            ask = self.read_ask(word, option, given)
            if ask is not None:
                self.reading.pipeline.append(PipelineAsk(field="default", value=ask, spelled=ask.spelled, place=ask.place))
        else:
            self.unknown(word, option, given, _PIPELINE_OPTIONS)

    def read_flag(self, word: Word, option: str, given: str | None, *, negated: bool) -> None:
        whole = word
        if given is None and self.at < len(self.words) and truth(self.words[self.at].text) is not None:
            text, whole = self.value(word, None)
            given = text
        value = True if given is None else truth(given)
        if value is None:
            place = self.reading.word_place(self.row, word)
            self.reading.problems.append(place.report(BAD_VALUE, f"`{word.text}` is neither yes nor no", f"write `--{option}`"))
            return
        self.add(_PIPELINE_FLAGS[option], value is not negated, whole)

    def add(self, field: str, value: object, whole: Word) -> None:
        place = self.reading.word_place(self.row, whole)
        self.reading.pipeline.append(PipelineAsk(field=field, value=value, spelled=whole.text, place=place))  # type: ignore[arg-type]


def _split_option(word: Word) -> tuple[str, str | None]:
    name, equals, value = word.text.partition("=")
    return name.lstrip("-").replace("_", "-"), value if equals else None


def _listed(known: Sequence[str]) -> str:
    return "the options are " + ", ".join(f"--{name}" for name in known)


def _read_pipeline(reading: _Reading, row: int) -> int:
    """Read a `%pipeline` line and those that continue it; return the row after them."""
    stop = row + 1
    while reading.lines[stop - 1].endswith("\\") and stop < len(reading.lines):
        stop += 1
    match = _PIPELINE.match(reading.lines[row])
    for each in range(row, stop):
        line = reading.lines[each]
        begin = match.end() if match is not None and each == row else 0
        text = line.removesuffix("\\")
        _Options(reading, each, split_words(text, begin)).read_pipeline()
    _silence(reading, row, stop)
    return stop
