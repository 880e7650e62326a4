"""Mark magics: their line, their options, and the code that is left."""

from __future__ import annotations

import pytest

from kale_nb.annotations.lines import statement_starts
from kale_nb.annotations.marks import Role
from kale_nb.diagnostics import Severity
from kale_nb.pipeline.model import Retry, Secret, StepSettings
from tests.annotations.marking import clean, marks, rejects, roles, underlined


def code(text: str) -> str:
    return clean(text, ("end", "step:end")).cells[0].code


def options(line: str) -> StepSettings:
    return clean(f"%%step a {line}\nx").steps[0].settings


def test_the_mark_line_becomes_a_comment() -> None:
    assert code("%%step a --retries 3\nx = 1") == "# %%step a --retries 3\nx = 1"


def test_a_mark_may_follow_blank_lines_and_comments() -> None:
    assert code("\n# why\n%%imports\nimport os") == "\n# why\n# %%imports\nimport os"


def test_an_indented_cell_stays_evenly_indented() -> None:
    assert code("  %%step a\n  x = 1") == "  # %%step a\n  x = 1"


@pytest.mark.parametrize("mark", ["%%step a", "  %%step a", "\t%%step a"])
def test_a_mark_takes_the_indent_of_the_code_below_it(mark: str) -> None:
    assert code(f"{mark}\n\n  x = 1\n  y = 2") == "  # %%step a\n\n  x = 1\n  y = 2"
    assert code(f"{mark}\nx = 1") == "# %%step a\nx = 1"
    assert code(f"{mark}\n%%metrics\n  print(1)") == "  # %%step a\n  # %%metrics\n  print(1)"
    assert code(f"{mark}\n  %%time\n  x = 1") == "  %%time\n  # %%step a\n  x = 1"


def test_a_cell_of_only_its_mark_is_a_cell_of_the_step() -> None:
    assert roles(clean("%%step a")) == ["a"]


@pytest.mark.parametrize("magic", ["%%time", "%%timeit -n 1", "%%capture out", "%%prun"])
def test_another_magic_of_python_moves_up(magic: str) -> None:
    assert code(f"%%step a\n{magic}\nx = 1\ny = 2") == f"{magic}\n# %%step a\nx = 1\ny = 2"


def test_another_magic_moves_over_comments_too() -> None:
    assert code("# c\n%%step a\n\n%%time\nx") == "%%time\n# c\n# %%step a\n\nx"


@pytest.mark.parametrize("magic", ["%%writefile a.txt", "%%bash", "%%html", "%%my_own"])
def test_a_magic_whose_body_is_no_python_gets_a_blank_line_above(magic: str) -> None:
    assert code(f"%%step a\n{magic}\n%pipeline --name x\nbody") == f"\n{magic}\n%pipeline --name x\nbody"


def test_another_magic_alone_is_left_where_it_is() -> None:
    assert clean(("%%time\nx", "step:a")).cells[0].code == "%%time\nx"
    assert clean(("x", "step:a"), "%%bash\n%%step b").cells[1].code == "%%bash\n%%step b"


def test_every_option_of_a_step() -> None:
    found = options(
        "--image python:3.11 --limit cpu=2 --limit nvidia.com/gpu=1 --request memory=2Gi --cpu 1 --retries 3 --retry-interval 5s "
        "--timeout 10m --env A=1 --env 'B=two words' --label team=blue --annotation url=https://e.org/?a=b "
        "--secret db:password:DB --cache disabled --report enabled"
    )
    assert found == StepSettings(
        image="python:3.11",
        limits={"cpu": "2", "nvidia.com/gpu": "1"},
        requests={"memory": "2Gi", "cpu": "1"},
        labels={"team": "blue"},
        annotations={"url": "https://e.org/?a=b"},
        env={"A": "1", "B": "two words"},
        secrets=(Secret(secret="db", key="password", env="DB"),),
        retry=Retry(attempts=3, interval=5),
        timeout=600,
        cache=False,
        report=True,
    )


@pytest.mark.parametrize("line", ["--retries=3", "--retries 3 # because", "--retries '3'", '--retries "3"'])
def test_spellings_of_a_value(line: str) -> None:
    assert options(line).retry == Retry(attempts=3)


def test_options_may_stand_before_the_name() -> None:
    assert clean("%%step --retries 3 a\nx").steps[0].name == "a"


