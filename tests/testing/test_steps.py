"""One step runs with the inputs of a test, as it would in a run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kale_nb.diagnostics import CompileError
from kale_nb.errors import MarshalError, SourceError, UsageError
from kale_nb.testing import KaleStep, StepFailed, kale_functions, kale_step

pytestmark = pytest.mark.kernel
Nb = Callable[..., Path]

TRAIN = """\
%%parameters
lr = 0.1
%%imports
import json
import os
import numpy as np
%%functions
class Model:
    def __init__(self, weights):
        self.weights = weights
    def __eq__(self, other):
        return type(self) is type(other) and self.weights == other.weights
def scaled(values):
    return [lr * v for v in values]
%%step load
rows = [1, 2, 3]
model = Model([0])
print("load ran")
%%step train --after load
print("training", len(rows))
model.weights = scaled(rows)
loss = sum(model.weights)
lock = (x for x in rows)
loss
%%metrics
print(loss)
%%step report --after train
print(model.weights)
"""


def test_a_step_runs_without_its_ancestors(nb: Nb) -> None:
    notebook = nb(TRAIN)
    Model = kale_functions(notebook).Model
    result = kale_step(notebook, "train", inputs={"rows": [10, 20], "model": Model([0])}, params={"lr": 0.5})
    assert result["loss"] == 15
    assert result["model"] == Model([5, 10])
    assert result.stdout == "training 2\n15.0\n"
    assert result.displayed == ({"text/plain": "15.0"},)
    assert result.metrics == {"loss": 15}
    assert result["rows"] == [10, 20]
    assert "load ran" not in result.notebook.read_text()
    assert repr(result) == "<step train: variables lock, loss, model, rows, loss=15>"


def test_a_variable_that_cannot_travel_says_so_when_it_is_asked_for(nb: Nb) -> None:
    notebook = nb(TRAIN)
    result = kale_step(notebook, "train", inputs={"rows": [1], "model": kale_functions(notebook).Model([])})
    assert "lock" in result.variables
    with pytest.raises(MarshalError, match="`lock` of step `train`.*generator"):
        result["lock"]
    with pytest.raises(KeyError, match="did you mean loss"):
        result["los"]


def test_inputs_of_numpy_and_pandas_come_as_they_are(nb: Nb) -> None:
    import pandas as pd

    notebook = nb(
        "%%step a\nx = frame = 0\n%%step b --after a\nkind = type(frame).__name__, x.dtype.str, x.flags.writeable\ny = x * 2\n"
    )
    frame = pd.DataFrame({"a": pd.Categorical(["u", "v"])})
    result = kale_step(notebook, "b", inputs={"x": np.arange(3, dtype="i2"), "frame": frame})
    assert result["kind"] == ("DataFrame", "<i2", True)
    np.testing.assert_array_equal(result["y"], [0, 2, 4])
    pd.testing.assert_frame_equal(result["frame"], frame)


def test_inputs_that_share_objects_share_them_in_the_step_and_in_the_result(nb: Nb) -> None:
    notebook = nb("%%step a\nxs = []\nd = {'xs': xs}\n%%step b --after a\nxs.append(1)\nsame = d['xs'] is xs\n")
    xs: list[int] = []
    result = kale_step(notebook, "b", inputs={"d": {"xs": xs}, "xs": xs})
    assert result["same"] is True
    assert result["d"]["xs"] is result["xs"]
    assert result["xs"] == [1]
    assert xs == [], "a test's own values stay as they are"


def test_a_join_takes_inputs_for_all_its_predecessors(nb: Nb) -> None:
    notebook = nb("%%step a\nx = 1\n%%step b --after a\ny = x\n%%step c --after a\nz = x\n%%step d --after b,c\ntotal = y + z\n")
    assert kale_step(notebook, "d", inputs={"y": 3, "z": 4})["total"] == 7


def test_functions_that_the_step_made_work_in_the_test(nb: Nb) -> None:
    notebook = nb(
        "%%functions\ndef base(x):\n    return x + 1\n%%step a\nfactor = 3\ndef f(x):\n    return base(x) * factor\n%%step b\nprint(f(1))\n"
    )
    result = kale_step(notebook, "a")
    assert result["f"](1) == 6


def test_functions_of_another_test_with_other_parameters_change_no_result(nb: Nb) -> None:
    notebook = nb(
        "%%parameters\nn = 3\n%%functions\nbase = n * 10\nclass Row:\n    pass\ndef more(x):\n    return x + n + base, Row()\n"
        "%%step a\ntotal = 0\n%%step b --after a\nplus = lambda: total + n\nhow = lambda: more(total)\nrow = Row()\n"
    )

    def told(**params: int) -> tuple[int, int]:
        result = kale_step(notebook, "b", inputs={"total": 5}, params=params)
        return result["plus"](), result["how"]()[0]

    many = kale_functions(notebook, params={"n": 50})
    assert told() == (8, 38)
    assert told(n=4) == (9, 49)
    assert told(n=50) == (55, 555)
    plain = kale_functions(notebook)
    assert told() == (8, 38)
    assert told(n=4) == (9, 49)
    assert told(n=50) == (55, 555)
    assert many.more(5)[0] == 555
    assert plain.more(5)[0] == 38


def test_a_result_has_the_classes_of_the_functions_that_the_test_holds(nb: Nb) -> None:
    notebook = nb(
        "%%parameters\nn = 3\n%%functions\nclass Row:\n    pass\ndef make():\n    return Row(), n\n"
        "%%step a\nold = 0\n%%step b --after a\nkept = old\nrow = Row()\nlater = lambda: make()\n"
    )
    plain = kale_functions(notebook)
    many = kale_functions(notebook, params={"n": 50})
    for params, held in (({}, plain), ({"n": 3}, plain), ({"n": 50}, many), ({"n": 4}, plain)):
        assert type(kale_step(notebook, "b", inputs={"old": 0}, params=params)["row"]) is held.Row, (
            "of the same parameters, or plain"
        )
    result = kale_step(notebook, "b", inputs={"old": [many.Row()]}, params={"n": 4})
    assert type(result["kept"][0]) is type(result["row"]) is many.Row, "those that were given count first"
    made, n = result["later"]()
    assert (type(made), n) == (many.Row, 4)


def fake_fetch() -> list[int]:
    return [1, 2]


def test_what_one_step_returned_is_given_to_the_next_one_with_all_that_its_functions_need(nb: Nb) -> None:
    notebook = nb(
        "%%functions\nclass Row:\n    n = 0\n    def __eq__(self, other):\n        return type(self) is type(other)\n"
        "%%step a\nrow = Row()\nfactor = 3\ndef scale(x):\n    return x * factor\nhow = {'f': scale, 'g': lambda x: x + 1}\n"
        "%%step b --after a\nprint(how['f'](2), how['g'](1), scale(1), isinstance(row, Row))\nhow['h'] = scale\nfactor = 4\n"
        "%%step c --after b\nprint(scale(1), how['f'](1), how['h'] is scale)\n"
    )
    one = kale_step(notebook, "a")
    two = kale_step(notebook, "b", inputs={"how": one["how"], "scale": one["scale"], "row": one["row"]})
    assert two.stdout == "6 2 3 True\n"
    assert two["scale"](1) == 4
    assert one["scale"](1) == 3, "each result has values of its own"
    assert kale_step(notebook, "c", inputs={"how": two["how"], "scale": two["scale"]}).stdout == "4 4 True\n"
    with pytest.raises(MarshalError, match="functions that several results brought along"):
        kale_step(notebook, "c", inputs={"how": one["how"], "scale": two["scale"]})


def test_a_parameter_that_a_step_before_changed_is_an_input(nb: Nb) -> None:
    notebook = nb("%%parameters\nn = 1\n%%step a\nn += 1\n%%step b --after a\nprint(n)\n")
    assert kale_step(notebook, "b", inputs={"n": 7}).stdout == "7\n"


def test_a_function_of_the_notebook_is_replaced_by_an_input(nb: Nb) -> None:
    notebook = nb(
        "%%functions\nimport math\nlimit = 5\ndef fetch():\n    raise OSError('no network')\n%%step a\ndata = fetch() + [limit]\n"
    )
    assert kale_step(notebook, "a", inputs={"fetch": lambda: [1, 2], "limit": 7})["data"] == [1, 2, 7]
    assert kale_step(notebook, "a", inputs={"fetch": fake_fetch, "limit": 7})["data"] == [1, 2, 7]
    with pytest.raises(StepFailed, match="no network"):
        kale_step(notebook, "a")
    with pytest.raises(UsageError, match="given as `fetch` reads `TRAIN` of the test's module"):
        kale_step(notebook, "a", inputs={"fetch": lambda: [TRAIN]})


def test_the_step_runs_in_a_clone_and_the_folder_stays_as_it_is(nb: Nb) -> None:
    notebook = nb(
        "%%workspace data.txt\n7\n%%step a\nn = int(open('data.txt').read())\nopen('data.txt', 'w').write('8')\nopen('new.txt', 'w').close()\n"
    )
    before = sorted(p.name for p in notebook.parent.rglob("*"))
    result = kale_step(notebook, "a")
    assert result["n"] == 7
    assert (result.folder / "data.txt").read_text() == "8"
    assert (result.folder / "new.txt").exists()
    assert sorted(p.name for p in notebook.parent.rglob("*")) == before
    assert (notebook.parent / "data.txt").read_text() == "7\n"


def test_a_step_that_names_its_folder_by_its_path_writes_to_the_clone_where_the_machine_allows_it(nb: Nb) -> None:
    notebook = nb(
        "%%imports\nimport os\nfrom pathlib import Path\n%%step a\nhome = Path.cwd()\n(home / 'new.txt').write_text('x')\n"
    )
    text = notebook.read_text().replace("Path.cwd()", f"Path({str(notebook.parent)!r})")
    notebook.write_text(text)
    probe = notebook.with_name("probe.ipynb")
    probe.write_text(text.replace("(home / 'new.txt').write_text('x')", "here = os.getcwd()"))
    if kale_step(probe, "a")["here"] != str(notebook.parent.resolve()):
        pytest.skip("no private mount namespaces here")
    result = kale_step(notebook, "a")
    assert (result.folder / "new.txt").exists()
    assert not (notebook.parent / "new.txt").exists()


def test_the_kernel_has_the_environment_of_the_test(nb: Nb, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nb("%%imports\nimport os\n%%step a\nfound = os.environ.get('KALE_TEST_X'), os.environ.get('KALE_TEST_Y')\n")
    monkeypatch.setenv("KALE_TEST_X", "1")
    assert kale_step(notebook, "a")["found"] == ("1", None)
    monkeypatch.delenv("KALE_TEST_X")
    monkeypatch.setenv("KALE_TEST_Y", "2")
    assert kale_step(notebook, "a")["found"] == (None, "2")


def test_a_notebook_that_changed_is_compiled_again(nb: Nb) -> None:
    assert kale_step(nb("%%step a\nx = 1\n"), "a")["x"] == 1
    assert kale_step(nb("%%step a\nx = 2222\n"), "a")["x"] == 2222


# -- what is refused --------------------------------------------------------------------------------------------------------------------


def told(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def test_a_missing_input_is_told_with_the_step_that_makes_it(nb: Nb) -> None:
    with pytest.raises(UsageError) as caught:
        kale_step(nb(TRAIN), "train", inputs={"rows": []})
    assert told(caught.value) == (
        "step `train` reads `model` (of step `load`), which was not given\nhint: give it: inputs={'model': ...}"
    )


def test_an_input_that_the_step_does_not_read_is_refused(nb: Nb) -> None:
    with pytest.raises(UsageError) as caught:
        kale_step(nb(TRAIN), "report", inputs={"model": 1, "loss": 2})
    assert told(caught.value) == "step `report` does not read `loss`, so the input would test nothing\nhint: it reads model"


def test_near_misses_are_told(nb: Nb) -> None:
    with pytest.raises(UsageError) as caught:
        kale_step(nb(TRAIN), "trian")
    assert "did you mean train?" in told(caught.value)
    with pytest.raises(UsageError) as caught:
        kale_step(nb(TRAIN), "load", params={"l": 1})
    assert "no parameter 'l'" in told(caught.value)
    with pytest.raises(UsageError) as caught:
        kale_step(nb(TRAIN), "train", inputs={"row": 1})
    assert "did you mean rows?" in told(caught.value)
    with pytest.raises(UsageError) as caught:
        kale_step(nb(TRAIN), "train", inputs={"lr": 1})
    assert "params={'lr': ...}" in told(caught.value)
    with pytest.raises(SourceError, match="there is no .*other.ipynb"):
        kale_step(nb(TRAIN).with_name("other.ipynb"), "train")


def test_an_input_that_cannot_travel_is_refused(nb: Nb) -> None:
    with pytest.raises(MarshalError, match="the input `rows` cannot be passed to a step: .*generator"):
        kale_step(nb(TRAIN), "train", inputs={"rows": (x for x in ()), "model": None})


def test_a_notebook_with_errors_is_refused(nb: Nb) -> None:
    with pytest.raises(CompileError, match="KN301"):
        kale_step(nb("%%step a\nprint(nothing)\n"), "a")


# -- failures ---------------------------------------------------------------------------------------------------------------------------


def test_a_step_that_raises_says_where(nb: Nb) -> None:
    with pytest.raises(StepFailed, match="TypeError") as caught:
        kale_step(nb(TRAIN), "train", inputs={"rows": 3, "model": None})
    error = caught.value
    assert (error.step, error.kind, error.error) == ("train", "exception", "TypeError")
    assert str(error.location).endswith("nb.ipynb[cell 5]:1")
    assert 'print("training", len(rows))' in error.traceback
    assert error.notebook is not None
    assert error.notebook.exists()


def test_what_was_printed_before_a_failure_is_kept(nb: Nb) -> None:
    with pytest.raises(StepFailed, match="ZeroDivisionError: division by zero") as caught:
        kale_step(nb("%%step a\nprint('so far')\n1 / 0\n"), "a")
    assert caught.value.stdout == "so far\n"


def test_a_step_that_takes_too_long_is_stopped(nb: Nb) -> None:
    notebook = nb("%%imports\nimport time\n%%step a\ntime.sleep(60)\n")
    began = time.monotonic()
    with pytest.raises(StepFailed, match="longer than its timeout of 1 s") as caught:
        kale_step(notebook, "a", timeout=1)
    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 50
    assert "timeout=SECONDS" in told(caught.value)


def test_a_step_that_kills_its_process_leaves_the_next_ones_alone(nb: Nb) -> None:
    notebook = nb("%%imports\nimport os\n%%step a\nos.kill(os.getpid(), 9)\n%%step b\nx = 1\n")
    with pytest.raises(StepFailed, match="SIGKILL") as caught:
        kale_step(notebook, "a")
    assert caught.value.kind == "died"
    assert kale_step(notebook, "b")["x"] == 1


def test_every_kernel_is_forked_from_one_process(nb: Nb) -> None:
    notebook = nb(
        "%%imports\nimport os\n%%step a\nme, parent = os.getpid(), os.getppid()\n%%step b\nme, parent = os.getpid(), os.getppid()\n"
    )
    ran = [kale_step(notebook, name) for name in "abab"]
    assert len({step["me"] for step in ran}) == 4
    assert len({step["parent"] for step in ran}) == 1


def test_steps_may_run_from_several_threads(nb: Nb) -> None:
    from concurrent.futures import ThreadPoolExecutor

    notebook = nb("%%step a\nx = 0\n%%step b\ny = x * 2\n")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: kale_step(notebook, "b", inputs={"x": n})["y"], range(8)))
    assert found == [2 * n for n in range(8)]


# -- scripts ----------------------------------------------------------------------------------------------------------------------------

SCRIPT = """\
from kale.sdk import pipeline, step

