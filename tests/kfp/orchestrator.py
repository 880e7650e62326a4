"""Executes a compiled pipeline by kfp's own local orchestrator, in a process of its own: `python orchestrator.py JOB.json`.

kfp reads the YAML, decides what runs when and with which inputs, resolves placeholders and reads outputs. Three seams are filled, which its
own runners leave open:

- CreatePVC copies the snapshot folder that `data_source` names, DeletePVC removes the claim's folder;
- claims are mounted at their real paths, by a private mount namespace for each task (`pod.py`);
- container components may run: their command is run as it stands, with the machine's Python for `python3`.

With `api` (a `kubeconfig`, a `namespace`, and the folder `volumes` of a driver that keeps volumes as folders) claims are made on that API server
as Kubeflow's own driver makes them, waited for, and deleted there.

`JOB.json`: `mounts` (more of them, for every task), `yaml` (path), `arguments`, `cluster` (a folder with `snapshots/NAME` and `claims/NAME`), `python` (path), `env`, `told` (a file for what happens, as it happens). What happened is
printed as one JSON object on the last line: the tasks that ran, in order, with claims, exit codes and what they printed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import yaml  # noqa: E402

from kale_nb.quick_imports import without_grammars  # noqa: E402

with without_grammars():
    from kfp import components, local
    from kfp.local import status, subprocess_task_handler, task_dispatcher
    from kfp.local.orchestrator import task_executor

POD = Path(__file__).with_name("pod.py")


class Cluster:
    """Claims and snapshots as folders, and what the tasks did."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.folder = Path(job["cluster"])
        self.python = job["python"]
        self.env = job.get("env", {})
        self.always: list[list[str]] = job.get("mounts", [])
        self.told: str | None = job.get("told")
        self.old_backend = bool(job.get("old_backend"))
        self.claims = Claims(**job["api"]) if job.get("api") else None
        documents = list(yaml.safe_load_all(Path(job["yaml"]).read_text(encoding="utf-8")))
        more = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if len(documents) > 1 else {}
        self.settings: dict[str, Any] = more
        self.tasks: list[dict[str, Any]] = []
        self.current: dict[str, Any] = {}
        self.mounts: list[list[str]] = []

    def tell(self, task: str, state: str) -> None:
        """Write down what happens, for those who look on: a JSON object a line."""
        if self.told is not None:
            known = {key: self.current[key] for key in ("stdout", "stderr", "outputs") if key in self.current}
            with open(self.told, "a", encoding="utf-8") as file:
                file.write(json.dumps({"task": task, "state": state, "time": time.time(), **known}, default=str) + "\n")

    def create(self, arguments: dict[str, Any]) -> str:
        name = f"{uuid.uuid4()}{arguments.get('pvc_name_suffix', '')}"
        assert len(name) <= 63
        claim = self.folder / "claims" / name
        source = arguments.get("data_source")
        if self.claims is not None:
            claim.symlink_to(self.claims.create(name, arguments))
        elif source and not self.old_backend:
            assert source["kind"] == "VolumeSnapshot"
            shutil.copytree(self.folder / "snapshots" / source["name"], claim, symlinks=True)
        else:
            claim.mkdir(parents=True)
        for key in ("access_modes", "size", "storage_class_name"):
            assert arguments.get(key), key
        return name

    def delete(self, arguments: dict[str, Any]) -> None:
        claim = self.folder / "claims" / arguments["pvc_name"]
        if self.claims is not None:
            self.claims.delete(claim.name)
            claim.unlink()
        else:
            shutil.rmtree(claim)

    def mounts_of(self, executor: str, store: Any) -> list[list[str]]:
        found = []
        for mount in self.settings.get(executor, {}).get("pvcMount", ()):
            parameter = mount["pvcNameParameter"]
            if "runtimeValue" in parameter:
                name = parameter["runtimeValue"]["constant"]
            elif "taskOutputParameter" in parameter:
                made = parameter["taskOutputParameter"]
                name = store.get_task_output(made["producerTask"], made["outputParameterKey"])
            else:
                name = store.get_parent_input(parameter["componentInputParameter"])
            if self.claims is not None and not (self.folder / "claims" / name).exists():
                (self.folder / "claims" / name).symlink_to(self.claims.folder(name))
            claim = self.folder / "claims" / name / mount.get("subPath", "")
            assert claim.is_dir(), claim
            found.append([str(claim), mount["mountPath"]])
        return found

    def run(self, command: list[str], env: dict[str, str]) -> int:
        command = [self.python if word == "python3" else word for word in command]
        with tempfile.TemporaryDirectory() as scratch:
            job = Path(scratch) / "pod.json"
            job.write_text(json.dumps({"mounts": [*self.mounts, *self.always], "cwd": "/"}), encoding="utf-8")
            words = ["unshare", "--mount", "--propagation", "private", sys.executable, str(POD), str(job), *command]
            done = subprocess.run(
                words,
                env=_expanded({**os.environ, **self.env}, env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        self.current |= {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        return done.returncode


def _expanded(before: dict[str, str], env: dict[str, str]) -> dict[str, str]:
    """Return an environment with a container's own variables, expanded as the kubelet does it: `$(NAME)`, and `$$` for `$`."""
    known = dict(before)
    for name, value in env.items():
        known[name] = re.sub(r"\$\$|\$\((\w+)\)", lambda m: "$" if m[0] == "$$" else known.get(m[1], m[0]), value)
    return known


class Claims:
    """Claims on an API server, made as the driver of Kubeflow Pipelines 2.17 makes them."""

    def __init__(self, kubeconfig: str, namespace: str, volumes: str) -> None:
        from kubernetes import client, config

        self.api = client.CoreV1Api(config.new_client_from_config(kubeconfig))
        self.namespace = namespace
        self.volumes = Path(volumes)

    def create(self, name: str, given: dict[str, Any]) -> Path:
        spec = {
            "accessModes": given["access_modes"],
            "resources": {"requests": {"storage": given["size"]}},
            "storageClassName": given.get("storage_class_name", "standard"),
        }
        if given.get("volume_name"):
            spec["volumeName"] = given["volume_name"]
        if given.get("data_source"):
            spec["dataSource"] = given["data_source"]
        metadata = {"name": name, "annotations": given.get("annotations") or {}}
        self.api.create_namespaced_persistent_volume_claim(self.namespace, {"metadata": metadata, "spec": spec})
        return self.folder(name)

    def folder(self, name: str) -> Path:
        """Wait for the volume of a claim, and return its folder."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            claim = self.api.read_namespaced_persistent_volume_claim(name, self.namespace)
            if claim.status.phase == "Bound":
                return self.volumes / str(claim.spec.volume_name)
            time.sleep(0.1)
        raise AssertionError(f"claim {name} is not bound")

    def delete(self, name: str) -> None:
        self.api.delete_namespaced_persistent_volume_claim(name, self.namespace)


def fill_seams(cluster: Cluster) -> None:
    execute, dispatch = task_executor.execute_single_task, task_dispatcher.run_single_task_implementation

    def execute_single_task(**given: Any) -> Any:
        label = given["components"][given["task_spec"].component_ref.name].executor_label
        cluster.mounts = cluster.mounts_of(label, given["io_store"])
        cluster.current = {}
        cluster.tell(given["task_name"], "RUNNING")
        outputs, ended = execute(**given)
        cluster.tell(given["task_name"], "SUCCEEDED" if ended == status.Status.SUCCESS else "FAILED")
        return outputs, ended

    def run_single_task(**given: Any) -> Any:
        image = given["executor_spec"].container.image
        cluster.current = {"task": given["component_name"].removeprefix("comp-"), "arguments": given["arguments"]}
        cluster.tasks.append(cluster.current)
        if image == "argostub/createpvc":
            return {"name": cluster.current.setdefault("claim", cluster.create(given["arguments"]))}, status.Status.SUCCESS
        if image == "argostub/deletepvc":
            cluster.current["claim"] = given["arguments"]["pvc_name"]
            cluster.delete(given["arguments"])
            return {}, status.Status.SUCCESS
        outputs, ended = dispatch(**given)
        if cluster.current["task"] == "create-volume":
            cluster.current["claim"] = outputs.get("name")
        cluster.current["outputs"] = {
            name: {"path": value.path, "metadata": dict(value.metadata)}
            for name, value in outputs.items()
            if hasattr(value, "path")
        }
        return outputs, ended

    class Handler(subprocess_task_handler.SubprocessTaskHandler):
        def validate_image(self, image: str) -> None:
            assert image

        def validate_not_container_component(self, full_command: list[str]) -> None:
            pass

        def run(self) -> status.Status:
            code = cluster.run(self.full_command, self.env_vars)
            return status.Status.SUCCESS if code == 0 else status.Status.FAILURE

    task_executor.execute_single_task = execute_single_task
    task_dispatcher.run_single_task_implementation = run_single_task
    subprocess_task_handler.SubprocessTaskHandler = Handler


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    cluster = Cluster(job)
    fill_seams(cluster)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(cluster.folder / "artifacts"),
        workspace_root=tempfile.mkdtemp(),  # kfp removes it at the end
        raise_on_error=True,
    )
    pipeline = components.load_component_from_file(job["yaml"])
    problem = None
    try:
        pipeline(**job["arguments"])
    except RuntimeError as error:
        problem = str(error)
    print(json.dumps({"problem": problem, "tasks": cluster.tasks}, default=str))


if __name__ == "__main__":
    main()
