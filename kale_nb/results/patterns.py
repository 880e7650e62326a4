"""Which files a user means: paths, folders and shell patterns, relative to the root of a volume."""

from __future__ import annotations

import functools
import re


def is_meant(name: str, pattern: str) -> bool:
    """Tell whether a pattern means the file called `name`: it is the file, a folder above it, or a shell pattern for one of these.

    `*` and `?` stay within a folder, `**` crosses folders.

    >>> [is_meant(name, "models/*") for name in ("models/a.pkl", "models/old/b.pkl", "model.pkl")]
    [True, True, False]
    >>> is_meant("a/b/c.csv", "**/*.csv"), is_meant("c.csv", "**/*.csv"), is_meant("a/c.csv", "*.csv")
    (True, True, False)
    >>> is_meant("weird[1].txt", "weird[1].txt"), is_meant("out/a", "./out/")
    (True, True)
    """
    wanted = pattern
    while wanted.startswith("./"):
        wanted = wanted[2:]
    wanted = wanted.rstrip("/") or "."
    if wanted in (".", "**", name) or name.startswith(f"{wanted}/"):
        return True
    parts = name.split("/")
    return any(_compiled(wanted).fullmatch("/".join(parts[: i + 1])) for i in range(len(parts)))


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_expression(pattern), re.DOTALL)


def _expression(pattern: str) -> str:
    made, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            made, at = f"{made}(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            made, at = f"{made}.*", at + 2
        elif pattern[at] == "*":
            made, at = f"{made}[^/]*", at + 1
        elif pattern[at] == "?":
            made, at = f"{made}[^/]", at + 1
        else:
            letters = re.compile(r"\[(!?)(\]?[^\]/]*)\]").match(pattern, at)
            if letters is None:
                made, at = made + re.escape(pattern[at]), at + 1
            else:
                inside = re.sub(r"([\[\]\\^&~|])", r"\\\1", letters[2])
                made, at = f"{made}[{'^/' if letters[1] else ''}{inside}]", letters.end()
    return made