@step
def load(n: int):
    return list(range(n))

@step
def total(values):
    print("adding")
    return sum(values)

@pipeline
def sums(n: int = 3):
    values = load(n)
    result = total(values)
"""


def test_a_step_of_a_script_runs_too(tmp_path: Path) -> None:
    (tmp_path / "sums_script.py").write_text(SCRIPT)
    result = kale_step(tmp_path / "sums_script.py", "total", inputs={"values": [4, 5]})
    assert result["result"] == 9
    assert result.stdout == "adding\n"
    assert kale_step(tmp_path / "sums_script.py", "load", params={"n": 2})["values"] == [0, 1]
    with pytest.raises(UsageError, match="is a script"):
        kale_functions(tmp_path / "sums_script.py")


# -- the fixture ------------------------------------------------------------------------------------------------------------------------


def test_the_fixture_looks_in_the_folder_of_the_test(kale_step: KaleStep) -> None:
    found = os.path.relpath(Path(__file__).parents[2] / "examples" / "quickstart" / "quickstart.ipynb", Path(__file__).parent)
    assert kale_step(found, "average", inputs={"heights": [1.0, 2.0]})["mean"] == 1.5


def test_a_data_volume_is_where_the_notebook_expects_it(nb: Nb, tmp_path: Path) -> None:
    notebook = nb(
        "%%imports\nimport os\nfrom pathlib import Path\n%%step a\nplace = Path(os.environ['KALE_DATA_ROWS'])\ntext = (place / 'x.txt').read_text()\n(place / 'x.txt').write_text('new')\n"
    )
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "x.txt").write_text("old")
    volume = {"name": "rows", "mount_point": "/rows-of-a-test", "type": "clone", "size": 1, "source": str(tmp_path / "rows")}
    content = json.loads(notebook.read_text())
    content["metadata"]["kubeflow_notebook"] = {"volumes": [volume]}
    notebook.write_text(json.dumps(content))
    assert kale_step(notebook, "a")["text"] == "old"
    assert (tmp_path / "rows" / "x.txt").read_text() == "old"
