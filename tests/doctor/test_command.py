"""`kale doctor` as people and programs see it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kale_nb.cli.command import main
from kale_nb.engines.preflight import Diagnosis, Finding, Mark
from kale_nb.report.preflight import diagnosis_lines
from kale_nb.report.style import Style
from tests.doctor.looking import account_with, apply, forget, look, until_it
from tests.k8s.cluster import Cluster
from tests.k8s.driver import Driver
from tests.k8s.space import Space
from tests.kfp.sources import write_notebook
from tests.kfp_api.server import Server

CHAIN = "%pipeline --name chain --image python:3.11\n\n%%step one\nx = 1\n\n%%step two --after one\nprint(x)"
Out = pytest.CaptureFixture[str]


def shown(diagnosis: Diagnosis, columns: int = 80) -> str:
    return "\n".join(diagnosis_lines(diagnosis, Style(None), columns, verdict="a run can work"))


def finding(mark: Mark, found: str = "something", **more: str) -> Finding:
    return Finding(**{"key": found, "part": "Part", "mark": mark, "found": found, **more})  # type: ignore[arg-type]


def test_what_is_well_takes_a_line_and_what_is_not_says_why_and_what_to_do() -> None:
    text = shown(
        Diagnosis(
            engine="kfp",
            findings=(
                finding(Mark.OK, "this is there", why="never shown"),
                finding(Mark.WARNING, "this is odd", why="it matters", mend="do that"),
                finding(Mark.MISSING, "this is not there", why="nothing works", mend="get it", yaml="kind: Thing\n"),
            ),
        )
    )
    assert text.split("\n") == [
        "Part",
        "  ✓ this is there",
        "  ! this is odd",
        "    why   it matters",
        "    do    do that",
        "  ✗ this is not there",
        "    why   nothing works",
        "    do    get it",
        "          kind: Thing",
        "",
        "a run cannot work: 1 missing, 1 warning",
    ]


def test_lines_are_filled_to_the_width_and_the_same_advice_is_given_once() -> None:
    findings = tuple(finding(Mark.MISSING, f"{n} " + "words " * 30, why="long " * 40, mend="ask") for n in range(3))
    text = shown(Diagnosis(engine="kfp", findings=findings), 60)
    assert max(map(len, text.split("\n"))) <= 60
    assert text.count("    do    ask") == 1


def test_what_a_server_says_cannot_drive_the_terminal() -> None:
    assert "\x1b" not in shown(Diagnosis(engine="kfp", findings=(finding(Mark.MISSING, "\x1b[31mred\x1b]0;title\x07"),)))


def test_this_machine_can_run(capsys: Out, tmp_path: Path) -> None:
    before = set(Path.cwd().rglob("*"))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("This machine\n")
    assert "kernel python3" in out
    assert f"{Path.cwd()}: 0 files" in " ".join(out.split())
    assert out.endswith("a run can work\n")
    assert set(Path.cwd().rglob("*")) == before, "nothing is left behind"


def test_a_notebook_that_cannot_become_a_pipeline_or_has_no_kernel_here(capsys: Out, tmp_path: Path) -> None:
    bad = write_notebook("%%step one\nx = 1\n\n%%step two --after nowhere\nprint(x)", tmp_path / "bad.ipynb")
    assert main(["doctor", str(bad), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ready"] is False
    assert [each["key"] for each in told["findings"] if each["state"] == "missing"] == ["notebook"]
    body = json.loads(write_notebook("%%step one\nx = 1", tmp_path / "odd.ipynb").read_text())
    body["metadata"]["kernelspec"] = {"name": "nowhere", "display_name": "x", "language": "python"}
    (tmp_path / "odd.ipynb").write_text(json.dumps(body))
    assert main(["doctor", str(tmp_path / "odd.ipynb")]) == 1
    assert "there is no kernel called 'nowhere'" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ("../nolake:/lake", "which is no folder"),
        ("scratch:/etc", "it would hide /etc"),
        ("scratch:/", "cannot be mounted at /"),
    ],
)
def test_what_a_run_of_the_notebook_refuses_is_told_before_it_is_tried(
    capsys: Out, tmp_path: Path, volume: str, says: str
) -> None:
    notebook = write_notebook(f"%pipeline --volume {volume}\n\n%%step one\nx = 1", tmp_path / "nb.ipynb")
    assert main(["doctor", str(notebook), "--json"]) == 1
    [found] = [each for each in json.loads(capsys.readouterr().out)["findings"] if each["state"] == "missing"]
    assert found["key"] == "plan"
    assert says in found["found"]
    assert found["mend"]


def test_a_notebook_with_a_folder_that_is_there_can_run(capsys: Out, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    notebook = write_notebook("%pipeline --volume ./lake:/lake\n\n%%step one\nx = 1", tmp_path / "nb.ipynb")
    assert main(["doctor", str(notebook)]) == 0
    assert capsys.readouterr().out.endswith("nb.ipynb can run\n")
    write_notebook("%pipeline --volume lake:/lake\n\n%%step one\nx = 1", notebook)
    assert main(["doctor", str(notebook)]) == 0
    assert "there is a folder ./lake" in " ".join(capsys.readouterr().out.split())


def test_a_folder_that_is_not_there_is_told_for_a_cluster_too(capsys: Out, tmp_path: Path) -> None:
    notebook = write_notebook("%pipeline --volume ../nolake:/lake\n\n%%step one\nx = 1", tmp_path / "nb.ipynb")
    assert main(["doctor", "--kfp", str(notebook)]) == 1
    assert "which is no folder" in " ".join(capsys.readouterr().out.split())


def test_a_workspace_that_is_too_large(capsys: Out) -> None:
    Path("large").write_bytes(bytes(5000))
    assert main(["doctor", "--max-workspace-size", "1K"]) == 1
    assert "✗" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--host", "http://x"], ["--yaml"], ["--namespace", "x"], ["--no-snapshot"]])
def test_options_of_a_cluster_are_refused_for_this_machine(capsys: Out, words: list[str]) -> None:
    assert main(["doctor", *words]) == 2
    assert "--engine kfp" in capsys.readouterr().err
    assert main(["doctor", "--kfp", "--workspace", "."]) == 2


def test_nothing_says_where_a_cluster_is(capsys: Out) -> None:
    assert main(["doctor", "--engine", "kfp"]) == 1
    out = capsys.readouterr().out
    assert "nothing says where Kubeflow Pipelines is" in out
    assert "nothing says where a Kubernetes cluster is" in out
    assert out.endswith("a run cannot work: 2 missing\n")


def test_yaml_without_rights_to_ask_for_says_why_on_stderr(capsys: Out) -> None:
    assert main(["doctor", "--engine", "kfp", "--yaml"]) == 1
    seen = capsys.readouterr()
    assert seen.out == "", "kubectl reads it"
    assert "missing: nothing says where a Kubernetes cluster is" in seen.err
    assert "hint: give --kubeconfig FILE" in seen.err


def doctor(config: Path, server: Server, *words: str, terminal: bool = False) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "KUBECONFIG": str(config),
        "KF_PIPELINES_ENDPOINT": server.url,
        **({"FORCE_COLOR": "1"} if terminal else {}),
    }
    command = [sys.executable, "-m", "kale_nb", "doctor", "--kfp", *words]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=120)


def test_from_nothing_to_ready_by_what_it_prints(
    cluster: Cluster, space: Space, driver: Driver, server: Server, tmp_path: Path
) -> None:
    space.claim("home", storage_class=driver.storage_class)
    space.bound("home")
    account = account_with(space, "ada", [])
    config = cluster.kubeconfig(tmp_path / "config", account.token, namespace=space.name)
    book = write_notebook(CHAIN, tmp_path / "nb.ipynb")
    words = (str(book), "--workspace-claim", "home")
    first = doctor(config, server, *words)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "✗ not allowed: create, get volumesnapshots.snapshot.storage.k8s.io" in first.stdout
    asked = doctor(config, server, *words, "--yaml")
    assert asked.returncode == 1
    assert all(line.strip() in first.stdout for line in asked.stdout.splitlines())
    apply(space.rest, asked.stdout)
    try:
        until_it(lambda: not look(config, workspace="home").asks, "the rights are in force")
        then = doctor(config, server, *words)
        assert then.returncode == 0, then.stdout
        assert then.stdout.splitlines()[-1].startswith(f"{book} can run")
        assert "kind: Role" not in then.stdout
        told = json.loads(doctor(config, server, *words, "--json").stdout)
        assert (told["ready"], told["user"], told["asks"]) == (True, f"system:serviceaccount:{space.name}:ada", "")
        assert {each["state"] for each in told["findings"]} <= {"ok", "warning"}
        assert account.token not in json.dumps(told)
        painted = doctor(config, server, *words, terminal=True).stdout
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == then.stdout != painted
    finally:
        forget(space.rest, asked.stdout)
