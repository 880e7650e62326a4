"""What differs between two runs is told, kind by kind, and what cannot be compared is told as well."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from kale_nb.marshal import digests, save
from kale_nb.names import StepName
from kale_nb.results.comparing import Comparison, compare
from kale_nb.results.keeping import drop_clones
from kale_nb.runs.environment import Surroundings, this_environment, write_surroundings
from kale_nb.runs.git import GitState
from kale_nb.runs.record import RunRecord, StepRecord, VolumeRecord
from tests.results.making import finished_run, write


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    write(folder, {"nb.ipynb": "{}", "in.csv": "1\n", "gone.txt": "x"})
    return folder


def with_values(record: RunRecord, values: Mapping[str, object]) -> RunRecord:
    save(values, record.directory / "data" / "a" / "values", main={"__name__": "__main__"}, by_reference=())
    write_surroundings(record.directory, Surroundings(environment=this_environment()))
    return record


def with_cells(record: RunRecord, **cells: list[tuple[int, str]]) -> None:
    for step, mine in cells.items():
        told = [{"cell_type": "code", "metadata": {"kale": {"cell": n}}, "source": source} for n, source in mine]
        ours = {"cell_type": "code", "metadata": {"tags": ["kale-load"]}, "source": f"_kale.load({record.id!r})"}
        (record.directory / "stepbooks" / f"{step}.ipynb").write_text(json.dumps({"cells": [ours, *told]}))


def test_a_run_is_the_same_as_itself_and_as_one_that_did_the_same(workspace: Path) -> None:
    values = {"rows": [1, 2, {"a": "b"}], "name": "x"}
    first, second = (with_values(finished_run(workspace, lambda c: write(c, {"out": "1"})), values) for _ in range(2))
    assert compare(first, first).same
    found = compare(first, second)
    assert found.same, found
    assert found.unknown == ()


def test_a_volume_that_began_empty_is_compared(workspace: Path) -> None:
    def made(name: str) -> RunRecord:
        record = with_values(finished_run(workspace), {})
        write(record.directory, {"volumes/scratch/o": name})
        volume = VolumeRecord(step="create-volume-2", volume="scratch", path=record.directory / "volumes/scratch")
        return dataclasses.replace(record, volumes=(volume,))

    found = compare(made("1"), made("2"))
    assert found.files["scratch"].changed == ("o",)
    assert found.unknown == ()
    assert compare(made("1"), made("1")).same


def both(workspace: Path) -> Comparison:
    first = with_values(finished_run(workspace, lambda c: write(c, {"out": "1", "both": "="})), {"n": 1, "rows": [1], "old": 0})
    write(workspace, {"in.csv": "2\n", "new.txt": "n"})
    (workspace / "gone.txt").unlink()
    second = with_values(
        finished_run(workspace, lambda c: write(c, {"out": "2", "both": "="})), {"n": 1, "rows": (1, 2), "new": 0}
    )
    now = dataclasses.replace(this_environment(), python="9.9.9")
    write_surroundings(second.directory, Surroundings(environment=now, git=GitState(commit="a" * 40, branch="main")))
    steps = (StepRecord(name=StepName("a"), metrics={"loss": 0.5}), *second.steps[1:])
    return compare(first, dataclasses.replace(second, params={"rate": "2"}, steps=steps))


def test_each_kind_of_difference_is_told(workspace: Path) -> None:
    found = both(workspace)
    assert not found.same
    assert found.params == {"rate": (None, "2")}
    assert found.environment is not None
    assert found.environment.facts["python"][1] == "9.9.9"
    assert found.git is not None
    ran_on = found.volumes["workspace"]
    assert (ran_on.created, ran_on.changed, ran_on.deleted) == (("new.txt",), ("in.csv",), ("gone.txt",))
    left = found.files["workspace"]
    assert (left.created, left.changed, left.deleted) == (("new.txt",), ("in.csv", "out"), ("gone.txt",))
    assert found.metrics == {"a.loss": (None, "0.5")}
    assert found.states == {"a": ("succeeded", "pending")}
    told = {v.name: (v.before and v.before.type, v.after and v.after.type, v.content) for v in found.variables}
    assert told == {"rows": ("list", "tuple", "differs"), "old": ("int", None, "differs"), "new": (None, "int", "differs")}


def test_cells_are_compared_not_their_places(workspace: Path) -> None:
    first, second = finished_run(workspace), finished_run(workspace)
    with_cells(first, a=[(2, "import os"), (3, "x = 1\ny = 2")], b=[(2, "import os"), (4, "print(x)")])
    with_cells(second, a=[(3, "import os"), (4, "x = 1\ny = 3")], b=[(3, "import os"), (5, "print(x)"), (6, "print(y)")])
    changes = compare(first, second).code
    assert [(c.step, c.cells, c.lines) for c in changes] == [
        ("a", (3, 4), (" x = 1", "-y = 2", "+y = 3")),
        ("b", (None, 6), ("+print(y)",)),
    ]


def test_a_cell_of_every_step_is_told_once(workspace: Path) -> None:
    first, second = finished_run(workspace), finished_run(workspace)
    with_cells(first, a=[(1, "import os")], b=[(1, "import os")])
    with_cells(second, a=[(1, "import sys")], b=[(1, "import sys")])
    assert [(c.step, c.cells) for c in compare(first, second).code] == [("", (1, 1))]


def test_without_clones_variables_are_still_compared_and_files_are_told_to_be_unknown(workspace: Path) -> None:
    first, second = (with_values(finished_run(workspace), {"n": n, "same": "s"}) for n in (1, 2))
    drop_clones(first, "kale gc")
    found = compare(first, second)
    assert [v.name for v in found.variables] == ["n"]
    assert any("a clone is not there" in line for line in found.unknown)


def test_values_that_were_removed_by_hand_are_unknown_not_different(workspace: Path) -> None:
    first, second = (with_values(finished_run(workspace), {"n": 1}) for _ in range(2))
    (first.directory / "data" / "a" / "values" / "values.bin").unlink()
    found = compare(first, second)
    assert found.variables == ()
    assert any("a.n" in line for line in found.unknown)


def test_digests_of_equal_arrays_and_frames_are_equal(tmp_path: Path) -> None:
    import numpy as np
    import pandas as pd

    def made() -> dict[str, object]:
        array = np.arange(1000.0)
        return {"array": array, "view": array[::2], "frame": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "n": 3}

    main: dict[str, object] = {"__name__": "__main__"}
    save({"pad": "y" * 999, **made()}, tmp_path / "one", main=main, by_reference=())
    save({"pad": "z" * 5, **made()}, tmp_path / "two", main=main, by_reference=())
    changed = made()
    changed["array"][3] = 0  # type: ignore[index]
    save(changed, tmp_path / "three", main=main, by_reference=())
    one, two, three = (digests(tmp_path / name) for name in ("one", "two", "three"))
    assert {name for name in one if one[name] != two[name]} == {"pad"}
    assert {name for name in three if one[name] != three[name]} == {"array", "view"}


def test_the_modules_of_a_script_are_compared_as_code(workspace: Path) -> None:
    write(workspace, {"run.py": "a = 1\n", "helper.py": "x = 1\n"})
    first = finished_run(workspace, source=str(workspace / "run.py"))
    write(workspace, {"run.py": "a = 2\n"})
    second = finished_run(workspace, source=str(workspace / "run.py"))
    assert [(c.step, c.lines) for c in compare(first, second).code] == [("run.py", ("-a = 1", "+a = 2"))]
