"""How kale finds on a cluster what it made there: labels for selecting, annotations for what a label's value cannot hold."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "kale-nb"
PIPELINE, RUN, OWNER, VOLUME = "kale-nb/pipeline", "kale-nb/run", "kale-nb/owner", "kale-nb/volume"
CONTENT = "kale-nb/content"
"""Annotation of a snapshot: id of the manifest of the files that the workspace held (see `kale_nb.volumes`)."""
EXPIRES = "kale-nb/expires"
"""Annotation: after that moment `kale clean` may take the object, RFC 3339."""
OURS = f"{MANAGED_BY}={MANAGER}"
"""Selects all that kale made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """What an object on the cluster was made for.

    Attributes:
        run: id of kale's run record.
        owner: who submitted; empty when not known.
        volume: the volume of the pipeline; empty when it is for none.
    """

    pipeline: str
    run: str
    owner: str = ""
    volume: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """What the object can be selected by."""
        said = {PIPELINE: self.pipeline, RUN: self.run, OWNER: self.owner, VOLUME: self.volume}
        return {MANAGED_BY: MANAGER, **{name: label_value(text) for name, text in said.items() if text}}

    @property
    def annotations(self) -> dict[str, str]:
        """The same in full, for objects that take no labels and for people."""
        said = {PIPELINE: self.pipeline, RUN: self.run, OWNER: self.owner, VOLUME: self.volume}
        return {MANAGED_BY: MANAGER, **{name: text for name, text in said.items() if text}}


def belonging(annotations: Mapping[str, str], labels: Mapping[str, str]) -> Belonging | None:
    """Return what an object was made for; None when it is none of kale's."""
    said = {**labels, **annotations}
    if said.get(MANAGED_BY) != MANAGER:
        return None
    return Belonging(
        pipeline=said.get(PIPELINE, ""), run=said.get(RUN, ""), owner=said.get(OWNER, ""), volume=said.get(VOLUME, "")
    )


def label_value(text: str) -> str:
    """Return a text as a label may have it: at most 63 of letters, digits, `-`, `_` and `.`, letters and digits at its ends.

    What had to be changed gets a hash at its end, so that two texts stay two.

    >>> label_value("train-1"), label_value("Ada Lovelace <ada@example.org>")
    ('train-1', 'Ada-Lovelace-ada-example.org-9b27b5f0')
    """
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")
    if kept == text and len(text) <= 63:
        return text
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kept[:54].rstrip('-_.')}-{mark}".lstrip("-")


def moment(text: str | None) -> datetime.datetime | None:
    """Return a time of the API (RFC 3339, UTC); None when there is none or it cannot be read.

    >>> moment("2026-01-31T05:00:00Z")
    datetime.datetime(2026, 1, 31, 5, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        found = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)
