"""`kale check`, `kale compile`, `kale graph`, `kale explain` and the command line as such."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kale_nb.cli import main
from kale_nb.cli.command import COMMANDS
from kale_nb.diagnostics import RULES
from tests.cli.conftest import WriteNotebook, child_environment
from tests.cli.kept import keep_run

GOOD = (("step:load", "data = [1, 2]"), ("step:fit prev:load", "model = sum(data)"), ("step:show prev:fit", "print(model, data)"))
BAD = (("step:a", "print(nowhere)"), ("step:b prev:zzz", "x = 1"))
WARNED = (("imports", "import os"), ("step:a", "x = 1"), ("stp:b", "y = 2"))

OK, FOUND, UNREADABLE = 0, 1, 2


def test_check_tells_steps_order_and_for_each_edge_the_variables(
    write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(*GOOD)
    assert main(["check", "nb.ipynb"]) == OK
    text = capsys.readouterr().out
    lines = [line.strip() for line in text.splitlines()]
    assert [line.split()[1] for line in lines if line[:2] in ("1.", "2.", "3.")] == ["load", "fit", "show"]
    assert "← load: data" in lines
    assert "← fit: model" in lines


def test_check_tells_every_finding_with_place_and_exits_1(
    write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(*BAD)
    assert main(["check", "nb.ipynb"]) == FOUND
    text = capsys.readouterr().out
    assert "nb.ipynb[cell 1]:1:7: error KN" in text
    assert "nowhere" in text
    assert "zzz" in text
    assert "2 errors" in text


def test_check_as_json_is_one_object_for_all_notebooks(write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]) -> None:
    write_notebook(*GOOD, name="good.ipynb")
    write_notebook(*BAD, name="bad.ipynb")
    assert main(["check", "good.ipynb", "bad.ipynb", "missing.ipynb", "--format", "json"]) == UNREADABLE
    seen = capsys.readouterr()
    assert seen.err == ""
    good, bad, missing = json.loads(seen.out)["notebooks"]
    assert (good["ok"], bad["ok"], missing["ok"]) == (True, False, False)
    assert [step["name"] for step in good["plan"]["steps"]] == ["load", "fit", "show"]
    assert {"source": "load", "target": "fit", "names": ["data"]} in good["plan"]["edges"]
    assert {d["severity"] for d in bad["diagnostics"]} == {"error"}
    assert "no such file" in missing["error"]


def test_strict_makes_warnings_count(write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]) -> None:
    write_notebook(*WARNED)
    plain = main(["check", "nb.ipynb"])
    assert "warning" in capsys.readouterr().out
    assert (plain, main(["check", "nb.ipynb", "--strict"])) == (OK, FOUND)


def test_colours_are_for_those_who_ask(
    write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_notebook(*BAD)
    main(["check", "nb.ipynb"])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["check", "nb.ipynb"])
    assert "\x1b[1;31merror KN" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["check", "nb.ipynb"])
    assert "\x1b" not in capsys.readouterr().out


def test_compile_writes_the_pipeline_and_a_notebook_a_step(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(*GOOD)
    assert main(["compile", "nb.ipynb"]) == OK
    assert "3 stepbooks" in capsys.readouterr().out
    made = folder / "nb.kale"
    assert json.loads((made / "pipeline.json").read_text())
    assert sorted(path.name for path in made.rglob("*.ipynb")) == ["fit.ipynb", "load.ipynb", "show.ipynb"]
    assert main(["compile", "nb.ipynb", "-q"]) == OK
    assert capsys.readouterr().out == ""


def test_compile_for_a_cluster_writes_over_nothing_but_what_it_wrote(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = write_notebook(*GOOD)
    kept = notebook.read_bytes()
    command = ["compile", "nb.ipynb", "--target", "kfp", "--image", "x", "-q"]
    assert main([*command, "-o", "nb.ipynb"]) == UNREADABLE
    assert notebook.read_bytes() == kept
    assert "nb.ipynb is there already and is no compiled pipeline" in capsys.readouterr().err
    (folder / "nb.yaml").write_text("lr: 0.1\n")
    assert main(command) == UNREADABLE
    assert (folder / "nb.yaml").read_text() == "lr: 0.1\n"
    (folder / "nb.yaml").write_bytes(b"\xff\xfe")
    assert main(command) == UNREADABLE
    (folder / "nb.yaml").unlink()
    assert [main(command), main(command)] == [OK, OK]


def test_compile_does_not_write_into_a_folder_of_other_things(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(*GOOD)
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.txt").write_text("precious")
    assert main(["compile", "nb.ipynb", "-o", "thesis"]) == UNREADABLE
    assert "other files" in capsys.readouterr().err
    assert os.listdir(folder / "thesis") == ["chapter.txt"]
    assert main(["compile", "nb.ipynb", "-o", "nb.ipynb"]) == UNREADABLE
    assert main(["compile", "nb.ipynb", "-o", "nb.ipynb/out"]) == UNREADABLE


def test_graph_draws_for_the_terminal_and_as_svg(
    folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(*GOOD)
    assert main(["graph", "nb.ipynb"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("●  load")
    assert "data ← load" in lines[1]
    assert main(["graph", "nb.ipynb", "-o", "out.svg"]) == OK
    ET.parse(folder / "out.svg")
    assert main(["graph", "nb.ipynb", "--format", "svg"]) == OK
    ET.fromstring(capsys.readouterr().out)
    assert main(["graph", "nb.ipynb", "-o", "out.txt"]) == OK
    assert "●" in (folder / "out.txt").read_text(encoding="utf-8")
    assert main(["graph", "nb.ipynb", "-o", "missing/out.svg"]) == UNREADABLE


def test_graph_fits_a_narrow_terminal(
    write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"a_rather_long_variable_{i}" for i in range(20)]
    write_notebook(("step:a", "\n".join(f"{n} = 1" for n in names)), ("step:b prev:a", f"print({', '.join(names)})"))
    assert main(["graph", "nb.ipynb"]) == OK
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_graph_of_a_run_shows_its_states(folder: Path, write_notebook: WriteNotebook, capsys: pytest.CaptureFixture[str]) -> None:
    write_notebook(("step:load", "data = 1"), ("step:fit prev:load", "model = data"), ("step:plot prev:fit", "print(model)"))
    main(["compile", "nb.ipynb", "-o", "out", "-q"])
    record = keep_run(folder)
    (record.directory / "pipeline.json").write_bytes((folder / "out" / "pipeline.json").read_bytes())
    assert main(["graph", "--run", "latest"]) == OK
    text = capsys.readouterr().out
    assert "✓  load  succeeded 1.5 s" in text
    assert "✗  fit" in text
    assert main(["graph", "--run", "latest", "--format", "svg"]) == OK
    assert 'class="step failed"' in capsys.readouterr().out
    (record.directory / "pipeline.json").unlink()
    assert main(["graph", "--run", "latest"]) == 1
    assert main(["graph"]) == UNREADABLE
    assert main(["graph", "nb.ipynb", "--run", "latest"]) == UNREADABLE


def test_explain_knows_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == OK
    listed = capsys.readouterr().out
    for rule in RULES.values():
        assert rule.code in listed
        assert main(["explain", rule.code.lower()]) == OK
        by_code = capsys.readouterr().out
        assert rule.what in by_code
        assert rule.mend in by_code
        assert main(["explain", rule.slug]) == OK
        assert capsys.readouterr().out == by_code


def test_explain_of_an_unknown_code_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "KN999"]) == UNREADABLE
    assert "there is no rule" in capsys.readouterr().err


def test_help_of_each_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == OK
        assert capsys.readouterr().out.startswith(f"usage: kale {name}")


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == UNREADABLE
    assert "commands" in capsys.readouterr().out
    assert main(["cook"]) == UNREADABLE
    assert capsys.readouterr().err.startswith("error: ")
    assert main(["--version"]) == OK


HEAVY = ("IPython", "dill", "jupyter_client", "nbclient", "nbformat", "papermill", "rich", "yaml", "zmq", "numpy", "asyncio")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["runs"], ["show", "--help"]])
def test_what_needs_nothing_loads_nothing(words: list[str], folder: Path) -> None:
    code = "import sys; from kale_nb.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(HEAVY).isdisjoint(done.stderr.split())


def test_check_of_a_hundred_steps_takes_less_than_a_second(folder: Path, write_notebook: WriteNotebook) -> None:
    cells = [("step:s0", "x0 = 0")]
    cells += [(f"step:s{i} prev:s{i - 1}", f"x{i} = x{i - 1} + {i}\nprint(x{i})") for i in range(1, 100)]
    write_notebook(*cells)
    command = [sys.executable, "-m", "kale_nb", "check", "nb.ipynb"]
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=child_environment(), capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 1.5  # CPU; a second is the aim, and a busy machine's CPU is slower
