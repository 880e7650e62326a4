"""A Kubeflow Pipelines server of the tests' own: the v2beta1 REST API with state, which really executes the pipelines that it is sent.

Schema authority are the models of `kfp_server_api`: a field that they do not know is refused in requests and is a defect in answers. Runs
are executed by kfp's own orchestrator (`tests/kfp/orchestrator.py`), or play the frames of a script. Faults can be put in the way of
requests, and the server can be stopped and started again on the same port, its state kept.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.kfp_api.deployment import Body, Deployment, Refuse, found, now
from tests.kfp_api.executing import blank_task, end, execute
from tests.kfp_api.models import check, check_parameters

LOGIN = "<!doctype html><html><body><form action='/dex/auth'>Log in to Your Account</form></body></html>"


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
            execute(known, made, version)
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
            run["run_details"] = {"task_details": [{**blank_task(run), **detail} for detail in details]}
            if state in ("CANCELED", "SUCCEEDED", "FAILED"):
                run["finished_at"] = now()
        check("V2beta1Run", run)
        return run

    def terminate(self, run: Body) -> None:
        known = self.deployment
        if run["state"] in ("CANCELED", "SUCCEEDED", "FAILED"):
            raise Refuse(400, "Invalid input error: the run has ended")
        process = known.processes.get(run["run_id"])
        run["state"] = "CANCELING"
        if process is not None:
            end(process)
        known.players[run["run_id"]] = [("CANCELING", {}), ("CANCELED", {})]


@contextlib.contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Server]:
    """Serve a new deployment while the block lasts."""
    server = Server(Deployment(cluster=folder, **options))
    try:
        yield server
    finally:
        server.close()
