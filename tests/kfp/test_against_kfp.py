"""The same asks, written for kfp's own compiler, give the same settings and the same graph as ours: only what both write differently by
intention is left out of the comparison.

kfp evaluates annotations: here they are not postponed.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines.kfp.target import Cleanup, Target
from tests.kfp.sources import documents_of

MARKS = """%pipeline --name asked --image img --marshal-volume --marshal-volume-size 10Gi --marshal-path /data/marshal

%%parameters
n = 3
ratio = 0.5
name = "x"
flag = True
rows = [1, 2]
grid = {"a": 1}

%%step load --cpu 1 --memory 2Gi --limit cpu=2 --limit memory=4Gi --limit nvidia.com/gpu=1 --retries 3 --retry-interval 5s
x = n

# tags: step:train, prev:load, label:team:blue, annotation:owner:me, env:MODE:fast, secret:s:token:TOKEN, config-map:c:mode:CM, secret-files:certs:/certs, config-map-files:conf:/conf, node-selector:disk:ssd, toleration:spot=yes:NoExecute:60, toleration:gpu, pull-secret:registry, pull-policy:Always, run-as-user:1000, run-as-group:100, timeout:10m
y = x + 1"""


def by_kfp(folder: Path, cleanup: Cleanup) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the same pipeline with kfp's SDK."""
    pytest.importorskip("kfp.kubernetes", reason="kfp is not installed: pip install 'kale-nb[kfp]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import yaml
        from kfp import compiler, dsl, kubernetes

        def make(name: str) -> Any:
            def component(
                n: int, ratio: float, name: str, flag: bool, rows: list, grid: dict,
                report: dsl.Output[dsl.HTML], metrics: dsl.Output[dsl.Metrics],
            ) -> Any:  # fmt: skip
                return dsl.ContainerSpec(image="img", command=["x"], args=["y"])

            component.__name__ = name
            component.__annotations__ |= {"n": int, "ratio": float, "name": str, "flag": bool, "rows": list, "grid": dict}
            component.__annotations__ |= {"report": dsl.Output[dsl.HTML], "metrics": dsl.Output[dsl.Metrics]}
            component.__annotations__.pop("return")
            return dsl.container_component(component)

        steps = {name: make(name) for name in ("load", "train")}

        @dsl.pipeline(name="asked")
        def asked(
            kale_volume_1_source: dict, kale_volume_1_size: str, kale_volume_1_class: str, kale_marshal_class: str,
            kale_volume_1_access_modes: list = ["ReadWriteOnce"], kale_marshal_size: str = "10Gi",  # noqa: B006
            kale_marshal_access_modes: list = ["ReadWriteOnce"],  # noqa: B006
            n: int = 3, ratio: float = 0.5, name: str = "x", flag: bool = True, rows: list = [1, 2], grid: dict = {"a": 1},  # noqa: B006
        ) -> None:  # fmt: skip
            workspace = kubernetes.CreatePVC(
                access_modes=kale_volume_1_access_modes, pvc_name_suffix="-volume-1", size=kale_volume_1_size,
                storage_class_name=kale_volume_1_class, data_source=kale_volume_1_source,
            )  # fmt: skip
            marshal = kubernetes.CreatePVC(
                access_modes=kale_marshal_access_modes, pvc_name_suffix="-marshal", size=kale_marshal_size,
                storage_class_name=kale_marshal_class,
            )  # fmt: skip
            given = {"n": n, "ratio": ratio, "name": name, "flag": flag, "rows": rows, "grid": grid}
            load = steps["load"](**given)
            train = steps["train"](**given).after(load)
            for made in (workspace, marshal, load, train):
                made.set_caching_options(False)
            load.set_cpu_request("1").set_memory_request("2Gi").set_cpu_limit("2").set_memory_limit("4Gi")
            load.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
            load.set_retry(3, "5s", 2.0, "300s")
            for step in (load, train):
                kubernetes.mount_pvc(step, workspace.outputs["name"], "/home/jovyan")
                kubernetes.mount_pvc(step, marshal.outputs["name"], "/data/marshal")
            train.set_env_variable("MODE", "fast")
            kubernetes.add_pod_label(train, "team", "blue")
            kubernetes.add_pod_annotation(train, "owner", "me")
            kubernetes.use_secret_as_env(train, "s", {"token": "TOKEN"})
            kubernetes.use_config_map_as_env(train, "c", {"mode": "CM"})
            kubernetes.use_secret_as_volume(train, "certs", "/certs")
            kubernetes.use_config_map_as_volume(train, "conf", "/conf")
            kubernetes.add_node_selector(train, "disk", "ssd")
            kubernetes.add_toleration(train, key="spot", operator="Equal", value="yes", effect="NoExecute", toleration_seconds=60)
            kubernetes.add_toleration(train, key="gpu", operator="Exists")
            kubernetes.set_image_pull_secrets(train, ["registry"])
            kubernetes.set_image_pull_policy(train, "Always")
            kubernetes.set_security_context(train, run_as_user=1000, run_as_group=100)
            kubernetes.set_timeout(train, 1200)
            if cleanup is Cleanup.DELETE_ON_SUCCESS:
                for made in (workspace, marshal):
                    kubernetes.DeletePVC(pvc_name=made.outputs["name"]).after(train).set_caching_options(False)

        compiler.Compiler().compile(asked, str(folder / "kfp.yaml"))
        spec, platform = yaml.safe_load_all((folder / "kfp.yaml").read_text(encoding="utf-8"))
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def bare(settings: Any) -> Any:
    """Leave out the second way in which kfp names an object, numbers of resources beside their texts, and descriptions."""
    doubled = {
        "secretNameParameter", "configMapNameParameter", "cpuLimit", "cpuRequest", "memoryLimit", "memoryRequest", "count", "type",
        "description",
    }  # fmt: skip
    if isinstance(settings, dict):
        kept = {k: bare(v) for k, v in settings.items() if k not in doubled}
        return {k: v for k, v in kept.items() if not (k == "taskOutputParameter" and "pvcNameParameter" in kept)}
    return [bare(v) for v in settings] if isinstance(settings, list) else settings


NAMES = {
    "createpvc": "create-volume-1",
    "createpvc-2": "create-marshal-volume",
    "deletepvc": "delete-volume-1",
    "deletepvc-2": "delete-marshal-volume",
}


def in_our_names(content: Any) -> Any:
    """Replace the names of tasks that kfp gives by ours."""
    text = json.dumps(content)
    for theirs, ours in NAMES.items():
        text = text.replace(f'"{theirs}"', f'"{ours}"')
    return json.loads(text)


def graph_of(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the root's tasks without the names of components, their dependencies in one order, and without our annotations."""
    tasks: dict[str, Any] = in_our_names(spec["root"]["dag"]["tasks"])
    for name, task in tasks.items():
        task.pop("componentRef")
        waits = set(task.get("dependentTasks", ()))
        if name == "train" or name.startswith("delete"):  # kfp has them wait for the claims again, ours wait for a step that does
            waits -= {"create-volume-1", "create-marshal-volume"}
        task["dependentTasks"] = sorted(waits)
        task["inputs"]["parameters"].pop("annotations", None)
    return tasks


@pytest.mark.parametrize("cleanup", [Cleanup.KEEP, Cleanup.DELETE_ON_SUCCESS], ids=lambda c: c.value)
def test_settings_and_graph_are_those_of_kfps_own_compiler(cleanup: Cleanup, tmp_path: Path) -> None:
    spec, settings = documents_of(MARKS, tmp_path, Target(cleanup=cleanup))
    theirs, their_settings = by_kfp(tmp_path, cleanup)
    assert settings == bare(in_our_names(their_settings))
    for step in ("load", "train"):
        ours, other = (s["components"][f"comp-{step}"] for s in (spec, theirs))
        assert ours == bare(other)
        mine, its = (s["deploymentSpec"]["executors"][f"exec-{step}"]["container"] for s in (spec, theirs))
        assert mine.get("resources") == bare(its).get("resources")
    assert graph_of(spec) == graph_of(theirs)
    inputs = {k: v for k, v in spec["root"]["inputDefinitions"]["parameters"].items() if not k.endswith("_annotations")}
    assert inputs == theirs["root"]["inputDefinitions"]["parameters"]
