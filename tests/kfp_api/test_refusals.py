"""What a server refuses, or does not answer, is told in words that say what to do; credentials are read anew and never written down."""

from __future__ import annotations

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines.kfp.submission.address import Asked, find_address
from kale_nb.engines.kfp.submission.client import Client
from kale_nb.engines.kfp.submission.problems import NotAllowed, NotSignedIn, NotThere, ServerError, Unreachable
from kale_nb.engines.kfp.submission.sending import read_server
from kale_nb.errors import UsageError
from kale_nb.runs.events import State
from tests.kfp_api.deployment import Fault
from tests.kfp_api.server import Server
from tests.kfp_api.submitting import Submitted, engine, notebook
from tests.kfp_api.test_following import PLAYED

SECRET = "eyJhbGciOi-a-very-secret-token"


def client_of(url: str, environ: dict[str, str] | None = None, within: float = 5.0, **asked: Any) -> Client:
    return Client(find_address(Asked(host=url, **asked), environ or {}), patience=1.0, within=within)


def test_a_missing_token_is_told_with_what_was_asked_with(server: Server, tmp_path: Path) -> None:
    server.deployment.token = SECRET
    with pytest.raises(NotSignedIn) as caught:
        read_server(client_of(server.url))
    assert "does not know who asks (401)" in caught.value.message
    assert "no credentials" in (caught.value.hint or "")
    (tmp_path / "token").write_text("old")
    with pytest.raises(NotSignedIn) as caught:
        read_server(client_of(server.url, token_file=tmp_path / "token"))
    assert str(tmp_path / "token") in (caught.value.hint or "")


def test_a_token_file_is_read_again_for_each_request(server: Server, tmp_path: Path) -> None:
    server.deployment.token = SECRET
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    client = client_of(server.url, {"KF_PIPELINES_SA_TOKEN_PATH": str(file)})
    assert read_server(client).version == (2, 17, 0)
    file.write_text("renewed")
    server.deployment.token = "renewed"
    assert read_server(client).version == (2, 17, 0)


