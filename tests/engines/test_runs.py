"""Jobs through the local engine, with real kernels."""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from kale_nb.engines import engine
from kale_nb.engines.protocol import Job
from kale_nb.errors import EngineError, UsageError, VolumeError
from kale_nb.pipeline.model import Retry, StepSettings
from kale_nb.runs.events import RunFinished, State, StepOutput, StepRetrying
from tests.engines.making import Seen, code, make_job, no_process_left

pytestmark = pytest.mark.kernel


def run(job: Job) -> tuple[State, Seen]:
    seen = Seen()
    with no_process_left():
        state = engine("local").run(job, seen)
    assert isinstance(seen[-1], RunFinished)
    assert seen[-1].state is state
    return state, seen


def work(job: Job) -> Path:
    return job.directory / "work"


def test_steps_run_in_order_and_see_the_files_of_those_before_them(tmp_path: Path) -> None:
    job = make_job(
        tmp_path,
        {"last": "print(open('f').read())", "first": "open('f', 'w').write('hello')"},
        {"last": ["first"]},
    )
    state, seen = run(job)
    assert state is State.SUCCEEDED
    assert seen.kinds() == [
        "RunStarted",
        "StepsPlaced",
        "VolumeCreated",
        "StepStarted",
        "StepFinished",
        "StepStarted",
        "StepFinished",
        "RunFinished",
    ]
    assert (job.directory / "logs/last.log").read_text() == "hello\n"
    assert [e.text for e in seen if isinstance(e, StepOutput)] == ["hello\n"]
    assert not (job.workspace / "f").exists()
    executed = json.loads((job.directory / "executed/last.ipynb").read_text())
    assert "".join(executed["cells"][-1]["outputs"][0]["text"]) == "hello\n"
    assert seen.end("last").cpu > 0


def test_independent_steps_overlap(tmp_path: Path) -> None:
    wait = "import os, time\nopen('{me}', 'w').close()\nt = time.time()\nwhile not os.path.exists('{other}'):\n    assert time.time() < t + 60\n    time.sleep(0.01)"
    job = make_job(tmp_path, {"a": wait.format(me="a", other="b"), "b": wait.format(me="b", other="a")}, jobs=2)
    assert run(job)[0] is State.SUCCEEDED


def test_one_job_runs_one_step_at_a_time(tmp_path: Path) -> None:
    alone = "import os, time\nassert not os.path.exists('busy')\nopen('busy', 'w').close()\ntime.sleep(0.1)\nos.remove('busy')"
    job = make_job(tmp_path, dict.fromkeys("abc", alone), jobs=1)
    assert run(job)[0] is State.SUCCEEDED


def test_parameters_arrive_exactly(tmp_path: Path) -> None:
    values = {
        "a": (1, (2.5, -3)), "b": {1, 2}, "c": datetime.date(2024, 2, 29), "d": {"k": [None, True, b"\x00x"]}, "e": "q'\"\\\n日本",
        "f": float("inf"), "g": datetime.timedelta(hours=1), "h": frozenset(), "i": 2**80, "j": 1 - 2j,
    }  # fmt: skip
    job = make_job(
        tmp_path, {"s": "import pickle; pickle.dump((a, b, c, d, e, f, g, h, i, j), open('out', 'wb'))"}, params=values
    )
    assert run(job)[0] is State.SUCCEEDED
    import pickle

    got = pickle.loads((work(job) / "out").read_bytes())
    assert got == tuple(values.values())
    assert [type(v) for v in got] == [type(v) for v in values.values()]


def test_the_data_folder_is_injected_after_the_defaults(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"s": "print(_kale_data, lr)"}, defaults="lr = 0.1", params={"lr": 0.5})
    run(job)
    assert (job.directory / "logs/s.log").read_text() == f"{job.directory / 'data'} 0.5\n"


