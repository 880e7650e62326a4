"""The manifest of a snapshot: canonical JSON lines, so that equal folders have equal manifests and the sha256 of one is its name.

    {"environments":[...],"format":1,"ignore":[...],"mode":493,"source":"/home/ann/work","warnings":[...]}
    ["d","data",493,1700000000000000000]
    ["f","data/x.csv",420,12,"9f86d081...",1700000000000000000]
    ["l","latest","data/x.csv",1700000000000000000]

Entries are sorted by the bytes of their paths, so that a folder comes before what is in it. All is ASCII: other characters are JSON's
escapes, bytes of a name that are no UTF-8 are lone surrogates. Numbers: permission bits, bytes, nanoseconds since the epoch. The content
id is the sha256 of the same entries without their last column, the time, and without the header.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from kale_nb.errors import VolumeError
from kale_nb.volumes.model import Entry

FORMAT = 1

Rows = list[list[object]]
"""The entries of a manifest as JSON has them."""

quote = json.encoder.encode_basestring_ascii
"""Spells a text as JSON; in C where Python has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a snapshot says of itself: where it was taken, by what rules, and all that is not as it was there.

    Attributes:
        mode: permission bits of the folder itself.
        skipped: entries that no snapshot can hold, `path: reason`.
    """

    source: str
    mode: int = 0o755
    ignore: Sequence[str] = ()
    skipped: Sequence[str] = ()
    environments: Sequence[Sequence[str]] = ()
    warnings: Sequence[str] = field(default=())

    def line(self) -> str:
        """Spell the header."""
        told = {
            "format": FORMAT,
            "source": self.source,
            "mode": self.mode,
            "ignore": list(self.ignore),
            "skipped": list(self.skipped),
            "environments": [list(one) for one in self.environments],
            "warnings": list(self.warnings),
        }
        return json.dumps(told, sort_keys=True, separators=(",", ":"))


def sorted_paths(paths: list[str]) -> list[str]:
    """Return paths in the order of their bytes.

    >>> sorted_paths(["a/b", "a.c", "a", "\\udcff", "\\uffff"])
    ['a', 'a.c', 'a/b', '\\uffff', '\\udcff']
    """
    try:
        "".join(paths).encode("utf-8")
    except UnicodeEncodeError:
        return sorted(paths, key=os.fsencode)
    return sorted(paths)


def spell(header: Header, heads: list[str], times: list[int]) -> tuple[bytes, str, str]:
    """Return the manifest, the snapshot's id and its content id.

    Args:
        heads: each entry, in order, without its time and the closing bracket.
    """
    import hashlib

    lines = [f"{head},{time}]" for head, time in zip(heads, times, strict=True)]
    text = "\n".join([header.line(), *lines, ""]).encode("ascii")
    content = "]\n".join([*heads, ""]).encode("ascii")
    return text, hashlib.sha256(text).hexdigest(), hashlib.sha256(content).hexdigest()


def read(text: bytes, snapshot: str, *, whole: bool = True) -> tuple[Header, Rows]:
    """Return the header and the rows of a manifest, or only those of links.

    Raises:
        VolumeError: it is of a format that this version does not know.
    """
    lines = text.split(b"\n")
    told = json.loads(lines[0])
    if told.get("format") != FORMAT:
        raise VolumeError(
            f"snapshot {snapshot[:12]} is of format {told.get('format')}, and this version reads {FORMAT}", hint="upgrade kale-nb"
        )
    del told["format"]
    if not whole:
        lines[1:-1] = [line for line in lines[1:-1] if line.startswith(b'["l"')]
    return Header(**told), json.loads(b"[" + b",".join(lines[1:-1]) + b"]")


def heads_of(rows: Rows) -> tuple[list[str], list[int]]:
    """Return rows as `spell` takes them."""
    return [json.dumps(row[:-1], separators=(",", ":"))[:-1] for row in rows], [int(str(row[-1])) for row in rows]


def entries(rows: Rows) -> Iterator[Entry]:
    """Yield rows as entries."""
    for row in rows:
        try:
            yield _READERS[row[0]](*row)
        except (KeyError, TypeError, IndexError) as error:
            raise VolumeError(f"a snapshot has a line that cannot be read: {str(row)[:80]}") from error


def _file(_: str, path: str, mode: int, size: int, sha256: str, mtime: int) -> Entry:
    return Entry(path, "file", mode, size, mtime, sha256)


def _folder(_: str, path: str, mode: int, mtime: int) -> Entry:
    return Entry(path, "folder", mode, 0, mtime)


def _link(_: str, path: str, target: str, mtime: int) -> Entry:
    return Entry(path, "link", 0, 0, mtime, "", target)


_READERS: dict[object, Callable[..., Entry]] = {"f": _file, "d": _folder, "l": _link}
