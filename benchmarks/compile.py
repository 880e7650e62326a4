"""What compiling costs, and that it grows with the number of cells and no faster.

    python benchmarks/compile.py [--steps 10,100,1000] [--repeat 5]

`kale check` is timed as a whole process, beside an interpreter that does nothing; compiling alone is timed inside one process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from kale_nb.compiler import compile_notebook
from measure import cost
from notebooks import realistic


def main() -> int:
    parser = argparse.ArgumentParser(description="Time kale check and compiling for notebooks of several sizes.")
    parser.add_argument("--steps", default="10,100,1000", help="numbers of steps (default 10,100,1000)")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each (default 5)")
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, medians of {args.repeat} runs, CPU seconds")
    print(f"{'steps':>6}{'cells':>7}{'kale check':>12}{'beyond start':>14}{'compile':>10}{'ms a cell':>11}")
    with tempfile.TemporaryDirectory(prefix="kale-bench-") as scratch:
        folder = Path(scratch)
        start = statistics.median(cost([sys.executable, "-c", "pass"], cwd=folder).cpu for _ in range(args.repeat))
        for steps in (int(n) for n in args.steps.split(",")):
            path = realistic(folder / f"steps-{steps}.ipynb", steps)
            cells = len(json.loads(path.read_text(encoding="utf-8"))["cells"])
            check = statistics.median(
                cost([sys.executable, "-m", "kale_nb", "check", path.name], cwd=folder).cpu for _ in range(args.repeat)
            )
            alone = statistics.median(compile_once(path) for _ in range(args.repeat))
            print(f"{steps:>6}{cells:>7}{check:>12.3f}{check - start:>14.3f}{alone:>10.3f}{alone / cells * 1000:>11.3f}")
    return 0


def compile_once(path: Path) -> float:
    """Return the CPU seconds of one compile in this process."""
    started = time.process_time()
    compile_notebook(str(path))
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
