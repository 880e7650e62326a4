"""What passes between steps at run time (`kale_nb.runtime`), without a kernel."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kale_nb.errors import ConflictError, MarshalError
from tests.runtime.steps import Run


def test_a_value_passes_through_a_step_that_does_not_know_it(tmp_path: Path) -> None:
    run = Run("%%step a\nx = [1]\n%%step b --after a\ny = 2\n%%step c --after b\nprint(x)", tmp_path).all()
    assert run.printed["c"] == "[1]\n"
    assert run.report("b")["names"]["x"]["step"] == "a"
    assert "x" not in run.report("b")["written"]


def test_a_value_that_only_perhaps_was_bound_again_is_the_newest_that_was(tmp_path: Path) -> None:
    text = "%%parameters\nagain = False\n%%step a\nx = 1\n%%step b --after a\nif again:\n    x = 2\n%%step c --after b\nprint(x)"
    run = Run(text, tmp_path)
    run.all()
    assert run.printed["c"] == "1\n"
    for step in ("a", "b", "c"):
        run.step(step, {"again": True})
    assert run.printed["c"] == "2\n"


def test_a_value_changed_in_place_is_written_anew_and_told(tmp_path: Path) -> None:
    run = Run("%%step a\nx = [1]\n%%step b --after a\nx.append(2)\n%%step c --after b\nprint(x)", tmp_path).all()
    assert run.printed["c"] == "[1, 2]\n"
    assert run.report("b")["changed"] == ["x"]
    assert run.report("c")["changed"] == []


def test_a_value_that_is_only_read_is_not_written_again(tmp_path: Path) -> None:
    run = Run("%%step a\nx = list(range(9))\n%%step b --after a\nprint(len(x))\n%%step c --after b\nprint(x)", tmp_path).all()
    assert run.report("b")["written"] == []
    assert run.report("b")["used"] == ["x"]


def test_a_deleted_name_is_gone_for_the_steps_after(tmp_path: Path) -> None:
    text = "%%step a\nx = 1\n%%step b --after a\ndel x\n%%step c --after b\nprint('x' in globals())"
    run = Run(text, tmp_path).all()
    assert run.printed["c"] == "False\n"
    assert run.report("b")["names"]["x"]["kind"] == "deleted"


def test_aliases_stay_one_object(tmp_path: Path) -> None:
    run = Run("%%step a\nx = [1]\ny = x\nz = {'x': x}\n%%step b --after a\nx.append(2)\nprint(y, z, x is y)", tmp_path).all()
    assert run.printed["b"] == "[1, 2] {'x': [1, 2]} True\n"


def test_state_of_prelude_classes_and_functions_follows_the_steps(tmp_path: Path) -> None:
    text = (
        "%%functions\nclass Model:\n    made = 0\n\ndef collect(x, seen=[]):\n    seen.append(x)\n    return seen\n"
        "%%step a\nModel.made += 1\ncollect('a')\n%%step b --after a\nprint(Model.made, collect('b'))\n%%step c\nprint(Model.made)"
    )
    run = Run(text, tmp_path).all()
    assert run.printed == {"a": "", "b": "1 ['a', 'b']\n", "c": "0\n"}


def test_instances_of_prelude_classes_are_instances_again(tmp_path: Path) -> None:
    text = "%%functions\nclass P:\n    pass\n%%step a\np = P()\np.x = 1\n%%step b --after a\nprint(isinstance(p, P), p.x)"
    assert Run(text, tmp_path).all().printed["b"] == "True 1\n"


def test_a_function_of_a_step_sees_the_names_of_the_step_that_calls_it(tmp_path: Path) -> None:
    text = "%%step a\nk = 1\ndef f():\n    return k\n%%step b --after a\nk = 5\nprint(f())\n%%step c --after a\nprint(f())"
    assert Run(text, tmp_path).all().printed == {"a": "", "b": "5\n", "c": "1\n"}


@pytest.mark.parametrize("draw", ["random.random()", "numpy.random.rand()"])
def test_the_random_stream_goes_on_in_the_next_step(tmp_path: Path, draw: str) -> None:
    text = f"%%imports\nimport random\nimport numpy\n%%step a\nrandom.seed(1)\nnumpy.random.seed(1)\nx = {draw}\n%%step b --after a\nprint({draw} == x)\n%%step c --after b\nprint({draw} == x)"
    run = Run(text, tmp_path).all()
    assert run.printed["b"] == run.printed["c"] == "False\n"


def test_two_branches_that_draw_are_warned_of_where_they_join(tmp_path: Path) -> None:
    text = (
        "%%imports\nimport random\n%%step a\nrandom.seed(1)\n%%step b --after a\nx = random.random()\n"
        "%%step c --after a\ny = random.random()\n%%step d --after b,c\nprint(x, y)"
    )
    (warning,) = (w for w in Run(text, tmp_path).all().report("d")["warnings"] if "parallel" in w)
    assert "`b` and `c`" in warning
    assert "random" in warning


def test_a_value_changed_in_two_branches_is_a_conflict_for_the_join_that_reads_it(tmp_path: Path) -> None:
    text = (
        "%%functions\ndef grow(rows, x):\n    rows.append(x)\n%%step a\nrows = []\n%%step b --after a\ngrow(rows, 1)\n"
        "%%step c --after a\ngrow(rows, 2)\n%%step d --after b,c\nprint(rows)"
    )
    run = Run(text, tmp_path)
    for step in ("a", "b", "c"):
        run.step(step)
    with pytest.raises(ConflictError) as caught:
        run.step("d")
    assert caught.value.variable == "rows"
    assert all(part in str(caught.value) for part in ("`rows`", "`b`", "`c`", "`d`", "parallel"))
    assert "prev:" in (caught.value.hint or "")


def test_a_value_changed_in_two_branches_is_no_matter_for_a_join_that_does_not_read_it(tmp_path: Path) -> None:
    text = (
        "%%functions\ndef grow(rows, x):\n    rows.append(x)\n%%step a\nrows = []\n%%step b --after a\ngrow(rows, 1)\nn = len(rows)\n"
        "%%step c --after a\ngrow(rows, 2)\n%%step d --after b,c\nprint(n)"
    )
    assert Run(text, tmp_path).all().printed["d"] == "1\n"


def test_a_value_changed_in_one_branch_reaches_the_join(tmp_path: Path) -> None:
    text = "%%step a\nx = [1]\n%%step b --after a\nx.append(2)\n%%step c --after a\ny = 1\n%%step d --after b,c\nprint(x, y)"
    assert Run(text, tmp_path).all().printed["d"] == "[1, 2] 1\n"


def test_a_needed_value_that_cannot_travel_fails_the_step_that_made_it(tmp_path: Path) -> None:
    text = "%%functions\nclass Box:\n    pass\n%%step a\nbox = Box()\nbox.inner = {'rows': (i for i in [1])}\n%%step b --after a\nprint(box)"
    run = Run(text, tmp_path)
    with pytest.raises(MarshalError) as caught:
        run.step("a")
    assert caught.value.variable == "box"
    assert all(part in str(caught.value) for part in ("step `a`", "`box`", "`b`", "generator"))
    assert not (run.data / "a" / "step.json").exists()


def test_a_value_that_cannot_travel_and_is_perhaps_read_fails_where_it_is_needed_only(tmp_path: Path) -> None:
    text = (
        "%%functions\ndef use():\n    return gen\n%%step a\ngen = iter([1])\ngen = (i for i in gen)\nx = 1\n"
        "%%step b --after a\nprint(x, use)"
    )
    run = Run(text, tmp_path).all()
    assert run.report("a")["names"]["gen"]["kind"] == "failed"
    assert run.report("a")["names"]["gen"]["reason"]


def test_the_value_that_a_step_ends_with_is_its_result(tmp_path: Path) -> None:
    run = Run("%%step a\nx = [1, 2]\nx\n%%step b --after a\nprint(x)", tmp_path).all()
    assert run.report("a")["result"] == ["x", "[1, 2]"]
    assert run.report("b")["result"] is None


def test_a_result_with_a_broken_or_endless_repr_does_not_fail_the_step(tmp_path: Path) -> None:
    text = "%%functions\nclass Bad:\n    def __repr__(self):\n        raise ValueError\n%%step a\nx = Bad()\nx\n%%step b\ny = 'z' * 10_000\ny"
    run = Run(text, tmp_path).all()
    assert "ValueError" in run.report("a")["result"][1]
    assert len(run.report("b")["result"][1]) == 2000


def test_names_of_the_shell_and_shadowed_builtins_are_ordinary(tmp_path: Path) -> None:
    text = "%%step a\nlist = [1]\nprint = str\n_ = 3\nid = 7\n%%step b --after a\nimport builtins\nbuiltins.print(list, print(1), _, id)"
    assert Run(text, tmp_path).all().printed["b"] == "[1] 1 3 7\n"


FIRST = "%%step a\nx = 1\n%%step b --after a\nprint(x)"


def test_a_step_whose_predecessor_left_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(MarshalError, match="no output of step `a`") as caught:
        Run(FIRST, tmp_path).step("b")
    assert "_kale_data" in (caught.value.hint or "")


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"format": 99}', "\x00\x01"])
def test_a_damaged_manifest_says_which_file(tmp_path: Path, damage: str) -> None:
    run = Run(FIRST, tmp_path)
    run.step("a")
    (run.data / "a" / "step.json").write_text(damage)
    with pytest.raises(MarshalError, match=r"step\.json"):
        run.step("b")


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_damaged_values_say_whose_they_are(tmp_path: Path, cut: int) -> None:
    run = Run(FIRST, tmp_path)
    run.step("a")
    for file in (run.data / "a" / "values").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(MarshalError, match="step `a`"):
        run.step("b")


def test_missing_values_say_whose_they_are(tmp_path: Path) -> None:
    run = Run(FIRST, tmp_path)
    run.step("a")
    for file in (run.data / "a" / "values").rglob("*"):
        file.unlink()
    with pytest.raises(MarshalError, match="step `a`"):
        run.step("b")


def test_the_manifest_comes_last_and_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(FIRST, tmp_path)
    seen: list[tuple[bool, list[str]]] = []
    replace = os.replace

    def watching(source: str, target: str) -> None:
        if str(target).endswith("step.json"):
            json.loads(Path(source).read_text(encoding="utf-8"))
            seen.append((Path(target).exists(), sorted(p.name for p in (run.data / "a" / "values").iterdir())))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watching)
    run.step("a")
    ((existed, values),) = seen
    assert not existed
    assert values
    assert sorted(p.name for p in (run.data / "a").iterdir()) == ["step.json", "values"]


def test_a_second_try_of_a_step_forgets_the_first(tmp_path: Path) -> None:
    run = Run(
        "%%parameters\nbad = False\n%%step a\nx = 1\nif bad:\n    raise ValueError('no')\n%%step b --after a\nprint(x)", tmp_path
    )
    run.step("a")
    with pytest.raises(ValueError, match="no"):
        run.step("a", {"bad": True})
    assert not (run.data / "a" / "step.json").exists()
    with pytest.raises(MarshalError, match="no output of step `a`"):
        run.step("b")
