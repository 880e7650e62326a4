"""Prints how the cases fare: `python -m tests.differential.report [--plain] [--real] [--verbose] [WORD ...]` from the root.

`--plain` checks only the cases themselves: that the plain run gives what they say. WORDs choose cases whose id holds all of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.differential.cases import Case, all_cases
from tests.differential.harness import Outcome, run_pipeline, run_plain, run_real
from tests.differential.verdicts import Verdict, judge, prints_differ


def main() -> int:
    """Run the chosen cases; return 1 when one does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    chosen = [c for c in all_cases() if all(w in c.id for w in options.words) and (c.real or not options.real)]
    if options.plain:
        return _check_truths(chosen)
    table: dict[str, Counter[str]] = defaultdict(Counter)
    bad = 0
    for case in chosen:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                outcome = (
                    run_real(case.notebook, folder / "pipeline", style=case.style)
                    if options.real
                    else run_pipeline(case.notebook, folder / "pipeline", style=case.style, override=case.override)
                )
                judged = judge(case.notebook, case.expected, outcome, folder / "plain", override=case.override)
            except Exception as error:  # the product crashed: a finding like any other
                table[case.group]["crashed"] += 1
                bad += 1
                print(f"--- {case.id}\n    CRASHED {type(error).__name__}: {error}")
                continue
        table[case.group][judged.verdict.value] += 1
        if not judged.fits:
            bad += 1
            table[case.group]["unfit"] += 1
        if options.verbose or not judged.fits:
            reason = judged.reason if options.verbose or len(judged.reason) < 1200 else judged.reason[:1200] + " ..."
            print(
                f"--- {case.id}\n    {judged.verdict.name}, expected {case.expected.kind} {' '.join(case.expected.names)}\n    {reason}"
            )
    _print_table(table)
    return 1 if bad else 0


def _print_table(table: dict[str, Counter[str]]) -> None:
    columns = [*(v.value for v in Verdict), "crashed", "unfit"]
    print(f"\n{'group':28}{'cases':>8}" + "".join(f"{c:>10}" for c in columns))
    total: Counter[str] = Counter()
    for group, counts in sorted(table.items()):
        total.update(counts)
        cases = sum(counts[c] for c in columns if c != "unfit")
        print(f"{group:28}{cases:>8}" + "".join(f"{counts[c]:>10}" for c in columns))
    print(f"{'all':28}{sum(total[c] for c in columns if c != 'unfit'):>8}" + "".join(f"{total[c]:>10}" for c in columns))


def _check_truths(chosen: list[Case]) -> int:
    bad = 0
    for case in chosen:
        with tempfile.TemporaryDirectory() as name:
            reason = _truth_fault(case, Path(name))
        if reason:
            bad += 1
            print(f"--- {case.id}\n    {reason}")
    print(f"{len(chosen)} cases, {bad} of them not true of the plain run")
    return 1 if bad else 0


def _truth_fault(case: Case, folder: Path) -> str | None:
    notebook, expected = case.notebook, case.expected
    if expected.kind.startswith("refused"):
        return None
    runs: list[Outcome] = []
    if expected.kind.startswith("dag"):
        outputs: dict[int, tuple[tuple[str, Any], ...]] = {}
        for step in notebook.topological():
            if step in expected.prints:
                continue
            made = run_plain(notebook, folder / step / "w", cells=notebook.restricted_to(step), override=case.override)
            runs.append(made)
            own = {c.index for c in notebook.cells if c.step == step}
            outputs |= {i: e for i, e in made.outputs.items() if i in own}
        whole = Outcome(outputs=outputs)
        expected = replace(expected, prints={})
    else:
        whole = run_plain(notebook, folder / "w", override=case.override)
        runs.append(whole)
    for made in runs:
        if made.error is not None:
            return f"cell {made.error.cell}: {made.error.ename}: {made.error.evalue}\n{made.error.traceback}"
    return prints_differ(notebook, expected, whole)


if __name__ == "__main__":
    sys.exit(main())
