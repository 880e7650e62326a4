"""The text of cells that define something, so that `inspect.getsource`, `??` and tracebacks find it in later steps too.

A function that travelled remembers the file name IPython gave its cell; the text of that file lives in `linecache`, in one process only.
"""

from __future__ import annotations

import linecache
from collections.abc import Mapping

_LARGE = 100_000


def cell_sources() -> dict[str, str]:
    """Return, by file name, the text of the cells run so far in this kernel that define functions or classes."""
    found = {}
    for file, entry in list(linecache.cache.items()):
        if len(entry) == 4 and ("ipykernel_" in file or file.startswith("<ipython-input")):
            text = "".join(entry[2])
            if len(text) < _LARGE and any(word in text for word in ("def ", "class ", "lambda")):
                found[file] = text
    return found


def show_sources(sources: Mapping[str, str]) -> None:
    """Let this process find the texts; entries without a time of change are kept by `linecache.checkcache`."""
    for file, text in sources.items():
        linecache.cache.setdefault(file, (len(text), None, text.splitlines(keepends=True), file))
