"""The commands that the guide shows for submission do what it says, against the tests' server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kfp.running import needs_orchestrator
from tests.kfp_api.server import Server

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guide" / "kubeflow.md"
BLOCK = re.compile(
    r"<!-- not run: it takes a server, which tests/kfp_api has -->\n```console\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
HOST = "https://kubeflow.example.org/pipeline"


def normal(text: str) -> str:
    text = re.sub(r"\d{8}-\d{6}-(quickstart)-\w+", "RUN", text)
    return " ".join(re.sub(r"\d+(\.\d+)? (s|ms)\b", "TIME", text).split())


def test_the_commands_of_the_page_do_what_it_says(server: Server, tmp_path: Path) -> None:
    needs_orchestrator()
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    server.deployment.prefix = "/pipeline"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "KF_PIPELINES_ENDPOINT": server.url, "TERM": "dumb"}
    folder = tmp_path
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == 2
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if command.startswith("export"):
                assert command == f"export KF_PIPELINES_ENDPOINT={HOST}"
                continue
            if command.startswith("cd "):
                where, _, command = command.partition(" && ")
                folder = tmp_path / where.removeprefix("cd ")
            if "--no-wait" in command:
                server.deployment.scripts = [[("RUNNING", {"load": "RUNNING"})]]
            done = subprocess.run(
                ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            said = {normal(line.replace(server.url, HOST)) for line in done.stdout.splitlines()}
            for line in shown.splitlines():
                if line.strip() == "...":
                    continue
                start = normal(line).removesuffix("...")
                assert any(each.startswith(start) if line.endswith("...") else each == start for each in said), (
                    line,
                    done.stdout,
                )
            time.sleep(0.01)


def test_every_option_of_the_page_is_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    known = "".join(
        subprocess.run([sys.executable, "-m", "kale_nb", command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ("run", "compile", "clean", "snapshots", "doctor")
    )
    named = set(re.findall(r"`(--[a-z-]+)", text)) - {"--after"}  # a mark
    assert len(named) > 25
    for option in named:
        assert re.search(rf"{option}\b", known), option
