"""What `kale doctor` finds: whether a run can work where it is to run, and what is to be done where it cannot."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Mark(enum.Enum):
    """How a finding stands to a run."""

    OK = "ok"
    WARNING = "warning"
    """A run can work, with less."""
    MISSING = "missing"
    """A run cannot work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        key: what was looked at, the same at every look, for tools.
        part: the heading under which people find it.
        found: what is there.
        why: why it matters; empty where all is well.
        mend: what to do; empty where nothing is to be done.
        yaml: what an administrator may apply, where that is known.
    """

    key: str
    part: str
    mark: Mark
    found: str
    why: str = ""
    mend: str = ""
    yaml: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All findings of one look.

    Attributes:
        engine: for which it was.
        asks: YAML that gives every right that is missing.
        user: as whom the cluster knows us; empty when that is not known or there is none.
    """

    engine: str
    findings: tuple[Finding, ...]
    asks: str = ""
    user: str = ""

    @property
    def ready(self) -> bool:
        """A run can work."""
        return not any(finding.mark is Mark.MISSING for finding in self.findings)

    def of(self, mark: Mark) -> tuple[Finding, ...]:
        """Return the findings of one mark."""
        return tuple(finding for finding in self.findings if finding.mark is mark)
