"""`kale clean` and `kale snapshots --engine kfp` as people and programs see them."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from kale_nb.cli.command import main
from kale_nb.names import RunId
from kale_nb.process import this_process
from kale_nb.runs.events import State
from kale_nb.runs.record import RunRecord
from kale_nb.runs.recorder import Recorder
from kale_nb.runs.store import open_store
from tests.clean.making import belongs, put_claim, put_snapshot
from tests.k8s import proxy as faults
from tests.k8s.cluster import Cluster
from tests.k8s.driver import Driver
from tests.k8s.proxy import Proxy
from tests.k8s.space import Space
from tests.kfp_api.deployment import Fault
from tests.kfp_api.server import Server

RUN, OTHER = belongs(), belongs("20260502-000000-score-bbbb", pipeline="score", owner="bob")
Out = pytest.CaptureFixture[str]


@pytest.fixture
def run(space: Space, driver: Driver, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    """Two runs of two owners."""
    space.claim("home", storage_class=driver.storage_class)
    space.bound("home")
    for name, of in (("ada", RUN), ("bob", OTHER)):
        put_snapshot(space, f"snap-{name}", "home", of)
        space.ready(f"snap-{name}")
        put_claim(space, f"clone-{name}", of, snapshot=f"snap-{name}", storage_class=driver.storage_class)
        space.bound(f"clone-{name}")
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path / "config", namespace=space.name)))
    return space


def there(space: Space) -> set[str]:
    found = [*space.rest.items(space.claims_path), *space.rest.items(space.snapshots_path)]
    return {each["metadata"]["name"] for each in found} - {"home"}


EVERYTHING = {"clone-ada", "snap-ada", "clone-bob", "snap-bob"}


def test_without_yes_nothing_goes_and_what_would_is_told_with_what_it_costs(run: Space, capsys: Out) -> None:
    assert main(["clean", "--run", RUN.run]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["name", "age", "size", "pipeline", "run", "owner", "state"]
    assert lines[1][:2] == ["claim", "clone-ada"]
    assert lines[2][:2] == ["snapshot", "snap-ada"]
    assert "would go: named by --run" in out
    assert "would remove 1 claim and 1 snapshot: claims of 1.0 GiB, snapshots of 1.0 GiB\n" in out
    assert out.endswith("nothing was removed: --yes removes it\n")
    assert "bob" not in out
    assert there(run) == EVERYTHING


def test_yes_removes_what_was_named_and_no_more(run: Space, capsys: Out) -> None:
    assert main(["clean", "--run", "aaaa", "--yes"]) == 0
    assert capsys.readouterr().out.endswith("removed 1 claim and 1 snapshot: claims of 1.0 GiB, snapshots of 1.0 GiB\n")
    assert there(run) == {"clone-bob", "snap-bob"}


def test_things_of_other_owners_stay(run: Space, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALE_OWNER", "bob")
    for run_id in (RUN.run, OTHER.run):
        record(run_id, State.SUCCEEDED)
    assert main(["clean", "--mine", "--all", "--yes"]) == 0
    assert there(run) == {"clone-ada", "snap-ada"}
    assert main(["clean", "--owner", "nobody", "--all", "--yes"]) == 0
    assert "none of the 2 things" in capsys.readouterr().out


def record(run_id: str, state: State, **more: object) -> RunRecord:
    folder = open_store(Path.cwd()).root / run_id
    folder.mkdir()
    given = {"writer": this_process() if state is State.RUNNING else None, "engine": "kfp", **more}
    made = RunRecord(id=RunId(run_id), pipeline="train", directory=folder, started=1.0, state=state, **given)  # type: ignore[arg-type]
    return Recorder(made).record


def test_a_run_whose_record_says_that_it_goes_on_stays(run: Space, capsys: Out) -> None:
    record(RUN.run, State.RUNNING)
    assert main(["clean", "--run", RUN.run, "--yes"]) == 0
    assert "stays: its run goes on: its record says running" in capsys.readouterr().out
    assert there(run) == EVERYTHING


def test_a_run_that_was_left_stays_until_its_end_is_known(run: Space, server: Server, capsys: Out) -> None:
    record(RUN.run, State.RUNNING, writer=None, remote={"host": server.url, "ui": server.url, "run_id": "r1"})
    assert main(["clean", "--run", RUN.run, "--yes"]) == 0
    assert "it was left running, and its end is not known" in capsys.readouterr().out
    server.deployment.runs.append(kfp_run("train x", "SUCCEEDED", "r1"))
    assert main(["clean", "--run", RUN.run, "--yes", "--host", server.url]) == 0
    assert there(run) == {"clone-bob", "snap-bob"}


def kfp_run(name: str, state: str, run_id: str = "other") -> dict[str, object]:
    return {
        "run_id": run_id, "display_name": name, "state": state, "experiment_id": "e", "created_at": "2026-01-01T00:00:00Z",
        "run_details": {"task_details": []},
    }  # fmt: skip


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELING", "PAUSED"])
def test_a_run_that_goes_on_at_kubeflow_stays(run: Space, server: Server, capsys: Out, state: str) -> None:
    server.deployment.runs += [kfp_run(f"train {RUN.run}", state), kfp_run(f"score {OTHER.run}", "FAILED", "b")]
    assert main(["clean", "--all", "--yes", "--host", server.url]) == 0
    assert f"its run goes on: Kubeflow Pipelines says {state}" in capsys.readouterr().out
    assert there(run) == {"clone-ada", "snap-ada"}


def test_a_kubeflow_that_cannot_be_asked_is_told_and_young_runs_stay(run: Space, server: Server, capsys: Out) -> None:
    server.deployment.faults.append(Fault("GET .*/runs", 500, times=99))
    assert main(["clean", "--all", "--yes", "--host", server.url]) == 0
    assert "less than an hour old" in capsys.readouterr().out
    assert there(run) == EVERYTHING
    assert main(["clean", "--run", RUN.run, "--host", server.url]) == 0
    assert "Kubeflow Pipelines was not asked which runs go on" in capsys.readouterr().err


def test_what_has_expired_is_the_limit_when_none_is_given(run: Space, capsys: Out) -> None:
    put_claim(run, "gone", belongs("20200101-000000-x-cccc"), expires="2020-01-01T00:00:00Z")
    assert main(["clean", "--dry-run"]) == 0
    out = capsys.readouterr().out
    [line] = [line for line in out.splitlines() if "gone" in line]
    assert "stays" in line, "it was made a moment ago, and nothing is known of its run"
    assert "would remove 0 claims and 0 snapshots\n" in out
    assert "nothing was removed" not in out


def test_json_holds_all_of_it(run: Space, capsys: Out) -> None:
    assert main(["clean", "--run", "aaaa", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["removed"] is False
    assert [(each["name"], each["goes"], each["outcome"]) for each in told["objects"]] == [
        ("clone-ada", True, ""),
        ("snap-ada", True, ""),
    ]
    assert told["cost"] == {"claims": 1024**3, "snapshots": 1024**3, "retained": 0, "unknown": 0}
    assert main(["clean", "--run", "aaaa", "--json", "--yes"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["outcome"] for each in told["objects"]} == {"removed"}


def test_what_cannot_be_removed_is_told_and_the_exit_code_says_so(
    run: Space, cluster: Cluster, proxy: Proxy, tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path / "through", namespace=run.name, url=proxy.url)))
    proxy.fail("DELETE", "/clone-ada$", faults.status(403, "no"), times=9)
    assert main(["clean", "--run", "aaaa", "--yes"]) == 1
    out = capsys.readouterr().out
    assert "failed: claim clone-ada: not allowed to delete persistentvolumeclaims" in out
    assert "removed 0 claims and 1 snapshot" in out


def test_what_is_terminating_is_told(run: Space, capsys: Out) -> None:
    run.rest.patch(f"{run.claims_path}/clone-ada", {"metadata": {"finalizers": ["example.org/held"]}})
    assert main(["clean", "--run", "aaaa", "--yes", "--wait", "0.5"]) == 0
    assert "terminating: claim clone-ada, held by" in capsys.readouterr().out
    run.rest.patch(f"{run.claims_path}/clone-ada", {"metadata": {"finalizers": None}})


@pytest.mark.parametrize(("answer", "left"), [("y", {"clone-bob", "snap-bob"}), ("", EVERYTHING), ("n", EVERYTHING)])
def test_on_a_terminal_it_asks(run: Space, answer: str, left: set[str]) -> None:
    pexpect = pytest.importorskip("pexpect")
    env = {**os.environ, "TERM": "dumb", "COLUMNS": "300"}
    child = pexpect.spawn(
        sys.executable, ["-m", "kale_nb", "clean", "--run", "aaaa"], env=env, encoding="utf-8", timeout=60, dimensions=(50, 300)
    )
    child.expect(r"remove these 2\? \[y/N\] ")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert there(run) == left


def test_options_that_make_no_sense(run: Space, capsys: Out) -> None:
    assert main(["clean", "--image", "x"]) == 2
    assert main(["clean", "--mine", "--owner", "x"]) == 2
    assert main(["clean", "--older-than", "soon"]) == 2
    assert main(["clean", "--keep", "-1"]) == 2
    assert there(run) == EVERYTHING


# -- kale snapshots


def test_snapshots_on_a_cluster_are_listed(run: Space, driver: Driver, capsys: Out) -> None:
    put_snapshot(run, "later", "nothing", RUN, expires="2099-01-31T00:00:00Z")
    run.snapshot("theirs", "home")
    assert main(["snapshots", "--engine", "kfp"]) == 0
    out = capsys.readouterr().out
    heads = ["snapshot", "taken", "size", "of", "class", "deleting", "pipeline", "run", "owner", "expires", "state"]
    assert out.splitlines()[0].split() == heads
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert " 1.0 GiB  home " in rows["snap-ada"]
    assert rows["snap-ada"].rstrip().endswith("ready")
    assert f"frees it train {RUN.run} ada never" in " ".join(rows["snap-ada"].split())
    assert "2099-01-31" in rows["later"]
    assert re.search("pending|failed: .*…$", rows["later"]), "the driver has looked at it, or not yet"
    assert "theirs" not in rows
    assert "with what runs made from them: 2 claims and 3 snapshots: claims of 2.0 GiB, snapshots of 2.0 GiB\n" in out


def test_one_of_them_or_a_runs_is_shown(run: Space, driver: Driver, capsys: Out) -> None:
    for text in ("snap-ada", RUN.run, "snap-a"):
        assert main(["snapshots", "--kfp", "show", text]) == 0
        out = capsys.readouterr().out
        told = dict(
            line.split(maxsplit=1) for line in out.splitlines() if not line.startswith(("cloned", "asked", "deleting", "behind"))
        )
        assert (told["snapshot"], told["of"], told["state"], told["pipeline"], told["owner"]) == (
            "snap-ada",
            "home",
            "ready",
            "train",
            "ada",
        )
        assert "cloned as    claim clone-ada, 1.0 GiB, bound" in out
        assert "deleting it  frees it" in out
    assert main(["snapshots", "--kfp", "show", "nothing"]) == 1
    assert main(["snapshots", "--kfp", "show"]) == 2
    assert main(["snapshots", "--kfp", "list", "--json"]) == 0


def test_json_of_snapshots(run: Space, capsys: Out) -> None:
    assert main(["snapshots", "--kfp", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["clones"], each["policy"]) for each in told] == [
        ("snap-ada", ["clone-ada"], "Delete"),
        ("snap-bob", ["clone-bob"], "Delete"),
    ]


@pytest.mark.parametrize("action", ["verify", "pin", "unpin"])
def test_what_a_cluster_cannot_do_is_refused_by_name_with_the_reason(capsys: Out, action: str) -> None:
    assert main(["snapshots", "--kfp", action, "x"]) == 2
    err = capsys.readouterr().err
    assert f"no `{action}`" in err
    assert "hint:" in err


def test_options_of_a_cluster_are_refused_for_this_machine(capsys: Out) -> None:
    assert main(["snapshots", "--namespace", "x"]) == 2
    assert "--engine kfp" in capsys.readouterr().err
