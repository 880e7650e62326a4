"""What is emitted: accepted by kfp's own loader and protos, complete, small, quick, and the same every time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_nb.compiler import compile_path
from kale_nb.diagnostics import CompileError
from kale_nb.engines.kfp.compiling import compile_kfp
from kale_nb.engines.kfp.kubernetes_config import _placement
from kale_nb.engines.kfp.target import Cleanup, Target
from kale_nb.engines.kfp.validating import validate
from kale_nb.engines.kfp.wires import refuse_large
from kale_nb.errors import UsageError
from kale_nb.pipeline.model import Match, NodeAffinity, StepSettings
from tests.kfp.sources import EXAMPLES, HERE, compile_text, documents_of, package_of, write_notebook

GOLDENS = Path(__file__).parent / "goldens"
IMAGE = "%pipeline --image python:3.11"
MOST = 2500
"""Bytes of a step, as the documentation says."""


def needs_kfp() -> None:
    pytest.importorskip("kfp.kubernetes", reason="kfp is not installed: pip install 'kale-nb[kfp]'")


def executor(spec: dict[str, Any], step: str) -> dict[str, Any]:
    made: dict[str, Any] = spec["deploymentSpec"]["executors"][f"exec-{step}"]["container"]
    return made


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_compiles_to_its_golden(example: Path, monkeypatch: pytest.MonkeyPatch, update_goldens: bool) -> None:
    monkeypatch.chdir(example.parent)
    compiled = compile_path(example.name)
    text = compile_kfp(compiled.pipeline, compiled.stepbooks, HERE).text
    golden = GOLDENS / f"{example.stem}.yaml"
    if update_goldens:
        GOLDENS.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text, "if the change is meant: pytest tests/kfp --update-goldens"


@pytest.mark.parametrize("cleanup", Cleanup, ids=lambda c: c.value)
@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "no snapshot"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_kfp_reads_what_is_written(example: Path, snapshot: bool, cleanup: Cleanup) -> None:
    needs_kfp()
    compiled = compile_path(example, carry=not snapshot)
    validate(
        compile_kfp(compiled.pipeline, compiled.stepbooks, Target(image="python:3.11", snapshot=snapshot, cleanup=cleanup)).text
    )


EVERYTHING = f"""# notebook metadata: {{"kubeflow_notebook": {{"service_account": "runner", "marshal_volume": true, "marshal_volume_size": "10Gi",
 "marshal_path": "/data/marshal", "steps_defaults": {{"node_affinity": [{{"match": [{{"key": "zone", "operator": "In", "values": ["a", "b"]}}],
 "weight": 5}}], "tolerations": [{{"key": "gpu", "operator": "Exists"}}]}}, "volumes": [
 {{"name": "raw", "mount_point": "/raw", "type": "pvc", "sub_path": "2024"}},
 {{"name": "scratch", "mount_point": "/scratch", "size": 5, "size_type": "Gi", "storage_class": "fast", "access_mode": "ReadWriteMany"}},
 {{"name": "pv-7", "mount_point": "/old", "type": "pv", "size": "1Ti"}}]}}}}

{IMAGE} --description "All of it"

%%step load --image me/load:1 --cpu 2 --memory 4Gi --limit cpu=4 --limit memory=8Gi --limit nvidia.com/gpu=1
x = 1