def test_a_failing_cell_is_told_with_the_users_cell_and_lines(tmp_path: Path) -> None:
    body = "def f(x):\n    return 1 / x"
    job = make_job(
        tmp_path, {"s": [code(body, "functions", cell=2), code("y = 1\n\nf(0)", cell=7), code("print('never')", cell=8)]}
    )
    state, seen = run(job)
    assert state is State.FAILED
    end = seen.end("s")
    assert end.failure is not None
    assert (end.failure.kind, end.failure.message) == ("exception", "ZeroDivisionError: division by zero")
    assert (end.failure.cell, end.failure.line) == (7, 3)
    assert "nb.ipynb[cell 7]:3" in end.failure.traceback
    assert "nb.ipynb[cell 2]:2, in f(x)" in end.failure.traceback
    assert "\x1b" not in end.failure.traceback
    assert "Cell In" not in end.failure.traceback
    executed = json.loads(end.executed.read_text())
    assert executed["cells"][-1]["outputs"] == []
    assert executed["cells"][-2]["outputs"][0]["output_type"] == "error"


def test_a_module_of_the_workspace_is_told_by_its_own_path(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"s": "import mine; mine.f()"})
    (job.workspace / "mine.py").write_text("def f():\n    raise KeyError('k')\n")
    failure = run(job)[1].end("s").failure
    assert "File mine.py:2, in f()" in failure.traceback
    assert str(tmp_path) not in failure.traceback


def test_branches_go_on_and_descendants_are_skipped(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"bad": "1/0", "good": "import time; time.sleep(0.3)", "after": "pass"}, {"after": ["bad"]}, jobs=2)
    state, seen = run(job)
    assert state is State.FAILED
    assert {name: seen.end(name).state.value for name in ("bad", "good", "after")} == {
        "bad": "failed",
        "good": "succeeded",
        "after": "skipped",
    }


def test_fail_fast_stops_the_other_steps(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"bad": "1/0", "slow": "import time; time.sleep(60)"}, jobs=2, fail_fast=True)
    began = time.monotonic()
    state, seen = run(job)
    assert time.monotonic() - began < 50
    assert (state, seen.end("slow").state) == (State.FAILED, State.CANCELLED)


def test_a_step_is_tried_again_with_a_fresh_kernel(tmp_path: Path) -> None:
    source = "import os\nassert not hasattr(os, 'seen')\nos.seen = 1\nn = len(os.listdir('tries'))\nopen(f'tries/{n}', 'w').close()\nassert n == 2"
    job = make_job(tmp_path, {"s": source}, settings={"s": StepSettings(retry=Retry(attempts=3, interval=0.05))})
    (job.workspace / "tries").mkdir()
    (job.workspace / "tries/0").touch()
    state, seen = run(job)
    assert state is State.SUCCEEDED
    assert seen.end("s").attempt == 2
    assert [(e.attempt, e.failure.kind) for e in seen if isinstance(e, StepRetrying)] == [(1, "exception")]


def test_a_step_past_its_timeout_is_killed(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"s": ["x = 1", "while True: pass"]}, settings={"s": StepSettings(timeout=1.0)})
    began = time.monotonic()
    state, seen = run(job)
    assert time.monotonic() - began < 50
    failure = seen.end("s").failure
    assert (state, failure.kind, failure.cell) == (State.FAILED, "timeout", 4)
    assert "1 s" in failure.message


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import os; os._exit(3)", "exit code 3"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import os; os.abort()", "SIGABRT"),
    ],
)
def test_a_kernel_that_dies_is_told_at_once(tmp_path: Path, source: str, told: str) -> None:
    job = make_job(tmp_path, {"s": ["print('before', flush=True)", source]})
    began = time.monotonic()
    failure = run(job)[1].end("s").failure
    assert time.monotonic() - began < 50
    assert failure.kind == "died"
    assert told in failure.message
    assert failure.cell == 4
    if told == "SIGKILL":
        assert "memory" in failure.hint


