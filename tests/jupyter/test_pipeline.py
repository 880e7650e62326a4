"""`%pipeline` and `%kale_load` in a live kernel."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jupyter.kernels import Kernel, Reply, kernel, save

pytestmark = pytest.mark.kernel

CELLS = (
    "%load_ext kale_nb",
    "%pipeline --name small --experiment trials",
    "%%imports\nimport math",
    "%%functions\nclass Box:\n    def __init__(self, content):\n        self.content = content",
    "%%parameters\nlr = 0.5  # learning rate\nname = 'a'",
    "%%step load\nnumbers = [1.0, 2.0, 3.0]\nboxed = Box(numbers)\nprint('loaded')",
    "%%step train --after load\nscale = lr\ndef predict(x):\n    return scale * x\nmodel = [predict(n) for n in [*numbers, 4.0]]",
    "%%metrics\nprint(sum(model))",
    "%%step look --after load --timeout 5m\nprint(math.floor(boxed.content[-1]))",
    "%%step use --after train\nprint(len(model), predict(1))",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    save(folder / "small.ipynb", *CELLS)
    return folder


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[Kernel]:
    """A kernel as JupyterLab starts it, in which the notebook ran from top to bottom."""
    with kernel(folder, notebook=folder / "small.ipynb") as started:
        for number, text in enumerate(CELLS, 1):
            started.good(text, cell=f"cell-{number}")
        assert started.good("%pipeline run -p lr=2").stderr == ""
        yield started


class TestWithTheSavedNotebook:
    def test_settings(self, lab: Kernel) -> None:
        reply = lab.good("%pipeline", cell="other")
        assert reply.stderr == reply.stdout == ""
        for said in (
            "pipeline small",
            "small.ipynb",
            "trials",
            "load, train, look, use",
            "parameter lr",
            "0.5  (float)",
            "timeout 300",
        ):
            assert said in reply.text
        assert "learning" not in reply.text or "trials" in reply.shown[0]["text/html"]

    def test_settings_of_the_notebook_do_nothing_now(self, lab: Kernel) -> None:
        assert lab.good("%pipeline --name small --experiment trials") == Reply(count=lab.good("1").count - 1)

    def test_check_is_rich_and_plain(self, lab: Kernel) -> None:
        reply = lab.good("%pipeline check")
        assert "small.ipynb: no findings" in reply.text
        assert "numbers, boxed ← load" in reply.text or "boxed" in reply.text
        assert "<table" in reply.shown[0]["text/html"]
        assert "<script" not in reply.shown[0]["text/html"]

    def test_graph_is_a_drawing_and_rails(self, lab: Kernel) -> None:
        (shown,) = lab.good("%pipeline graph").shown
        assert shown["image/svg+xml"].startswith("<svg")
        assert "●" in shown["text/plain"]
        assert "train" in shown["text/plain"]

    def test_a_run_shows_progress_then_metrics_and_the_graph(self, lab: Kernel, folder: Path) -> None:
        began = time.monotonic()
        reply = lab.good("%pipeline run -p lr=2 -j 2")
        assert reply.updates <= 5 + 4 * (time.monotonic() - began)
        progress, end = reply.shown
        assert "small: 4/4 steps, succeeded" in progress["text/plain"]
        assert "train" in progress["text/html"]
        assert "sum(model)" in end["text/plain"]
        assert "20" in end["text/plain"]
        assert "data:image/svg+xml;base64," in end["text/html"]
        record = json.loads(max(folder.glob(".kale/runs/*/run.json")).read_text())
        assert (record["state"], record["params"]) == ("succeeded", {"lr": "2.0"})
        assert reply.stdout == reply.stderr == ""

    def test_what_a_step_left_is_loaded(self, lab: Kernel) -> None:
        lab.good("del model, predict, scale; numbers = None")
        reply = lab.good("%kale_load last train")
        assert "from step train of" in reply.stdout
        assert "model" in reply.stdout
        assert lab.good("model, numbers, predict(3)").text == "([2.0, 4.0, 6.0, 8.0], None, 6.0)"

    def test_names_and_wildcards_choose(self, lab: Kernel) -> None:
        lab.good("numbers = boxed = None")
        said = lab.good("%kale_load last load box*").stdout
        assert "boxed" in said
        assert lab.good("type(boxed) is Box, boxed.content is numbers").text == "(True, True)"  # they share one list
        lab.good("%kale_load last look numbers")

    def test_a_name_or_step_that_is_not_there(self, lab: Kernel) -> None:
        assert "kept no variable 'nothing'" in lab.run("%kale_load last train nothing").error
        wrong = lab.run("%kale_load last trian")
        assert "no step 'trian'" in wrong.error
        assert "its steps are load, train, look, use" in wrong.traceback
        assert "there is no run" in lab.run("%kale_load 2001 train").error
        assert "required: STEP\n" in lab.run("%kale_load last").traceback
        assert "lists what it takes" in lab.run("%kale_load last").traceback

    def test_completion_knows_runs_steps_and_names(self, lab: Kernel) -> None:
        assert "%kale_load last" in lab.complete("%kale_load l")
        assert lab.complete("%kale_load last tr") == ["%kale_load last train"]
        assert lab.complete("%kale_load last train mo") == ["%kale_load last train model"]

    def test_completion_knows_the_options_of_a_run_and_their_values(self, lab: Kernel) -> None:
        assert lab.complete("%pipeline run --out") == ["%pipeline run --output-dir"]
        assert lab.complete("%pipeline run --kfp --no-w") == ["%pipeline run --kfp --no-wait"]
        assert lab.complete("%pipeline run --cleanup k") == ["%pipeline run --cleanup keep"]

    def test_a_parameter_that_does_not_exist(self, lab: Kernel) -> None:
        reply = lab.run("%pipeline run -p lrr=1")
        assert reply.error == "CommandError: small has no parameter 'lrr'"
        assert "did you mean lr?" in reply.traceback
        assert "kale_nb/" not in reply.traceback

    def test_verbs_that_do_not_exist(self, lab: Kernel) -> None:
        assert "did you mean `%pipeline run`?" in lab.run("%pipeline rnu").traceback
        assert "!kale verify" in lab.run("%pipeline verify").traceback
        assert "-p NAME=VALUE" in lab.good("%pipeline help").stdout

    def test_a_cell_that_ran_in_another_form_than_was_saved_is_told(self, lab: Kernel, folder: Path) -> None:
        os.utime(folder / "small.ipynb", (time.time() - 60, time.time() - 60))
        lab.good("%%step look --after load\nprint('edited')", cell="cell-9")
        assert "save the notebook" in lab.good("%pipeline").stderr
        lab.good(CELLS[8], cell="cell-9")
        lab.good("scratch = 1", cell="new")
        assert lab.good("%pipeline").stderr == ""


def test_a_failed_step_is_told_with_its_cell_and_line(tmp_path: Path) -> None:
    notebook = save(tmp_path / "bad.ipynb", "%%step a\nx = 0", "%%step b\ny = 1\ny / x")
    with kernel(tmp_path, notebook=notebook) as live:
        live.good("%load_ext kale_nb")
        reply = live.run("%pipeline run")
        assert reply.error == "PipelineFailed: step b failed"
        assert "bad.ipynb[cell 2]:3" in reply.traceback
        assert "ZeroDivisionError: division by zero" in reply.traceback
        assert "kale show" in reply.traceback
        assert "kale_nb/" not in reply.traceback
        assert live.good("%kale_load last a\nx").text == "0"
        assert "did not finish" in live.run("%kale_load last b").error


def test_a_notebook_that_cannot_be_compiled_runs_nothing(tmp_path: Path) -> None:
    notebook = save(tmp_path / "bad.ipynb", "%%step a\nx = 0", "%%step b --after nowhere\nx")
    with kernel(tmp_path, notebook=notebook) as live:
        live.good("%load_ext kale_nb")
        reply = live.run("%pipeline run")
        assert "nothing was run" in reply.error
        assert "nowhere" in reply.text
        assert "nowhere" in reply.shown[0]["text/html"]
        assert not (tmp_path / ".kale").exists()
        assert "nowhere" in live.run("%pipeline check").text


def test_an_interrupt_stops_the_run_and_the_kernel_goes_on(tmp_path: Path) -> None:
    notebook = save(
        tmp_path / "long.ipynb",
        "%%step a\nx = 1",
        "%%step b\nimport os, time\nprint('pid', os.getpid(), x * 0, flush=True)\ntime.sleep(300)",
    )
    with kernel(tmp_path, notebook=notebook) as live:
        live.good("%load_ext kale_nb")
        live.good("import signal; before = signal.getsignal(signal.SIGINT)")
        sent = threading.Event()

        def interrupt(reply: Reply) -> None:
            if not sent.is_set() and "pid " in "".join(b.get("text/html", "") for b in reply.shown):
                sent.set()
                live.interrupt()

        began = time.monotonic()
        reply = live.run("%pipeline run", after=interrupt)
        assert sent.is_set()
        assert time.monotonic() - began < 60
        assert reply.error.startswith("PipelineStopped: stopped: long was interrupted")
        assert "kale_nb/" not in reply.traceback
        (record,) = tmp_path.glob(".kale/runs/*/run.json")
        assert json.loads(record.read_text())["state"] == "cancelled"
        log = (record.parent / "logs" / "b.log").read_text()
        assert _gone(int(log.split("pid ")[1].split()[0]))
        assert live.good("signal.getsignal(signal.SIGINT) is before, 1 + 1").text == "(True, 2)"
        assert live.good("%kale_load last a\nx").text == "1"
        slept = live.run(
            "import time; print('now', flush=True); time.sleep(200)",
            after=lambda r: live.interrupt() if r.stdout and not r.error else None,
        )
        assert slept.error.startswith("KeyboardInterrupt")


def test_a_kernel_that_is_restarted_leaves_no_step_behind(tmp_path: Path) -> None:
    from kale_nb.runs.events import State
    from kale_nb.runs.store import read_record

    text = "%%step a\nimport os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(300)"
    with kernel(tmp_path, notebook=save(tmp_path / "long.ipynb", text)) as live:
        live.good("%load_ext kale_nb")
        live.client.execute("%pipeline run")
        end = time.monotonic() + 60
        said = ""
        while "pid " not in said and time.monotonic() < end:
            time.sleep(0.1)
            said = "".join(log.read_text() for log in tmp_path.glob(".kale/runs/*/logs/a.log"))
        live.manager.restart_kernel(now=True)
        assert _gone(int(said.split("pid ")[1].split()[0]))
        (record,) = tmp_path.glob(".kale/runs/*")
        assert read_record(record).state is State.INTERRUPTED


def _gone(pid: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


class TestWithoutAFile:
    """A front end that does not tell which file it edits: the cells of the session are what counts."""

    def test_the_cells_of_the_session_run_as_a_pipeline(self, tmp_path: Path) -> None:
        with kernel(tmp_path) as live:
            live.good("early = 1")
            live.good("%load_ext kale_nb")
            live.good("%%step a\nx = 1")
            assert "before the first mark" in live.run("%pipeline check").text
        with kernel(tmp_path) as live:
            live.good("%load_ext kale_nb")
            live.good("%%step a\nx = 1")
            live.run("%%step b --after a\n1/0")
            live.good("%%step b --after a\nprint('x is', x)")
            live.good("%%step b --after a\nprint('x is', x)")
            reply = live.good("%pipeline run")
            assert "does not tell which file" in reply.stdout
            assert "1 cell that failed" in reply.stdout
            assert "tags" in reply.stdout
            (executed,) = tmp_path.glob(".kale/runs/*/executed/b.ipynb")
            assert executed.read_text().count("x is 1") == 1

    def test_a_cell_that_ran_again_counts_as_it_ran_last(self, tmp_path: Path) -> None:
        with kernel(tmp_path) as live:
            live.good("%load_ext kale_nb", cell="0")
            live.good("x = 1", cell="1", tags=("step:a",))
            live.good("print(x)", cell="2", tags=("step:b", "prev:a"))
            live.good("x = 2", cell="1", tags=("step:a",))
            reply = live.good("%pipeline run", cell="3")
            assert "tags" not in reply.stdout
            (executed,) = tmp_path.glob(".kale/runs/*/executed/b.ipynb")
            assert '"2\\n"' in executed.read_text()

    def test_a_kernel_without_names_of_cells_counts_an_edited_cell_and_what_it_was_and_says_so(self, tmp_path: Path) -> None:
        with kernel(tmp_path) as live:
            live.good("%load_ext kale_nb")
            for text in ("%%step a\nx = 1", "%%step a\nx = 1"):
                live.good(text)
            assert "does not tell an edited cell" not in live.good("%pipeline check").stdout
            for text in ("%%step a\nx += 1", "%%step b --after a\nprint('x is', x)"):
                live.good(text)
            for verb in ("check", "run"):
                said = live.good(f"%pipeline {verb}").stdout
                assert (
                    "2 cells of step a count, for this front end does not tell an edited cell from a further one: `%reset" in said
                )
            (executed,) = tmp_path.glob(".kale/runs/*/executed/b.ipynb")
            assert "x is 2" in executed.read_text()
            live.good("%reset -f in")
            live.good("%reload_ext kale_nb")
            live.good("%%step c\nz = 3")
            reply = live.good("%pipeline")
            assert "edited" not in reply.stdout
            assert ["steps", "c"] in [line.split() for line in reply.text.splitlines()]
            assert live.good("x").text == "2"

    def test_two_cells_of_a_step_with_names_are_no_matter(self, tmp_path: Path) -> None:
        with kernel(tmp_path) as live:
            for number, text in enumerate(("%load_ext kale_nb", "%%step a\nx = 1", "%%step a\nx += 1"), 1):
                live.good(text, cell=str(number))
            assert "edited" not in live.good("%pipeline check", cell="4").stdout

    def test_a_file_in_which_nothing_that_ran_stands_is_not_taken_for_the_notebook(self, tmp_path: Path) -> None:
        other = save(tmp_path / "other.ipynb", "%%step o\nprint(1)")
        with kernel(tmp_path, notebook=other) as live:
            live.good("%load_ext kale_nb")
            live.good("%%step mine\nx = 1")
            reply = live.good("%pipeline")
            assert "no marked cell that ran here is saved in it" in reply.stdout
            assert "mine" in reply.text
            reply = live.good("%pipeline check other.ipynb\n%pipeline graph other.ipynb\n%pipeline")
            assert "other.ipynb: no findings" in reply.text
            assert "pipeline notebook" in reply.text
            assert "mine" in reply.text

    def test_a_notebook_may_be_named(self, tmp_path: Path) -> None:
        save(tmp_path / "other.ipynb", "%%step o\nprint(1)")
        with kernel(tmp_path) as live:
            live.good("%load_ext kale_nb")
            assert "other.ipynb: no findings" in live.good("%pipeline check other.ipynb").text
            assert "o  succeeded" in live.good("%pipeline run other.ipynb").text
            assert "no such file" in live.run("%pipeline run nowhere.ipynb").error
            assert "kale run s.py" in live.run("%pipeline run s.py").traceback

    def test_vs_code_tells_the_file_by_a_variable(self, tmp_path: Path) -> None:
        code = save(tmp_path / "code.ipynb", "%%step c\nprint(1)")
        with kernel(tmp_path) as live:
            live.good("%load_ext kale_nb")
            live.client.execute_interactive(f"__vsc_ipynb_file__ = {str(code)!r}", store_history=False, timeout=60)
            assert "code.ipynb" in live.good("%pipeline").text


def test_what_ran_before_the_extension_was_loaded_counts_once_and_only_if_it_went_well(tmp_path: Path) -> None:
    with kernel(tmp_path) as live:
        assert live.run("%%step a\nx = []", cell="one").status == "error"
        assert live.run("1 / 0", cell="two").status == "error"
        live.good("%load_ext kale_nb", cell="three")
        live.good("%%step a\nx = []", cell="one")
        live.good("%%step b --after a\nx.append(1)\nprint(len(x))", cell="four")
        assert "this session: no findings" in live.good("%pipeline check", cell="five").text
        live.good("%pipeline run", cell="five")
        (executed,) = tmp_path.glob(".kale/runs/*/executed/a.ipynb")
        assert executed.read_text().count("x = []") == 1


def test_the_folder_may_be_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with kernel(tmp_path) as live:
        live.good("%load_ext kale_nb")
        live.good("%%step a\nx = 1")
        live.good("import os\nos.chdir('gone')\nos.rmdir('../gone')")
        for line in ("%pipeline", "%pipeline run", "%kale_load last a"):
            reply = live.run(line)
            assert reply.error == "CommandError: the folder that this notebook works in is gone"
            assert "%cd FOLDER" in reply.traceback
            assert "kale_nb/" not in reply.traceback


def test_a_value_that_needs_the_notebooks_own_definitions_says_so(tmp_path: Path) -> None:
    notebook = save(tmp_path / "small.ipynb", *CELLS)
    with kernel(tmp_path, notebook=notebook) as live:
        live.good("%load_ext kale_nb")
        live.good("%pipeline run --until load")
        reply = live.run("%kale_load last load boxed")
        assert reply.status == "error"
        assert "run the cells of imports and functions" in reply.traceback
        live.good(CELLS[3])
        live.good("%kale_load last load boxed")
        assert live.good("type(boxed) is Box").text == "True"


def test_a_workspace_that_cannot_be_copied_is_told_in_a_line(tmp_path: Path) -> None:
    notebook = save(tmp_path / "nb.ipynb", "%%step a\nx = 1")
    with kernel(tmp_path, notebook=notebook) as live:
        live.good("%load_ext kale_nb")
        reply = live.run("%pipeline run --workspace nowhere")
        assert "is not a folder" in reply.error
        assert "kale_nb/" not in reply.traceback
        reply = live.run("%pipeline run --workspace /")
        assert "cannot be the workspace" in reply.error
        assert "lists what it takes" in live.run("%pipeline run --bad").traceback
        assert "quote is left open" in live.run("%pipeline run -p 'x=1").error


def test_a_notebook_that_was_renamed_is_made_of_what_ran(tmp_path: Path) -> None:
    notebook = save(tmp_path / "old.ipynb", "%%step a\nx = 1")
    with kernel(tmp_path, notebook=notebook) as live:
        live.good("%load_ext kale_nb")
        live.good("%%step a\nx = 1")
        notebook.rename(tmp_path / "new.ipynb")
        reply = live.good("%pipeline check")
        assert "old.ipynb, which cannot be read" in reply.stdout
        assert "this session: no findings" in reply.text
        assert "new.ipynb: no findings" in live.good("%pipeline check new.ipynb").text


def test_a_run_in_a_cell_that_awaits_and_one_in_a_loop(tmp_path: Path) -> None:
    notebook = save(tmp_path / "nb.ipynb", "%%parameters\nn = 1", "%%step a\nprint('n is', n)", "%%metrics\nprint(n)")
    with kernel(tmp_path, notebook=notebook) as live:
        live.good("%load_ext kale_nb\nimport asyncio, threading")
        assert "a  succeeded" in live.good("await asyncio.sleep(0)\n%pipeline run\nawait asyncio.sleep(0)").text
        reply = live.good("for n in (3, 4):\n    %pipeline run -p n={n}")
        assert [bundle["text/plain"].split()[-1] for bundle in reply.shown if "metrics" in bundle["text/plain"]] != []
        metrics = [json.loads(p.read_text())["steps"][0]["metrics"] for p in sorted(tmp_path.glob(".kale/runs/*/run.json"))]
        assert sorted(m["n"] for m in metrics) == [1, 3, 4]
        assert "kale-progress" not in live.good("[t.name for t in threading.enumerate()]").text


def test_what_a_step_changed_on_a_class_of_the_notebook_is_loaded_with_it(tmp_path: Path) -> None:
    cells = (
        "%%functions\nclass Counter:\n    made = 0",
        "%%step a\nCounter.made = 5\nc = Counter()",
        "%%step b\nprint(Counter.made, c.made)",
    )
    notebook = save(tmp_path / "nb.ipynb", *cells)
    with kernel(tmp_path, notebook=notebook) as live:
        live.good("%load_ext kale_nb")
        live.good("%pipeline run")
        live.good(cells[0])
        assert live.good("%kale_load last a c\ntype(c) is Counter, c.made").text == "(True, 0)"
        assert "Counter" in live.good("%kale_load last a").stdout
        assert live.good("c.made").text == "5"