@pytest.mark.parametrize(
    "line",
    ["--after b,c", "--after b --after c", "--after=b,c", "--after b, c", "--after b;c", "--after 'b, c'", "--after ,b,,c,"],
)
def test_spellings_of_predecessors(line: str) -> None:
    assert [a.name for a in clean(f"%%step a {line}\nx").steps[0].after] == ["b", "c"]


def test_each_predecessor_has_its_own_place() -> None:
    after = clean("%%step a --after load,prep\nx").steps[0].after
    assert [str(a.location) for a in after] == ["nb.ipynb[cell 1]:1:18", "nb.ipynb[cell 1]:1:23"]


def test_columns_count_characters() -> None:
    found = rejects("KN501", "[cell 1]:1:14", "%%step größe --timeout soon\nx")
    assert underlined(found) == "--timeout soon"


@pytest.mark.parametrize(
    ("line", "under", "hint"),
    [
        ("%%step", "%%step", "%%step NAME"),
        ("%%step --retries 3", "%%step", "%%step NAME"),
        ("%%step two words", "words", "two_words"),
        ("%%step a --afetr b", "--afetr", "--after"),
        ("%%step a --prev b", "--prev", "--after"),
        ("%%step a --gpu 1", "--gpu", "--limit"),
        ("%%step a --imgae=x", "--imgae=x", "--image"),
        ("%%step a --zebra", "--zebra", "the options are"),
        ("%%step a -x", "-x", "the options are"),
        ("%%imports os", "os", "alone"),
        ("%%metrics accuracy", "accuracy", "alone"),
    ],
)
def test_a_line_that_cannot_be_read(line: str, under: str, hint: str) -> None:
    _, found = marks(("z", "step:z"), f"{line}\nx")
    hits = [d for d in found if d.rule.code == "KN111"]
    assert len(hits) == 1, found
    assert underlined(hits[0]) == under
    assert hint in (hits[0].hint or "")


def test_an_open_quote() -> None:
    assert underlined(rejects("KN111", "[cell 1]:1:18", '%%step a --image "x\ny')) == '"x'


@pytest.mark.parametrize(
    "line",
    [
        "--timeout soon",
        "--retries many",
        "--limit cpu",
        "--limit cpu=",
        "--image",
        "--env",
        "--cache maybe",
        "--secret a:b",
        "--cpu fast",
    ],
)
def test_a_value_that_cannot_be_read(line: str) -> None:
    assert underlined(rejects("KN501", "[cell 1]:1:10", f"%%step a {line}\nx")) == line


def test_a_missing_value_does_not_eat_the_next_option() -> None:
    marked, found = marks("%%step a --image --retries 3\nx")
    assert [d.rule.code for d in found] == ["KN501"]
    assert marked.steps[0].settings.retry == Retry(attempts=3)


def test_predecessors_left_out() -> None:
    rejects("KN501", "[cell 1]:1:10", "%%step a --after\nx")


def test_a_skip_mark_may_say_why() -> None:
    assert roles(clean("%%skip it's slow\nx", ("y", "step:a"))) == ["skip", "a"]


@pytest.mark.parametrize("above", ["x = 1\n", "%%time\n", "import os\n\n"])
@pytest.mark.parametrize("mark", ["%%step b", "%%skip", "%%imports", "%%metrics"])
def test_a_mark_below_other_code(above: str, mark: str) -> None:
    row = above.count("\n") + 1
    found = rejects("KN110", f"[cell 2]:{row}:1", ("z", "step:z"), f"{above}{mark}\ny = 2")
    assert underlined(found) == mark.split(maxsplit=1)[0]


@pytest.mark.parametrize("text", ['s = """\n%%step b\n"""', "# %%step b", "s = '%%step b'", "x = 5\\\n%%step", "f(a\n%%step\n)"])
def test_what_only_looks_like_a_mark(text: str) -> None:
    clean(("z", "step:z"), text)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("%%stp train", "%%step train"),
        ("%%Step train", "%%step train"),
        ("%%steps train", "%%step train"),
        ("%% step train", "%%step train"),
        ("%%step:train", "%%step train"),
        ("%%import", "%%imports"),
        ("%%params", "%%parameters"),
        ("%%pipeline-parameters", "%%parameters"),
        ("%%metric", "%%metrics"),
        ("%%block train", "%%step train"),
        ("%%sikp", "%%skip"),
        ("%step train", "%%step train"),
        ("%imports", "%%imports"),
    ],
)
def test_a_magic_spelled_nearly_like_ours(line: str, meant: str) -> None:
    found = rejects("KN109", "[cell 2]:1:1", ("z", "step:z"), f"{line}\nx", level=Severity.WARNING)
    assert f"`{meant}`" in found.message


