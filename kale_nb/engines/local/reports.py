"""What a step's `step.json` tells the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kale_nb.engines.local.beside import Touched


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a step's `step.json` tells the record."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    result: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()
    touched: Touched = field(default_factory=Touched)


def read_report(folder: Path) -> Report:
    """Read what a step left for the record; an empty report when it left none."""
    try:
        data = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Report()
    if not isinstance(data, dict):
        return Report()
    result = data.get("result")
    return Report(
        metrics={str(name): value for name, value in (data.get("metrics") or {}).items()},
        result=(str(result[0]), str(result[1])) if isinstance(result, list) and len(result) == 2 else None,
        warnings=tuple(str(line) for line in data.get("warnings") or ()),
        touched=Touched(
            changed=frozenset(data.get("changed") or ()),
            used=frozenset(data.get("used") or ()),
            origins=data.get("origins") or {},
            definitions=frozenset(n for n, version in (data.get("names") or {}).items() if version.get("kind") == "state"),
        ),
    )
