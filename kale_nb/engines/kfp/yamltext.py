"""Plain data as YAML, the same bytes every time: keys sorted, no line folded, no anchors, what is not ASCII escaped (the two dumpers of
PyYAML do not agree on what may stand as it is)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_yaml(*documents: Mapping[str, Any]) -> str:
    """Return the documents as one YAML stream."""
    return "---\n".join(_dump(document) for document in documents)


def to_short_yaml(*documents: Mapping[str, Any]) -> str:
    """Return the documents as one YAML stream for people: keys in their order, what holds nothing but plain values on one line."""
    import yaml

    return "---\n".join(
        str(yaml.safe_dump(dict(document), sort_keys=False, width=120, default_flow_style=None)) for document in documents
    )


def _dump(document: Mapping[str, Any]) -> str:
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Plain(base):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(dict(document), Dumper=Plain, sort_keys=True, width=1_000_000, default_flow_style=False)
    return text