@pytest.mark.parametrize(
    "magic", ["%%time", "%%script python", "%%sh", "%%svg", "%%html", "%%bash", "%%sql select 1", "%%writefile a", "%%R"]
)
def test_other_magics_are_left_alone(magic: str) -> None:
    clean(("z", "step:z"), f"{magic}\nx")


class TestPipeline:
    @pytest.mark.parametrize(("line", "column"), [("%pipeline", 11), ("%%step a", 10)])
    def test_an_image_has_no_space_in_its_name(self, line: str, column: int) -> None:
        found = rejects("KN501", f"[cell 2]:1:{column}", ("y", "step:b"), f"{line} --image 'a b'\nx")
        assert "an image has no space in its name: `a b`" in found.message

    def test_every_setting(self) -> None:
        found = clean(
            '%pipeline --name titanic --experiment exp --description "Who survived?" --image python:3.11 --marshal-volume '
            "--marshal-volume-size 2Gi --marshal-path /m --volume data:/data:5Gi "
            "--volume name=w,mount=/w,type=clone,snapshot --autosnapshot",
            ("x", "step:a"),
        ).settings
        assert (found.name, found.experiment, found.description) == ("titanic", "exp", "Who survived?")
        assert (found.image, found.autosnapshot) == ("python:3.11", True)
        assert (found.marshal_volume.enabled, found.marshal_volume.size, found.marshal_volume.path) == (True, "2Gi", "/m")
        assert [(v.name, v.mount_point, v.size, v.kind, v.snapshot) for v in found.volumes] == [
            ("data", "/data", "5Gi", "new", False),
            ("w", "/w", None, "clone", True),
        ]

    @pytest.mark.parametrize(
        ("flag", "value"),
        [("--autosnapshot", True), ("--no-autosnapshot", False), ("--autosnapshot=false", False), ("--autosnapshot no", False)],
    )
    def test_spellings_of_a_flag(self, flag: str, value: bool) -> None:
        assert clean(f"%pipeline {flag} --name a", ("x", "step:a")).settings.autosnapshot is value

    def test_it_may_stand_anywhere_and_becomes_a_comment(self) -> None:
        marked = clean("%%step a\nx = 1\n%pipeline --name n\nif x:\n    %pipeline --experiment e\ny = 2")
        assert (
            marked.cells[0].code == "# %%step a\nx = 1\n# %pipeline --name n\nif x:\n    pass  # %pipeline --experiment e\ny = 2"
        )
        assert (marked.settings.name, marked.settings.experiment) == ("n", "e")

    def test_it_may_go_over_several_lines(self) -> None:
        marked = clean("%%step a\n%pipeline --name n \\\n  --experiment e\nx = 1")
        assert (marked.settings.name, marked.settings.experiment) == ("n", "e")
        compile(marked.cells[0].code, "cell", "exec")

    @pytest.mark.parametrize("text", ['s = """\n%pipeline --name n\n"""', "x = (a\n  %pipeline)", "x = a\\\n %pipeline"])
    def test_what_only_looks_like_it(self, text: str) -> None:
        marked = clean(("z", "step:z"), text)
        assert marked.cells[1].code == text
        assert marked.settings.name is None

    def test_quotes_in_shell_lines_hide_nothing(self) -> None:
        marked = clean("%%step a\n!echo it's (\n%pipeline --name n")
        assert marked.settings.name == "n"

    def test_a_command_to_the_live_notebook_is_no_setting(self) -> None:
        assert clean("%pipeline run --anything 3", ("x", "step:a")).settings.name is None
        assert clean("%pipeline run \\\n --name x", ("x", "step:a")).settings.name is None

    def test_two_lines_that_agree(self) -> None:
        clean("%pipeline --name a", "%pipeline --name a --experiment e", ("x", "step:a"))

    def test_two_lines_that_contradict_each_other(self) -> None:
        found = rejects("KN502", "[cell 2]:1:11", "%pipeline --name a", "%pipeline --name b", ("x", "step:a"))
        assert underlined(found) == "--name b"

    def test_it_counts_above_the_metadata(self) -> None:
        marked = clean("%pipeline --name new", ("x", "step:a"), settings={"pipeline_name": "old", "experiment_name": "e"})
        assert (marked.settings.name, marked.settings.experiment) == ("new", "e")

    def test_settings_of_steps_are_defaults(self) -> None:
        assert clean("%pipeline --retries 2 --limit cpu=1", ("x", "step:a")).steps[0].settings.retry == Retry(attempts=2)

    @pytest.mark.parametrize(
        ("line", "code", "under"),
        [
            ("--nmae x", "KN111", "--nmae"),
            ("titanic", "KN111", "titanic"),
            ("--name", "KN501", "--name"),
            ("--volume data", "KN501", "--volume data"),
            ("--volume data:relative", "KN501", "--volume data:relative"),
            ("--volume data:/d:much", "KN501", "--volume data:/d:much"),
            ("--autosnapshot=maybe", "KN501", "--autosnapshot=maybe"),
        ],
    )
    def test_what_cannot_be_read(self, line: str, code: str, under: str) -> None:
        assert underlined(rejects(code, "[cell 1]:1:11", f"%pipeline {line}", ("x", "step:a"))) == under


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("a\nb", "11"),
        ("a = (\n1\n)\nb", "1001"),
        ("a = '''\nx\n'''\nb", "1001"),
        ("a = '(' # '''\nb", "11"),
        ("a = \\\n1\nb", "101"),
        ("# c \\\nb", "11"),
        ("!echo ' (\nb", "11"),
        ("!echo \\\n ' (\nb", "101"),
        ("x = !ls (\nb", "11"),
        ("%timeit f('\nb", "11"),
        ("a = 'it\\'s'\nb", "11"),
        ("a = 'open\nb", "11"),
        ("a = 'x\\\ny'\nb", "101"),
        ('f"""{x}\n""" + (\n)\nb', "1001"),
        ("a = x % (\ny)\nb", "101"),
        (")\nb", "11"),
    ],
)
def test_which_lines_begin_a_statement(text: str, starts: str) -> None:
    assert "".join(str(int(s)) for s in statement_starts(text.split("\n"))) == starts


