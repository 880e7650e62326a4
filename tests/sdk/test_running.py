"""Scripts through the front doors: options, parameters, failures, packages, other names, no snapshot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kale_nb.compiler import compile_path
from kale_nb.runs.events import State
from tests.sdk.scripts import HEAD, TAIL, kale, piped, plain, step_output, whole, write

SCRIPT = whole(
    """
@step(name="make-rows")
def make(n: int) -> list[int]:
    return list(range(n))

@step
def total(rows, scale=1):
    print("total", sum(rows) * scale, type(scale).__name__)
    return sum(rows)

@pipeline(name="sums", experiment="tests")
def flow(n=4, scale=2):
    rows = make(n)
    total(rows, scale)
"""
)


def only_run(folder: Path) -> Path:
    [found] = [p for p in (folder / ".kale" / "runs").iterdir() if p.is_dir()]
    return found


@pytest.mark.kernel
@pytest.mark.parametrize("words", [["flow.py"], ["run", "flow.py"], ["-q", "flow.py"]])
def test_a_script_runs_by_its_name_alone_and_by_run(words: list[str], tmp_path: Path) -> None:
    write(tmp_path, SCRIPT)
    done = kale(*words, "-p", "n=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((only_run(tmp_path) / "run.json").read_text(encoding="utf-8"))
    assert [s["name"] for s in record["steps"]] == ["make-rows", "total"]
    assert {p.name for p in tmp_path.iterdir()} == {"flow.py", ".kale"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-p", "n=x"], "parameter n takes int (default 4), not 'x'"),
        (["-p", "m=1"], "sums has no parameter 'm'"),
        (["--pipeline", "other"], "there is no pipeline `other`"),
        (["--kfp"], "nothing says where Kubeflow Pipelines is"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(words: list[str], says: str, tmp_path: Path) -> None:
    write(tmp_path, SCRIPT)
    done = kale("flow.py", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert not list(tmp_path.glob(".kale/runs/*/run.json"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["flow.py", "--dry-run"], "sums: 2 steps would run"),
        (["check", "flow.py"], "no findings"),
        (["graph", "flow.py"], "rows ← make-rows"),
        (["compile", "flow.py"], "flow.kale: pipeline.json and 2 stepbooks"),
        (["flow.py", "--help-params"], "scale"),
    ],
)
def test_every_command_takes_a_script(words: list[str], says: str, tmp_path: Path) -> None:
    write(tmp_path, SCRIPT)
    done = kale(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert says.replace("←", "") in done.stdout.replace("←", "").replace("<-", "")


@pytest.mark.kernel
def test_verify_compares_the_script_with_its_pipeline(tmp_path: Path) -> None:
    write(tmp_path, SCRIPT)
    done = kale("verify", "flow.py", "-p", "n=6", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same: all 2 steps say what the script says" in done.stdout


@pytest.mark.kernel
def test_verify_tells_the_step_that_differs(tmp_path: Path) -> None:
    write(tmp_path, whole("import os\n@step\ndef look():\n    print(os.getpid())\n\n@pipeline\ndef flow():\n    look()\n"))
    done = kale("verify", "flow.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "different  look" in done.stdout


@pytest.mark.kernel
def test_a_script_that_was_compiled_runs_from_its_folder(tmp_path: Path) -> None:
    write(tmp_path, SCRIPT)
    assert kale("compile", "flow.py", cwd=tmp_path).returncode == 0
    done = kale("run", "flow.kale", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.kernel
def test_declared_parameters_arrive_as_their_type(tmp_path: Path) -> None:
    text = "@step\ndef show(n: int, rate: float):\n    print(repr(n), repr(rate))\n\n@pipeline\ndef flow(n='3', rate=1):\n    show(n, rate)\n"
    record, _ = piped(write(tmp_path, whole(text)))
    assert step_output(record, "show") == "3 1\n"
    (tmp_path / "b").mkdir()
    record, _ = piped(write(tmp_path / "b", whole(text)), params={"n": 4, "rate": 0.5})
    assert step_output(record, "show") == "4 0.5\n"


FAILING = whole(
    """
@step
def load(n):
    return list(range(n))

@step
def fit(a, b):
    return 1 / (a - b + 1)

@step
def lie(n) -> int:
    return "x"

@step
def lazy(n):
    return (i for i in range(n))

@pipeline
def flow(n=2):
    a, b = load(n)
    fit(a, b)
    lie(n)
    lazy(n)