@pytest.mark.parametrize("text", ["", "two\nlines", "tökén"])
def test_a_token_file_without_a_token_is_told(text: str, server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(NotSignedIn, match=r"the token in .*token"):
        read_server(client_of(server.url, token_file=tmp_path / "token"))
    with pytest.raises(NotSignedIn, match="cannot be read"):
        read_server(client_of(server.url, token_file=tmp_path / "none"))
    assert server.deployment.requests == []


def test_a_cookie_opens_a_session(server: Server, tmp_path: Path) -> None:
    server.deployment.cookie = "authservice_session=MTY"
    (tmp_path / "cookie").write_text("authservice_session=MTY\n")
    assert read_server(client_of(server.url, cookie_file=tmp_path / "cookie")).tag == "2.17.0"
    assert read_server(client_of(server.url, {"KALE_KFP_COOKIE": "authservice_session=MTY"})).tag == "2.17.0"


@pytest.mark.parametrize("action", ["page", "redirect"])
def test_a_login_page_is_known_for_what_it_is(action: str, server: Server) -> None:
    server.deployment.faults = [Fault("healthz", action)]
    with pytest.raises(NotSignedIn, match="log in|login page"):
        read_server(client_of(server.url))


def test_a_redirect_is_not_followed_with_the_token(server: Server, tmp_path: Path) -> None:
    server.deployment.faults = [Fault("healthz", "redirect")]
    with pytest.raises(NotSignedIn, match=r"dex\.example\.org/auth"):
        read_server(client_of(server.url, {"KALE_KFP_TOKEN": SECRET}))
    assert len(server.deployment.requests) == 1


def test_an_address_without_its_path_is_told(server: Server) -> None:
    server.deployment.prefix = "/pipeline"
    with pytest.raises(NotThere, match="has nothing at") as caught:
        read_server(client_of(f"http://127.0.0.1:{server.port}"))
    assert "usually ends in /pipeline" in (caught.value.hint or "")
    assert read_server(client_of(f"{server.url}/#/pipelines")).tag == "2.17.0"


def test_a_namespace_of_others_is_told(server: Server, tmp_path: Path) -> None:
    server.deployment.several = True
    server.deployment.namespaces = ("ana",)
    with pytest.raises(NotAllowed) as caught:
        Submitted(notebook(tmp_path / "ws"), engine(server.url, asked={"namespace": "bob"}))
    assert "in namespace bob (403)" in caught.value.message
    assert "--namespace" in (caught.value.hint or "")
    assert server.deployment.runs == []


def test_other_answers_and_silence_are_told(server: Server) -> None:
    server.deployment.faults = [Fault("healthz", "not-json"), Fault("healthz", 418, message="I am a teapot")]
    with pytest.raises(ServerError, match="not JSON"):
        read_server(client_of(server.url))
    with pytest.raises(ServerError, match=r"I am a teapot \(HTTP 418\)"):
        read_server(client_of(server.url))
    server.stop()
    with pytest.raises(Unreachable, match="nothing listens at"):
        client_of(server.url).get("/healthz", patience=0)


def test_a_server_that_does_not_answer_in_time_is_told(server: Server) -> None:
    server.deployment.faults = [Fault("healthz", "hang", times=5)]
    with pytest.raises(Unreachable, match="does not answer in time"):
        client_of(server.url, within=0.2).get("/healthz", patience=0)


def test_a_certificate_that_nobody_vouches_for_is_told_and_can_be_trusted(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=kfp", "-addext"]
    try:
        subprocess.run(
            [*made, "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"tag_name": "2.17.1"}')

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = HTTPServer(("127.0.0.1", 0), Health)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        url = f"https://127.0.0.1:{http.server_address[1]}"
        with pytest.raises(Unreachable, match="cannot be trusted: self") as caught:
            read_server(client_of(url))
        assert "--ca-file" in (caught.value.hint or "")
        assert read_server(client_of(url, ca_file=certificate)).version == (2, 17, 1)
        with pytest.raises(UsageError, match="cannot be used"):
            client_of(url, ca_file=key)
    finally:
        http.shutdown()
        http.server_close()


def test_the_address_comes_from_option_environment_or_pod(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing says where Kubeflow Pipelines is"):
        find_address(Asked(), {})
    assert (
        find_address(Asked(), {"KF_PIPELINES_ENDPOINT": "https://kf.example.org/pipeline/"}).host
        == "https://kf.example.org/pipeline"
    )
    assert find_address(Asked(host="kf.example.org"), {"KF_PIPELINES_ENDPOINT": "https://other"}).host == "https://kf.example.org"
    account = tmp_path / "var/run/secrets/kubernetes.io/serviceaccount"
    account.mkdir(parents=True)
    (account / "token").write_text("of the pod")
    (account / "namespace").write_text("ana")
    token = tmp_path / "var/run/secrets/kubeflow/pipelines/token"
    token.parent.mkdir(parents=True)
    token.write_text("for pipelines")
    address = find_address(Asked(), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, root=tmp_path)
    assert address.host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
    assert address.namespace == "ana"
    assert address.credentials.headers() == {"Authorization": "Bearer for pipelines"}
    elsewhere = find_address(Asked(host="https://kf.example.org"), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, root=tmp_path)
    assert elsewhere.credentials.headers() == {}, "the pod's token is not for other servers"
    with pytest.raises(UsageError, match="holds a password"):
        find_address(Asked(host=f"https://ana:{SECRET}@kf.example.org"), {})


def test_no_secret_is_in_anything_that_a_run_writes(server: Server, tmp_path: Path) -> None:
    server.deployment.token = SECRET
    server.deployment.scripts = [PLAYED]
    (tmp_path / "secret").write_text(SECRET)
    workspace = tmp_path / "ws"
    ran = Submitted(notebook(workspace), engine(server.url, asked={"token_file": tmp_path / "secret"}))
    assert ran.record.state is State.SUCCEEDED
    assert ran.record.remote["token_file"] == str(tmp_path / "secret")
    written = [path for path in workspace.rglob("*") if path.is_file()]
    assert len(written) > 3
    for path in written:
        assert SECRET.encode() not in path.read_bytes(), path
    assert not any(SECRET in repr(event) for event in ran.events)
    assert all(SECRET not in request for request in server.deployment.requests)
