"""Every shell command that the README and the guide show is run, page by page, and prints what the page says it prints.

A page's `console` blocks run in order in a folder of its own that holds a copy of `examples/`. Lines that start with `$ ` are commands,
the others are lines of their output, in any order; `...` stands for lines that are left out. Numbers that change from run to run
(durations, sizes, times, run names) match any other. A comment just above a block changes that:

    <!-- exits 1 -->            the commands end with that exit code
    <!-- run by .ci/run -->     the CI script runs these very commands
    <!-- not run: REASON -->    nobody can run them here
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(?P<above>[^\n]*)\n```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"<!-- (?:exits (?P<code>\d+)|(?P<ci>run by \.ci/run)|not run: (?P<reason>.+)) -->")
VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]?\d\d:\d\d:\d\d"), "<date>"),
    (re.compile(r"\b\d{8}-\d{6}(-\w+)*"), "<run>"),
    (re.compile(r"\d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"\d+ min( \d+ s)?"), "<duration>"),
    (re.compile(r"\d+(\.\d+)? m?s\b"), "<duration>"),
    (re.compile(r"\bin \d+\.\d\ds\b"), "in <duration>"),
    (re.compile(r"\d+(\.\d+)? ([kMG]|[KMGT]i)?B\b"), "<size>"),
    (re.compile(r"\.kale/kfp/[0-9a-f]+"), "<stepbooks>"),
    (re.compile(r"\s+"), " "),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of a page, the output lines shown for it, and the exit code promised."""

    line: str
    shown: tuple[str, ...]
    code: int
    by_ci: bool


def commands(page: Path) -> list[Command]:
    found = []
    for block in FENCE.finditer("\n" + page.read_text(encoding="utf-8")):
        if block["language"] != "console":
            continue
        directive = DIRECTIVE.search(block["above"])
        if directive and directive["reason"]:
            continue
        lines: list[list[str]] = []
        for line in block["body"].splitlines():
            if line.startswith("$ "):
                lines.append([line[2:]])
            elif lines and line.strip() not in ("", "..."):
                lines[-1].append(line)
        code = int(directive["code"]) if directive and directive["code"] else 0
        by_ci = bool(directive and directive["ci"])
        found += [Command(line=first, shown=tuple(rest), code=code, by_ci=by_ci) for first, *rest in lines]
    return found


def settled(line: str) -> str:
    for pattern, name in VARYING:
        line = pattern.sub(name, line)
    return line.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_shell_commands_stand_in_console_blocks(page: Path) -> None:
    languages = {block["language"] for block in FENCE.finditer("\n" + page.read_text(encoding="utf-8"))}
    assert not languages & {"sh", "bash", "shell", ""}, "commands belong in ```console blocks, other text in ```text"


@pytest.mark.skipif(not (ROOT / ".ci" / "run").exists(), reason="only in a checkout")
def test_what_is_left_to_the_ci_script_is_in_it() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    stages = {line.split(maxsplit=2)[2] for line in script if line.startswith("stage ")}
    left = {command.line for page in PAGES for command in commands(page) if command.by_ci}
    assert left <= stages
    assert {"make demo", "make test"} <= left


@pytest.mark.kernel
@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(not c.by_ci for c in commands(p))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_commands_of_a_page_run_and_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns(".kale", ".ipynb_checkpoints"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
    for command in commands(page):
        if command.by_ci:
            continue
        done = subprocess.run(
            ["bash", "-c", command.line],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        told = f"$ {command.line}\n{done.stdout}"
        assert done.returncode == command.code, told
        printed = {settled(line) for line in done.stdout.splitlines()}
        missing = [line for line in command.shown if settled(line) not in printed]
        assert missing == [], f"the page shows these lines, which were not printed:\n{chr(10).join(missing)}\n\n{told}"