class TestTheLiveNotebook:
    """What speaks to the live notebook is not for steps."""

    @pytest.mark.parametrize(
        "text",
        [
            "%load_ext kale_nb",
            "%reload_ext kale_nb",
            "%pipeline",
            "%pipeline check",
            "%pipeline graph",
            "%pipeline run -p lr=0.1 --until train",
            "%%step?",
            "%%step??",
            "?%%step",
            "%pipeline?",
            "%kale_load?",
        ],
    )
    def test_its_commands_are_no_code_of_a_step(self, text: str) -> None:
        marked = clean(text, ("x", "step:a"), text)
        assert [c.role for c in marked.cells] == [Role.NOTHING, Role.STEP, Role.STEP]
        assert all(line.startswith("#") for line in marked.cells[2].code.split("\n"))

    def test_a_run_begun_in_a_block_leaves_the_block_valid(self) -> None:
        assert code("%%step a\nif x:\n    %pipeline run") == "# %%step a\nif x:\n    pass  # %pipeline run"

    def test_loading_the_extension_among_the_imports(self) -> None:
        assert code("%%imports\n%load_ext kale_nb\nimport os") == "# %%imports\n# %load_ext kale_nb\nimport os"

    @pytest.mark.parametrize("line", ["%kale_load last a", "y = %pipeline run", "  %kale_load last a y"])
    def test_a_step_cannot_bind_names_by_a_command(self, line: str) -> None:
        found = rejects("KN116", f"[cell 2]:1:{line.index(line.strip()) + 1}", ("x", "step:a"), line)
        assert underlined(found) == line.strip()

    @pytest.mark.parametrize("mark", ["%%imports", "%%functions", "%%parameters", "%%metrics", "%%step b\n%%time"])
    def test_nor_can_any_other_cell_of_the_pipeline(self, mark: str) -> None:
        rejects("KN116", f"[cell 2]:{mark.count(chr(10)) + 2}:1", ("x", "step:a"), f"{mark}\n%kale_load last a")

    def test_a_skipped_cell_may_load_what_a_run_left(self) -> None:
        clean(("x", "step:a"), "%%skip\n%kale_load last a y\nz = %pipeline run")

    def test_so_may_a_cell_before_all_marks(self) -> None:
        clean("%load_ext kale_nb\n%kale_load last a y", ("x", "step:a"))

    @pytest.mark.parametrize("text", ['s = """\n%kale_load last a\n"""', "x = (a\n  %kale_load)", "# %kale_load last a b"])
    def test_what_only_looks_like_loading(self, text: str) -> None:
        assert clean(("z", "step:z"), text).cells[1].code == text