"""
)


def failure(tmp_path: Path, step: str, **params: object) -> tuple[str, int | None, str]:
    record, _ = piped(write(tmp_path, FAILING), params=params, until=(step,))
    assert record.state is State.FAILED
    [failed] = record.failed
    assert failed.failure is not None
    return failed.failure.message, failed.failure.line, failed.failure.traceback


@pytest.mark.kernel
def test_a_failure_is_told_by_the_line_of_the_script_without_our_frames(tmp_path: Path) -> None:
    message, line, traceback = failure(tmp_path, "fit")
    assert message == "ZeroDivisionError: division by zero"
    assert line is not None
    assert FAILING.split("\n")[line - 1] == "    return 1 / (a - b + 1)"
    assert "kale_nb" not in traceback
    assert f"flow.py:{line}" in traceback


@pytest.mark.kernel
def test_another_number_of_values_is_told_with_both_lines(tmp_path: Path) -> None:
    message, line, _ = failure(tmp_path, "load", n=3)
    assert message == f"ValueError: load() (flow.py:3) returned 3 values, and {tmp_path}/flow.py:{line} unpacks 2"
    assert FAILING.split("\n")[(line or 0) - 1] == "    a, b = load(n)"


@pytest.mark.kernel
def test_a_broken_promise_is_told(tmp_path: Path) -> None:
    assert "breaks its promise `-> int`: what it returns is str, not int" in failure(tmp_path, "lie")[0]


@pytest.mark.kernel
def test_a_generator_that_is_returned_is_told(tmp_path: Path) -> None:
    assert "returns a generator" in failure(tmp_path, "lazy")[0]


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["my-flow.py", "2024.v1.py", "random.py", "numpy.py", "flow two.py", "größe.py"])
def test_a_script_may_be_called_anything(name: str, tmp_path: Path) -> None:
    text = "class Box:\n    x = 1\n\n@step\ndef make():\n    return Box()\n\n@step\ndef show(box):\n    print(box.x)\n\n@pipeline\ndef flow():\n    show(make())\n"
    write(tmp_path, {name: whole(text)})
    record, _ = piped(tmp_path / name)
    assert record.state is State.SUCCEEDED, record.failed
    assert step_output(record, "show") == "1\n"


@pytest.mark.kernel
def test_a_script_of_a_package_runs_with_its_relative_imports(tmp_path: Path) -> None:
    script = (
        f"{HEAD}from .base import up\n@step\ndef make(n):\n    print(up(n))\n\n@pipeline\ndef flow(n=2):\n    make(n)\n{TAIL}"
    )
    write(tmp_path, {"pkg/__init__.py": "", "pkg/base.py": "def up(n):\n    return n * 3\n", "pkg/flow.py": script})
    record, _ = piped(tmp_path / "pkg" / "flow.py")
    assert step_output(record, "make") == "6\n"


@pytest.mark.kernel
def test_without_a_snapshot_the_stepbooks_carry_the_users_modules(tmp_path: Path) -> None:
    script = (
        f"{HEAD}from lib.base import up\n@step\ndef make(n):\n    print(up(n))\n\n@pipeline\ndef flow(n=2):\n    make(n)\n{TAIL}"
    )
    write(tmp_path, {"flow.py": script, "lib/__init__.py": "", "lib/base.py": "def up(n):\n    return n * 3  # ü\n"})
    compiled = compile_path(tmp_path / "flow.py", carry=True)
    assert "return n * 3" in json.dumps(compiled.stepbooks[0].notebook)
    done = kale("run", "flow.py", "--no-snapshot", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    assert "6" in (run / "logs" / "make.log").read_text(encoding="utf-8")
    assert not (run / "work" / "flow.py").exists()


@pytest.mark.kernel
def test_metrics_and_artifacts_are_kept_with_the_run(tmp_path: Path) -> None:
    script = f"""from kale.sdk import artifact, log_metric
{HEAD}
@artifact("report", "out/report.txt")
@step
def train(n):
    import os
    os.makedirs("out")
    open("out/report.txt", "w").write("well")
    log_metric("score", n / 4)

