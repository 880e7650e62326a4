"""Marks in a live kernel: the cell runs as it always ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kale_nb.annotations.asks import ALL
from kale_nb.annotations.options import PIPELINE_OPTIONS
from tests.jupyter.kernels import Kernel, kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with kernel(tmp_path_factory.mktemp("marks")) as started:
        started.good("%load_ext kale_nb")
        yield started


MARKS = [
    "%%step a",
    "%%step b --after a --retries 3 --env 'A=b c'",
    "%%imports",
    "%%functions",
    "%%parameters",
    "%%metrics",
    "%%skip",
]


@pytest.mark.parametrize("mark", MARKS)
def test_a_marked_cell_runs_in_the_notebooks_namespace(live: Kernel, mark: str) -> None:
    reply = live.good(f"{mark}\nhere = {mark!r}\nprint('said')\nhere")
    assert reply.stdout == "said\n"
    assert reply.text == repr(mark)
    assert live.good("here").text == repr(mark)


def test_the_last_expression_is_shown_and_kept_as_any_other(live: Kernel) -> None:
    reply = live.good("%%step a\n[1, 2]")
    assert reply.text == "[1, 2]"
    assert live.good("_").text == "[1, 2]"
    assert live.good(f"Out[{reply.count}]").text == "[1, 2]"
    assert live.good("%%step a\n3;").shown == []


def test_top_level_await_works(live: Kernel) -> None:
    reply = live.good("%%step a\nimport asyncio\nawait asyncio.sleep(0.01)\nasync with asyncio.Lock():\n    print('in')\n7")
    assert (reply.stdout, reply.text) == ("in\n", "7")


def test_a_mark_may_stand_below_blank_lines_and_comments_as_for_the_compiler(live: Kernel) -> None:
    reply = live.run("# why\n\n%%step a\nimport sys\nprint('line', sys._getframe().f_lineno)\n1/0")
    assert reply.stdout == "line 5\n"
    assert _arrows(reply.traceback) == ["1/0"]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("before", ["", "  ", "\n"])
def test_a_cell_that_is_indented_as_a_whole_runs_as_it_does_without_its_mark(live: Kernel, mark: str, before: str) -> None:
    body = "  here = 1\n  if here:\n    print('said')\n  here + 1"
    plain, marked = live.good(body), live.good(f"{before}{mark}\n{body}")
    assert (marked.stdout, marked.text) == (plain.stdout, plain.text) == ("said\n", "2")


def test_a_cell_with_other_line_ends(live: Kernel) -> None:
    assert live.good("%%step a --after b\r\nends = 1\r\nends + 1").text == "2"


def test_an_exception_names_the_line_of_the_cell(live: Kernel) -> None:
    reply = live.run("\n%%step a\nx = 1\n\ndef f():\n    return x / 0\nf()")
    marked = _arrows(reply.traceback)
    plain = _arrows(live.run("\n# %%step a\nx = 1\n\ndef f():\n    return x / 0\nf()").traceback)
    assert reply.error == "ZeroDivisionError: division by zero"
    assert marked == plain == ["f()", "return x / 0"]
    lines = live.run("%%step a\nimport sys\nsys._getframe().f_lineno, __import__('traceback').extract_stack()[-1].lineno").text
    assert lines == "(3, 3)"


def _arrows(traceback: str) -> list[str]:
    """The code that the arrows of a traceback point at."""
    import re

    plain = re.sub(r"\x1b\[[0-9;]*m", "", traceback)
    return [match.group(1).strip() for match in re.finditer(r"-> \d+ (.*)", plain)]


def test_a_syntax_error_names_the_line_of_the_cell(live: Kernel) -> None:
    assert "line 3" in live.run("%%step a\nx = 1\nx = = 2").traceback


def test_a_cell_of_only_its_mark_runs(live: Kernel) -> None:
    assert live.good("%%step a").shown == []


@pytest.mark.parametrize("magic", ["%%time", "%%timeit -n 1 -r 1", "%%capture out"])
def test_another_cell_magic_on_the_second_line_does_its_work(live: Kernel, magic: str) -> None:
    reply = live.good(f"%%step a\n{magic}\nprint('inside')")
    assert ("inside" in reply.stdout) is (magic != "%%capture out")
    if magic == "%%capture out":
        assert live.good("out.stdout").text == "'inside\\n'"
    else:
        assert "time" in reply.stdout or "loop" in reply.stdout


def test_a_magic_that_writes_its_body_writes_no_mark(live: Kernel, tmp_path: Path) -> None:
    live.good(f"%%skip\n%%writefile {tmp_path}/a.txt\nx = 1\n%%step b\n")
    assert (tmp_path / "a.txt").read_text() == "x = 1\n%%step b\n"


def test_line_magics_and_shell_lines_inside_work(live: Kernel) -> None:
    reply = live.good("%%step a\nfound = !echo hello\n%time y = 1\nfound[0]")
    assert reply.text == "'hello'"


def test_history_holds_what_was_typed(live: Kernel) -> None:
    text = "%%step a --after b\nz = 1"
    count = live.good(text).count
    assert live.good(f"get_ipython().history_manager.input_hist_raw[{count}]").text == repr(text)
    assert live.good(f"In[{count}]").text == repr("# %%step a --after b\nz = 1")


def test_inspect_finds_the_source_of_a_function(live: Kernel) -> None:
    live.good("%%functions\ndef double(x):\n    return 2 * x")
    assert live.good("import inspect\nprint(inspect.getsource(double))").stdout == "def double(x):\n    return 2 * x\n\n"


@pytest.mark.parametrize(
    ("text", "message", "shown"),
    [
        ("%%step a --afetr b\nran = 1", "there is no option `--afetr`", "did you mean `--after`?"),
        ("%%step\nran = 1", "`%%step` names no step", "%%step NAME"),
        ("%%step a/b\nran = 1", "a step cannot be called `a/b`", "a_b"),
        ("%%step a --timeout soon\nran = 1", "`--timeout soon`: `soon` is no duration", "1h30m"),
        ("%%step a 'b\nran = 1", "a quote is left open in `b`", "close the quote"),
        ("ran = 1\n%%step a", "`%%step a` is not the first line of its cell", "first line"),
        ("%%step a\n%%step b\nran = 1", "the cell is marked for step `a` and for step `b`", "split the cell"),
        ("%%step a\n%%imports\nran = 1", "the cell is marked `%%step a` and `%%imports`", "split the cell"),
        ("%%imports now\nran = 1", "`%%imports` takes no `now`", "alone"),
        ("%%time\n%%step a\nran = 1", "`%%step a` is not the first line of its cell", "first line"),
        ("ran = 1\n%pipeline --nmae x", "there is no option `--nmae`", "did you mean `--name`?"),
    ],
)
def test_a_mark_that_cannot_be_read_stops_the_cell_before_anything_runs(
    live: Kernel, text: str, message: str, shown: str
) -> None:
    live.good("ran = 0")
    reply = live.run(text)
    assert reply.status == "error"
    assert reply.error == f"MarkError: {message}"
    assert shown in reply.traceback
    assert "KN" in reply.traceback
    assert "the cell did not run" in reply.traceback
    assert "kale_nb/" not in reply.traceback
    assert live.good("ran").text == "0"


@pytest.mark.parametrize(
    "text",
    ['t = """\n%%step a --bad\n"""', "%%html\n%%step a --bad", "x = 10\ny = (x\n %x\n)", "# %%step --bad"],
)
def test_what_only_looks_like_a_mark_is_left_alone(live: Kernel, text: str) -> None:
    assert live.run(text).error == ""


@pytest.mark.parametrize("name", ["step", "imports", "functions", "parameters", "metrics", "skip"])
def test_a_question_shows_help_with_an_example(live: Kernel, name: str) -> None:
    reply = live.good(f"%%{name}?")
    assert f"%%{name}" in reply.payload
    assert "Example" in reply.payload


def test_the_line_magics_explain_themselves(live: Kernel) -> None:
    assert "-p NAME=VALUE" in live.good("%pipeline?").payload
    assert "RUN is `last`" in live.good("%kale_load?").payload


def test_a_mark_called_by_its_name_runs_the_cell(live: Kernel) -> None:
    reply = live.good("get_ipython().run_cell_magic('step', 'a --retries 2', 'called = 5\\nprint(called)')\ncalled")
    assert (reply.stdout, reply.text) == ("5\n", "5")
    wrong = live.run("get_ipython().run_cell_magic('step', 'a', 'called = 6\\n1/0')")
    assert wrong.error == "ZeroDivisionError: division by zero"
    assert wrong.traceback.count("Traceback") + wrong.stdout.count("Traceback") <= 1
    assert "no option" in live.run("get_ipython().run_cell_magic('step', 'a --bad', 'called = 7')").error
    assert live.good("called").text == "6"


def test_a_console_waits_for_the_rest_of_a_marked_cell(live: Kernel) -> None:
    assert live.is_complete("%%step a") == "incomplete"
    assert live.is_complete("%%step a\nx = 1") == "incomplete"
    assert live.is_complete("%%step a\nx = 1\n\n") == "complete"
    assert live.is_complete("x = 1") == "complete"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with kernel(tmp_path_factory.mktemp("completion")) as started:
        started.good("%load_ext kale_nb")
        yield started


class TestCompletion:
    def test_of_the_marks(self, other: Kernel) -> None:
        assert "%%step" in other.complete("%%st")
        assert "%pipeline" in other.complete("%pipe")
        assert "%kale_load" in other.complete("%kale")

    def test_of_options_and_the_names_of_steps(self, other: Kernel) -> None:
        other.good("%%step alpha\n1")
        other.good("%%step beta --after alpha\n1")
        assert other.complete("%%step beta --af") == ["%%step beta --after"]
        assert other.complete("%%step al") == ["%%step alpha"]
        assert "%%step c --after alpha" in other.complete("%%step c --after ")
        assert other.complete("%%step c --after alpha,be") == ["%%step c --after alpha,beta"]
        assert other.complete("%%step c --after=alp") == ["%%step c --after=alpha"]
        assert other.complete("%%step c --retry-i") == ["%%step c --retry-interval"]

    def test_of_every_setting_of_a_step_and_of_a_notebook(self, other: Kernel) -> None:
        steps = other.complete("%%step c --")
        assert {f"%%step c --{name}" for name in ("after", *ALL)} == set(steps)
        assert other.complete("%%step c --pull-") == ["%%step c --pull-secret", "%%step c --pull-policy"]
        notebook = other.complete("%pipeline --name x --")
        assert {f"%pipeline --name x --{name}" for name in PIPELINE_OPTIONS} == set(notebook)
        assert other.complete("%pipeline --marshal-volume --auto") == ["%pipeline --marshal-volume --autosnapshot"]

    def test_of_values(self, other: Kernel) -> None:
        assert other.complete("%%step c --pull-policy A") == ["%%step c --pull-policy Always"]
        assert other.complete("%%step c --cache=d") == ["%%step c --cache=disabled"]
        assert other.complete("%%step c --cache ") == ["%%step c --cache enabled", "%%step c --cache disabled"]

    @pytest.mark.parametrize(
        "line",
        ["%%step c --env ", "%%step c --env p", "%%step c --retries=p", "%%step pri", "%pipeline --name ", "%pipeline --name p"],
    )
    def test_names_of_python_are_not_offered_where_a_text_of_the_users_own_stands(self, other: Kernel, line: str) -> None:
        assert other.complete(line) in ([], [line])

    def test_of_commands(self, other: Kernel) -> None:
        other.good("%%parameters\nrate = 0.1")
        assert "%pipeline graph" in other.complete("%pipeline ")
        assert other.complete("%pipeline r") == ["%pipeline run"]
        assert other.complete("%pipeline run -p ra") == ["%pipeline run -p rate="]
        assert other.complete("%pipeline run --until al") == ["%pipeline run --until alpha"]

    def test_of_other_lines_is_left_alone(self, other: Kernel) -> None:
        other.good("some_long_name = 1")
        assert other.complete("some_long_n") == ["some_long_name"]
        assert "%%step x\nsome_long_name" in [f"%%step x\n{end}" for end in other.complete("some_long_n")]


def test_unloading_leaves_the_shell_as_it_was(tmp_path: Path) -> None:
    with kernel(tmp_path) as fresh:
        state = (
            "s = get_ipython(); (len(s.input_transformers_cleanup), len(s.Completer.custom_matchers), "
            "sorted(map(len, s.magics_manager.magics.values())), [len(c) for c in s.events.callbacks.values()])"
        )
        before = fresh.good(state).text
        fresh.good("%load_ext kale_nb")
        assert fresh.good(state).text != before
        fresh.good("%reload_ext kale_nb")
        fresh.good("%unload_ext kale_nb")
        assert fresh.good(state).text == before
        assert "not found" in fresh.run("%%step a\n1").error + fresh.run("%%step a\n1").stderr
        fresh.good("%load_ext kale")
        assert fresh.good("%%step a\n1").text == "1"


def test_each_shell_of_a_process_has_its_own(tmp_path: Path) -> None:
    with kernel(tmp_path) as live:
        live.good("%load_ext kale_nb")
        live.good("from IPython.core.interactiveshell import InteractiveShell\nother = InteractiveShell()")
        live.good("other.run_line_magic('load_ext', 'kale_nb')")
        assert live.good("%%step a\n5").text == "5"
        live.good("other.run_line_magic('unload_ext', 'kale_nb')")
        assert live.good("%%step a\n6").text == "6"
