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
    "KN716": f"{IMAGE} --volume name=home,mount=/home/jovyan,type=clone\n\n%%step load\nx = 1",
    "KN717": f'{IMAGE}\n\n%%parameters\nmark = b"\\xed\\xa0"\n\n%%step load\nprint(mark)',
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
        (f"{IMAGE} --volume one:/a:1Gi --volume two:/a/../a:1Gi\n\n%%step a\nx = 1", "KN712"),
        (f"{IMAGE} --marshal-volume --marshal-path /home//jovyan/\n\n%%step a\nx = 1", "KN712"),
        (f"{IMAGE} --volume one:/a:1Gi\n\n%%step a --secret-files two://a/.\nx = 1", "KN712"),
        (f"{IMAGE} --volume name=home,mount=/home//jovyan,size=1Gi\n\n%%step a\nx = 1", "KN716"),
        (f"{IMAGE} --volume name=my.data,mount=/d,type=pvc\n\n%%step a\nx = 1", "KN704"),
        (f"{IMAGE} --volume name=a..b,mount=/d,type=clone\n\n%%step a\nx = 1", "KN704"),
        (f"{IMAGE} --volume name=a,mount=/d,size=1Gi,storage-class=Fast_SSD\n\n%%step a\nx = 1", "KN704"),
        (f"{IMAGE} --service-account Ana_Runner\n\n%%step a\nx = 1", "KN704"),
        (f"{IMAGE}\n\n%%step a --secret-files my.certs:/c\nx = 1", "KN704"),
        (f"{IMAGE}\n\n%%step a --config-map-files {'c' * 64}:/c\nx = 1", "KN704"),
        (f"{IMAGE}\n\n%%step a --limit GPU=1\nx = 1", "KN705"),
        (f"{IMAGE}\n\n%%step a --limit nvidia.com/gpu=0.5\nx = 1", "KN705"),
        (f"{IMAGE}\n\n%%step a --memory 4Gi --limit memory=4G\nx = 1", "KN705"),
        (f"{IMAGE} --cpu 2\n\n%%step a --limit cpu=1500m\nx = 1", "KN705"),
        (f'{IMAGE}\n\n%%parameters\nmarks = {{"a": ["\\ud800"]}}\n\n%%step a\nprint(ascii(marks))', "KN717"),
    ],
)
def test_what_a_cluster_would_refuse_is_refused_here(text: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        package_of(text, tmp_path, Target())
    assert {d.rule.code for d in caught.value.diagnostics} == {code}, str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"{IMAGE} --volume name=my.data,mount=/d,type=clone\n\n%%step a\nx = 1",
        f"{IMAGE}\n\n%%step a --secret my.certs:key:A --pull-secret my.registry\nx = 1",
        f"{IMAGE}\n\n%%step a --limit hugepages-2Mi=4Mi --cpu 500m --limit cpu=0.5 --memory 1024Mi --limit memory=1Gi\nx = 1",
        f"{IMAGE}\n\n%%step a --limit nvidia.com/gpu=1e0\nx = 1",
        f'{IMAGE}\n\n%%parameters\nmarks = ("\\ud800", "\U0001f600")\n\n%%step a\nprint(ascii(marks))',
        f"{IMAGE} --volume one:/a:1Gi --volume two:/a/b:1Gi\n\n%%step a\nx = 1",
    ],
)
def test_what_a_cluster_would_take_is_left_alone(text: str, tmp_path: Path) -> None:
    assert [d.render() for d in findings(text, tmp_path)] == []


@pytest.mark.parametrize(("kind", "size"), [("pvc", ""), ("pv", ',"size":"1Gi"'), ("new_pvc", ',"size":"1Gi"')])
def test_a_volume_that_is_to_be_read_only_and_is_not_a_clone_is_told(kind: str, size: str, tmp_path: Path) -> None:
    found = findings(
        f'# notebook metadata: {{{DATA}, "type": "{kind}", "read_only": true{size}}}]}}}}\n\n%%step a\nx = 1', tmp_path
    )
    assert [(d.rule.code, d.level) for d in found] == [("KN708", Severity.WARNING)]
    assert "`data`" in found[0].message


def test_an_empty_workspace_is_no_matter_without_a_snapshot(tmp_path: Path) -> None:
    text = f"{IMAGE} --volume home:/home/jovyan:1Gi\n\n%%step a\nx = 1"
    assert package_of(text, tmp_path, Target(snapshot=False)).diagnostics == ()


def test_all_is_told_at_once(tmp_path: Path) -> None:
    text = "%pipeline --volume one:/data --volume two:/data:1Gi\n\n%%parameters\nkale_x = 1\n\n%%step a\nx = kale_x\n\n%%step b\ny = 1\n\n%%step c --after a,b\nprint(x, y)"
    assert [d.rule.code for d in findings(text, tmp_path)] == ["KN709", "KN706", "KN712", "KN702", "KN701", "KN701", "KN701"]


def test_a_pipeline_for_which_all_is_said_has_nothing_to_note(tmp_path: Path) -> None:
    assert package_of(f"{IMAGE}\n\n%%step a\nx = 1", tmp_path, Target()).diagnostics == ()
