"""Runs of a Kubeflow Pipelines server of the tests, executed by kfp's own orchestrator (`tests/kfp/orchestrator.py`)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import yaml

from tests.kfp.running import ORCHESTRATOR, templates
from tests.kfp_api.deployment import Body, Deployment, now, stamp


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process and all of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def execute(known: Deployment, run: Body, version: Body) -> None:
    """Begin to execute a run by kfp's own orchestrator; its details follow as it goes on."""
    folder = known.cluster / "runs" / run["run_id"]
    folder.mkdir(parents=True)
    for name in ("claims", "snapshots"):
        (known.cluster / name).mkdir(exist_ok=True)
    for value in ((run.get("runtime_config") or {}).get("parameters") or {}).values():
        if known.snapshots is not None and isinstance(value, dict) and value.get("kind") == "VolumeSnapshot":
            (known.cluster / "snapshots" / value["name"]).symlink_to(known.snapshots(value["name"]))
    spec = version["pipeline_spec"]
    documents = [spec["pipeline_spec"], spec["platform_spec"]] if "platform_spec" in spec else [spec]
    (folder / "pipeline.yaml").write_text("---\n".join(yaml.safe_dump(d, sort_keys=True) for d in documents), encoding="utf-8")
    job = {
        "yaml": str(folder / "pipeline.yaml"), "arguments": (run.get("runtime_config") or {}).get("parameters") or {},
        "cluster": str(known.cluster), "python": sys.executable, "told": str(folder / "told"),
        "env": {"JUPYTER_PATH": str(templates()), **known.env}, "api": known.api,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    (folder / "told").touch()
    output = open(folder / "output", "w", encoding="utf-8")  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, str(ORCHESTRATOR), str(folder / "job.json")],
        cwd=folder, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    output.close()
    known.processes[run["run_id"]] = process
    run["state"] = "RUNNING"
    threading.Thread(target=_tell, args=(known, run, folder, process), daemon=True).start()


def _tell(known: Deployment, run: Body, folder: Path, process: subprocess.Popen[str]) -> None:
    """Keep a run's details current while it is executed."""
    tasks: dict[str, Body] = {}
    with open(folder / "told", encoding="utf-8") as file:
        while True:
            over = process.poll() is not None
            for line in file:
                said = json.loads(line)
                with known.lock:
                    _note(known, run, tasks, said)
            if over:
                break
            time.sleep(0.05)
    with known.lock:
        if run["run_id"] in known.players:
            return
        last = (folder / "output").read_text(encoding="utf-8").strip().splitlines()
        outcome = json.loads(last[-1]) if process.returncode == 0 and last else {"problem": "\n".join(last[-20:]) or "died"}
        run["state"] = "SUCCEEDED" if outcome["problem"] is None else "FAILED"
        run["finished_at"] = now()


def _note(known: Deployment, run: Body, tasks: dict[str, Body], said: Body) -> None:
    name = said["task"]
    task = tasks.setdefault(name, {**blank_task(run), "display_name": name, "start_time": stamp(said["time"])})
    if said["state"] != "RUNNING":
        _keep(known, run["run_id"], name, said)
        task["end_time"] = stamp(said["time"])
    task["state"] = said["state"]
    drivers = [{**blank_task(run), "display_name": f"{each}-driver", "state": "SUCCEEDED"} for each in tasks]
    run["run_details"] = {"task_details": [*drivers, *tasks.values()]}


def _keep(known: Deployment, run_id: str, task: str, said: Body) -> None:
    """Put what a task left where the launcher would put it: files into the object store, the rest into ML Metadata."""
    root = f"minio://mlpipeline/v2/artifacts/pipeline/{run_id}/{task}/{uuid.uuid4()}"
    known.store.add_execution(run_id, {"task_name": task, "display_name": task, "pod_name": f"pod-{task}"})
    if "stdout" in said:
        text = said["stdout"] + said["stderr"]
        known.logs[f"pod-{task}"] = text
        known.files[f"{root}/executor-logs"] = text.encode()
        if said["state"] == "SUCCEEDED":
            known.store.add_artifact(run_id, f"{root}/executor-logs", {"display_name": "executor-logs"})
    for name, left in (said.get("outputs") or {}).items():
        path = Path(left["path"])
        if path.is_file():
            known.files[f"{root}/{name}"] = path.read_bytes()
        numbers = {
            k: float(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for k, v in left["metadata"].items()
        }
        known.store.add_artifact(run_id, f"{root}/{name}", {"display_name": name, **numbers})


def blank_task(run: Body) -> Body:
    """Return the details of a task that has begun."""
    epoch = "1970-01-01T00:00:00Z"
    return {
        "run_id": run["run_id"],
        "task_id": str(uuid.uuid4()),
        "create_time": now(),
        "start_time": now(),
        "end_time": epoch,
    }