# tags: step:train, prev:load, label:team:blue, annotation:owner:me, env:MODE:fast, secret:s:token:TOKEN, config-map:c:mode:CM, secret-files:certs:/certs, config-map-files:conf:/conf, node-selector:disk:ssd, toleration:spot=yes:NoExecute:60, pull-secret:registry, pull-policy:Always, run-as-user:1000, run-as-group:100, retries:3, retry-interval:5s, timeout:10m, report:disabled
y = x + 1""".replace("\n ", " ")


def test_every_mark_is_emitted(tmp_path: Path) -> None:
    spec, settings = documents_of(EVERYTHING, tmp_path)
    assert spec["pipelineInfo"] == {"name": "nb", "description": "All of it"}
    load, train = executor(spec, "load"), executor(spec, "train")
    assert (load["image"], train["image"]) == ("me/load:1", "python:3.11")
    assert load["resources"] == {
        "resourceCpuLimit": "4",
        "resourceCpuRequest": "2",
        "resourceMemoryLimit": "8Gi",
        "resourceMemoryRequest": "4Gi",
        "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "1"},
    }
    assert {e["name"]: e["value"] for e in train["env"]} == {
        "HOME": "/home/jovyan",
        "KALE_WORKSPACE": "/home/jovyan",
        "KALE_DATA_RAW": "/raw",
        "KALE_DATA_SCRATCH": "/scratch",
        "KALE_DATA_PV_7": "/old",
        "KALE_MARSHAL": "/data/marshal",
        "MODE": "fast",
    }
    tasks = spec["root"]["dag"]["tasks"]
    assert tasks["train"]["dependentTasks"] == ["load"]
    assert tasks["train"]["retryPolicy"] == {
        "maxRetryCount": 3,
        "backoffDuration": "5s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "300s",
    }
    assert set(spec["components"]["comp-load"]["outputDefinitions"]["artifacts"]) == {"report", "metrics"}
    assert set(spec["components"]["comp-train"]["outputDefinitions"]["artifacts"]) == {"metrics"}
    affinity = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}], "weight": 5}]
    anywhere = {"key": "gpu", "operator": "Exists"}
    mounts = [
        {
            "mountPath": path,
            "pvcNameParameter": {"taskOutputParameter": {"outputParameterKey": "name", "producerTask": f"create-{made}"}},
        }
        for path, made in [
            ("/home/jovyan", "volume-1"),
            ("/scratch", "volume-2"),
            ("/old", "volume-3"),
            ("/data/marshal", "marshal-volume"),
        ]
    ]
    raw = {"mountPath": "/raw", "pvcNameParameter": {"runtimeValue": {"constant": "raw"}}, "subPath": "2024"}
    assert settings["exec-load"] == {
        "pvcMount": [mounts[0], raw, *mounts[1:]],
        "nodeAffinity": affinity,
        "tolerations": [anywhere],
    }
    assert settings["exec-train"] == {
        "pvcMount": [mounts[0], raw, *mounts[1:]],
        "nodeAffinity": affinity,
        "tolerations": [
            anywhere,
            {"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": "60"},
        ],
        "activeDeadlineSeconds": "1200",
        "imagePullPolicy": "Always",
        "imagePullSecret": [{"secretName": "registry"}],
        "nodeSelector": {"labels": {"disk": "ssd"}},
        "podMetadata": {"annotations": {"owner": "me"}, "labels": {"team": "blue"}},
        "securityContext": {"runAsUser": "1000", "runAsGroup": "100"},
        "secretAsEnv": [{"secretName": "s", "keyToEnv": [{"envVar": "TOKEN", "secretKey": "token"}], "optional": False}],
        "configMapAsEnv": [{"configMapName": "c", "keyToEnv": [{"envVar": "CM", "configMapKey": "mode"}], "optional": False}],
        "secretAsVolume": [{"secretName": "certs", "mountPath": "/certs", "optional": False}],
        "configMapAsVolume": [{"configMapName": "conf", "mountPath": "/conf", "optional": False}],
    }
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert inputs["kale_volume_2_size"]["defaultValue"] == "5Gi"
    assert inputs["kale_volume_2_class"]["defaultValue"] == "fast"
    assert inputs["kale_volume_2_access_modes"]["defaultValue"] == ["ReadWriteMany"]
    assert inputs["kale_marshal_size"]["defaultValue"] == "10Gi"
    assert inputs["kale_volume_3_class"]["defaultValue"] == ""
    assert tasks["create-volume-3"]["inputs"]["parameters"]["volume_name"] == {"runtimeValue": {"constant": "pv-7"}}
    needs_kfp()
    validate(package_of(EVERYTHING, tmp_path).text)


def test_tolerations_are_emitted_as_kubernetes_has_them(tmp_path: Path) -> None:
    tolerations = [
        {"operator": "Exists", "value": None},
        {"key": "a", "operator": "Equal"},
        *({"key": "a", "operator": "Equal", "value": v, "effect": "NoSchedule"} for v in ("b", "c")),
    ]
    metadata = json.dumps({"kubeflow_notebook": {"steps_defaults": {"tolerations": tolerations}}})
    _, settings = documents_of(f"# notebook metadata: {metadata}\n\n%%step one --toleration a=d:NoSchedule\nx = 1", tmp_path)
    found = settings["exec-one"]["tolerations"]
    assert found[:2] == [{"operator": "Exists"}, {"key": "a", "operator": "Equal", "value": ""}]
    assert [t["value"] for t in found[2:]] == ["b", "c", "d"]


def test_variables_that_tell_of_volumes_are_ascii(tmp_path: Path) -> None:
    spec, _ = documents_of("%pipeline --volume name=größe,mount=/d,size=1Gi\n\n%%step one\nx = 1", tmp_path)
    assert {"name": "KALE_DATA_GROSSE", "value": "/d"} in executor(spec, "one")["env"]


def test_the_volume_at_the_workspaces_place_is_the_workspace(tmp_path: Path) -> None:
    text = (
        '# notebook metadata: {"kubeflow_notebook": {"docker_image": "i", "volumes": [{"annotations": [{"key": "a/b", "value": "c"}], '
        '"mount_point": "/home/jovyan", "name": "workspace-me", "size": 6, "size_type": "Gi", "type": "clone"}]}}\n\n%%step load\nx = 1'
    )
    [claim] = package_of(text, tmp_path).plan.claims
    assert (claim.task, claim.use, claim.name, claim.size) == ("create-volume-1", "workspace", "workspace-me", "6Gi")
    assert claim.annotations == {"a/b": "c"}


def test_only_steps_without_volumes_are_cached(tmp_path: Path) -> None:
    text = f"{IMAGE}\n\n%%step load --cache enabled\nx = 1\n\n%%step show --after load\nprint(x)"
    spec, _ = documents_of(text, tmp_path)
    assert [t["cachingOptions"] for t in spec["root"]["dag"]["tasks"].values()] == [{}] * 3
    spec, _ = documents_of(text, tmp_path, Target(snapshot=False))
    tasks = spec["root"]["dag"]["tasks"]
    assert (tasks["load"]["cachingOptions"], tasks["show"]["cachingOptions"]) == ({"enableCache": True}, {})


def wide(steps: int) -> str:
    parts = [f"{IMAGE} --name wide", "%%parameters\nn = 3\nname = 'x'\nratio = 0.5"]
    parts += [
        f"%%step step_{i}{f' --after step_{i - 1}' if i else ''}\nx_{i} = {f'x_{i - 1}' if i else 'n'} + 1" for i in range(steps)
    ]
    return "\n\n".join(parts)


def test_a_hundred_steps_are_small_and_quick_and_need_no_kfp(tmp_path: Path) -> None:
    compiled = compile_text(wide(100), tmp_path)
    compile_kfp(compiled.pipeline, compiled.stepbooks, HERE)  # imports
    started = time.process_time()
    text = compile_kfp(compiled.pipeline, compiled.stepbooks, HERE).text
    took = time.process_time() - started
    assert took < 1
    assert len(text.encode()) / 100 <= MOST
    again = compile_text(wide(101), tmp_path)
    step = len(compile_kfp(again.pipeline, again.stepbooks, HERE).text) - len(text)
    assert step <= MOST
    code = "import sys; from kale_nb.engines.kfp import compiling, checks; sys.exit(any(m in sys.modules for m in ('kfp', 'kubernetes', 'google.protobuf')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_text_is_the_same_with_and_without_the_c_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'{IMAGE} --description "grüße: {{x}} # é \U0001f600 \'q\'"\n\n%%parameters\nname = "a: b\\n\\tc \\\\ ü \U0001f600"\n\n%%step load --env A="x: y #"\nx = name'
    with_c = package_of(text, tmp_path).text
    monkeypatch.delattr(yaml, "CSafeDumper", raising=False)
    assert package_of(text, tmp_path).text == with_c
    assert (
        next(iter(yaml.safe_load_all(with_c)))["root"]["inputDefinitions"]["parameters"]["name"]["defaultValue"]
        == "a: b\n\tc \\ ü \U0001f600"
    )


def test_two_compiles_in_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "nb.ipynb"
    compile_text(EVERYTHING, tmp_path)
    code = (
        "import sys; from kale_nb.compiler import compile_path; from kale_nb.engines.kfp.compiling import compile_kfp; "
        "from kale_nb.engines.kfp.target import Target; c = compile_path(sys.argv[1]); "
        "sys.stdout.write(compile_kfp(c.pipeline, c.stepbooks, Target()).text)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_a_step_too_large_to_embed_is_refused_with_its_size(tmp_path: Path) -> None:
    import random

    noise = random.Random(1).randbytes(90_000).hex()
    text = f"{IMAGE}\n\n%%step load\nx = '{noise}'"
    package_of(text, tmp_path)
    with pytest.raises(CompileError) as caught:
        package_of(text, tmp_path, Target(snapshot=False))
    [found] = caught.value.diagnostics
    assert found.rule.code == "KN711"
    assert "98,304 fit" in found.message


def test_parameters_too_large_for_an_argument_are_refused_with_their_size(tmp_path: Path) -> None:
    text = f"{IMAGE}\n\n%%parameters\nquestion = '{'ü' * 60_000}'\n\n%%step load\nprint(question)"
    with pytest.raises(CompileError) as caught:
        package_of(text, tmp_path)
    [found] = caught.value.diagnostics
    assert found.rule.code == "KN711"
    assert "the defaults of the parameters have 120,0" in found.message
    with pytest.raises(UsageError, match="a step can be told 98,304"):
        refuse_large({"a": "x" * 50_000, "b": "y" * 50_000})


def test_what_is_written_does_not_depend_on_how_the_path_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write_notebook(f"{IMAGE}\n\n%%step load --limit a/b=1 --limit c/d=1\nx = 1\nprint(x)", tmp_path / "nb.ipynb")
    fine = write_notebook(f"{IMAGE}\n\n%%step load\nx = 1\nprint(x)", tmp_path / "fine.ipynb")
    monkeypatch.chdir(tmp_path)
    texts = set()
    for target in (HERE, Target(image="x", snapshot=False)):
        for spelled in ("fine.ipynb", "./fine.ipynb", str(fine), f"../{tmp_path.name}/fine.ipynb"):
            compiled = compile_path(spelled)
            texts.add(compile_kfp(compiled.pipeline, compiled.stepbooks, target).text)
        assert len(texts) == 1
        assert str(tmp_path) not in texts.pop()
    compiled = compile_path(made)
    with pytest.raises(CompileError) as caught:
        compile_kfp(compiled.pipeline, compiled.stepbooks, HERE)
    assert {d.location.path for d in caught.value.diagnostics} == {str(made)}


def test_a_claim_is_made_by_a_pod_that_can_run_where_the_steps_do(tmp_path: Path) -> None:
    text = f"{IMAGE}\n\n%%step load --pull-secret regcred --pull-policy Always --toleration gpu=:NoSchedule --cpu 2 --timeout 60\nx = 1"
    _, native = documents_of(text, tmp_path)
    assert "exec-create-volume" not in native
    _, settings = documents_of(text, tmp_path, Target(image="x", native_volumes=False, user=1000))
    made = settings["exec-create-volume"]
    assert made == {
        name: settings["exec-load"][name] for name in ("imagePullPolicy", "imagePullSecret", "securityContext", "tolerations")
    }


def test_a_parameter_may_have_the_name_of_a_step_whose_values_are_an_artifact(tmp_path: Path) -> None:
    text = f"{IMAGE}\n\n%%parameters\ntrain = 1\n\n%%step train\nx = train\n\n%%step show --after train\nprint(x, train)"
    spec, _ = documents_of(text, tmp_path, Target(snapshot=False))
    inputs = spec["components"]["comp-show"]["inputDefinitions"]
    assert (list(inputs["parameters"]), list(inputs["artifacts"])) == (["train"], ["train-values"])
    assert '"before":["train-values"]' in executor(spec, "show")["args"][1]


def test_variables_arrive_as_they_are_and_not_expanded(tmp_path: Path) -> None:
    text = f"{IMAGE}\n\n%%step load --env HOME2=$(HOME)/x --env PASS=a$$b --env PRICE=5$\nx = 1"
    spec, _ = documents_of(text, tmp_path, Target(snapshot=False))
    env = {one["name"]: one["value"] for one in executor(spec, "load")["env"]}
    assert env == {"HOME2": "$$(HOME)/x", "PASS": "a$$$$b", "PRICE": "5$"}


def test_a_step_cannot_have_the_name_of_another_ones_driver(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="KN704") as caught:
        package_of(f"{IMAGE}\n\n%%step a\nx = 1\n\n%%step a-driver --after a\nprint(x)", tmp_path)
    assert "by which Kubeflow begins step `a`" in str(caught.value)


def test_a_node_is_asked_for_in_every_alternative(tmp_path: Path) -> None:
    _, settings = documents_of("%%step one\nx = 1", tmp_path, Target(image="x", node="n1"))
    here = [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]
    assert settings["exec-one"]["nodeAffinity"] == [{"matchFields": here}]
    zone, disk = Match(key="zone", operator="In", values=("a",)), Match(key="disk", operator="Exists")
    asked = StepSettings(node_affinity=(NodeAffinity(match=(zone,)), NodeAffinity(match=(disk,), weight=5)))
    one, two = _placement(asked, "n1")["nodeAffinity"]
    assert one == {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}], "matchFields": here}
    assert two == {"matchExpressions": [{"key": "disk", "operator": "Exists"}], "weight": 5}
    alone, more = _placement(StepSettings(node_affinity=asked.node_affinity[1:]), "n1")["nodeAffinity"]
    assert (alone, more) == (two, {"matchFields": here})


def test_a_workspace_may_be_a_folder_of_its_volume(tmp_path: Path) -> None:
    text = (
        '# notebook metadata: {"kubeflow_notebook": {"volumes": [{"name": "home", "mount_point": "/home/jovyan", "type": "clone", '
        '"sub_path": "users/ana"}]}}\n\n%%step one\nx = 1'
    )
    spec, settings = documents_of(text, tmp_path)
    [mount] = settings["exec-one"]["pvcMount"]
    assert (mount["mountPath"], mount["subPath"]) == ("/home/jovyan", "users/ana")
    env = spec["deploymentSpec"]["executors"]["exec-one"]["container"]["env"]
    assert {"name": "HOME", "value": "/home/jovyan"} in env


def test_home_may_be_another_volume_than_the_workspace(tmp_path: Path) -> None:
    spec, _ = documents_of("%%step one\nx = 1", tmp_path, Target(image="x", mount="/data", home="/home/jovyan"))
    env = {e["name"]: e["value"] for e in spec["deploymentSpec"]["executors"]["exec-one"]["container"]["env"]}
    assert env == {"HOME": "/home/jovyan", "KALE_WORKSPACE": "/data"}
