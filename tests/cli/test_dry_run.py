"""What is refused before a run begins, and the dry run: the plan, and the refusals that the run itself would make."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kale_nb.cli import main
from kale_nb.engines.local.kernels import KernelHost
from tests.cli.conftest import WriteNotebook

pytestmark = pytest.mark.usefixtures("fake_engine")

PARAMS = ("parameters", "lr = 0.1  # learning rate\nnames = ('a', 'b')\ncount: int | None = None")
LOAD = ("step:load", "data = [1, 2]")
FIT = ("step:fit prev:load", "model = sum(data)")
RUN = ["run", "nb.ipynb", "--engine", "fake"]


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("place", "said"), [("/etc", "it would hide /etc"), ("/", "cannot be mounted at /"), ("/bin/x", "hide /bin")]
)
def test_a_mount_point_that_hides_what_steps_need_is_refused_before_there_is_a_run(
    place: str, said: str, dry: bool, folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD)
    assert main(["run", "nb.ipynb", "--volume", f"scratch:{place}", *(["--dry-run"] if dry else [])]) == 2
    seen = capsys.readouterr()
    assert said in seen.err
    assert seen.out == ""
    assert not (folder / ".kale").exists(), "no failed run becomes the latest"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "http://x"], "--host is for Kubeflow Pipelines"),
        (["--cleanup", "delete"], "--cleanup is for Kubeflow Pipelines"),
        (["--engine", "warp"], "no engine called 'warp'"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_a_dry_run_refuses_what_a_run_refuses(
    words: list[str], said: str, dry: bool, folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD)
    assert main(["run", "nb.ipynb", *words, *(["--dry-run"] if dry else [])]) == 2
    assert said in capsys.readouterr().err
    assert not (folder / ".kale").exists()


SENT = ["run", "nb.ipynb", "--kfp", "--dry-run"]
SERVER = ["--host", "http://127.0.0.1:9"]
"""Nobody listens there."""


@pytest.mark.usefixtures("no_cluster")
def test_a_dry_run_for_a_cluster_tells_its_plan_and_asks_nobody(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes = [
        "--volume",
        "scratch:/scratch:5Gi",
        "--volume",
        "name=raw,mount=/raw,type=pvc",
        "--volume",
        "name=old,mount=/old,type=snap",
    ]
    write_notebook(("", "%pipeline --marshal-volume"), LOAD, FIT, ("step:other", "print(1)"))
    assert (
        main([*SENT, *SERVER, "--image", "i", "--workspace-claim", "home", "--cleanup", "delete", *volumes, "--until", "fit"])
        == 0
    )
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "nb: 2 of 3 steps would run on Kubeflow Pipelines"
    assert out[4:] == [
        "create-volume-1  workspace at /home/jovyan, a clone of claim home",
        "create-volume-2  scratch at /scratch, empty, 5Gi",
        "mounts  raw at /raw, the claim itself",
        "create-volume-3  old at /old, a clone of snapshot old",
        "create-marshal-volume  marshal at /marshal, empty, 1Gi",
        "starts in  /home/jovyan",
        "afterwards  delete-volume-1, delete-volume-2, delete-volume-3, delete-marshal-volume (delete)",
    ]
    assert os.listdir(folder) == ["nb.ipynb"]


@pytest.mark.usefixtures("no_cluster")
def test_a_dry_run_for_a_cluster_tells_what_cannot_be_had_there(
    write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD, FIT, ("step:other prev:load", "print(data)"))
    assert main([*SENT, *SERVER]) == 1
    seen = capsys.readouterr()
    assert "KN701" in seen.err
    assert seen.out == ""
    assert main([*SENT, *SERVER, "--image", "i", "--workspace-claim", "home"]) == 0
    assert "warning KN702" in capsys.readouterr().err


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workspace-claim", "home"], "nothing says where Kubeflow Pipelines is"),
        (SERVER, "nothing says which claim is the workspace"),
        (["--host", "ftp://x", "--no-snapshot"], "is no address"),
        ([*SERVER, "--no-snapshot", "--volume", "s:/s:1Gi"], "of which storage class"),
    ],
)
def test_a_dry_run_for_a_cluster_ends_as_the_run_would_before_it_asks_anybody(
    words: list[str], said: str, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(LOAD)
    assert main([*SENT, "--image", "i", *words]) == 2
    seen = capsys.readouterr()
    assert said in seen.err
    assert "nb: 1 step would run" in seen.out, "the plan is shown all the same"


@pytest.mark.parametrize("isolation", ["auto", "none", "mount"])
@pytest.mark.parametrize("allowed", [True, False])
def test_a_dry_run_tells_where_steps_would_find_volumes(
    isolation: str,
    allowed: bool,
    folder: Path,
    write_notebook: WriteNotebook,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(KernelHost, "probe", lambda host, view: "" if allowed else "forbidden here")
    (folder / "lake").mkdir()
    write_notebook(("", "%pipeline --marshal-volume"), LOAD)
    words = ["--volume", "./lake:/lake", "--volume", "name=dry,mount=/dry,source=./lake,read-only=yes"]
    code = main(["run", "nb.ipynb", "--dry-run", *words, "--isolation", isolation])
    seen = capsys.readouterr()
    if isolation == "mount" and not allowed:
        assert code == 1
        assert "forbidden here" in seen.err
        return
    assert code == 0
    mounted = isolation != "none" and allowed
    for line, place, variable in (
        ("lake at {}, a clone of lake", "/lake", "$KALE_DATA_LAKE"),
        ("marshal at {}, empty", "/marshal", "$KALE_MARSHAL"),
        ("reads  dry at {}, lake", "/dry", "$KALE_DATA_DRY"),
    ):
        assert line.format(place if mounted else variable) in seen.out
