"""Every rule of the target is triggered by its example and by nothing that is mended; what it says stands in a snapshot.

`pytest tests/kfp --update-goldens` writes the snapshot anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import kale_nb.engines.kfp.rules  # noqa: F401 - importing it registers them
from kale_nb.diagnostics import RULES, CompileError, Diagnostic, Severity
from kale_nb.engines.kfp.target import Target
from tests.kfp.sources import package_of

CODES = sorted(code for code in RULES if code.startswith("KN7"))
SNAPSHOT = Path(__file__).parent / "findings.txt"
BY_HAND = {"KN711"}  # the example cannot be that large; see test_embedding
IMAGE = "%pipeline --image python:3.11"
DATA = '"kubeflow_notebook": {"docker_image": "python:3.11", "volumes": [{"name": "data", "mount_point": "/data"'
MENDED = {
    "KN701": f"{IMAGE}\n\n%%step load\nx = 1",
    "KN702": f"{IMAGE}\n\n%%step a\nx = 1\n\n%%step b --after a\ny = 2\n\n%%step c --after b\nprint(x, y)",
    "KN703": f"{IMAGE} --volume scratch:/scratch:1Gi\n\n%%step a\nx = 1\n\n%%step b --after a\nprint(x)",
    "KN704": f"{IMAGE} --volume name=my-data,mount=/data,type=pvc\n\n%%step load\nx = 1",
    "KN705": f"{IMAGE}\n\n%%step train --limit nvidia.com/gpu=1 --request nvidia.com/gpu=1 --cpu 2\nx = 1",
    "KN706": f"{IMAGE} --volume scratch:/scratch:5Gi\n\n%%step load\nx = 1",
    "KN707": f"{IMAGE}\n\n%%step load --cache disabled\nx = 1",
    "KN708": f'# notebook metadata: {{{DATA}, "type": "clone", "read_only": true}}]}}}}\n\n%%step load\nx = 1',
    "KN709": f"{IMAGE}\n\n%%parameters\nsize = 3\n\n%%step load\nprint(size)",
    "KN710": f"{IMAGE}\n\n%%step load --retries 3 --retry-factor 2\nx = 1",
    "KN712": f"{IMAGE} --volume one:/one:1Gi --volume two:/two:1Gi\n\n%%step load\nx = 1",
    "KN718": f"{IMAGE}\n\n%%parameters\ntemplate = '{{{{name}}}} $x'\n\n%%step load\nprint(template)",
    "KN714": f"{IMAGE}\n\n%%step load\nx = 1",
    "KN715": f"{IMAGE}\n\n%%step load\nx = 1",
    "KN713": f'# notebook metadata: {{{DATA}, "type": "clone", "source": "data"}}]}}}}\n\n%%step load\nx = 1',
}


def findings(text: str, folder: Path) -> tuple[Diagnostic, ...]:
    try:
        return package_of(text, folder, Target()).diagnostics
    except CompileError as error:
        return error.diagnostics


def test_every_rule_has_a_mended_example() -> None:
    assert {*MENDED, *BY_HAND} == set(CODES)


@pytest.mark.parametrize("code", [code for code in CODES if code not in BY_HAND])
def test_an_example_triggers_its_rule_and_no_other(code: str, tmp_path: Path) -> None:
    found = findings(RULES[code].example, tmp_path)
    codes = {d.rule.code for d in found}
    assert codes - ({"KN702"} if code == "KN703" else set()) == {code}, [d.render() for d in found]
    assert all(d.hint for d in found)


@pytest.mark.parametrize("code", sorted(MENDED))
def test_the_mended_example_is_left_alone(code: str, tmp_path: Path) -> None:
    assert [d.render() for d in findings(MENDED[code], tmp_path) if d.level is not Severity.NOTE] == []


def test_what_is_said_is_as_in_the_snapshot(tmp_path: Path, update_goldens: bool) -> None:
    parts = []
    for code in CODES:
        if code not in BY_HAND:
            said = "\n".join(d.render().replace(f"{tmp_path}/", "") for d in findings(RULES[code].example, tmp_path))
            parts.append(f"{RULES[code].example}\n\n-----\n\n{said}\n")
    text = "\n=====\n\n".join(parts)
    if update_goldens:
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert SNAPSHOT.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"{IMAGE}\n\n%%step {'a' * 64}\nx = 1", "KN704"),
        (f"{IMAGE}\n\n%%step create-volume-1\nx = 1", "KN704"),
        (f"{IMAGE}\n\n%%step Steps\nx = 1", "KN704"),
        (f"{IMAGE} --volume name=scratch,mount=/s,size=1Gi,access-mode=Sometimes\n\n%%step a\nx = 1", "KN704"),
        (f"{IMAGE}\n\n%%step a --limit nvidia.com/gpu=1 --limit amd.com/gpu=1\nx = 1", "KN705"),
        (f"{IMAGE} --volume name=vol,mount=/s,type=pv\n\n%%step a\nx = 1", "KN706"),
        (f"{IMAGE} --marshal-volume --marshal-path relative\n\n%%step a\nx = 1", "KN712"),
        (f"{IMAGE} --marshal-volume --marshal-path /home/jovyan\n\n%%step a\nx = 1", "KN712"),
        (f"{IMAGE}\n\n%%step a --secret-files same:/a --config-map-files same:/b\nx = 1", "KN712"),
        (f"{IMAGE}\n\n%%step a --secret-files one:/a --config-map-files two:/a\nx = 1", "KN712"),
        (f"{IMAGE} --volume name=data,mount=/d,type=pvc\n\n%%step a --secret-files data:/a\nx = 1", "KN712"),
    ],
)
def test_what_a_cluster_would_refuse_is_refused_here(text: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        package_of(text, tmp_path, Target())
    assert {d.rule.code for d in caught.value.diagnostics} == {code}, str(caught.value)


def test_all_is_told_at_once(tmp_path: Path) -> None:
    text = "%pipeline --volume one:/data --volume two:/data:1Gi\n\n%%parameters\nkale_x = 1\n\n%%step a\nx = kale_x\n\n%%step b\ny = 1\n\n%%step c --after a,b\nprint(x, y)"
    assert [d.rule.code for d in findings(text, tmp_path)] == ["KN709", "KN706", "KN712", "KN702", "KN701", "KN701", "KN701"]


def test_a_pipeline_for_which_all_is_said_has_nothing_to_note(tmp_path: Path) -> None:
    assert package_of(f"{IMAGE}\n\n%%step a\nx = 1", tmp_path, Target()).diagnostics == ()