def test_exit_and_sys_exit_do_not_count_as_success(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": ["import sys; sys.exit(0)", "x = 1"], "b": ["exit()", "import time; time.sleep(1)"]})
    state, seen = run(job)
    assert state is State.FAILED
    assert seen.end("a").failure.message == "SystemExit: 0"
    assert seen.end("b").failure.message == "SystemExit: exit() was called"


def test_input_fails_and_says_what_to_do(tmp_path: Path) -> None:
    failure = run(make_job(tmp_path, {"s": "name = input('who? ')"}))[1].end("s").failure
    assert "nobody to ask" in failure.message
    assert "parameter" in failure.hint


def test_a_flood_of_lines_is_cut_in_the_notebook_and_kept_in_the_log(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"s": ["for i in range(1_000_000): print('x' * 99)", "print('end')"]})
    began = time.monotonic()
    state, _ = run(job)
    assert state is State.SUCCEEDED
    assert time.monotonic() - began < 180
    executed = job.directory / "executed/s.ipynb"
    assert executed.stat().st_size < 15_000_000
    assert "left out" in executed.read_text()
    assert (job.directory / "logs/s.log").stat().st_size == 100_000_004


def test_a_flood_of_flushed_lines_loses_nothing(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"s": "for i in range(20_000): print(i, flush=True)"})
    assert run(job)[0] is State.SUCCEEDED
    assert (job.directory / "logs/s.log").read_text().split() == [str(i) for i in range(20_000)]


def test_one_huge_output_is_cut(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"s": ["print('y' * 50_000_000)", "'z' * 50_000_000"]})
    assert run(job)[0] is State.SUCCEEDED
    assert (job.directory / "executed/s.ipynb").stat().st_size < 25_000_000


def test_a_missing_kernel_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"s": "1"}, kernel="no-such-kernel")
    seen = Seen()
    with pytest.raises(EngineError, match=r"no kernel called 'no-such-kernel'.*python3"):
        engine("local").run(job, seen)
    assert seen == []


def test_an_engine_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nope"):
        engine("nope")


def test_paths_with_spaces_and_unicode_work_and_steps_start_in_the_notebooks_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mein ordner 日本 'q'"
    folder.mkdir()
    job = make_job(folder, {"größe": "import os; print(os.getcwd()); print(open('a b.txt').read())"}, cwd=Path("sub dir"))
    (job.workspace / "sub dir").mkdir()
    (job.workspace / "sub dir/a b.txt").write_text("ü")
    assert run(job)[0] is State.SUCCEEDED
    assert (job.directory / "logs/größe.log").read_text() == f"{job.workspace}/sub dir\nü\n"


def test_executed_notebooks_are_put_into_the_output_folder_also_when_they_fail(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "1", "b": "1/0"}, output_dir=tmp_path / "out" / "deep")
    run(job)
    assert sorted(os.listdir(tmp_path / "out/deep")) == ["a.ipynb", "b.ipynb"]
    assert (tmp_path / "out/deep/b.ipynb").read_text() == (job.directory / "executed/b.ipynb").read_text()


def test_an_output_folder_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    seen = Seen()
    with pytest.raises(EngineError, match="cannot be put into"):
        engine("local").run(make_job(tmp_path, {"a": "1"}, output_dir=tmp_path / "file" / "x"), seen)
    assert seen == []


def test_a_workspace_too_large_is_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"a": "1"}, max_bytes=10)
    (job.workspace / "big").write_bytes(b"x" * 100)
    with pytest.raises(VolumeError, match="too large"):
        engine("local").run(job, Seen())
    assert not (job.directory / "work").exists()


def test_environment_of_a_step_is_its_own(tmp_path: Path) -> None:
    source = "import os; print(os.environ.get('COLOUR'), os.environ.get('PYTHONHASHSEED'), hash('x') if 'PYTHONHASHSEED' in os.environ else '')"
    settings = {"a": StepSettings(env={"COLOUR": "blau"}), "c": StepSettings(env={"PYTHONHASHSEED": "7"})}
    job = make_job(tmp_path, {"a": source, "b": source, "c": source}, settings=settings)
    assert run(job)[0] is State.SUCCEEDED
    logs = [(job.directory / f"logs/{name}.log").read_text().split() for name in "abc"]
    import subprocess

    expected = subprocess.check_output(
        [sys.executable, "-c", "print(hash('x'))"], env={**os.environ, "PYTHONHASHSEED": "7"}, text=True
    )
    assert logs == [["blau", "None"], ["None", "None"], ["None", "7", expected.strip()]]


