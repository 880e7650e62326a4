"""Cell tags as marks.

The vocabulary is Kale's: `imports`, `functions`, `pipeline-parameters` (papermill's `parameters` and `injected-parameters` too),
`pipeline-metrics`, `skip`, `step:NAME` and its older spelling `block:NAME`, `prev:NAME`, and the settings of a step
(`limit:nvidia.com/gpu:1`, `image:python:3.11`, `retries:3`, ...). Where the value of a setting begins is fixed by its kind, so values may
hold colons and slashes. Other people's tags are left alone; slips of ours are reported as warnings.
"""

from __future__ import annotations

import re

from kale_nb.annotations.asks import ALL, SINGLES, Ask, Place, read_ask
from kale_nb.annotations.claims import NEAR_MISS, CellMarks, Claim, Wanted, check_name, split_names
from kale_nb.annotations.marks import After, Role
from kale_nb.annotations.spelling import nearest
from kale_nb.diagnostics import Diagnostic
from kale_nb.location import Location
from kale_nb.names import StepName
from kale_nb.source.cells import Cell

WORDS = {
    "imports": Role.IMPORTS,
    "functions": Role.FUNCTIONS,
    "pipeline-parameters": Role.PARAMETERS,
    "parameters": Role.PARAMETERS,
    "injected-parameters": Role.PARAMETERS,
    "pipeline-metrics": Role.METRICS,
    "skip": Role.SKIP,
}
_STEP_HEADS = ("step", "block")
_HEADS = (*_STEP_HEADS, "prev", *ALL)
_OTHER_WORDS = {
    "import": "imports",
    "function": "functions",
    "metrics": "pipeline-metrics",
    "metric": "pipeline-metrics",
    "params": "pipeline-parameters",
    "parameter": "pipeline-parameters",
    "pipeline-params": "pipeline-parameters",
    "skipped": "skip",
    "after": "prev",
}
_FOREIGN = re.compile(
    r"(hide|remove|nbgrader|nbval|raises|solution|scroll|output|full-width|margin|popout|slide|exercise|hidden|autograde|skip-|no-|"
    r"toggle|collapse|thebe|jp-|jupyter|papermill|dashboard|export|test|keep|tags?$|epigraph|ci-|default_exp)",
    re.IGNORECASE,
)


def read_tags(cell: Cell, path: str) -> CellMarks:
    """Read the tags of a cell. Tags that are neither ours nor a slip of ours say nothing."""
    place = Place(location=Location(path=path, cell=cell.index))
    claims: list[Claim] = []
    after: list[Wanted] = []
    asks: list[Ask] = []
    problems: list[Diagnostic] = []
    for tag in dict.fromkeys(cell.tags):
        head, colon, rest = tag.partition(":")
        rest = rest.strip()
        if tag in WORDS:
            claims.append(Claim(role=WORDS[tag], step=None, spelled=tag, place=place))
        elif colon and head in _STEP_HEADS:
            bad = check_name(rest, place, tag) if rest else None
            problems += [bad] if bad else []
            claims.append(Claim(role=Role.STEP, step=StepName(rest) if rest else None, spelled=tag, place=place))
        elif colon and head == "prev":
            names = split_names(rest)
            problems += [bad for name in names or [rest] if (bad := check_name(name, place, tag)) is not None]
            after += [Wanted(after=After(name=StepName(n), location=place.location), spelled=tag, place=place) for n in names]
        elif colon and head in ALL:
            ask = read_ask(head, rest, place, separator=":", spelled=tag)
            asks += [ask] if isinstance(ask, Ask) else []
            problems += [] if isinstance(ask, Ask) else [ask]
        elif (meant := likely_meaning(tag)) is not None:
            problems.append(
                place.report(
                    NEAR_MISS, f"the tag `{tag}` is no mark; did you mean `{meant}`?", f"write `{meant}` if a mark is meant"
                )
            )
    problems += _not_text(cell, place)
    return CellMarks(code=cell.source, claims=tuple(claims), after=tuple(after), asks=tuple(asks), problems=tuple(problems))


def _not_text(cell: Cell, place: Place) -> list[Diagnostic]:
    tags = cell.metadata.get("tags")
    if tags is None or (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        return []
    shown = repr(tags if not isinstance(tags, list) else next(tag for tag in tags if not isinstance(tag, str)))[:60]
    return [place.report(NEAR_MISS, f"{shown} among the cell's tags is no text and is ignored", "make `tags` a list of texts")]


def likely_meaning(tag: str) -> str | None:
    """Return the mark that a tag is probably a slip of.

    >>> likely_meaning("stp:train"), likely_meaning("step train"), likely_meaning("hide-input"), likely_meaning("Imports")
    ('step:train', 'step:train', None, 'imports')
    """
    text = tag.strip()
    word = text.lower().replace("_", "-")
    if word in WORDS and word != tag:
        return word
    if word in _OTHER_WORDS and word != "after":
        return _OTHER_WORDS[word]
    if word in _HEADS:
        return f"{word}:{'NAME' if word in (*_STEP_HEADS, 'prev') else 'VALUE'}" if word in (*_STEP_HEADS, "prev") else None
    if _FOREIGN.match(text):
        return None
    match = re.fullmatch(r"([A-Za-z][\w-]*?)\s*(?::|=|;|\s)\s*(.*)", text, re.DOTALL)
    if match is None:
        return _joined(text) or nearest(word, (w for w in WORDS if len(w) > 4))
    head, rest = match.group(1).lower().replace("_", "-"), match.group(2).lstrip(":= ")
    meant = head if head in _HEADS else {"after": "prev", "steps": "step", "retry": "retries"}.get(head) or nearest(head, _HEADS)
    if meant is None or (" " in text and ":" not in text and len(rest.split()) != 1):
        return None
    if meant in SINGLES and head != meant and len(meant) <= 3:
        return None
    return f"{meant}:{rest}"


def _joined(text: str) -> str | None:
    match = re.fullmatch(r"(step|block|prev)[-_./](\w+)", text, re.IGNORECASE)
    return f"{match.group(1).lower()}:{match.group(2)}" if match else None
