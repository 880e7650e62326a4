"""Diagnostics: what the compiler tells the author, as data.

A `Rule` is a stable code with its explanation (the docs page is generated from `RULES`); a `Diagnostic` is one finding of a rule at a
place. A compile collects all of them; `CompileError` carries them when at least one is an error.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from kale_nb.errors import KaleError
from kale_nb.location import Location


class Severity(enum.Enum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A thing the compiler looks for.

    Attributes:
        code: stable, `KN` and three digits. 0xx the file and its text, 1xx marks, 2xx the graph, 3xx names and data flow,
            4xx state and values that do not travel, 5xx settings, 6xx scripts, 7xx Kubeflow Pipelines.
        slug: the code in words.
        what: what it finds, one sentence.
        why: why that is bad.
        example: source that triggers it, as marked cells (`%%step` magics); of 6xx a script.
        mend: what to do.
    """

    code: str
    slug: str
    severity: Severity
    what: str
    why: str
    example: str
    mend: str


RULES: dict[str, Rule] = {}


def rule(code: str, slug: str, severity: Severity, *, what: str, why: str, example: str, mend: str) -> Rule:
    """Register a rule; each code and slug may be used once."""
    if code in RULES or any(r.slug == slug for r in RULES.values()):
        raise ValueError(f"rule {code} {slug} is registered twice")
    made = Rule(code=code, slug=slug, severity=severity, what=what, why=why, example=example, mend=mend)
    RULES[code] = made
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding.

    Attributes:
        message: says what is wrong with this source, naming steps and variables.
        source_line: the user's line, for display under the message.
        end_column: 1-based column after the last character to underline; None underlines one character.
        hint: the one thing to do next.
    """

    rule: Rule
    message: str
    location: Location
    source_line: str | None = None
    end_column: int | None = None
    hint: str | None = None
    severity: Severity | None = None

    @property
    def level(self) -> Severity:
        """The severity that counts: its own, else that of its rule."""
        return self.severity if self.severity is not None else self.rule.severity

    def render(self) -> str:
        """Return the finding as text: location, code, message, line with carets, hint; no trailing newline."""
        lines = [f"{self.location}: {self.level.value} {self.rule.code} {self.rule.slug}: {self.message}"]
        if self.source_line is not None:
            shown = self.source_line.rstrip()
            lines.append(f"    {shown}")
            if self.location.column is not None and self.location.column <= len(shown) + 1:
                pad = "".join("\t" if c == "\t" else " " for c in shown[: self.location.column - 1])
                width = max(1, (self.end_column or 0) - self.location.column)
                lines.append(f"    {pad}{'^' * min(width, max(1, len(shown) - self.location.column + 1))}")
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Tell whether any diagnostic is an error."""
    return any(d.level is Severity.ERROR for d in diagnostics)


class CompileError(KaleError):
    """The source cannot become a pipeline that means the same. Carries every diagnostic of the compile."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        errors = [d for d in self.diagnostics if d.level is Severity.ERROR]
        super().__init__("\n".join(d.render() for d in errors))
