"""On backends whose CreatePVC does not know snapshots, volumes are made by a step that asks the Kubernetes API itself."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines.kfp.target import Target
from tests.kfp.running import Server
from tests.kfp.sources import write_notebook

pytestmark = [pytest.mark.kernel]
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class Api(ThreadingHTTPServer):
    """Takes claims over TLS, as the Kubernetes API does, and makes their folders from the snapshots that they name."""

    def __init__(self, cluster: Path, account: Path) -> None:
        self.cluster = cluster
        self.claims: list[dict[str, Any]] = []
        self.refuse: str | None = None
        super().__init__(("127.0.0.1", 0), Handler)
        account.mkdir()
        key = account.parent / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=api", "-addext",
             "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(account / "ca.crt")],
            check=True, capture_output=True,
        )  # fmt: skip
        (account / "token").write_text("of-the-pod\n")
        (account / "namespace").write_text("team")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(account / "ca.crt", key)
        self.socket = context.wrap_socket(self.socket, server_side=True)


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/api/v1/namespaces/team/persistentvolumeclaims"
        assert self.headers["Authorization"] == "Bearer of-the-pod"
        if self.server.refuse is not None:
            self.answer(403, {"kind": "Status", "message": self.server.refuse})
            return
        self.server.claims.append(body)
        claim = self.server.cluster / "claims" / body["metadata"]["name"]
        source = body["spec"].get("dataSource")
        if source:
            shutil.copytree(self.server.cluster / "snapshots" / source["name"], claim)
        else:
            claim.mkdir()
        self.answer(201, body)

    def answer(self, code: int, body: dict[str, Any]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    made = Api(tmp_path / "cluster" / "cluster", tmp_path / "account")
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def around(api: Api, account: Path) -> dict[str, Any]:
    host, port = api.server_address[:2]
    return {
        "mounts": [[str(account), ACCOUNT]],
        "env": {"KUBERNETES_SERVICE_HOST": str(host), "KUBERNETES_SERVICE_PORT": str(port)},
    }


def compiled(tmp_path: Path) -> tuple[Server, Any]:
    server = Server(tmp_path / "cluster")
    text = "%pipeline --name made --volume scratch:/scratch:2Gi\n\n%%step one\nopen('/scratch/x', 'w').write('here')\nprint(open('note').read())"
    write_notebook(text, server.home / "nb.ipynb")
    (server.home / "note").write_text("of the snapshot")
    package = server.compile("nb.ipynb", Target(image="python:3.11", native_volumes=False))
    server.snapshot("home")
    return server, package


def test_the_step_makes_claims_from_snapshots(api: Api, tmp_path: Path) -> None:
    server, package = compiled(tmp_path)
    ran = server.run(package, **around(api, tmp_path / "account"))
    assert ran.problem is None, ran.tasks
    assert ran.task("one")["stdout"] == "of the snapshot\n"
    specs = {claim["metadata"]["annotations"]["kale-nb/volume"]: claim for claim in api.claims}
    assert set(specs) == {"workspace", "scratch"}
    made = specs["workspace"]
    assert made["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "5Gi"}},
        "storageClassName": "standard",
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "home"},
    }
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kale-nb"}
    assert len(made["metadata"]["name"]) <= 63
    assert "dataSource" not in specs["scratch"]["spec"]


def test_what_the_cluster_says_against_it_is_told(api: Api, tmp_path: Path) -> None:
    server, package = compiled(tmp_path)
    api.refuse = 'User "system:serviceaccount:team:runner" cannot create persistentvolumeclaims'
    ran = server.run(package, **around(api, tmp_path / "account"))
    assert ran.problem is not None
    told = ran.task("create-volume")["stderr"]
    assert told == f"kale: the claim could not be made in namespace team: {api.refuse}\n"