def test_processes_that_a_step_leaves_behind_are_killed(tmp_path: Path) -> None:
    source = (
        "import subprocess, sys\n"
        "a = subprocess.Popen(['sleep', '300'])\n"
        "b = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "c = subprocess.check_output(['sh', '-c', 'setsid sleep 300 >/dev/null 2>&1 & echo $!'], text=True).strip()\n"
        "open('pids', 'w').write(f'{a.pid} {b.pid} {c}')"
    )
    job = make_job(tmp_path, {"a": source, "b": "import time; time.sleep(0.2)"}, {"b": ["a"]})
    assert run(job)[0] is State.SUCCEEDED
    pids = [int(pid) for pid in (work(job) / "pids").read_text().split()]
    assert len(pids) == 3
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def test_what_native_code_writes_is_in_the_notebook_and_once_in_the_log(tmp_path: Path) -> None:
    job = make_job(
        tmp_path,
        {"s": "import os\nos.write(1, b'raw\\n')\nimport subprocess; _ = subprocess.run(['echo', 'child'])\nprint('py')"},
    )
    assert run(job)[0] is State.SUCCEEDED
    assert sorted((job.directory / "logs/s.log").read_text().split()) == ["child", "py", "raw"]


def test_a_cell_tagged_raises_exception_may_fail(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"s": [code("1/0", "raises-exception", cell=2), code("print('on')", cell=3)]})
    assert run(job)[0] is State.SUCCEEDED
    assert (job.directory / "logs/s.log").read_text().endswith("on\n")


def test_metrics_result_and_warnings_come_from_the_report_of_the_step(tmp_path: Path) -> None:
    report = {"metrics": {"auc": 0.5}, "result": ["m", "Model()"], "warnings": ["w"]}
    source = f"import json, os\njson.dump({report!r}, open(os.path.join(_kale_data, 's', 'step.json'), 'w'))"
    end = run(make_job(tmp_path, {"s": source}))[1].end("s")
    assert (end.metrics, end.result, end.warnings) == ({"auc": 0.5}, ("m", "Model()"), ("w",))


def test_forked_kernels_are_like_fresh_ones(tmp_path: Path) -> None:
    source = (
        "import sys, random, os, __main__, dill, pickle\n"
        "class C: pass\n"
        "print('' in sys.path, os.path.basename(sys.argv[0]), __name__, __main__.__dict__ is globals(), sep='|')\n"
        "print(dill._dill._main_module is __main__, pickle.loads(pickle.dumps(C)) is C, 'debugpy' in sys.modules, os.getpid() == os.getpgid(0))\n"
        "print(random.random())\n"
        "import multiprocessing; assert sys.modules['__mp_main__'] is __main__"
    )
    job = make_job(tmp_path, {"a": source, "b": source})
    (job.workspace / "scan.py").write_text("x = 'mine'\n")
    assert run(job)[0] is State.SUCCEEDED
    one, two = ((job.directory / f"logs/{name}.log").read_text().splitlines() for name in "ab")
    assert one[0] == "True|ipykernel_launcher.py|__main__|True"
    assert one[1] == "True True False True"
    assert one[2] != two[2]


def test_the_users_modules_win_over_names_of_ours(tmp_path: Path) -> None:
    names = [
        "scheduler",
        "engine",
        "rich",
        "yaml",
        "papermill",
        "nbformat",
        "scan",
        "failures",
        "books",
        "channel",
        "host_process",
    ]
    job = make_job(tmp_path, {"s": "\n".join(f"import {name}; assert {name}.mine" for name in names)})
    for name in names:
        (job.workspace / f"{name}.py").write_text("mine = True\n")
    state, seen = run(job)
    assert state is State.SUCCEEDED, seen.end("s").failure
