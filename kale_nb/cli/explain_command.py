"""`kale explain`: what a diagnostic means and what to do; without a code, the list of all."""

from __future__ import annotations

import argparse
import difflib
import sys

from kale_nb.diagnostics import RULES, Rule
from kale_nb.errors import UsageError
from kale_nb.report.style import Style


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("code", metavar="CODE", nargs="?", help="a code such as KN203, or its name in words; none lists all")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    import kale_nb.compiler  # noqa: F401 (registers its rules)
    from kale_nb.engines.kfp import rules  # noqa: F401 (and this those of a target)

    style = Style(sys.stdout)
    if args.code is None:
        for rule in sorted(RULES.values(), key=lambda r: r.code):
            print(f"{style.paint(rule.code, 'bold')}  {rule.severity.value:<7}  {rule.slug}: {rule.what}")
        return 0
    print("\n".join(rule_lines(find_rule(args.code), style)))
    return 0


def find_rule(text: str) -> Rule:
    """Return the rule with this code or slug, any case; UsageError with the nearest ones when there is none."""
    for rule in RULES.values():
        if text.lower() in (rule.code.lower(), rule.slug.lower()):
            return rule
    known = [*RULES, *(rule.slug for rule in RULES.values())]
    close = difflib.get_close_matches(text.lower() if "-" in text else text.upper(), known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "`kale explain` lists all codes"
    raise UsageError(f"there is no rule {text!r}", hint=hint)


def rule_lines(rule: Rule, style: Style) -> list[str]:
    """Return a rule as lines for a terminal."""
    return [
        f"{style.paint(f'{rule.code} {rule.slug}', 'bold')} ({rule.severity.value})",
        "",
        f"What  {rule.what}",
        f"Why   {rule.why}",
        f"Mend  {rule.mend}",
        "",
        "Example",
        *(f"    {line}".rstrip() for line in rule.example.strip("\n").split("\n")),
    ]
