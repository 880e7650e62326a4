"""What a step costs: `kale run` beside papermill's own API called once a step.

    python benchmarks/overhead.py [--steps 3,10] [--repeat 5] [--json FILE]

Both sides run the same number of trivial steps, each in a kernel of its own, interleaved in one run. Papermill's side is one process that
calls `papermill.execute_notebook` once for each step on a notebook of one trivial cell: it passes no variables, copies no workspace and
keeps no record. CPU seconds are those of the whole process tree, start of the interpreter and imports included; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from measure import Cost, cost
from notebooks import chain, single

PAPERMILL = """
import sys
import papermill
for i in range(int(sys.argv[1])):
    papermill.execute_notebook("single.ipynb", f"out-{i}.ipynb", progress_bar=False, log_output=False)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU of kale run beside papermill called once a step.")
    parser.add_argument("--steps", default="3,10", help="numbers of steps (default 3,10)")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument("--json", type=Path, help="also write every measurement here")
    args = parser.parse_args()
    counts = [int(n) for n in args.steps.split(",")]
    measured: dict[int, dict[str, list[Cost]]] = {}
    with tempfile.TemporaryDirectory(prefix="kale-bench-") as scratch:
        folder = Path(scratch)
        for count in counts:
            measured[count] = compare(folder / str(count), count, args.repeat)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, medians of {args.repeat} interleaved runs")
    print(f"{'steps':>5}  {'side':<10}{'CPU s':>8}{'a step':>8}{'wall s':>8}")
    for count, sides in measured.items():
        for side, costs in sides.items():
            cpu, wall = statistics.median(c.cpu for c in costs), statistics.median(c.wall for c in costs)
            print(f"{count:>5}  {side:<10}{cpu:8.2f}{cpu / count:8.3f}{wall:8.2f}")
        ratio = statistics.median(k.cpu / p.cpu for k, p in zip(sides["kale"], sides["papermill"], strict=True))
        print(f"{count:>5}  kale / papermill, CPU: {ratio:.2f}")
    if len(counts) > 1:
        low, high = min(counts), max(counts)
        marginal = {side: marginal_cpu(measured, side, low, high) for side in ("kale", "papermill")}
        print(
            f"one step more, CPU s: kale {marginal['kale']:.3f}, papermill {marginal['papermill']:.3f}, "
            f"ratio {marginal['kale'] / marginal['papermill']:.2f}"
        )
    if args.json is not None:
        rows = [
            {"steps": count, "side": side, "cpu": c.cpu, "wall": c.wall}
            for count, sides in measured.items()
            for side, costs in sides.items()
            for c in costs
        ]
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def marginal_cpu(measured: dict[int, dict[str, list[Cost]]], side: str, low: int, high: int) -> float:
    """Return the CPU seconds of one step more, from the medians of two sizes."""
    small, large = (statistics.median(c.cpu for c in measured[n][side]) for n in (low, high))
    return (large - small) / (high - low)


def compare(folder: Path, steps: int, repeat: int) -> dict[str, list[Cost]]:
    """Return the costs of both sides, one beside the other in time; one warm-up run of each is not counted."""
    folder.mkdir()
    chain(folder / "chain.ipynb", steps)
    single(folder / "single.ipynb")
    commands = {
        "kale": [sys.executable, "-m", "kale_nb", "run", "--quiet", "chain.ipynb"],
        "papermill": [sys.executable, "-c", PAPERMILL, str(steps)],
    }
    costs: dict[str, list[Cost]] = {side: [] for side in commands}
    for turn in range(repeat + 1):
        for side, command in commands.items():
            spent = cost(command, cwd=folder)
            if turn > 0:
                costs[side].append(spent)
    return costs


if __name__ == "__main__":
    sys.exit(main())