@pipeline
def flow(n=3):
    train(n)
{TAIL}"""
    record, _ = piped(write(tmp_path, script))
    assert dict(record.step("train").metrics) == {"score": 0.75}
    assert (record.directory / "data" / "train" / "artifacts" / "report.txt").read_text(encoding="utf-8") == "well"


@pytest.mark.kernel
def test_an_artifact_that_is_not_there_fails_its_step(tmp_path: Path) -> None:
    script = f"from kale.sdk import artifact\n{HEAD}\n@artifact('a', 'a.txt')\n@step\ndef train():\n    pass\n\n@pipeline\ndef flow():\n    train()\n{TAIL}"
    record, _ = piped(write(tmp_path, script))
    assert record.failed[0].failure is not None
    assert "the artifact `a` is not there" in record.failed[0].failure.message


def test_steps_that_do_not_depend_on_each_other_run_side_by_side(tmp_path: Path) -> None:
    text = "@step\ndef a(x=0):\n    return 1\n\n@pipeline\ndef flow():\n    x = a()\n    y = a(x)\n    z = a(x)\n    a([y, z])\n"
    pipeline = compile_path(write(tmp_path, whole(text))).pipeline
    assert {s.name: s.after for s in pipeline.steps} == {"a": (), "a-2": ("a",), "a-3": ("a",), "a-4": ("a-2", "a-3")}


def test_settings_reach_the_pipeline(tmp_path: Path) -> None:
    text = """
@step(name="s", image="python:3.11", limits={"nvidia.com/gpu": 1}, env={"A": "b"}, secrets=["s:k:T"], retry_count=2, retry_interval="5s",
      timeout="10m", cache=False)
def s():
    return 1

@step(labels={"a": "c"})
def t():
    return 1

@pipeline(name="p", experiment="e", description="d", volumes=["data:/data:5Gi"], marshal_volume=True, marshal_volume_size="10Gi",
          marshal_path="/data/marshal", autosnapshot=False, steps_defaults={"labels": {"a": "b"}, "timeout": 5}, image="all:1")
def flow():
    s()
    t()
"""
    pipeline = compile_path(write(tmp_path, whole(text))).pipeline
    first, second = (step.settings for step in pipeline.steps)
    assert (first.image, dict(first.limits), dict(first.env), first.timeout, first.cache) == (
        "python:3.11",
        {"nvidia.com/gpu": "1"},
        {"A": "b"},
        600.0,
        False,
    )
    assert first.retry is not None
    assert (first.retry.attempts, first.retry.interval) == (2, 5.0)
    assert (dict(first.labels), dict(second.labels), second.timeout) == ({"a": "b"}, {"a": "c"}, 5.0)
    assert (pipeline.name, pipeline.experiment, pipeline.description, pipeline.image) == ("p", "e", "d", "all:1")
    assert (pipeline.marshal_volume.enabled, pipeline.marshal_volume.size, pipeline.marshal_volume.path) == (
        True,
        "10Gi",
        "/data/marshal",
    )
    assert (pipeline.volumes[0].mount_point, pipeline.autosnapshot) == ("/data", False)


def test_tolerations_of_kubernetes_own_form_reach_the_pipeline(tmp_path: Path) -> None:
    text = """
@step(tolerations=["a=b:NoSchedule", {"key": "a", "operator": "Equal", "value": "c", "effect": "NoSchedule"}, {"operator": "Exists"}])
def s():
    return 1

@pipeline(steps_defaults={"tolerations": [{"key": "spot", "operator": "Equal"}]})
def flow():
    s()
"""
    found = compile_path(write(tmp_path, whole(text))).pipeline.steps[0].settings.tolerations
    assert {(t.key, t.value, t.effect) for t in found} == {
        ("a", "b", "NoSchedule"),
        ("a", "c", "NoSchedule"),
        ("", None, ""),
        ("spot", "", ""),
    }


def test_a_script_of_the_users_own_kale_folder_still_finds_ours(tmp_path: Path) -> None:
    write(tmp_path, {"flow.py": SCRIPT.replace("kale.sdk", "kale_nb.sdk"), "kale/__init__.py": "raise ImportError('not ours')\n"})
    assert len(compile_path(tmp_path / "flow.py").pipeline.steps) == 2
    assert plain(tmp_path / "flow.py") == "total 12 int\n"


@pytest.mark.kernel
def test_a_change_in_place_that_no_text_shows_fails_the_run_where_it_would_be_missed(tmp_path: Path) -> None:
    text = """
def spoil(rows):
    rows.append(9)

@step
def make():
    return [1]

@step
def tidy(rows):
    spoil(rows)

@step
def show(rows):
    print(rows)

@pipeline
def flow():
    rows = make()
    tidy(rows)
    show(rows)
"""
    record, _ = piped(write(tmp_path, whole(text)))
    assert record.state is State.FAILED
    assert record.failed[0].failure is not None
    assert "step `tidy` changed `rows` in place while step `show`" in record.failed[0].failure.message
    assert "after=" in (record.failed[0].failure.hint or "")
    (tmp_path / "b").mkdir()
    record, _ = piped(write(tmp_path / "b", whole(text.replace("@step\ndef show", "@step(after=tidy)\ndef show"))))
    assert step_output(record, "show") == "[1, 9]\n"
