"""What `kale doctor` found, as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from kale_nb.engines.preflight import Diagnosis, Finding, Mark
from kale_nb.report.style import Style, plain, width

_SIGN = {Mark.OK: "✓", Mark.WARNING: "!", Mark.MISSING: "✗"}
_LETTER = {Mark.OK: "+", Mark.WARNING: "!", Mark.MISSING: "x"}
_COLOR = {Mark.OK: "green", Mark.WARNING: "yellow", Mark.MISSING: "red"}


def diagnosis_lines(diagnosis: Diagnosis, style: Style, columns: int, *, verdict: str) -> Iterator[str]:
    """Give the findings under their headings, what may be applied, and the verdict last.

    Args:
        columns: the width to write for.
        verdict: what a diagnosis without anything missing says.
    """
    part = ""
    for finding, following in zip(diagnosis.findings, (*diagnosis.findings[1:], None), strict=True):
        if finding.part != part:
            yield from [] if not part else [""]
            part = finding.part
            yield style.paint(part, "bold")
        repeated = following is not None and (following.part, following.mend) == (finding.part, finding.mend)
        yield from _finding(finding, style, columns, mend="" if repeated else finding.mend)
    if diagnosis.asks:
        yield ""
        yield style.paint("what is missing, for an administrator to `kubectl apply -f` (alone: --yaml)", "bold")
        yield ""
        yield from (f"  {line}" for line in diagnosis.asks.rstrip("\n").split("\n"))
    yield ""
    yield _verdict(diagnosis, style, verdict)


def _finding(finding: Finding, style: Style, columns: int, *, mend: str) -> Iterator[str]:
    sign = (_SIGN if style.unicode else _LETTER)[finding.mark]
    yield from _wrapped(f"  {style.paint(sign, _COLOR[finding.mark])} ", finding.found, columns)
    if finding.mark is Mark.OK:
        return
    if finding.why:
        yield from _wrapped(f"    {style.paint('why', 'dim')}   ", finding.why, columns)
    if mend:
        yield from _wrapped(f"    {style.paint('do', 'dim')}    ", mend, columns)
    if finding.yaml:
        yield from (f"          {line}" for line in finding.yaml.rstrip("\n").split("\n"))


def _wrapped(start: str, text: str, columns: int) -> Iterator[str]:
    """Fill lines; those after the first begin under the text."""
    indent = width(start)
    lines = textwrap.wrap(plain(text), max(30, columns - indent), break_long_words=False, break_on_hyphens=False) or [""]
    yield start + lines[0]
    yield from (" " * indent + line for line in lines[1:])


def _verdict(diagnosis: Diagnosis, style: Style, verdict: str) -> str:
    missing, warnings = len(diagnosis.of(Mark.MISSING)), len(diagnosis.of(Mark.WARNING))
    more = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
    if missing:
        return f"{style.paint('a run cannot work', 'bold', 'red')}: {missing} missing{more}"
    return f"{style.paint(verdict, 'bold', 'green')}{more}"
