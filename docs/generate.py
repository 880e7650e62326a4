"""Write the pages that are generated from the code: `python docs/generate.py`; `--check` only tells whether they are current."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import kale_nb.compiler  # noqa: F401 - importing it registers its rules
from kale_nb.diagnostics import RULES, Rule, Severity
from kale_nb.engines.kfp import rules  # noqa: F401 - and this those of a target

DIAGNOSTICS = Path(__file__).parent / "guide" / "diagnostics.md"

GROUPS = {
    "0": "The file and its text",
    "1": "Marks",
    "2": "The graph",
    "3": "Names and data flow",
    "4": "State, and values that do not travel",
    "5": "Settings",
    "6": "Scripts",
    "7": "Kubeflow Pipelines",
}

HEAD = """<!-- Written by docs/generate.py from the rules in the code; edit those. -->

# Diagnostics

What `kale check` finds, by code. An **error** stops the compile: the pipeline would fail, or mean something else than the notebook.
A **warning** is told and the run goes on; a **note** is for your information. `kale explain CODE` prints one of these entries.

In the examples a blank line parts two cells; `# tags: ...` stands for the tags of the cell below it, `# path: ...` for where the
notebook is.
"""


def diagnostics_page() -> str:
    """Return the page of all rules, in order of their codes."""
    parts = [HEAD]
    parts.append("| code | name | severity | finds |\n|---|---|---|---|")
    every = [RULES[code] for code in sorted(RULES)]
    parts[-1] += "".join(
        f"\n| [{r.code}](#{r.code.lower()}-{r.slug}) | {r.slug} | {r.severity.value} | {r.what} |" for r in every
    )
    group = None
    for found in every:
        if found.code[2] != group:
            group = found.code[2]
            parts.append(f"## {GROUPS[group]}")
        parts.append(entry(found))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def entry(found: Rule) -> str:
    """Return the text of one rule."""
    article = {Severity.ERROR: "An error", Severity.WARNING: "A warning", Severity.NOTE: "A note"}[found.severity]
    fence = "````" if "```" in found.example else "```"
    return "\n\n".join(
        [
            f"### {found.code} {found.slug}",
            f"{article}. {found.what}",
            f"*Why it is bad.* {found.why}",
            f"{fence}python\n{found.example.strip()}\n{fence}",
            f"*The mend.* {found.mend}",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the generated pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is not current")
    args = parser.parse_args()
    page = diagnostics_page()
    if not args.check:
        DIAGNOSTICS.write_text(page, encoding="utf-8")
        return 0
    if DIAGNOSTICS.exists() and DIAGNOSTICS.read_text(encoding="utf-8") == page:
        return 0
    print(f"{DIAGNOSTICS.name} is not current: run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
