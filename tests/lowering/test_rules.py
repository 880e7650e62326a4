"""Every rule's own example triggers that rule and nothing else; done as its mend says, it does not. What is printed is kept in snapshots.

`pytest tests/lowering --update-goldens` writes the snapshots anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import kale_nb.compiler  # noqa: F401 - importing it registers every rule
from kale_nb.compiler import check_source
from kale_nb.diagnostics import RULES, Severity
from tests.lowering.checking import rendered, source_of_example

SNAPSHOTS = Path(__file__).parent / "snapshots"
CODES = sorted(code for code in RULES if code[:3] not in ("KN6", "KN7"))  # scripts and clusters have their own tests

MENDED = {
    "KN001": "%%step a\nx = (1,)",
    "KN010": "# markdown cell\nThe results of last week.\n\n%%step show\nprint(1)",
    "KN101": "%%step load\nx = 1",
    "KN102": "%%step train_v2\nx = 1",
    "KN103": "%%imports\nimport os\n\n%%step load\nprint(os.sep)",
    "KN104": "%%step Train_1\nx = 1\n\n%%step train-2\ny = 2",
    "KN105": "%%parameters\nx = 1\n\n%%step train\nprint(x)",
    "KN106": "%%step train\nx = 1\n\n%%metrics\nprint(x)",
    "KN107": "%%imports\nimport os\n\n%%step a\nprint(os.sep)",
    "KN108": "# tags: imports\nimport os\n\n%%step load\nprint(os.sep)",
    "KN109": "%%step load\nx = 1\n\n%%step train\nprint(x)",
    "KN110": "%%step load\nx = 1\n\n%%step train\ny = x",
    "KN111": "%%step load\nx = 1\n\n%%step train --after load\nprint(x)",
    "KN112": "# markdown cell\nWhere the data come from.\n\n%%step load\nx = 1",
    "KN113": "%%step load\nx = 1\n\n%%skip\nprint(x)\n\n%%step load\ny = x + 1",
    "KN114": "%%step load\nx = 1\n\n# tags: step:show\nprint(x)",
    "KN115": "%%step load\nx = 1\n\n%%step train --after load\ny = x\n\n# tags: step:show, prev:train\nprint(y)",
    "KN116": "%%step load\nx = 1\n\n%%skip\n%kale_load last load x\nprint(x)",
    "KN201": "%%step load\nx = 1\n\n%%step train --after load\nprint(x)",
    "KN202": "%%step train\nx = 1",
    "KN203": "%%step a\nx = 1\n\n%%step b --after a\nprint(x)",
    "KN204": "%%step a\nx = 1\n\n%%step b --after a\ny = 2",
    "KN205": "%%step load\nx = 1\n\n%%step train --after load\nprint(x)",
    "KN301": "%%step a\ntotl = 1\nprint(totl)",
    "KN302": "%%step a\nx = 1\n\n%%step b --after a\ny = 2\n\n%%step c --after a,b\nprint(y)",
    "KN303": "%%step a\nx = 1\nprint(x)",
    "KN304": "%%step a\nx = 0\n\n%%step b --after a\nx_b = 1\n\n%%step c --after a\nx_c = 2\n\n%%step d --after b,c\nprint(x_b, x_c)",
    "KN305": "%%step a\nrows = [1]\n\n%%step b --after a\nmore = [*rows, 2]\n\n%%step c --after a\nprint(rows)",
    "KN306": "%%imports\nimport math\n\n%%step a\nx = 1\n\n%%step b --after a\nprint(math.pi)",
    "KN307": "%%parameters\nn = 3\n\n%%functions\ntable = [0] * n\n\n%%step a\nprint(table)",
    "KN308": "%%step a\nscale = 2\n\n%%functions\nother = 5\n\n%%step b --after a\nprint(scale, other)",
    "KN309": "%%step a\nx = 1\n\n%%step b --after a\nprint(x)",
    "KN310": "%%step a\nx = 1\n\n%%step b --after a\nx = 2\n\n%%step c --after a,b\nprint(x)",
    "KN311": "%%functions\ndef rate():\n    return base * 2\n\n%%step a\nbase = 1\n\n%%step b --after a\nprint(rate())",
    "KN312": "%%step a\ntwo = 1 + 1\ntwo\n\n%%step b --after a\nprint(two)",
    "KN313": "%%step a\nnever_set = 1\nif len(__name__) > 100:\n    print(never_set)",
    "KN314": "%%functions\nlmit = 2\nlimit = lmit + 1\n\n%%step a\nprint(limit)",
    "KN315": "%%step a\nx = 1\n\n%%step a\ny = 2\n\n%%step b --after a\nprint(x, y)",
    "KN401": "%%step a\nsquares = [i * i for i in range(9)]\n\n%%step b --after a\nprint(list(squares))",
    "KN402": "%%imports\nimport os\nos.environ['MODE'] = 'fast'\n\n%%step a\nx = 1\n\n%%step b --after a\nprint(os.environ.get('MODE'))",
    "KN403": "# path: /home/me/project/nb.ipynb\n\n%%step load\nrows = open('rows.csv').read()",
    "KN501": "%%step train --timeout 10m\nx = 1",
    "KN502": "%%step train --image python:3.12\nx = 1\n\n%%step train\nprint(x)",
    "KN503": '# notebook metadata: {"kubeflow_notebook": {"pipeline_name": "demo"}}\n\n%%step load\nx = 1',
    "KN504": '# notebook metadata: {"kubeflow_notebook": {}}\n\n%%step load\nx = 1',
    "KN505": '# notebook metadata: {"kubeflow_notebook": {"pipeline_name": "three"}}\n\n%%step load\nx = 1',
    "KN510": "%%parameters\nepochs = 3\n\n%%step train\nsteps = [e * 100 for e in range(epochs)]\nprint(steps)",
}


def test_every_rule_has_a_mended_example() -> None:
    assert sorted(MENDED) == CODES


@pytest.mark.parametrize("code", CODES)
def test_an_example_triggers_its_rule_and_no_other(code: str) -> None:
    found = check_source(source_of_example(RULES[code].example)).diagnostics
    assert {d.rule.code for d in found} == {code}, rendered(found)
    assert RULES[code].severity in {d.level for d in found}


@pytest.mark.parametrize("code", CODES)
def test_the_mended_example_is_left_alone(code: str) -> None:
    checked = check_source(source_of_example(MENDED[code]))
    assert not [d for d in checked.diagnostics if d.level is not Severity.NOTE], rendered(checked.diagnostics)
    assert code not in {d.rule.code for d in checked.diagnostics}
    assert checked.pipeline is not None


@pytest.mark.parametrize("code", CODES)
def test_what_is_printed_is_as_in_the_snapshot(code: str, update_goldens: bool) -> None:
    rule = RULES[code]
    text = f"{rule.example.strip()}\n\n-----\n\n{rendered(check_source(source_of_example(rule.example)).diagnostics)}\n"
    kept = SNAPSHOTS / f"{code}-{rule.slug}.txt"
    if update_goldens:
        kept.write_text(text, encoding="utf-8")
    assert kept.read_text(encoding="utf-8") == text


def test_no_snapshot_is_left_of_a_rule_that_is_gone() -> None:
    assert sorted(p.stem for p in SNAPSHOTS.glob("KN*.txt")) == [f"{c}-{RULES[c].slug}" for c in CODES]


@pytest.mark.parametrize("code", CODES)
def test_every_finding_has_a_hint_and_its_carets_stand_under_text(code: str) -> None:
    for found in check_source(source_of_example(RULES[code].example)).diagnostics:
        assert found.hint
        assert not found.message.endswith(".")
        if found.location.line is not None:
            line, caret = found.render().split("\n")[1:3]
            start = caret.index("^")
            assert caret.strip().strip("^") == ""
            assert line[start : start + caret.count("^")].strip() == line[start : start + caret.count("^")] != ""
