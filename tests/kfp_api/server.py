"""A Kubeflow Pipelines server of the tests' own: the v2beta1 REST API with state, which really executes the pipelines that it is sent.

Schema authority are the models of `kfp_server_api`: a field that they do not know is refused in requests and is a defect in answers. Runs
are executed by kfp's own orchestrator (`tests/kfp/orchestrator.py`), or play the frames of a script. Faults can be put in the way of
requests, and the server can be stopped and started again on the same port, its state kept.
"""

from __future__ import annotations

import contextlib
import datetime
import email.parser
import email.policy
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.kfp.running import ORCHESTRATOR, templates
from tests.kfp_api.lineage_store import LineageStore

Body = dict[str, Any]
LOGIN = "<!doctype html><html><body><form action='/dex/auth'>Log in to Your Account</form></body></html>"


class Refuse(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class Fault:
    """What happens to requests whose `METHOD path` matches, `times` times: a status, `drop` before or `lose` after the work is done, `hang`,
    `page`, `redirect`, `not-json`."""

    match: str
    action: int | str
    times: int = 1
    message: str = "upstream connect error"


@dataclass
class Deployment:
    """What the server knows; outlives the server itself.

    Attributes:
        token, cookie: needed when set.
        namespaces: the only ones that may be used, when set.
        prefix: path at which everything is.
        scripts: for the next runs: each a list of frames, (state of the run, task name to state or task), the last of which stays.
        cluster: folder of snapshots and claims; runs without a script are executed there.
        snapshots: finds the folder of a snapshot by its name, when they are elsewhere.
        api: an API server on which the claims of runs are made (see `tests/kfp/orchestrator.py`).
        lineage: whether the metadata store may be asked.
    """

    cluster: Path
    token: str | None = None
    cookie: str | None = None
    namespaces: tuple[str, ...] = ()
    prefix: str = ""
    tag: str = "2.17.0"
    several: bool = False
    scripts: list[list[tuple[str, dict[str, Any]]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    experiments: list[Body] = field(default_factory=list)
    pipelines: list[Body] = field(default_factory=list)
    versions: list[Body] = field(default_factory=list)
    runs: list[Body] = field(default_factory=list)
    players: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    store: LineageStore = field(default_factory=LineageStore)
    files: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)
    env: dict[str, str] = field(default_factory=dict)
    lineage: bool = True
    snapshots: Callable[[str], Path] | None = None
    api: dict[str, str] | None = None


class Server:
    """Serves a deployment on the loopback, on a port that the system chooses."""

    def __init__(self, deployment: Deployment, port: int = 0) -> None:
        self.deployment = deployment
        self._http: ThreadingHTTPServer | None = None
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.deployment.prefix}"

    def start(self) -> None:
        handler = type("Bound", (Handler,), {"deployment": self.deployment})
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def close(self) -> None:
        self.deployment.hold.set()
        for process in self.deployment.processes.values():
            end(process)
        self.stop()


def end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Handler(BaseHTTPRequestHandler):
    deployment: Deployment
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.serve("GET")

    def do_POST(self) -> None:
        self.serve("POST")

    def serve(self, method: str) -> None:
        known = self.deployment
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        with known.lock:
            known.requests.append(f"{method} {self.path}")
            known.headers.append(dict(self.headers))
            fault = next((f for f in known.faults if f.times > 0 and re.search(f.match, f"{method} {self.path}")), None)
            if fault is not None:
                fault.times -= 1
        action = fault.action if fault is not None else None
        if action == "drop":
            self.close_connection = True
            return
        if action == "hang":
            known.hold.wait(60)
            self.close_connection = True
            return
        if isinstance(action, int):
            self.say(action, {"message": fault.message if fault else "", "code": 14})
            return
        if action == "page":
            self.say_bytes(200, LOGIN.encode(), "text/html")
            return
        if action == "not-json":
            self.say_bytes(200, b"ok", "text/plain")
            return
        if action == "redirect":
            self.send_response(302)
            self.send_header("Location", "https://dex.example.org/auth?client_id=kubeflow")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        try:
            path = urlsplit(self.path).path
            if not path.startswith(f"{known.prefix}/"):
                self.say_bytes(404, b"<html>404 page not found</html>", "text/html")
                return
            self.sign_in()
            with known.lock:
                answer = self.route(method, path.removeprefix(known.prefix), data)
        except Refuse as refusal:
            answer = (refusal.status, {"error": refusal.message, "code": 5, "message": refusal.message, "details": []})
        if action == "lose":
            self.close_connection = True
            return
        if isinstance(answer[1], bytes):
            self.say_bytes(answer[0], answer[1], "application/grpc-web+proto" if "ml_metadata" in self.path else "text/plain")
        else:
            self.say(*answer)

    def sign_in(self) -> None:
        known = self.deployment
        if known.token is not None and self.headers.get("Authorization") != f"Bearer {known.token}":
            raise Refuse(401, "Request header error: there is no user identity header.")
        if known.cookie is not None and self.headers.get("Cookie") != known.cookie:
            raise Refuse(401, "no session")

    def say(self, status: int, body: Body) -> None:
        self.say_bytes(status, json.dumps(body).encode(), "application/json")

    def say_bytes(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    # -- routes -----------------------------------------------------------------------------------------------------------

    def route(self, method: str, path: str, data: bytes) -> tuple[int, Any]:
        known = self.deployment
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if path.startswith("/ml_metadata.MetadataStoreService/"):
            if not known.lineage:
                raise Refuse(403, "RBAC: access denied")
            return 200, known.store.call(path.rpartition("/")[2], data)
        if path == "/artifacts/get":
            uri = f"{query['source']}://{query['bucket']}/{query['key']}"
            if uri not in known.files:
                raise Refuse(404, "no such object")
            return 200, known.files[uri]
        if path == "/k8s/pod/logs":
            return 200, known.logs[query["podname"]].encode()
        if not path.startswith("/apis/v2beta1/"):
            raise Refuse(404, "Not Found")
        self.check_namespace(query.get("namespace"))
        words = [unquote(word) for word in path.removeprefix("/apis/v2beta1/").split("/")]
        match method, words:
            case "GET", ["healthz"]:
                return 200, {
                    "commit_sha": "7b70c7b",
                    "tag_name": known.tag,
                    "multi_user": known.several,
                    "pipeline_store": "database",
                }
            case "GET", ["experiments"]:
                return self.listed("experiments", "V2beta1ListExperimentsResponse", known.experiments, query)
            case "POST", ["experiments"]:
                return 200, self.make_experiment(self.read("V2beta1Experiment", data))
            case "GET", ["experiments", name]:
                return 200, found(known.experiments, "experiment_id", name)
            case "GET", ["pipelines"]:
                return self.listed("pipelines", "V2beta1ListPipelinesResponse", known.pipelines, query)
            case "POST", ["pipelines"]:
                return 200, self.make_pipeline(self.read("V2beta1Pipeline", data))
            case "GET", ["pipelines", "names", name]:
                return 200, found(known.pipelines, "name", name)
            case "POST", ["pipelines", "upload"]:
                pipeline = self.make_pipeline({"name": query["name"], "display_name": query.get("display_name", query["name"])})
                self.make_version(pipeline, query["name"], data)
                return 200, pipeline
            case "POST", ["pipelines", "upload_version"]:
                return 200, self.make_version(found(known.pipelines, "pipeline_id", query["pipelineid"]), query["name"], data)
            case "GET", ["pipelines", pipeline_id]:
                return 200, found(known.pipelines, "pipeline_id", pipeline_id)
            case "GET", ["pipelines", pipeline_id, "versions"]:
                rows = [version for version in known.versions if version["pipeline_id"] == pipeline_id]
                return self.listed("pipeline_versions", "V2beta1ListPipelineVersionsResponse", rows, query)
            case "GET", ["pipelines", _, "versions", version_id]:
                return 200, found(known.versions, "pipeline_version_id", version_id)
            case "GET", ["runs"]:
                rows = [run for run in known.runs if query.get("experiment_id") in (None, "", run["experiment_id"])]
                return self.listed("runs", "V2beta1ListRunsResponse", rows, query)
            case "POST", ["runs"]:
                return 200, self.make_run(self.read("V2beta1Run", data))
            case "GET", ["runs", run_id]:
                return 200, self.seen(found(known.runs, "run_id", run_id))
            case "POST", ["runs", word] if word.endswith(":terminate"):
                self.terminate(found(known.runs, "run_id", word.removesuffix(":terminate")))
                return 200, {}
        raise Refuse(404, "Not Found")

    def check_namespace(self, namespace: str | None) -> None:
        allowed = self.deployment.namespaces
        if allowed and namespace and namespace not in allowed:
            raise Refuse(
                403, f"User 'ana@example.org' is not authorized with reason: (request: verb list, namespace {namespace})"
            )

    def read(self, model: str, data: bytes) -> Body:
        body: Body = json.loads(data or b"{}")
        check(model, body)
        self.check_namespace(body.get("namespace"))
        return body

    def listed(self, key: str, model: str, rows: list[Body], query: Mapping[str, str]) -> tuple[int, Body]:
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", ()):
            assert predicate["operation"] in ("EQUALS", 1), predicate
            rows = [
                row for row in rows if row.get(predicate["key"]) == predicate.get("stringValue", predicate.get("string_value"))
            ]
        start, size = int(query.get("page_token") or 0), min(3, int(query.get("page_size") or 10) or 10)
        answer: Body = {}
        if rows[start : start + size]:
            answer[key] = rows[start : start + size]
        answer["total_size"] = len(rows)
        if start + size < len(rows):
            answer["next_page_token"] = str(start + size)
        check(model, answer)
        return 200, answer

    def make_experiment(self, body: Body) -> Body:
        known = self.deployment
        if known.several and not body.get("namespace"):
            raise Refuse(400, "Invalid input error: Namespace cannot be empty in multi-user mode")
        if any(
            e["display_name"] == body["display_name"] and e.get("namespace") == body.get("namespace") for e in known.experiments
        ):
            raise Refuse(409, f"Already exist error: experiment {body['display_name']}")
        made = {**body, "experiment_id": str(uuid.uuid4()), "created_at": now(), "storage_state": "AVAILABLE"}
        known.experiments.append(made)
        return made

    def make_pipeline(self, body: Body) -> Body:
        known = self.deployment
        if any(p["name"] == body["name"] for p in known.pipelines):
            raise Refuse(409, f"Already exist error: The name {body['name']} already exist. Please specify a new name.")
        made = {**body, "pipeline_id": str(uuid.uuid4()), "created_at": now()}
        check("V2beta1Pipeline", made)
        known.pipelines.append(made)
        return made

    def make_version(self, pipeline: Body, name: str, data: bytes) -> Body:
        from google.protobuf import json_format
        from kfp.pipeline_spec import pipeline_spec_pb2

        known = self.deployment
        if any(v["name"] == name and v["pipeline_id"] == pipeline["pipeline_id"] for v in known.versions):
            raise Refuse(409, f"Already exist error: version {name}")
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        [part] = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + data).iter_parts()
        assert part.get_param("name", header="content-disposition") == "uploadfile"
        text = part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        documents = list(yaml.safe_load_all(text))
        try:
            json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
        except json_format.ParseError as error:
            raise Refuse(400, f"Invalid input error: {error}") from None
        spec = documents[0] if len(documents) == 1 else {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        made = {
            "pipeline_id": pipeline["pipeline_id"], "pipeline_version_id": str(uuid.uuid4()), "display_name": name, "name": name,
            "created_at": now(), "pipeline_spec": spec,
        }  # fmt: skip
        check("V2beta1PipelineVersion", made)
        known.versions.append(made)
        return made

    # -- runs -------------------------------------------------------------------------------------------------------------

    def make_run(self, body: Body) -> Body:
        known = self.deployment
        reference = body["pipeline_version_reference"]
        version = found(known.versions, "pipeline_version_id", reference["pipeline_version_id"])
        experiment = found(known.experiments, "experiment_id", body["experiment_id"])
        assert version["pipeline_id"] == reference["pipeline_id"]
        spec = version["pipeline_spec"].get("pipeline_spec", version["pipeline_spec"])
        check_parameters(spec, (body.get("runtime_config") or {}).get("parameters") or {})
        run_id = str(uuid.uuid4())
        made: Body = {
            **body, "run_id": run_id, "experiment_id": experiment["experiment_id"], "created_at": now(), "scheduled_at": now(),
            "state": "PENDING", "storage_state": "AVAILABLE", "run_details": {"task_details": []},
        }  # fmt: skip
        made.setdefault("service_account", "default-editor")
        known.runs.append(made)
        if known.scripts:
            known.players[run_id] = list(known.scripts.pop(0))
        else:
            self.execute(made, version)
        return made

    def seen(self, run: Body) -> Body:
        """Return a run; each look at one that plays a script takes it one frame on."""
        frames = self.deployment.players.get(run["run_id"])
        if frames:
            state, tasks = frames[0] if len(frames) == 1 else frames.pop(0)
            if run["state"] not in ("CANCELED", "SUCCEEDED", "FAILED"):
                run["state"] = state
            details = [{"display_name": f"{name}-driver", "state": "SUCCEEDED"} for name in tasks]
            for name, told in tasks.items():
                details.append({"display_name": name, **({"state": told} if isinstance(told, str) else told)})
            run["run_details"] = {"task_details": [{**self.task(run), **detail} for detail in details]}
            if state in ("CANCELED", "SUCCEEDED", "FAILED"):
                run["finished_at"] = now()
        check("V2beta1Run", run)
        return run

    def task(self, run: Body) -> Body:
        epoch = "1970-01-01T00:00:00Z"
        return {
            "run_id": run["run_id"],
            "task_id": str(uuid.uuid4()),
            "create_time": now(),
            "start_time": now(),
            "end_time": epoch,
        }

    def terminate(self, run: Body) -> None:
        known = self.deployment
        if run["state"] in ("CANCELED", "SUCCEEDED", "FAILED"):
            raise Refuse(400, "Invalid input error: the run has ended")
        process = known.processes.get(run["run_id"])
        run["state"] = "CANCELING"
        if process is not None:
            end(process)
        known.players[run["run_id"]] = [("CANCELING", {}), ("CANCELED", {})]

    def execute(self, run: Body, version: Body) -> None:
        known = self.deployment
        folder = known.cluster / "runs" / run["run_id"]
        folder.mkdir(parents=True)
        for name in ("claims", "snapshots"):
            (known.cluster / name).mkdir(exist_ok=True)
        for value in ((run.get("runtime_config") or {}).get("parameters") or {}).values():
            if known.snapshots is not None and isinstance(value, dict) and value.get("kind") == "VolumeSnapshot":
                (known.cluster / "snapshots" / value["name"]).symlink_to(known.snapshots(value["name"]))
        spec = version["pipeline_spec"]
        documents = [spec["pipeline_spec"], spec["platform_spec"]] if "platform_spec" in spec else [spec]
        (folder / "pipeline.yaml").write_text(
            "---\n".join(yaml.safe_dump(d, sort_keys=True) for d in documents), encoding="utf-8"
        )
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
        threading.Thread(target=self.tell, args=(known, run, folder, process), daemon=True).start()

    def tell(self, known: Deployment, run: Body, folder: Path, process: subprocess.Popen[str]) -> None:
        """Keep a run's details current while it is executed."""
        tasks: dict[str, Body] = {}
        with open(folder / "told", encoding="utf-8") as file:
            while True:
                over = process.poll() is not None
                for line in file:
                    said = json.loads(line)
                    with known.lock:
                        self.note(known, run, tasks, said)
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

    def note(self, known: Deployment, run: Body, tasks: dict[str, Body], said: Body) -> None:
        name = said["task"]
        task = tasks.setdefault(name, {**self.task(run), "display_name": name, "start_time": stamp(said["time"])})
        if said["state"] != "RUNNING":
            self.keep(known, run["run_id"], name, said)
            task["end_time"] = stamp(said["time"])
        task["state"] = said["state"]
        drivers = [{**self.task(run), "display_name": f"{each}-driver", "state": "SUCCEEDED"} for each in tasks]
        run["run_details"] = {"task_details": [*drivers, *tasks.values()]}

    def keep(self, known: Deployment, run_id: str, task: str, said: Body) -> None:
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


def found(rows: list[Body], key: str, value: str) -> Body:
    for row in rows:
        if row.get(key) == value:
            return row
    raise Refuse(404, f"ResourceNotFoundError: {key} {value} not found.")


def now() -> str:
    return stamp(time.time())


def stamp(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def check(model: str, body: Any) -> None:
    """Hold a body against a model of `kfp_server_api`: fields, enumerations and kinds, all the way down."""
    import kfp_server_api.models as models

    cls = getattr(models, model)
    if not hasattr(cls, "attribute_map") or not cls.attribute_map:
        if isinstance(body, str) and hasattr(cls, "allowable_values") and body not in cls.allowable_values:
            raise Refuse(400, f"{body} is no {model}")
        return
    if not isinstance(body, dict):
        raise Refuse(400, f"{model} must be an object")
    names = {json_name: name for name, json_name in cls.attribute_map.items()}
    for key, value in body.items():
        if key not in names:
            raise Refuse(400, f'proto: (line 1:2): unknown field "{key}" in {model}')
        check_kind(cls.openapi_types[names[key]], value, f"{model}.{key}")


def check_kind(kind: str, value: Any, place: str) -> None:
    if value is None or kind == "object":
        return
    if inner := re.fullmatch(r"list\[(.*)\]", kind):
        for item in value:
            check_kind(inner[1], item, place)
    elif inner := re.fullmatch(r"dict\(str, (.*)\)", kind):
        for item in value.values():
            check_kind(inner[1], item, place)
    elif kind in ("str", "int", "bool", "datetime"):
        wanted = {"str": str, "int": int, "bool": bool, "datetime": str}[kind]
        if not isinstance(value, wanted):
            raise Refuse(400, f"{place} is {value!r}, not {kind}")
    else:
        check(kind, value)


_JSON = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": (int, float), "BOOLEAN": bool, "LIST": list, "STRUCT": dict}


def check_parameters(spec: Body, given: Body) -> None:
    """Refuse what the real server refuses: parameters that are unknown, missing or of another type."""
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in given.items():
        if name not in known:
            raise Refuse(400, f"Invalid input error: parameter {name} is not an input of the pipeline")
        if not isinstance(value, _JSON[known[name]["parameterType"]]):
            raise Refuse(400, f"Invalid input error: input parameter {name} requires type {known[name]['parameterType']}")
    for name, about in known.items():
        if name not in given and not about.get("isOptional") and "defaultValue" not in about:
            raise Refuse(400, f"Invalid input error: input parameter {name} is missing")


@contextlib.contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Server]:
    """Serve a new deployment while the block lasts."""
    server = Server(Deployment(cluster=folder, **options))
    try:
        yield server
    finally:
        server.close()
