"""The options on the line of a magic.

Takes the words of a `%%step` or `%pipeline` line, fills a `CellReading` with the asks, predecessors and notebook-level settings that
they spell, and with a finding for each word that cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kale_nb.annotations.arguments import Word
from kale_nb.annotations.asks import ALL, BAD_VALUE, Ask, Place, read_ask
from kale_nb.annotations.claims import Claim, Wanted, check_name, split_names
from kale_nb.annotations.marks import After
from kale_nb.annotations.settings import PipelineAsk
from kale_nb.annotations.spelling import nearest
from kale_nb.annotations.volumes import SHAPES, read_volume, truth
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.location import Location
from kale_nb.names import StepName
from kale_nb.source.cells import Cell

BAD_MARK = rule(
    "KN111",
    "bad-mark",
    Severity.ERROR,
    what="The line of a mark magic cannot be read: an unknown option, a missing name, an open quote, a word too many.",
    why="What was asked for would be lost.",
    example="%%step load\nx = 1\n\n%%step train --afetr load\nprint(x)",
    mend="Write the line as the hint shows.",
)

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
_PIPELINE_TEXTS = {"name": "name", "experiment": "experiment", "description": "description", "image": "image"}
PIPELINE_FLAGS = {"marshal-volume": "marshal_enabled", "autosnapshot": "autosnapshot"}
_PIPELINE_MORE = {"marshal-volume-size": "marshal_size", "marshal-path": "marshal_path", "service-account": "service_account"}
PIPELINE_VERBS = ("run", "check", "compile", "graph", "show", "verify", "help", "status")
PIPELINE_OPTIONS = (*_PIPELINE_TEXTS, *PIPELINE_FLAGS, *_PIPELINE_MORE, "volume", *(a for a in ALL if a != "image"))


@dataclass(slots=True)
class CellReading:
    """One cell while it is read: the only mutable thing here.

    Attributes:
        keeps: leave what speaks to the live notebook in the code, for the live notebook.
    """

    path: str
    cell: Cell
    lines: list[str]
    code: list[str]
    keeps: bool = False
    claims: list[Claim] = field(default_factory=list)
    after: list[Wanted] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    pipeline: list[PipelineAsk] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)
    live: list[Diagnostic] = field(default_factory=list)

    def place(self, row: int, start: int, end: int) -> Place:
        location = Location(path=self.path, cell=self.cell.index, line=row + 1, column=start + 1)
        return Place(location=location, source_line=self.lines[row], end_column=end + 1)

    def word_place(self, row: int, word: Word) -> Place:
        return self.place(row, word.start, word.end)


class Options:
    """Walks the words of a magic's line."""

    def __init__(self, reading: CellReading, row: int, words: Sequence[Word]) -> None:
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
        hint = _OPTION_SLIPS.get(option) if "after" in known else None
        if hint is None and (near := nearest(option, known)) is not None:
            hint = f"--{near}"
        self.problem(
            word, f"there is no option `{word.text.split('=')[0]}`", f"did you mean `{hint}`?" if hint else _listed(known)
        )
        self.value(word, given)

    def read_pipeline(self) -> None:
        """Read the options of `%pipeline` that say how the pipeline is to be."""
        while (word := self.next()) is not None:
            if not word.text.startswith("-"):
                near = nearest(word.text, PIPELINE_VERBS)
                hint = f"did you mean `%pipeline {near}`?" if near else "settings are options: `%pipeline --name titanic`"
                self.problem(word, f"`%pipeline` takes no `{word.text}`", hint)
                continue
            option, given = _split_option(word)
            self.read_pipeline_option(word, option, given)

    def read_pipeline_option(self, word: Word, option: str, given: str | None) -> None:
        positive = option.removeprefix("no-")
        if positive in PIPELINE_FLAGS:
            self.read_flag(word, positive, given, negated=positive != option)
        elif option in _PIPELINE_TEXTS or option in _PIPELINE_MORE:
            text, whole = self.value(word, given)
            if not text:
                self.missing(word, f"--{option} VALUE")
            elif option == "image" and isinstance(bad := self.image(text, whole), Diagnostic):
                self.reading.problems.append(bad)
            else:
                self.add(_PIPELINE_TEXTS.get(option) or _PIPELINE_MORE[option], text, whole)
        elif option == "volume":
            text, whole = self.value(word, given)
            volume = read_volume(text or "")
            if isinstance(volume, str):
                place = self.reading.word_place(self.row, whole)
                self.reading.problems.append(place.report(BAD_VALUE, f"`{whole.text}`: {volume}", SHAPES))
            else:
                self.add("volume", volume, whole)
        elif option in ALL:
            ask = self.read_ask(word, option, given)
            if ask is not None:
                self.reading.pipeline.append(PipelineAsk(field="default", value=ask, spelled=ask.spelled, place=ask.place))
        else:
            self.unknown(word, option, given, PIPELINE_OPTIONS)

    def image(self, text: str, whole: Word) -> Ask | Diagnostic:
        """Read an image as the mark of a step would have it."""
        return read_ask("image", text, self.reading.word_place(self.row, whole), separator="=", spelled=whole.text)

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
        self.add(PIPELINE_FLAGS[option], value is not negated, whole)

    def add(self, field: str, value: object, whole: Word) -> None:
        place = self.reading.word_place(self.row, whole)
        self.reading.pipeline.append(PipelineAsk(field=field, value=value, spelled=whole.text, place=place))  # type: ignore[arg-type]


def _split_option(word: Word) -> tuple[str, str | None]:
    name, equals, value = word.text.partition("=")
    return name.lstrip("-").replace("_", "-"), value if equals else None


def _listed(known: Sequence[str]) -> str:
    return "the options are " + ", ".join(f"--{name}" for name in known)
