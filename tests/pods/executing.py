"""Executes a compiled pipeline on the tests' node: each step's container becomes a pod, in the order of the graph, as KFP's backend does it.

What it does not know it refuses: a field of the IR that nobody looks at would be a test that tests nothing.
"""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.k8s.driver import Driver
from tests.k8s.rest import until
from tests.pods.node import NODE
from tests.pods.podspec import STORE, pod_of

Object = dict[str, Any]

LIMIT = 900.0  # seconds that a pod may take


class Execution:
    """One run.

    Attributes:
        tasks: what ran, in the order in which it began: `task`, `code`, `stdout`, `outputs`, `claim`, `arguments`.
        folder: `store` has the artifacts, `claims/NAME` leads to the folder of each claim.
    """

    def __init__(self, driver: Driver, text: str, folder: Path) -> None:
        import yaml

        spec, *more = yaml.safe_load_all(text)
        self.spec: Object = spec
        self.platform: Object = more[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if more else {}
        self.driver = driver
        self.space = driver.space
        self.folder = folder
        self.run_name = f"run-{uuid.uuid4().hex[:6]}"
        self.tasks: list[Object] = []
        self._lock = threading.Lock()
        for name in ("store", "claims"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "store").chmod(0o777)

    def run(self, arguments: Object) -> str | None:
        """Run it; return why it failed, None when it did not."""
        declared = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        values = {name: each["defaultValue"] for name, each in declared.items() if "defaultValue" in each} | arguments
        missing = [name for name, each in declared.items() if name not in values and not each.get("isOptional")]
        assert not missing, missing
        failed = self._graph(self.spec["root"]["dag"], values)
        return None if not failed else f"failed: {', '.join(failed)}"

    # -- the graph

    def _graph(self, dag: Object, inputs: Object) -> list[str]:
        """Run a graph's tasks, each when those before it are done; return the names of those that failed."""
        tasks: Object = dag["tasks"]
        done: dict[str, Object | None] = {}  # outputs; None: failed, or not run since another failed
        failed: list[str] = []
        began = {name: threading.Event() for name in tasks}

        def work(name: str) -> None:
            try:
                self._before(tasks, name, began)
                ends_it = tasks[name].get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
                if not ends_it and any(done[before] is None for before in _before(tasks[name])):
                    done[name] = None
                    return
                done[name] = self._task(name, tasks[name], inputs, done)
                if done[name] is None:
                    failed.append(name)
            except BaseException:
                done[name] = None
                failed.append(name)
                raise
            finally:
                began[name].set()

        with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
            futures = [pool.submit(work, name) for name in tasks]
        for future in futures:
            future.result()
        return failed

    def _before(self, tasks: Object, name: str, ended: dict[str, threading.Event]) -> None:
        for before in _before(tasks[name]):
            assert ended[before].wait(LIMIT), f"{name} waits for {before}"

    def _task(self, name: str, task: Object, inputs: Object, done: dict[str, Object | None]) -> Object | None:
        """Run one task, as often as it may be tried; return its outputs, None when it failed."""
        component = self.spec["components"][task["componentRef"]["name"]]
        values = {
            key: each["defaultValue"]
            for key, each in component.get("inputDefinitions", {}).get("parameters", {}).items()
            if "defaultValue" in each
        }
        values |= {key: _value(given, inputs, done) for key, given in task.get("inputs", {}).get("parameters", {}).items()}
        artifacts = {key: _artifact(given, done) for key, given in task.get("inputs", {}).get("artifacts", {}).items()}
        if "dag" in component:
            return None if self._graph(component["dag"], values) else {}
        container = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        if container["image"] == "argostub/createpvc":
            return self._create_claim(values)
        if container["image"] == "argostub/deletepvc":
            return self._delete_claim(values)
        for attempt in range(1 + int(task.get("retryPolicy", {}).get("maxRetryCount", 0))):
            outputs = self._pod(f"{name}-{attempt}", component, container, values, artifacts, inputs, done)
            if outputs is not None:
                return outputs
        return None

    # -- volumes

    def _create_claim(self, given: Object) -> Object:
        """Make a claim, as the driver of KFP's CreatePVC does."""
        name = f"{uuid.uuid4()}{given.get('pvc_name_suffix', '')}"
        spec: Object = {
            "accessModes": given["access_modes"],
            "resources": {"requests": {"storage": given["size"]}},
            "storageClassName": given["storage_class_name"],
        }
        for key, field in (("data_source", "dataSource"), ("volume_name", "volumeName")):
            if given.get(key):
                spec[field] = given[key]
        metadata = {"name": name, "annotations": given.get("annotations") or {}}
        self.space.rest.post(self.space.claims_path, {"metadata": metadata, "spec": spec})
        (self.folder / "claims" / name).symlink_to(self.driver.folder(name))
        self._told({"task": "create-volume", "claim": name, "code": 0, "arguments": given})
        return {"name": name}

    def _delete_claim(self, given: Object) -> Object:
        name = given["pvc_name"]
        self.space.rest.delete(f"{self.space.claims_path}/{name}")
        (self.folder / "claims" / name).unlink()
        self._told({"task": "delete-volume", "claim": name, "code": 0, "arguments": given})
        return {}

    def _told(self, task: Object) -> Object:
        with self._lock:
            self.tasks.append(task)
        return task

    # -- steps

    def _pod(
        self,
        name: str,
        component: Object,
        container: Object,
        values: Object,
        artifacts: Object,
        inputs: Object,
        done: dict[str, Object | None],
    ) -> Object | None:
        """Run a step's container; return its outputs, None when it failed."""
        task = name.rpartition("-")[0]
        place = f"{self.run_name}/{name}"
        (self.folder / "store" / place).mkdir(parents=True)
        (self.folder / "store" / self.run_name).chmod(0o777)
        (self.folder / "store" / place).chmod(0o777)
        outputs: Object = {}
        for key, each in component.get("outputDefinitions", {}).get("artifacts", {}).items():
            uri = f"minio://{STORE}/{place}/{key}"
            outputs[key] = {"name": key, "type": each["artifactType"], "uri": uri, "metadata": {}}
        kept = f"/minio/{STORE}/{place}"
        parameters = {
            key: {"outputFile": f"{kept}/parameters/{key}"}
            for key in component.get("outputDefinitions", {}).get("parameters", {})
        }
        told: Object = {
            "inputs": {
                "parameterValues": values,
                **({"artifacts": {key: {"artifacts": [each]} for key, each in artifacts.items()}} if artifacts else {}),
            },
            "outputs": {
                "artifacts": {key: {"artifacts": [each]} for key, each in outputs.items()},
                "parameters": parameters,
                "outputFile": f"{kept}/outputs.json",
            },
        }
        settings = self.platform.get(component["executorLabel"], {})
        mounts = [
            (_claim(mount, inputs, done), mount["mountPath"], mount.get("subPath", "")) for mount in settings.get("pvcMount", ())
        ]
        words = [json.dumps(told) if word == "{{$}}" else word for word in container.get("args", ())]
        assert not any("{{" in word for word in [*words[1:], *container["command"]]), words
        pod = pod_of(f"{self.run_name}-{name}", container, words, settings, mounts, self.folder / "store")
        self.space.rest.post(f"{self.space.path}/pods", pod)
        entry = self._told({"task": task, "arguments": values, "pod": pod["metadata"]["name"]})
        status = until(lambda: self._ended(pod["metadata"]["name"]), f"pod {name} has ended", LIMIT)
        entry["stdout"] = self.log(pod["metadata"]["name"])
        entry["status"] = status
        entry["code"] = status["containerStatuses"][0]["state"]["terminated"]["exitCode"]
        if entry["code"] != 0:
            return None
        return self._outputs(entry, outputs, parameters, self.folder / "store" / place)

    def _outputs(self, entry: Object, outputs: Object, parameters: Object, place: Path) -> Object:
        """Read what a step says that it left."""
        file = place / "outputs.json"
        said = json.loads(file.read_text())["artifacts"] if file.exists() else {}
        for key, each in outputs.items():
            [found] = said.get(key, {}).get("artifacts") or [each]
            each |= found
        entry["outputs"] = {key: {"path": str(place / key), "metadata": each["metadata"]} for key, each in outputs.items()}
        entry["outputs"] |= {key: (place / "parameters" / key).read_text() for key in parameters}
        if "name" in parameters:
            entry["claim"] = entry["outputs"]["name"]
            (self.folder / "claims" / entry["claim"]).symlink_to(self.driver.folder(entry["claim"]))
        return outputs | {key: entry["outputs"][key] for key in parameters}

    def _ended(self, pod: str) -> Object | None:
        found = self.space.rest.get(f"{self.space.path}/pods/{pod}")
        status: Object = found["status"]
        assert found["spec"]["nodeName"] == NODE
        waiting = [each["state"].get("waiting", {}) for each in status.get("containerStatuses", ())]
        for each in waiting:
            assert "Err" not in each.get("reason", ""), (each, self.space.events(pod))
        return status if status["phase"] in ("Succeeded", "Failed") else None

    def log(self, pod: str) -> str:
        """Read what a pod printed, through the API server and the kubelet."""
        path = f"{self.space.path}/pods/{pod}/log"
        words = {"auth_settings": ["BearerToken"], "response_type": "str", "_return_http_data_only": True}
        return str(self.space.api.call_api(path, "GET", **words))


def _before(task: Object) -> set[str]:
    """Return the tasks that come before one, and those whose outputs it takes."""
    given = task.get("inputs", {})
    found = set(task.get("dependentTasks", ()))
    found |= {
        each["taskOutputParameter"]["producerTask"]
        for each in given.get("parameters", {}).values()
        if "taskOutputParameter" in each
    }
    return found | {each["taskOutputArtifact"]["producerTask"] for each in given.get("artifacts", {}).values()}


def _value(given: Object, inputs: Object, done: dict[str, Object | None]) -> Any:
    """Return the value of a task's parameter."""
    if "runtimeValue" in given:
        return given["runtimeValue"]["constant"]
    if "componentInputParameter" in given:
        return inputs.get(given["componentInputParameter"])
    made = given["taskOutputParameter"]
    outputs = done[made["producerTask"]]
    assert outputs is not None
    return outputs[made["outputParameterKey"]]


def _artifact(given: Object, done: dict[str, Object | None]) -> Any:
    made = given["taskOutputArtifact"]
    outputs = done[made["producerTask"]]
    assert outputs is not None
    return outputs[made["outputArtifactKey"]]


def _claim(mount: Object, inputs: Object, done: dict[str, Object | None]) -> str:
    return str(_value(mount["pvcNameParameter"], inputs, done))
